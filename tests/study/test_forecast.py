"""The forecast of a study's time: cells at once on one machine."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import replace
from pathlib import Path

import pytest
from tiny_study import write_recipe

from sottovoce.recipe import load_recipe
from sottovoce.study import forecast as module
from sottovoce.study.forecast import Forecast
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
