"""The two sides of the training benchmarks, given the same rows in the same order, and how a training went.

Sottovoce's side hears each recording once, before the first step. The plain side does what a script written in an
afternoon does: the model's own forward on padded batches, so that every recording goes through the audio tower at every
step, in the model's whole window, and every position gets logits.
"""

from __future__ import annotations

import tempfile
import time
from abc import ABC, abstractmethod
from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from functools import partial
from pathlib import Path
from typing import Any

import torch
from torch.nn.utils.rnn import pad_sequence
from transformers import PrinterCallback, Trainer, TrainerCallback, TrainingArguments

from sottovoce.core.machine import keep_freed_memory
from sottovoce.core.recipe import StageSettings, Train
from sottovoce.data.audio import SAMPLING_RATE, Samples
from sottovoce.data.collate import IGNORED, Row, collate_training
from sottovoce.data.mixture import Part
from sottovoce.models.families.base import Family
from sottovoce.models.features import encode_clips
from sottovoce.models.injection import answer_loss, bare
from sottovoce.models.load import LoadedModel
from sottovoce.models.lower_states import LowerStates
from sottovoce.train.parts import with_weights
from sottovoce.train.schemes import Stage
from sottovoce.train.stage import training_arguments
from sottovoce.train.trainer import AnswerTrainer, Rows

OURS, PLAIN = "sottovoce", "plain Trainer"
HeardRow = tuple[Row, Samples | None]
"""A tokenised row whose recording is not encoded yet, and that recording; None for text."""


@dataclass(frozen=True, kw_only=True)
class Job(ABC):
    """What is measured: ``num_steps`` steps of ``batch`` rows, of which ``per_device`` are computed at once.

    ``share`` of the rows are speech, spread evenly; the rows are gone through ``num_epochs`` times in the same order.
    LoRA's adapters are on the layers from ``first_layer`` on. ``checkpointing`` is gradient checkpointing.
    """

    num_steps: int
    batch: int
    per_device: int
    share: float
    bf16: bool
    learning_rate: float
    num_epochs: int = 1
    seed: int = 0
    first_layer: int = 0
    checkpointing: bool = False

    @abstractmethod
    def loaded(self) -> LoadedModel:
        """The model, the same at every call."""

    @abstractmethod
    def rows(self, loaded: LoadedModel) -> list[HeardRow]:
        """The rows of one epoch, ``num_rows`` of them, the same at every call."""

    @property
    def num_rows(self) -> int:
        return self.num_steps * self.batch // self.num_epochs

    @property
    def order(self) -> list[int]:
        """The rows of all epochs, by their place."""
        return list(range(self.num_rows)) * self.num_epochs

    @property
    def device(self) -> torch.device:
        return torch.device("cuda" if torch.cuda.is_available() else "cpu")

    def spoken(self, number: int) -> bool:
        """Whether a row is speech."""
        return int((number + 1) * self.share) > int(number * self.share)

    def settings(self, kind: str) -> Train:
        return Train.model_validate(
            {
                "language_model": kind, "bf16": self.bf16, "per_device_train_batch_size": self.per_device,
                "gradient_accumulation_steps": self.batch // self.per_device, "logging_steps": 1,
                "lora": {"first_layer": self.first_layer}, "gradient_checkpointing": self.checkpointing,
            }
        )  # fmt: skip

    def arguments(self, kind: str, folder: str) -> TrainingArguments:
        """Those of a stage of ours, which both sides train with."""
        stage = Stage("benchmark", (Part("text", of="all"),), StageSettings(learning_rate=self.learning_rate))
        arguments = training_arguments(self.settings(kind), stage, Path(folder), self.seed, self.bf16)
        arguments.save_strategy, arguments.report_to = "no", []
        arguments.train_sampling_strategy, arguments.remove_unused_columns = "sequential", False
        return arguments


@dataclass(frozen=True)
class Side:
    """One way of training: its model, its rows in training order, how they come together, and a batch's loss.

    ``early_seconds`` went by before the first step, in which ``num_heard`` recordings went through the audio tower, and
    the rows through frozen lower layers.
    """

    name: str
    model: Any
    rows: Sequence[Any]
    collate: Callable[[Sequence[Any]], dict[str, Any]]
    loss: Callable[[Any], torch.Tensor]
    trainer: Callable[[str], Trainer]
    early_seconds: float = 0.0
    num_heard: int = 0


@dataclass(frozen=True)
class Course:
    """How a training went: the seconds of the first step, in which much happens once, and of each other one; the loss
    of each step in nats a token."""

    first_seconds: float
    step_seconds: tuple[float, ...]
    losses: tuple[float, ...]


def ours(job: Job, kind: str) -> Side:
    """Recordings go through the tower once, before the first step, and so do rows through frozen lower layers."""
    keep_freed_memory()  # as a study does
    loaded = job.loaded()
    rows = job.rows(loaded)
    heard: list[int] = []
    hook = tower_of(loaded).register_forward_hook(lambda module, args, output: heard.append(len(output[0])))
    started = time.perf_counter()
    states = iter(encode_clips(loaded.model, loaded.processor, [clip for _, clip in rows if clip is not None]))
    kept = [row if clip is None else with_states(row, next(states), loaded) for row, clip in rows]
    if job.first_layer:
        kept = LowerStates(job.first_layer).of(loaded, kept)
    early = time.perf_counter() - started
    hook.remove()
    torch.manual_seed(job.seed)
    model = with_weights(loaded, job.settings(kind), None)
    data = Rows(kept, job.order)

    def loss(batch: Any) -> torch.Tensor:
        total, num_labels = answer_loss(model, batch, job.first_layer)
        return total / num_labels

    def trainer(folder: str) -> Trainer:
        return AnswerTrainer(model, job.arguments(kind, folder), data, loaded.pad_id, job.first_layer)

    in_order = [kept[place] for place in job.order]
    collate = partial(collate_training, pad_id=loaded.pad_id)
    return Side(OURS, model, in_order, collate, loss, trainer, early, sum(heard))


