"""How long a study will take, from timing one small training step, one short decoding and one clip on this machine."""

from __future__ import annotations

import math
import time
from collections.abc import Callable
from pathlib import Path

import torch
from rich.progress import Progress

from sottovoce.data.collate import Row, collate_training, tokenize
from sottovoce.data.prompts import slu_example
from sottovoce.evaluate.decode import generate
from sottovoce.models.audio_store import AudioStore
from sottovoce.models.injection import answer_loss
from sottovoce.models.load import LoadedModel
from sottovoce.recipe import Recipe
from sottovoce.study.cells import Cell, Data
from sottovoce.train.stage import DONE, StagePlan, with_weights
from sottovoce.types import Example

PROBE_ROWS, PROBE_TOKENS = 8, 8


def forecast_lines(
    loaded: LoadedModel, work: list[tuple[StagePlan, list[Example]]], cells: list[Cell], data: Data, recipe: Recipe,
    folder: Path,
) -> list[str]:  # fmt: skip
    """What is left to do and about how long it takes.

    Args:
        loaded: a model of its own; the probe trains an adapter on it.
        work: every stage of every cell with its examples; stages that are named alike are counted once.
    """
    stages = {plan.key: (plan, part) for plan, part in work if not (folder / "stages" / plan.key / DONE).exists()}
    undecoded = [cell for cell in cells if not (folder / "cells" / cell.name / "scores.json").exists()]
    if not undecoded:
        return ["everything is finished already"]
    probe = [tokenize(slu_example(u, "text"), loaded.processor, None) for u in data.train[:PROBE_ROWS]]
    hearing_seconds = _hearing_seconds(loaded, data)
    num_rows = sum(plan.stage.settings.num_train_epochs * len(part) for plan, part in stages.values())
    training = _training_seconds(loaded, recipe, probe) / len(probe) * num_rows
    answer_tokens = sum(len(row.answer_ids) for row in probe) / len(probe)
    batches = math.ceil(len(data.test) / recipe.decode.batch_size)
    decodings = 2 * sum(recipe.decode.max_new_tokens if not c.stages else answer_tokens for c in undecoded)
    decoding = _seconds_per_token(loaded, recipe, probe) * batches * decodings
    total = training + decoding + hearing_seconds
    return [
        f"{len(undecoded)} of {len(cells)} cells to do: {len(stages)} training stages with {num_rows} examples, "
        f"{2 * len(undecoded)} decodings of {len(data.test)} utterances",
        f"about {_minutes(total)} on this machine (training {_minutes(training)}, decoding {_minutes(decoding)}, "
        f"hearing {_minutes(hearing_seconds)}); you can stop it at any time and start it again",
    ]


def _minutes(seconds: float) -> str:
    return f"{seconds:.0f} s" if seconds < 90 else f"{seconds / 60:.0f} min"


def _timed(action: Callable[[], object]) -> float:
    started = time.monotonic()
    action()
    return time.monotonic() - started


def _hearing_seconds(loaded: LoadedModel, data: Data) -> float:
    store, clips = AudioStore(loaded), data.test[:2]
    with Progress(disable=True) as progress:
        return _timed(lambda: store.encode(clips, progress)) / len(clips) * len(data.test)


def _training_seconds(loaded: LoadedModel, recipe: Recipe, rows: list[Row]) -> float:
    model = with_weights(loaded, recipe.train, None)
    batch = {key: tensor.to(loaded.model.device) for key, tensor in collate_training(rows, loaded.pad_id).items()}

    def step() -> None:
        with torch.autocast(loaded.model.device.type, torch.bfloat16, enabled=recipe.train.bf16):
            answer_loss(model, batch)[0].backward()  # type: ignore[no-untyped-call]

    step()  # the first one also allocates
    return _timed(step)


def _seconds_per_token(loaded: LoadedModel, recipe: Recipe, rows: list[Row]) -> float:
    many = (rows * math.ceil(recipe.decode.batch_size / len(rows)))[: recipe.decode.batch_size]
    return _timed(lambda: generate(loaded, loaded.model, many, PROBE_TOKENS)) / PROBE_TOKENS
