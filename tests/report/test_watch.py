import json
import shutil
import sys
from pathlib import Path

import pytest
from study_folder import write_study

from sottovoce.cli import main as cli
from sottovoce.core.errors import UserError
from sottovoce.report import watch
from sottovoce.report.watch import watch_report

LAST = "cells/curriculum-5pct/scores.json"


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    return write_study(tmp_path / "study", audio=False)


def refreshes(folder: Path) -> bool:
    return 'http-equiv="refresh"' in (folder / "report.html").read_text(encoding="utf-8")


def test_the_report_follows_the_study_to_its_end(folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    scores = (folder / LAST).read_text()
    (folder / LAST).unlink()
    lines: list[str] = []
    pages: list[bool] = []

    def sleep(_: float) -> None:
        pages.append(refreshes(folder))
        if len(pages) == 1:  # nothing has changed: nothing is written
            (folder / "report.html").write_text("untouched")
        elif len(pages) == 2:
            assert (folder / "report.html").read_text() == "untouched"
            (folder / "cells/curriculum-5pct/failed.json").write_text(json.dumps({"what": "out of memory"}))
        elif len(pages) == 3:
            (folder / LAST).write_text(scores[:40])  # damaged for a moment
        else:
            (folder / LAST).write_text(scores)

    monkeypatch.setattr(watch.time, "sleep", sleep)
    report = watch_report(folder, None, lines.append)
    assert pages == [True, False, True, True]
    assert [line.split(" ", 1)[1].partition(":")[0] for line in lines] == [
        "3 of 4 cells finished", "3 of 4 cells finished, 1 failed", "waiting", "4 of 4 cells finished",
    ]  # fmt: skip
    assert not refreshes(folder) and report.answer is not None


def test_ctrl_c_leaves_a_page_that_stands_still(folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (folder / LAST).unlink()

    def interrupt(_: float) -> None:
        assert refreshes(folder)
        raise KeyboardInterrupt

    monkeypatch.setattr(watch.time, "sleep", interrupt)
    watch_report(folder, None, lambda line: None)
    assert not refreshes(folder)


def test_a_folder_without_a_study_is_refused(folder: Path) -> None:
    shutil.rmtree(folder)
    with pytest.raises(UserError, match="not a study folder"):
        watch_report(folder, None, lambda line: None)


def test_the_verb_ends_by_itself_with_a_finished_study(
    folder: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    own = folder / "own.yaml"
    own.write_text("- {model: ours, source: internal, intent_accuracy: 70}")
    monkeypatch.setattr(sys, "argv", ["sottovoce", "report", str(folder), "--watch", "--published", str(own)])
    cli.main()
    out, err = capsys.readouterr()
    assert "81.0±3.9" in out and "4 of 4 cells finished" in err
    assert '<td class="left">ours</td>' in (folder / "report.html").read_text(encoding="utf-8")
