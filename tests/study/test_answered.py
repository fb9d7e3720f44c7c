"""`score` and `compare` on runs and studies, whose gold they know."""

from __future__ import annotations

import json
from pathlib import Path

import pytest
from command_line import run_main
from study_folder import write_study

import sottovoce
from sottovoce.core.errors import UserError


@pytest.fixture
def study(tmp_path: Path) -> Path:
    folder = write_study(tmp_path / "study", audio=False)
    (folder / "recipe.yaml").write_text("name: study\n")
    return folder


def test_a_run_knows_its_gold(study: Path) -> None:
    run = study / "cells/text_only"
    by_file = sottovoce.score(run / "predictions-speech.jsonl", study / "gold.jsonl")
    assert sottovoce.score(run) == by_file == sottovoce.score(run / "predictions-speech.jsonl")
    assert by_file["strict"]["intent_accuracy"] == 0.6
    assert sottovoce.score(run, modality="text")["strict"]["intent_accuracy"] == 0.9


def test_runs_are_compared_by_name(
    study: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    runs = [study / "cells" / name for name in ("text_only", "curriculum-5pct")]
    printed = run_main(monkeypatch, capsys, "compare", *runs, "--json")
    assert [system["name"] for system in json.loads(printed.out)["systems"]] == ["text_only", "curriculum-5pct"]


def test_a_study_is_compared_whole_with_seeds_together(study: Path) -> None:
    run, again = study / "cells/text_only", study / "cells/text_only-seed1"
    again.mkdir()
    for path in run.iterdir():
        (again / path.name).write_bytes(path.read_bytes())
    card = json.loads((run / "cell.json").read_text())
    (again / "cell.json").write_text(json.dumps(card | {"name": "text_only-seed1", "seed": 1}))
    systems = sottovoce.compare([study])["systems"]
    assert len(systems) == 4
    assert [len(system["files"]) for system in systems if "text_only" in system["name"]] == [2]
    assert sottovoce.compare([study], modality="text")["systems"][0]["strict"] != systems[0]["strict"]


def test_what_has_no_answers_is_refused(study: Path, tmp_path: Path) -> None:
    with pytest.raises(UserError, match=r"is not a run; name one: .*cells/curriculum-5pct"):
        sottovoce.score(study)
    (study / "cells/text_only/predictions-text.jsonl").unlink()
    with pytest.raises(UserError, match="not decoded yet"):
        sottovoce.score(study / "cells/text_only", modality="text")
    stray = tmp_path / "stray.jsonl"
    stray.write_text("{}\n")
    with pytest.raises(UserError, match="its gold is unknown; give --gold"):
        sottovoce.score(stray)
    for cell in (study / "cells").iterdir():
        (cell / "scores.json").unlink()
    with pytest.raises(UserError, match=r"no cell of .* is finished"):
        sottovoce.compare([study])
