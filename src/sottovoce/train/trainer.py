"""transformers' Trainer with two changes: the loss is taken on the answers only, and the order of rows is ours."""

from __future__ import annotations

import random
import warnings
from collections.abc import Sequence
from functools import partial
from typing import Any

import torch
from torch.utils.data import Dataset, Sampler, SequentialSampler
from transformers import PrinterCallback, Trainer, TrainerCallback, TrainingArguments

from sottovoce.data.collate import Row, collate_training
from sottovoce.models.injection import answer_loss
from sottovoce.progress import progress_bar

# PEFT still asks transformers for an attribute by its old name; nothing that a user could mend.
warnings.filterwarnings("ignore", message=".*is_gradient_checkpointing.*", category=FutureWarning)


class Rows(Dataset[Row]):
    """Tokenised rows of all epochs, already in training order."""

    def __init__(self, rows: Sequence[Row], order: Sequence[int]) -> None:
        self.rows, self.order = rows, order

    def __len__(self) -> int:
        return len(self.order)

    def __getitem__(self, position: int) -> Row:
        return self.rows[self.order[position]]


def batched_by_length(lengths: Sequence[int], batch_size: int, seed: int, window_batches: int = 16) -> list[int]:
    """One epoch's order: shuffled, sorted by length within windows of a few batches, and the batches shuffled again.

    Rows of similar length share a batch, which saves padding; every row occurs once; text and speech stay mixed.
    """
    rng = random.Random(seed)
    order = list(range(len(lengths)))
    rng.shuffle(order)
    window = batch_size * window_batches
    batches: list[list[int]] = []
    for start in range(0, len(order), window):
        part = sorted(order[start : start + window], key=lambda index: lengths[index])
        batches += [part[first : first + batch_size] for first in range(0, len(part), batch_size)]
    full = [batch for batch in batches if len(batch) == batch_size]
    rest = [batch for batch in batches if len(batch) < batch_size]
    rng.shuffle(full)
    return [index for batch in full + rest for index in batch]


class AnswerTrainer(Trainer):  # type: ignore[misc]
    """Trains on :class:`Rows`; a step's loss is the mean over all labelled tokens of the step, however it is split."""

    def __init__(self, model: Any, args: TrainingArguments, rows: Rows, pad_id: int, **kwargs: Any) -> None:
        args.remove_unused_columns = False
        args.label_names = ["labels"]
        super().__init__(
            model=model, args=args, train_dataset=rows, data_collator=partial(collate_training, pad_id=pad_id), **kwargs
        )
        self.remove_callback(PrinterCallback)
        self.model_accepts_loss_kwargs = True  # have the Trainer count labels over the accumulated batches for us

    def _get_train_sampler(self, train_dataset: Any = None) -> Sampler[int]:
        return SequentialSampler(train_dataset if train_dataset is not None else self.train_dataset)

    def compute_loss(  # type: ignore[no-untyped-def]
        self, model, inputs, return_outputs=False, num_items_in_batch=None
    ) -> torch.Tensor:
        with self.accelerator.autocast():
            total, num_labels = answer_loss(self.accelerator.unwrap_model(model), inputs)
        return total / (num_labels if num_items_in_batch is None else num_items_in_batch)


class ProgressLine(TrainerCallback):  # type: ignore[misc]
    """A rich progress bar with the loss and the time that is left."""

    def __init__(self, name: str) -> None:
        self._name, self._loss = name, ""
        self._progress = progress_bar()

    def on_train_begin(self, args: Any, state: Any, control: Any, **kwargs: Any) -> None:
        self._progress.start()
        self._task = self._progress.add_task(
            f"training {self._name}", total=state.max_steps, completed=state.global_step
        )

    def on_log(self, args: Any, state: Any, control: Any, logs: Any = None, **kwargs: Any) -> None:
        if logs and "loss" in logs:
            self._loss = f" loss {float(logs['loss']):.3f}"

    def on_step_end(self, args: Any, state: Any, control: Any, **kwargs: Any) -> None:
        self._progress.update(self._task, completed=state.global_step, description=f"training {self._name}{self._loss}")

    def on_train_end(self, args: Any, state: Any, control: Any, **kwargs: Any) -> None:
        self._progress.stop()
