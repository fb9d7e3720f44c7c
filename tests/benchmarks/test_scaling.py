"""The scaling benchmark runs at small sizes, each task does its work, and exponents are those of the times."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest

FOLDER = Path(__file__).parents[2] / "benchmarks"


@pytest.fixture(autouse=True)
def importable(monkeypatch: pytest.MonkeyPatch) -> None:
    """As for ``python benchmarks/scaling.py``."""
    monkeypatch.syspath_prepend(str(FOLDER))
    monkeypatch.syspath_prepend(str(FOLDER.parent / "tests" / "study"))


def test_every_task_is_measured_at_every_size(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    import scaling

    monkeypatch.setattr(scaling, "alone", lambda work, *arguments: work(*arguments))  # one process is quicker
    scaling.main(["--sizes", "100", "200", "--largest", "300", "--out", str(tmp_path)])
    found = [(each["task"], each["size"]) for each in json.loads((tmp_path / "results.json").read_text())["results"]]
    titles = [task.title for task in scaling.TASKS]
    assert found == [(titles[0], size) for size in (100, 200, 300)] + [
        (title, size) for title in titles[1:] for size in (100, 200)
    ]
    lines = [line for line in (tmp_path / "table.md").read_text().splitlines() if line.startswith("|")]
    assert len(lines) == 2 + len(found) and len({line.count("|") for line in lines}) == 1


def test_tasks_do_what_they_say(tmp_path: Path) -> None:
    import scaling

    results: dict[str, Any] = {}
    for number, task in enumerate(scaling.TASKS):
        folder = tmp_path / str(number)
        folder.mkdir()
        task.prepare(folder, 200)
        results[task.begin.__name__] = task.begin(folder)()
    assert len(results["manifest"]) == 200
    assert results["budget"].num_utterances == 9  # 5 % of the 180 for training
    assert len(results["mixture"]) == 200 + 4 * 10
    assert results["scoring"]["strict"]["intent_accuracy"] == pytest.approx(0.8)
    assert results["report"].is_file()
    # text_only: one stage for each of 3 seeds; at 6 budgets direct mixing has one and curriculum two.
    assert len(results["planning"]) == 3 + 3 * 6 * (1 + 2)
    assert len({item.cell.name for item in results["planning"]}) == 39


def test_exponents() -> None:
    from scaling import Result, exponent

    before, after = Result("a", 10, 1.0, 1.0, 0, 0), Result("a", 100, 0.0, 100.0, 0, 0)
    assert exponent(before, after) == "2.00"
    assert exponent(None, after) == exponent(Result("b", 10, 1.0, 1.0, 0, 0), after) == ""
