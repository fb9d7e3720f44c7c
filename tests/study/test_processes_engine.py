"""A study in several processes of this machine."""

import os
import signal
from collections.abc import Iterator
from concurrent.futures import Executor, Future
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
import torch
from tiny_study import results_of, write_recipe

from sottovoce.core.errors import UserError
from sottovoce.core.machine import num_cores
from sottovoce.core.progress import JobLines
from sottovoce.core.recipe_file import load_recipe
from sottovoce.data import load as data
from sottovoce.study import cell as cell_run
from sottovoce.study.cells import Cell, plan_cells
from sottovoce.study.engines import jobs as elsewhere
from sottovoce.study.engines import processes as process_engine
from sottovoce.study.engines import select as engines
from sottovoce.study.engines.base import HERE
from sottovoce.study.engines.jobs import shared_stages
from sottovoce.study.engines.processes import InProcesses, threads_of_each
from sottovoce.study.engines.select import Auto, engine_named
from sottovoce.study.resources.memory import forecast_memory, longest_row
from sottovoce.study.runner import plan_study, run_study
from sottovoce.study.workspace import Study

CELLS: dict[str, Any] = {"schemes": ["text_only", "direct_mixing", "curriculum"], "budgets": [0.1, 0.3]}


@pytest.fixture
def recipe_path(tiny_study: Path, tiny_model_dir: Path, tmp_path: Path) -> Path:
    corpus = Path(load_recipe(tiny_study / "recipe.yaml").corpus.manifest or "")
    return write_recipe(tmp_path, tiny_model_dir, corpus, **CELLS)


def unopened(recipe_path: Path, *overrides: str) -> tuple[Study, list[Cell]]:
    """The study as a dry run sees it."""
    recipe = load_recipe(recipe_path, list(overrides))
    utterances = data.load_data(recipe)
    return Study(recipe, recipe_path, utterances, recipe.folder, lambda line: None), plan_cells(recipe, utterances)


def test_a_number_of_processes_is_asked_for() -> None:
    assert engine_named("processes:3", None, 1.0) == InProcesses(3)
    assert engine_named("processes", None, 1.0) == InProcesses(num_cores())
    for number in ("0", "two", "-1", "1.5"):
        with pytest.raises(UserError, match=rf"--on processes:{number}: '{number}' is not a number of processes"):
            engine_named(f"processes:{number}", None, 1.0)


