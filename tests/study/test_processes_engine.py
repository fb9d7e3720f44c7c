"""A study in several processes of this machine."""

import os
import signal
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
import torch
from tiny_study import results_of, write_recipe

from sottovoce.errors import UserError
from sottovoce.recipe import load_recipe
from sottovoce.study import engines, process_engine
from sottovoce.study.engines import engine_named
from sottovoce.study.launch import one_by_one
from sottovoce.study.memory import forecast_memory, longest_row
from sottovoce.study.process_engine import OUTPUT, InProcesses
from sottovoce.study.run import run_study

CELLS: dict[str, Any] = {"schemes": ["text_only", "direct_mixing", "curriculum"], "budgets": [0.1, 0.3]}


@pytest.fixture
def recipe_path(tiny_study: Path, tiny_model_dir: Path, tmp_path: Path) -> Path:
    corpus = Path(load_recipe(tiny_study / "recipe.yaml").corpus.manifest or "")
    return write_recipe(tmp_path, tiny_model_dir, corpus, **CELLS)


def test_a_number_of_processes_is_asked_for(recipe_path: Path) -> None:
    recipe = load_recipe(recipe_path)
    assert engine_named("processes:3", recipe, None, 1.0) == InProcesses(3)
    assert engine_named("processes", recipe, None, 1.0) == InProcesses(os.cpu_count() or 1)
    for number in ("0", "two", "-1", "1.5"):
        with pytest.raises(UserError, match=rf"--on processes:{number}: '{number}' is no number of processes"):
            engine_named(f"processes:{number}", recipe, None, 1.0)


def test_two_cells_are_run_at_once_where_cores_and_memory_are_there(
    recipe_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    recipe = load_recipe(recipe_path)
    need = forecast_memory(recipe.model, recipe.train, longest_row(recipe)[0]).total
    monkeypatch.setattr(os, "cpu_count", lambda: 2)
    monkeypatch.setattr(engines, "machine_bytes", lambda: 2 * need / engines.MEMORY_SHARE + 1)
    assert engine_named("auto", recipe, None, 1.0) == InProcesses(2)
    nothing_trained = load_recipe(recipe_path, ["schemes=[zero_shot]"])
    assert engine_named("auto", nothing_trained, None, 1.0) is one_by_one
    monkeypatch.setattr(engines, "machine_bytes", lambda: 2 * need / engines.MEMORY_SHARE - 1)
    assert engine_named("auto", recipe, None, 1.0) is one_by_one
    monkeypatch.setattr(engines, "machine_bytes", lambda: 100 * need)
    monkeypatch.setattr(os, "cpu_count", lambda: 1)
    assert engine_named("auto", recipe, None, 1.0) is one_by_one
    monkeypatch.setattr(os, "cpu_count", lambda: 16)
    monkeypatch.setattr(torch.cuda, "is_available", lambda: True)
    assert engine_named("auto", recipe, None, 1.0) is one_by_one


def test_a_gpu_is_not_quarrelled_about(recipe_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(torch.cuda, "is_available", lambda: True)
    with pytest.raises(UserError, match="not for GPUs"):
        next(InProcesses(2)(None, [None, None]))  # type: ignore[arg-type, list-item]


@pytest.mark.slow
def test_two_processes_give_what_one_gives(
    tiny_study: Path, recipe_path: Path, tmp_path: Path, capfd: pytest.CaptureFixture[str]
) -> None:
    said: list[str] = []
    assert not run_study(load_recipe(recipe_path), recipe_path, said.append, InProcesses(2))
    study = tmp_path / "runs/tiny"
    names = tuple(folder.name for folder in study.glob("cells/*"))
    assert results_of(study) == results_of(tiny_study, names) and len(names) == 5
    assert {line for line in said if line.endswith(": finished")} == {f"{name}: finished" for name in names}
    told = {line for line in said if line.startswith("curriculum-10pct: ")}
    assert {f"curriculum-10pct: {part}" for part in ("begins", "training text+speech", "decoding speech")} <= told
    (shared,) = (line.partition(" ")[0] for line in said if line.endswith(" (shared): begins"))
    assert said.index(f"{shared} (shared): done") < said.index("text_only: begins")
    assert any(line.startswith("about") and "with 2 cells at once (one after the other: " in line for line in said)
    assert (study / OUTPUT).exists() and "decoding" not in "".join(capfd.readouterr())


@pytest.mark.slow
def test_a_killed_process_is_told_and_the_same_command_goes_on(
    tiny_study: Path, recipe_path: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    recipe, kept = load_recipe(recipe_path), process_engine.tell

    def tell_and_kill(*arguments: Any) -> Any:
        for process in _children():
            os.kill(process, signal.SIGKILL)
        return kept(*arguments)

    monkeypatch.setattr(process_engine, "tell", tell_and_kill)
    with pytest.raises(UserError, match="one of 2 processes was killed"):
        run_study(recipe, recipe_path, lambda line: None, InProcesses(2))
    monkeypatch.setattr(process_engine, "tell", kept)
    assert not run_study(recipe, recipe_path, lambda line: None, InProcesses(2))
    study = tmp_path / "runs/tiny"
    assert results_of(study) == results_of(tiny_study, tuple(folder.name for folder in study.glob("cells/*")))


def _children() -> Iterator[int]:
    import multiprocessing

    yield from (process.pid for process in multiprocessing.active_children() if process.pid)
