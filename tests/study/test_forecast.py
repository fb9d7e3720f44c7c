"""The forecast of a study's time: cells at once on one machine."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
from tiny_study import write_recipe

from sottovoce.data.collate import tokenize
from sottovoce.data.prompts import slu_example
from sottovoce.recipe_file import load_recipe
from sottovoce.study import forecast as module
from sottovoce.study.cells import plan_cells
from sottovoce.study.data import load_data
from sottovoce.study.forecast import Forecast
from sottovoce.study.opening import Study
from sottovoce.study.process_engine import InProcesses
from sottovoce.study.run import plan_study

PART = Forecast(training=60.0, decoding=30.0, hearing=10.0, disk_bytes=5.0, longest_cell=40.0)


def test_cells_at_once_take_their_share_of_the_time_and_no_less_than_the_longest() -> None:
    assert [PART.seconds(number) for number in (1, 2, 4)] == [100.0, 50.0, 40.0]


def test_models_add_up_but_for_their_longest_cells() -> None:
    both = PART + replace(PART, longest_cell=70.0)
    assert both == Forecast(120.0, 60.0, 20.0, 10.0, 70.0)


def test_a_dry_run_forecasts_processes_with_their_threads(
    tiny_model_dir: Path, tiny_corpus: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    path = write_recipe(tmp_path, tiny_model_dir, tiny_corpus, schemes=["curriculum"])
    recipe, said, numbers = load_recipe(path), list[str](), list[int]()
    kept = module._threads_of_one

    @contextmanager
    def noted(number: int) -> Iterator[None]:
        numbers.append(number)
        with kept(number):
            yield

    monkeypatch.setattr(module, "_threads_of_one", noted)
    plan_study(recipe, path, said.append, InProcesses(8))
    assert numbers == [2]  # there are no more cells
    assert "on this machine with 2 cells at once (one after the other: training" in said[1]
    plan_study(recipe, path, said.append)
    assert "on this machine (training" in said[3]


@pytest.mark.parametrize("by_steps", [True, False])
def test_confidences_take_their_time_where_they_are_asked_for(
    tiny_model_dir: Path, tiny_corpus: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, by_steps: bool
) -> None:
    """A clock by which anything takes 1 s, and 4 s if confidences are measured along."""
    measured: list[int] = []

    def noted(loaded: Any, model: Any, rows: list[Any], number: int, form: Any, tree: Any) -> None:
        assert tree
        measured.append(len(rows))

    def clock(action: Callable[[], object]) -> float:
        before = len(measured)
        action()
        return 1.0 + 3.0 * (len(measured) - before)

    monkeypatch.setattr(module, "answered", noted)
    monkeypatch.setattr(module, "_timed", clock)
    monkeypatch.setattr(module, "goes_by_steps", lambda *_: by_steps)
    seconds: list[float] = []
    for wanted in ("false", "true"):
        path = write_recipe(tmp_path, tiny_model_dir, tiny_corpus, schemes=["text_only", "zero_shot"])
        recipe = load_recipe(path, [f"decode.confidence={wanted}"])
        data = load_data(recipe)
        study = Study(recipe, path, data, recipe.folder, lambda line: None)
        loaded, cells = study.load(recipe.model), plan_cells(recipe, data)
        rows = [tokenize(slu_example(u, "text"), loaded.processor, None) for u in data.train[:4]]
        seconds.append(module._decoding_seconds(loaded, cells, data, recipe, rows))
    # Two cells, two inputs, six utterances, 3 s for a batch of four.
    assert seconds[1] - seconds[0] == pytest.approx(2 * 2 * 6 * 3.0 / 4 if by_steps else 0.0)
    assert measured == ([4] if by_steps else [])
