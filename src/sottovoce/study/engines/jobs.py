"""Parts of a study as other processes run them, on this machine or on others that share its folder."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, replace
from functools import cache
from pathlib import Path
from typing import Any, TypeVar

from sottovoce.core.recipe import Corpus, Recipe
from sottovoce.data.load import load_data
from sottovoce.study.budgets_heard import with_heard
from sottovoce.study.cell import train_stage
from sottovoce.study.cells import Cell, plan_cells
from sottovoce.study.engines.base import OF_ONE_CELL, Failure, attempt, in_one_line
from sottovoce.study.workspace import Study

_Corpus = TypeVar("_Corpus", bound=Corpus)


@dataclass(frozen=True)
class SharedStage:
    """A stage that several cells need.

    Args:
        key: its name; ``parent_key`` that of the stage which it starts from, "" if none.
        cell, place: one of the cells, and which of its stages this is.
        cells: the names of all of them.
    """

    key: str
    parent_key: str
    cell: str
    place: int
    cells: tuple[str, ...]


def portable(recipe: Recipe) -> str:
    """The recipe as JSON with absolute paths, for processes in other working folders."""
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
    """A folder's (or for transcripts a file's) absolute path; "" stays, though as a path it would be this folder."""
    return str(Path(name).absolute()) if name and Path(name).exists() else name


def shared_stages(study: Study, cells: list[Cell]) -> list[SharedStage]:
    """The stages that several cells need, each after the one that it starts from."""
    found: dict[str, SharedStage] = {}
    for cell in cells:
        for place, item in enumerate(study.work_of([cell])):
            first = found.get(item.plan.key)
            stage = first or SharedStage(item.plan.key, item.plan.parent_key, cell.name, place, ())
            found[item.plan.key] = replace(stage, cells=(*stage.cells, cell.name))
    return [stage for stage in found.values() if len(stage.cells) > 1]


def longest_first(study: Study, cells: list[Cell]) -> list[Cell]:
    """The cells by how many rows they train on in stages of their own: what is begun last should be short."""
    shared = {stage.key for stage in shared_stages(study, cells)}

    def num_rows(cell: Cell) -> int:
        own = [item for item in study.work_of([cell]) if item.plan.key not in shared]
        return sum(item.num_rows for item in own)

    return sorted(cells, key=num_rows, reverse=True)


def submit_all(
    study: Study, cells: list[Cell], submit: Callable[[Callable[..., Any], tuple[Any, ...], list[Any]], Any]
) -> tuple[dict[str, Any], dict[str, Any]]:
    """Hands a study to an engine: the stages that cells share, and each cell after those that it needs.

    Args:
        submit: hands over an action with its arguments, to begin when earlier jobs have ended; returns the job.

    Returns:
        the jobs of the stages by their keys, and those of the cells by their names.
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


def tell(study: Study, name: str, failure: Failure | None) -> Failure | None:
    """Says how a cell or a shared stage has ended, and returns that."""
    study.say(f"{name}: failed, {failure.what}" if failure else f"{name}: finished")
    return failure


def train_shared(recipe_json: str, recipe_path: str, cell: str, place: int) -> Failure | None:
    """Trains one of a cell's stages. If it fails, so will the cells that need it, each of which tells why."""
    study, cells = _reopened(recipe_json, recipe_path)
    try:
        train_stage(study, study.work_of([cells[cell]])[place])
    except OF_ONE_CELL as error:
        return Failure(cell, in_one_line(error))
    return None


def finish_cell(recipe_json: str, recipe_path: str, cell: str) -> Failure | None:
    """Runs a cell to its end; its log tells what happened."""
    study, cells = _reopened(recipe_json, recipe_path)
    return attempt(study, cells[cell])


@cache  # a process runs many cells, and what it has heard once it need not hear again
def _reopened(recipe_json: str, recipe_path: str) -> tuple[Study, dict[str, Cell]]:
    recipe = Recipe.model_validate_json(recipe_json)
    data = load_data(recipe)
    cells = plan_cells(recipe, data)
    study = Study(recipe, Path(recipe_path), with_heard(data, recipe.folder, cells), recipe.folder, lambda line: None)
    return study, {cell.name: cell for cell in cells}
