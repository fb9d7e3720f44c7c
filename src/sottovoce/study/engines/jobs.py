"""Parts of a study as jobs for other processes, on this machine or on others that share its folder."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, replace
from functools import cache
from pathlib import Path
from typing import Any, TypeVar

from sottovoce.core.recipe import Corpus, Recipe
from sottovoce.data.load import load_data
from sottovoce.study.budget_transcripts import with_budget_transcripts
from sottovoce.study.cell import train_stage
from sottovoce.study.cells import Cell, plan_cells
from sottovoce.study.engines.base import OF_ONE_CELL, Failure, attempt, in_one_line
from sottovoce.study.workspace import Study

_Corpus = TypeVar("_Corpus", bound=Corpus)


@dataclass(frozen=True)
class SharedStage:
    """A stage that several cells need.

    Args:
        parent_key: the key of the stage that it starts from, "" if none.
        cell, place: one of the cells, and the index of the stage in it.
        cells: the names of all the cells.
    """

    key: str
    parent_key: str
    cell: str
    place: int
    cells: tuple[str, ...]


def portable(recipe: Recipe) -> str:
    """The recipe as JSON with absolute paths, for processes with another working directory."""
    paths = recipe.model_copy(
        update={
            "out": recipe.out.absolute(),
            "corpus": _absolute(recipe.corpus),
            "sources": {name: _absolute(source) for name, source in recipe.sources.items()},
            "synthetic_speech": recipe.synthetic_speech and recipe.synthetic_speech.absolute(),
            "model": _model(recipe.model),
            "models": tuple(map(_model, recipe.models)),
            "asr": _model(recipe.asr),
        }
    )
    return paths.model_dump_json()


def _absolute(corpus: _Corpus) -> _Corpus:
    return corpus.model_copy(update={"manifest": corpus.manifest and corpus.manifest.absolute()})


def _model(name: str) -> str:
    """The absolute path, if the name is that of a folder or file; "" stays, though as a path it is this directory."""
    return str(Path(name).absolute()) if name and Path(name).exists() else name


def shared_stages(study: Study, cells: list[Cell]) -> list[SharedStage]:
    """The stages that several cells need, each after the one it starts from."""
    found: dict[str, SharedStage] = {}
    for cell in cells:
        for place, item in enumerate(study.work_of([cell])):
            first = found.get(item.plan.key)
            stage = first or SharedStage(item.plan.key, item.plan.parent_key, cell.name, place, ())
            found[item.plan.key] = replace(stage, cells=(*stage.cells, cell.name))
    return [stage for stage in found.values() if len(stage.cells) > 1]


def longest_first(study: Study, cells: list[Cell]) -> list[Cell]:
    """The cells with the most rows in unshared stages first, so that the last one to start is short."""
    shared = {stage.key for stage in shared_stages(study, cells)}

    def num_rows(cell: Cell) -> int:
        own = [item for item in study.work_of([cell]) if item.plan.key not in shared]
        return sum(item.num_rows for item in own)

    return sorted(cells, key=num_rows, reverse=True)


def submit_all(
    study: Study, cells: list[Cell], submit: Callable[[Callable[..., Any], tuple[Any, ...], list[Any]], Any]
) -> tuple[dict[str, Any], dict[str, Any]]:
    """Submits a study's jobs: the stages that cells share, and each cell after the ones it needs.

    Args:
        submit: submits a function with its arguments, to start when earlier jobs have ended; returns the job.

    Returns:
        the stages' jobs by key, and the cells' jobs by name.
    """
    recipe, stages = (portable(study.recipe), str(study.recipe_path)), dict[str, Any]()
    shared = shared_stages(study, cells)
    for stage in shared:
        before = [stages[stage.parent_key]] if stage.parent_key in stages else []
        stages[stage.key] = submit(train_shared, (*recipe, stage.cell, stage.place), before)
    jobs = {}
    for cell in longest_first(study, cells):
        before = [stages[stage.key] for stage in shared if cell.name in stage.cells]
        jobs[cell.name] = submit(finish_cell, (*recipe, cell.name), before)
    return stages, jobs


def report_end(study: Study, name: str, failure: Failure | None) -> Failure | None:
    """Reports how a cell or a shared stage ended, and returns it."""
    study.say(f"{name}: failed, {failure.what}" if failure else f"{name}: finished")
    return failure


def train_shared(recipe_json: str, recipe_path: str, cell: str, place: int) -> Failure | None:
    """Trains one of a cell's stages. If it fails, the cells that need it will fail too, and report why."""
    study, cells = _reopened(recipe_json, recipe_path)
    try:
        train_stage(study, study.work_of([cells[cell]])[place])
    except OF_ONE_CELL as error:
        return Failure(cell, in_one_line(error))
    return None


def finish_cell(recipe_json: str, recipe_path: str, cell: str) -> Failure | None:
    """Runs a cell to its end, with messages in its log."""
    study, cells = _reopened(recipe_json, recipe_path)
    return attempt(study, cells[cell])


@cache  # a process runs many cells and keeps the recordings that it has encoded
def _reopened(recipe_json: str, recipe_path: str) -> tuple[Study, dict[str, Cell]]:
    recipe = Recipe.model_validate_json(recipe_json)
    data = load_data(recipe)
    cells = plan_cells(recipe, data)
    data = with_budget_transcripts(data, recipe.folder, cells)
    study = Study(recipe, Path(recipe_path), data, recipe.folder, lambda line: None)
    return study, {cell.name: cell for cell in cells}
