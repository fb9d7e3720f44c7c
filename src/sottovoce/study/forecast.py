"""How long a study will take, from timing one small training step, one short decoding and one clip on this machine."""

from __future__ import annotations

import math
import time
from collections.abc import Callable
from pathlib import Path

import torch
from rich.progress import Progress

from sottovoce.data.collate import Row, collate_training, moved, tokenize
from sottovoce.data.prompts import slu_example
from sottovoce.evaluate.decode import generate
from sottovoce.models.audio_store import AudioStore
from sottovoce.models.injection import answer_loss
from sottovoce.models.load import LoadedModel
from sottovoce.recipe import Recipe
from sottovoce.study.cells import Cell, Data
from sottovoce.train.parts import with_weights
from sottovoce.train.stage import DONE, StagePlan
from sottovoce.types import Example

MAX_PROBE_ROWS, PROBE_TOKENS = 16, 8


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
    # Small batches are slower a row: the probe is as large as a training step, or as large as it may be.
    num_probe = min(recipe.train.per_device_train_batch_size, MAX_PROBE_ROWS)
    probe = [tokenize(slu_example(u, "text"), loaded.processor, None) for u in data.train[:num_probe]]
    hearing_seconds = _hearing_seconds(loaded, data)
    num_rows = sum(plan.stage.settings.num_train_epochs * len(part) for plan, part in stages.values())
    training = _training_seconds(loaded, recipe, probe) / len(probe) * num_rows
    decoding = _decoding_seconds(loaded, undecoded, data, recipe, probe)
    total = training + decoding + hearing_seconds
    return [
        f"{len(undecoded)} of {len(cells)} cells to do: {len(stages)} training stages with {num_rows} examples, "
        f"{2 * len(undecoded)} decodings of {len(data.test)} utterances",
        f"about {minutes(total)} on this machine (training {minutes(training)}, decoding {minutes(decoding)}, "
        f"hearing {minutes(hearing_seconds)}); you can stop it at any time and start it again",
    ]


def minutes(seconds: float) -> str:
    """A duration as users are told it."""
    return f"{seconds:.0f} s" if seconds < 90 else f"{seconds / 60:.0f} min"


def _timed(action: Callable[[], object]) -> float:
    started = time.monotonic()
    action()
    return time.monotonic() - started


def _hearing_seconds(loaded: LoadedModel, data: Data) -> float:
    store, clips = AudioStore(loaded), data.test[:2]
    with Progress(disable=True) as progress:
        return _timed(lambda: store.encode([(clip, 0) for clip in clips], progress)) / len(clips) * len(data.test)


def _training_seconds(loaded: LoadedModel, recipe: Recipe, rows: list[Row]) -> float:
    model = with_weights(loaded, recipe.train, None).train()
    batch = moved(collate_training(rows, loaded.pad_id), loaded.model.device)

    def step() -> None:
        with torch.autocast(loaded.model.device.type, torch.bfloat16, enabled=recipe.train.bf16):
            answer_loss(model, batch)[0].backward()  # type: ignore[no-untyped-call]

    step()  # the first one also allocates
    return _timed(step)


def _decoding_seconds(loaded: LoadedModel, cells: list[Cell], data: Data, recipe: Recipe, rows: list[Row]) -> float:
    """Reading the prompts, which are longer for speech, and writing the answers, batch by batch."""
    batch_size = min(recipe.decode.batch_size, len(data.test))
    many = (rows * math.ceil(batch_size / len(rows)))[:batch_size]
    generate(loaded, loaded.model, many, 2)  # the first one also compiles the matrix products of these shapes
    one = _timed(lambda: generate(loaded, loaded.model, many, 1))
    more = _timed(lambda: generate(loaded, loaded.model, many, 1 + PROBE_TOKENS))
    reading_per_token = one / sum(len(row.prompt_ids) for row in many)
    writing_per_token = max(0.0, more - one) / PROBE_TOKENS
    text_tokens = sum(len(row.prompt_ids) for row in rows) / len(rows)
    heard_tokens = sum(loaded.family.num_audio_tokens(u.seconds or 0.0) for u in data.test) / len(data.test)
    answer_tokens = sum(len(row.answer_ids) for row in rows) / len(rows)
    written = sum(recipe.decode.max_new_tokens if not cell.stages else answer_tokens for cell in cells)
    reading = len(cells) * len(data.test) * (2 * text_tokens + heard_tokens) * reading_per_token
    return reading + 2 * math.ceil(len(data.test) / batch_size) * written * writing_per_token