def test_cores_that_may_be_used_are_shared_out(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(process_engine, "num_cores", lambda: 6)
    assert [threads_of_each(number) for number in (1, 2, 4, 7)] == [6, 3, 1, 1]


def test_two_cells_are_run_at_once_where_cores_and_memory_are_there(
    recipe_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    recipe = load_recipe(recipe_path)
    need = forecast_memory(recipe.model, recipe.train, longest_row(recipe)[0]).total
    study, cells = unopened(recipe_path)
    monkeypatch.setattr(engines, "num_cores", lambda: 2)
    monkeypatch.setattr(engines, "machine_bytes", lambda: 2 * need / engines.MEMORY_SHARE + 1)
    auto = engine_named("auto", None, 1.0)
    assert auto == Auto() and auto.num_at_once(study, cells) == 2
    assert InProcesses(3).num_at_once(study, cells) == 3 and HERE.num_at_once(study, cells) == 1
    assert auto.num_at_once(study, cells[:1]) == 1
    nothing_trained = unopened(recipe_path, "schemes=[zero_shot]")[1]
    assert auto.num_at_once(study, nothing_trained * 2) == 1
    monkeypatch.setattr(engines, "machine_bytes", lambda: 2 * need / engines.MEMORY_SHARE - 1)
    assert auto.num_at_once(study, cells) == 1
    monkeypatch.setattr(engines, "machine_bytes", lambda: 100 * need)
    monkeypatch.setattr(engines, "num_cores", lambda: 1)
    assert auto.num_at_once(study, cells) == 1
    monkeypatch.setattr(engines, "num_cores", lambda: 16)
    monkeypatch.setattr(torch.cuda, "is_available", lambda: True)
    assert auto.num_at_once(study, cells) == 1


def test_where_cells_run_is_decided_without_reading_the_data_again(
    recipe_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    reads, said = list[str](), list[str]()
    kept = data.read_manifest

    def noted(path: Path, *rest: Any) -> Any:
        reads.append(path.name)
        return kept(path, *rest)

    monkeypatch.setattr(data, "read_manifest", noted)
    monkeypatch.setattr(engines, "num_cores", lambda: 2)
    monkeypatch.setattr(engines, "machine_bytes", lambda: 2.0**50)
    plan_study(load_recipe(recipe_path), recipe_path, said.append, engine_named("auto", None, 1.0))
    assert any("with 2 cells at once" in line for line in said)
    assert reads == ["manifest.jsonl"]


class NowHere(Executor):
    """Runs what it is handed at once, in this process."""

    def submit(self, function: Any, /, *arguments: Any) -> Future[Any]:  # type: ignore[override]
        future = Future[Any]()
        future.set_result(function(*arguments))
        return future


def test_a_shared_stage_that_failed_is_not_told_as_finished(
    recipe_path: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def failing(*_: Any) -> Any:
        raise RuntimeError("shapes do\nnot fit")

    monkeypatch.setattr(elsewhere, "train_stage", failing)
    monkeypatch.setattr(cell_run, "train_stage", failing)
    study, cells = unopened(recipe_path)
    said: list[str] = []
    with JobLines(tmp_path, lambda line: None) as lines:
        failures = list(process_engine._run(NowHere(), replace(study, say=said.append), cells, lines))  # type: ignore[arg-type]
    (shared,) = shared_stages(study, cells)
    assert f"{shared.key} (shared): failed, shapes do not fit" in said
    assert not [line for line in said if line.endswith(("done", "finished"))]
    assert {failure.cell for failure in failures if failure} == {cell.name for cell in cells}


def test_a_gpu_is_not_quarrelled_about(recipe_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(torch.cuda, "is_available", lambda: True)
    with pytest.raises(UserError, match="does not support GPUs"):
        next(InProcesses(2).run(None, [None, None]))  # type: ignore[arg-type, list-item]


@pytest.mark.slow
def test_two_processes_give_what_one_gives(
    tiny_study: Path, recipe_path: Path, tmp_path: Path, capfd: pytest.CaptureFixture[str]
) -> None:
    said: list[str] = []
    assert not run_study(load_recipe(recipe_path), recipe_path, said.append, InProcesses(2))
    study = tmp_path / "runs/tiny"
    names = tuple(folder.name for folder in study.glob("cells/*"))
    assert results_of(study) == results_of(tiny_study, names) and len(names) == 5
    finished = {line.removesuffix(": finished") for line in said if line.endswith(": finished")}
    assert {name for name in finished if "(shared)" not in name} == set(names)
    told = {line for line in said if line.startswith("curriculum-10pct: ")}
    assert {f"curriculum-10pct: {part}" for part in ("started", "training text+speech", "decoding speech")} <= told
    (shared,) = (line.partition(" ")[0] for line in said if line.endswith(" (shared): started"))
    assert said.index(f"{shared} (shared): finished") < said.index("text_only: started")
    assert any(line.startswith("about") and "with 2 cells at once (one after the other: " in line for line in said)
    assert (study / "processes.txt").exists() and "decoding" not in "".join(capfd.readouterr())


@pytest.mark.slow
def test_a_killed_process_is_told_and_the_same_command_goes_on(
    tiny_study: Path, recipe_path: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    recipe, kept = load_recipe(recipe_path), process_engine.tell

    def tell_and_kill(study: Any, name: str, failure: Any) -> Any:
        for process in _children() if "shared" not in name else ():
            os.kill(process, signal.SIGKILL)
        return kept(study, name, failure)

    monkeypatch.setattr(process_engine, "tell", tell_and_kill)
    with pytest.raises(
        UserError, match=r"one of 2 processes was killed.*rerun with `--on here` or fewer `--on processes:N`"
    ):
        run_study(recipe, recipe_path, lambda line: None, InProcesses(2))
    monkeypatch.setattr(process_engine, "tell", kept)
    assert not run_study(recipe, recipe_path, lambda line: None, InProcesses(2))
    study = tmp_path / "runs/tiny"
    assert results_of(study) == results_of(tiny_study, tuple(folder.name for folder in study.glob("cells/*")))


def _children() -> Iterator[int]:
    import multiprocessing

    yield from (process.pid for process in multiprocessing.active_children() if process.pid)