def plain(job: Job, kind: str) -> Side:
    """The model's own forward, by a Trainer as it is; its samples are in memory, so that no side waits for a disk."""
    loaded = job.loaded()
    rows = job.rows(loaded)
    torch.manual_seed(job.seed)
    model = with_weights(loaded, job.settings(kind), None)  # the same parameters in the same dtypes
    data = [rows[place] for place in job.order]

    def collate(part: Sequence[HeardRow]) -> dict[str, torch.Tensor]:
        batch = pad([row for row, _ in part], loaded.pad_id)
        return batch | own_inputs(loaded, [clip for _, clip in part if clip is not None])

    def trainer(folder: str) -> Trainer:
        made = Trainer(model=model, args=job.arguments(kind, folder), train_dataset=data, data_collator=collate)
        # Without this word gradients of accumulated batches are added up and not averaged: the model's forward takes
        # num_items_in_batch and ignores it.
        made.loss_is_scaled_for_ga = False
        return made

    return Side(PLAIN, model, data, collate, lambda batch: model(**batch).loss, trainer)


SIDES: dict[str, Callable[[Job, str], Side]] = {OURS: ours, PLAIN: plain}


def pad(rows: Sequence[Row], pad_id: int) -> dict[str, torch.Tensor]:
    """Rows padded on the right to the longest; -100 on all that is not answer."""
    ids = [torch.tensor(row.prompt_ids + row.answer_ids) for row in rows]
    labels = [torch.tensor([IGNORED] * len(row.prompt_ids) + row.answer_ids) for row in rows]
    return {
        "input_ids": pad_sequence(ids, batch_first=True, padding_value=pad_id),
        "attention_mask": pad_sequence([torch.ones_like(row) for row in ids], batch_first=True),
        "labels": pad_sequence(labels, batch_first=True, padding_value=IGNORED),
    }


def own_inputs(loaded: LoadedModel, clips: Sequence[Samples]) -> dict[str, torch.Tensor]:
    """What the model's own forward takes of clips, in its whole window; nothing of none."""
    if not clips:
        return {}
    if loaded.family.brings_code:
        inputs: dict[str, torch.Tensor] = loaded.processor.audio_inputs(clips, ["en"] * len(clips), SAMPLING_RATE)
        return inputs
    mel = loaded.processor.feature_extractor(
        list(clips), sampling_rate=SAMPLING_RATE, return_attention_mask=True, padding="max_length", return_tensors="pt"
    )
    return {"input_features": mel["input_features"], "feature_attention_mask": mel["attention_mask"]}


def num_places(family: Family, num_samples: int) -> int:
    """Placeholders that a prompt has for a clip: of Qwen2-Audio as many as its processor counts from mel frames of
    10 ms; one for other families, whose rows grow by what is heard."""
    if family.model_type != "qwen2_audio":
        return 1
    num_frames = -(-num_samples // 160)
    return ((num_frames - 1) // 2 + 1 - 2) // 2 + 1


def with_states(row: Row, states: torch.Tensor, loaded: LoadedModel) -> Row:
    """The row with its placeholders, which stand together, as many as there are states."""
    placeholder = loaded.family.audio_token_id(loaded.model.config)
    first, number = row.prompt_ids.index(placeholder), row.prompt_ids.count(placeholder)
    ids = row.prompt_ids[:first] + [placeholder] * len(states) + row.prompt_ids[first + number :]
    return replace(row, prompt_ids=ids, audio_states=states)


def tower_of(loaded: LoadedModel) -> Any:
    """The audio tower's encoder, whether adapters are around the model or not."""
    tower = bare(loaded.model).get_submodule(loaded.family.audio_tower)
    return getattr(tower, "encoder", tower)


def train(side: Side) -> Course:
    """Trains a side."""
    with tempfile.TemporaryDirectory() as folder:
        trainer = side.trainer(folder)
        trainer.remove_callback(PrinterCallback)
        clock = Clock()
        trainer.add_callback(clock)
        trainer.train()
    losses = tuple(line["loss"] for line in trainer.state.log_history if "loss" in line)
    first, *others = (after - before for before, after in zip(clock.times, clock.times[1:], strict=False))
    return Course(first, tuple(others), losses)


class Clock(TrainerCallback):  # type: ignore[misc]
    """When the first step began, and when each one ended."""

    def __init__(self) -> None:
        self.times: list[float] = []

    def on_train_begin(self, args: Any, state: Any, control: Any, **kwargs: Any) -> None:
        self.times.append(time.perf_counter())

    def on_step_end(self, args: Any, state: Any, control: Any, **kwargs: Any) -> None:
        if torch.cuda.is_available():
            torch.cuda.synchronize()
        self.times.append(time.perf_counter())
