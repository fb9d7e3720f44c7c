"""Training that starts from an earlier run's weights (`start_from` in a recipe)."""

from __future__ import annotations

from functools import cache
from pathlib import Path

from sottovoce.core.downloads import sha256_of
from sottovoce.core.errors import UserError
from sottovoce.core.recipe import Lora, Recipe
from sottovoce.models.load import model_identity
from sottovoce.study.card import read_card
from sottovoce.study.layout import CellFolder
from sottovoce.study.runs import trained_recipe

# What is trained must be the same, for its weights to fit; how it is trained may change.
SAME = {"language_model", "projector", "audio_tower", "lora", "load_in_4bit"}


def starting_weights(recipe: Recipe, model: str) -> Path | None:
    """The weights that a model's first stage starts from; None if the recipe names no run.

    Raises:
        UserError: the run is not trained, has no weights, is of another model, or trained other parts.
    """
    run = recipe.start_from
    if run is None:
        return None
    earlier, files = trained_recipe(run), CellFolder(run)
    if not files.weights.exists():
        raise UserError(f"start_from: {run} was not trained, so it has no weights", "name a cell of another scheme")
    if read_card(files).model != model_identity(model):
        other = f"start_from: {run} has weights for {read_card(files).model}, not {model_identity(model)}"
        raise UserError(other, f"use model: {earlier.model}, or another run")
    for name in sorted(SAME):
        before, now = (getattr(train, name) for train in (earlier.train, recipe.train))
        if before != now:
            raise UserError(
                f"start_from: {run} was trained with train.{name} = {_shown(before)}, this recipe has {_shown(now)}",
                "make them the same",
            )
    return files.weights


def starting_key(recipe: Recipe, model: str) -> list[str]:
    """Identifies the weights that a model's first stage starts from; empty if the recipe names no run."""
    weights = starting_weights(recipe, model)
    return [] if weights is None else [_digest(weights)]


@cache
def _digest(weights: Path) -> str:
    return " ".join(sha256_of(path) for path in sorted(weights.glob("*.safetensors")))


def _shown(value: object) -> object:
    return value.model_dump() if isinstance(value, Lora) else value
