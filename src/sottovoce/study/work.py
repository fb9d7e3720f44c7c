"""What a study has to train: the stages of its cells, each with its key and examples."""

from __future__ import annotations

import json
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field

from sottovoce.core.errors import UserError
from sottovoce.core.recipe import Recipe
from sottovoce.core.types import Example
from sottovoce.data.load import Data
from sottovoce.data.prompts import slu_example
from sottovoce.models.load import model_identity
from sottovoce.study.cells import Cell, example_key
from sottovoce.study.start import starting_key
from sottovoce.train.stage import StagePlan, plan_stages

# Training settings left out of a stage's key: its own settings are in it already, the rest changes only rounding.
NOT_IN_KEYS = {"stage", "first_stage", "last_stage", "noise", "logging_steps", "gradient_checkpointing", "report_to"}

OF_SELECTION = {"eval_strategy", "eval_steps", "metric_for_best_model"}  # matter only if weights are selected


@dataclass(frozen=True)
class Work:
    """A stage of a cell with one epoch's examples."""

    cell: Cell
    plan: StagePlan
    examples: list[Example]

    @property
    def num_rows(self) -> int:
        """Over all its epochs."""
        return self.plan.stage.settings.num_train_epochs * len(self.examples)


@dataclass
class ExampleKeys:
    """The keys of examples, each computed once. Cells share example objects, and hashing one would cost as much as its
    key, so they are looked up by id(); keeping the example ensures that no other gets the same id()."""

    _known: dict[int, tuple[Example, str]] = field(default_factory=dict)

    def of(self, examples: Iterable[Example]) -> list[str]:
        return [self._one(example) for example in examples]

    def _one(self, example: Example) -> str:
        if id(example) not in self._known:
            self._known[id(example)] = example, example_key(example)
        return self._known[id(example)][1]


def cell_work(recipe: Recipe, cell: Cell, data: Data, keys: ExampleKeys) -> list[Work]:
    """The stages of a cell.

    Raises:
        UserError: a stage has no examples, for example because no training utterance has a transcript.
    """
    examples = cell.examples(data)
    if empty := [stage.name for stage, part in zip(cell.stages, examples, strict=True) if not part]:
        advice = "add training utterances with a transcript, or choose another scheme"
        raise UserError(f"{cell.name}: the stage {empty[0]} has nothing to train on", advice)
    plans = cell_stage_plans(recipe, cell, examples, keys, dev_examples(data) if recipe.train.selects else [])
    return [Work(cell, plan, part) for plan, part in zip(plans, examples, strict=True)]


def cell_stage_plans(
    recipe: Recipe, cell: Cell, examples: Sequence[Sequence[Example]], keys: ExampleKeys | None = None,
    dev: Sequence[Example] = (),
) -> list[StagePlan]:  # fmt: skip
    """The cell's stages with their keys, which name their folders; equal stages of different cells have equal keys.

    Args:
        keys: those already computed, for examples that cells share.
        dev: what the stages' weights are selected on, if they are.
    """
    keys = keys or ExampleKeys()
    left_out = NOT_IN_KEYS if recipe.train.selects else NOT_IN_KEYS | OF_SELECTION
    common = recipe.train.model_dump(mode="json", exclude=left_out)
    selected_on = [keys.of(dev)] if dev else []
    start = starting_key(recipe, cell.model)
    root = json.dumps([model_identity(cell.model), cell.seed, common, *selected_on, *start], sort_keys=True)
    return plan_stages(cell.stages, [keys.of(part) for part in examples], root)


def dev_examples(data: Data) -> list[Example]:
    """What training is evaluated on: the dev recordings, or dev text if there are none."""
    return [slu_example(row, data.dev_modality, instruction=data.instruction) for row in data.dev]


def epochs_by_model(work: Iterable[Work]) -> dict[str, list[list[Example]]]:
    """By model, one epoch's examples of each stage."""
    epochs: dict[str, list[list[Example]]] = {}
    for item in work:
        epochs.setdefault(item.cell.model, []).append(item.examples)
    return epochs
