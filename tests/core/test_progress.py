"""Progress bars: what a process that works for another tells, and how the other shows it."""

from __future__ import annotations

import json
from pathlib import Path

import pytest
from rich.console import Console

from sottovoce.core import progress as module
from sottovoce.core.progress import JobLines, progress_bar, reported_to, show_count


@pytest.fixture(autouse=True)
def at_once(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(module, "REPORT_SECONDS", -1.0)


def job(path: Path) -> None:
    """What a job does: three steps of training, then a decoding that is begun."""
    with reported_to(path):
        with progress_bar() as bar:
            task = bar.add_task("training text", total=3)
            for number in (1, 2, 3):
                bar.update(task, completed=number, description=f"training text loss 0.{number}")
        with progress_bar() as bar:
            bar.advance(bar.add_task("cell-a: decoding speech", total=8), 2)


def test_bars_of_a_process_that_works_for_another_go_into_a_file(
    tmp_path: Path, capfd: pytest.CaptureFixture[str]
) -> None:
    job(tmp_path / "report.json")
    assert json.loads((tmp_path / "report.json").read_text()) == [
        {"title": "training text", "now": "training text loss 0.3", "completed": 3, "total": 3},
        {"title": "cell-a: decoding speech", "now": "cell-a: decoding speech", "completed": 2, "total": 8},
    ]
    assert not "".join(capfd.readouterr()).strip()
    show_count(range(3), "counting")  # and afterwards bars are shown again
    assert "counting" in capfd.readouterr().err


def test_a_bar_that_is_disabled_tells_nothing(tmp_path: Path) -> None:
    with reported_to(tmp_path / "report.json"), progress_bar(disable=True) as bar:
        bar.add_task("nothing", total=1)
    assert json.loads((tmp_path / "report.json").read_text()) == []


def test_a_report_that_cannot_be_written_stops_nothing(tmp_path: Path) -> None:
    job(tmp_path / "no such folder" / "report.json")


def test_without_a_terminal_a_line_is_said_when_a_part_begins(tmp_path: Path) -> None:
    said: list[str] = []
    with JobLines(tmp_path, said.append) as lines:
        path = lines.expect("cell-a")
        lines.expect("cell-b")
        lines.look()
        assert not said  # neither has begun
        job(path)
        lines.look()
        lines.look()
        assert said == ["cell-a: started", "cell-a: training text", "cell-a: decoding speech"]
        other = lines.expect("cell-c")
        job(other)
        lines.end("cell-c")  # over before anybody looked
        lines.look()
    assert said[3:] == ["cell-c: started", "cell-c: training text", "cell-c: cell-a: decoding speech"]
    assert other != path


def test_on_a_terminal_each_job_has_one_line(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    screen = (tmp_path / "out").open("w")
    terminal = Console(force_terminal=True, width=120, record=True, color_system=None, file=screen)
    monkeypatch.setattr(module, "Console", lambda **_: terminal)
    said: list[str] = []
    with JobLines(tmp_path, said.append) as lines:
        first, second = lines.expect("cell-a"), lines.expect("cell-b")
        job(first)
        with reported_to(second):
            lines.look()
            tasks = [(task.description, task.completed, task.total) for task in lines._bar.tasks]
            assert tasks == [("cell-a: decoding speech", 2, 8), ("cell-b", 0, None)]
        lines.say("something")
        lines.end("cell-a")
        assert [task.description for task in lines._bar.tasks] == ["cell-b"]
    assert said == ["something"]
    assert "2/8" in terminal.export_text()


def test_a_bar_without_a_task_leaves_no_line_behind(capfd: pytest.CaptureFixture[str]) -> None:
    with progress_bar():
        pass
    assert capfd.readouterr().err == ""
    with progress_bar() as bar:
        bar.update(bar.add_task("hearing", total=2), completed=2)
    assert "hearing" in capfd.readouterr().err
