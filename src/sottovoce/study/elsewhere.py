"""Parts of a study as other processes run them, on this machine or on others that share its folder."""

from __future__ import annotations

from dataclasses import dataclass, replace
from functools import cache
from pathlib import Path
from typing import TypeVar

from sottovoce.errors import UserError
from sottovoce.recipe import Corpus, Recipe
from sottovoce.study.cell_run import train_stage, work_of
from sottovoce.study.cells import Cell, plan_cells
from sottovoce.study.data import load_data
from sottovoce.study.launch import Failure, attempt
from sottovoce.study.opening import Study

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
        }
    )
    return paths.model_dump_json()


def _absolute(corpus: _Corpus) -> _Corpus:
    return corpus.model_copy(update={"manifest": corpus.manifest and corpus.manifest.absolute()})


def _model(name: str) -> str:
    return str(Path(name).absolute()) if Path(name).is_dir() else name


def shared_stages(study: Study, cells: list[Cell]) -> list[SharedStage]:
    """The stages that several cells need, each after the one that it starts from."""
    found: dict[str, SharedStage] = {}
    for cell in cells:
        for place, item in enumerate(work_of(study, [cell])):
            first = found.get(item.plan.key)
            stage = first or SharedStage(item.plan.key, item.plan.parent_key, cell.name, place, ())
            found[item.plan.key] = replace(stage, cells=(*stage.cells, cell.name))
    return [stage for stage in found.values() if len(stage.cells) > 1]


def train_shared(recipe_json: str, recipe_path: str, cell: str, place: int) -> None:
    """Trains one of a cell's stages. If it fails, so will the cells that need it, each of which tells why."""
    study, cells = _reopened(recipe_json, recipe_path)
    try:
        train_stage(study, work_of(study, [cells[cell]])[place])
    except (UserError, MemoryError, RuntimeError):
        return


def finish_cell(recipe_json: str, recipe_path: str, cell: str) -> Failure | None:
    """Runs a cell to its end; its log tells what happened."""
    study, cells = _reopened(recipe_json, recipe_path)
    return attempt(study, cells[cell])


@cache  # a process runs many cells, and what it has heard once it need not hear again
def _reopened(recipe_json: str, recipe_path: str) -> tuple[Study, dict[str, Cell]]:
    recipe = Recipe.model_validate_json(recipe_json)
    data = load_data(recipe)
    study = Study(recipe, Path(recipe_path), data, recipe.folder, lambda line: None)
    return study, {cell.name: cell for cell in plan_cells(recipe, data)}
