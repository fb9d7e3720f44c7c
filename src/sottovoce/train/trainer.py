"""transformers' Trainer with three changes: only answers are scored, we set the order of rows, and an evaluation is a
function of the model."""

from __future__ import annotations

import random
from collections.abc import Callable, Sequence
from functools import partial
from pathlib import Path
from typing import Any

import torch
from peft import PeftModel
from torch.utils.data import Dataset, Sampler, SequentialSampler
from transformers import PrinterCallback, Trainer, TrainingArguments
from transformers.trainer import OPTIMIZER_NAME, SCHEDULER_NAME

from sottovoce.core.errors import UserError
from sottovoce.data.collate import Batch, Row, collate_training
from sottovoce.models.families.registry import family_of
from sottovoce.models.injection import answer_loss, bare
from sottovoce.train.callbacks import ProgressLine
from sottovoce.train.sharding import (
    engine_of,
    load_optimizer,
    note_zero,
    refuse_foreign,
    save_optimizer,
    set_up,
    sharded,
)
from sottovoce.train.weights import TRAINED, load_trained, save_weights

Evaluate = Callable[[Any], dict[str, float]]
"""From the model as it is trained to its scores on the dev utterances, by name."""


class Rows(Dataset[Row]):
    """Tokenised rows of all epochs, already in training order."""

    def __init__(self, rows: Sequence[Row], order: Sequence[int]) -> None:
        self.rows, self.order = rows, order

    def __len__(self) -> int:
        return len(self.order)

    def __getitem__(self, position: int) -> Row:
        return self.rows[self.order[position]]


def training_order(num_rows: int, num_epochs: int, seed: int) -> list[int]:
    """The order of rows over all epochs, each shuffled independently.

    Batches of similar lengths would save padding but do harm: rows of one length mostly have one modality and one kind
    of answer, such as no entities, and after such batches the model answers like the last one.
    """
    order: list[int] = []
    for epoch in range(num_epochs):
        order += random.Random(seed * 1000 + epoch).sample(range(num_rows), num_rows)
    return order


def last_checkpoint(home: Path) -> str | None:
    """The newest complete checkpoint in a Trainer's folder, None if there is none.

    The Trainer writes its state last: a checkpoint without it is incomplete, and the one before it is still there.
    """
    whole = [path.parent for path in home.glob("checkpoint-*/trainer_state.json")]
    return str(max(whole, key=lambda path: int(path.name.rpartition("-")[2]))) if whole else None


class AnswerTrainer(Trainer):  # type: ignore[misc]
    """Trains on :class:`Rows`; a step's loss is the mean over all labelled tokens of the step, however it is split
    over accumulated batches and processes.

    Besides the loss it logs ``padding_share``: the share (0..1) of the positions computed by the language model since
    the last log that held no token. Families that pack rows skip most of a batch's padding, so this is less.

    What it overrides in transformers' Trainer, and why; a test checks that the Trainer still has these names and
    arguments:

    ==============================  ====================================================================================
    _get_train_sampler              the rows are already in training order, so that a resumed run sees the same ones
    compute_loss, model.forward     only answers have logits; distributed training wraps the model's forward, and only
                                    calls through it synchronise gradients
    save_model,                     a checkpoint holds the trained weights under the model's own names: transformers
    _load_from_checkpoint           would write the names of the hub's files, not find them in the model on resuming,
                                    and continue without the weights
    _save_optimizer_and_scheduler,  with FSDP2, the files are those that a single process would write; DeepSpeed has its
    _load_optimizer_and_scheduler   own, which include the weights
    evaluate                        scores are of decoded answers; the Trainer would compute logits of every position
    _load_best_model                as _load_from_checkpoint
    ==============================  ====================================================================================

    Args:
        first_layer: the rows hold the states below that layer of the language model; 0: they hold none.
        evaluate: scores the model; when, :class:`EvaluateAt` decides.

    Raises:
        UserError: one process has several GPUs, or the model does not support the launcher's sharding.
    """

    def __init__(
        self, model: Any, args: TrainingArguments, rows: Rows, pad_id: int, first_layer: int = 0,
        evaluate: Evaluate | None = None, **kwargs: Any,
    ) -> None:  # fmt: skip
        if args.n_gpu > 1:
            advice = f"run `accelerate launch --num_processes {args.n_gpu} -m sottovoce ...`"
            raise UserError(f"one process cannot train on {args.n_gpu} GPUs", advice)
        args.remove_unused_columns = False
        args.label_names = ["labels"]
        collator = partial(_counted, pad_id=pad_id)
        dev: list[Row] | None = (
            [] if evaluate else None
        )  # the Trainer asks for a data set, which only our evaluation would read
        super().__init__(model=model, args=args, train_dataset=rows, eval_dataset=dev, data_collator=collator, **kwargs)
        self.engine = engine_of(self.accelerator)
        if self.engine:
            set_up(self.accelerator, self.engine, model, args.bf16)
        self.remove_callback(PrinterCallback)
        self.model_accepts_loss_kwargs = True  # makes the Trainer count labels over the accumulated batches
        self._num_tokens = self._num_computed = 0
        self._first_layer, self._evaluate_model = first_layer, evaluate

    def train_shown(self, name: str, resumed: str | None) -> Any:
        """Trains with a progress bar of that name, resuming from a checkpoint if given; returns what ``train`` does.

        Raises:
            UserError: the checkpoint cannot be read with this engine or number of processes.
        """
        if resumed:
            refuse_foreign(Path(resumed), self.engine, self.args.world_size)
            if self.engine == "FSDP2":
                self._load_from_checkpoint(resumed)
        line = ProgressLine(name)
        self.add_callback(line)
        try:
            with sharded(self.engine, self.model):
                return self.train(resume_from_checkpoint=resumed)
        finally:
            line.stop()

    def train(self, *args: Any, **kwargs: Any) -> Any:
        model = self.model
        model.forward = partial(_connected_loss, model, self._first_layer)
        try:
            return super().train(*args, **kwargs)
        finally:
            del model.forward

    def compute_loss(  # type: ignore[no-untyped-def]
        self, model, inputs, return_outputs=False, num_items_in_batch=None
    ) -> torch.Tensor:
        with self.accelerator.autocast():
            total, num_labels = model(inputs)
        self._count(inputs["num_tokens"], inputs["input_ids"].numel())
        if num_items_in_batch is not None:
            # Gradients are averaged over processes.
            total, num_labels = total * self.args.world_size, num_items_in_batch
        loss: torch.Tensor = total / num_labels
        return loss

    def evaluate(
        self, eval_dataset: Any = None, ignore_keys: Any = None, metric_key_prefix: str = "eval"
    ) -> dict[str, float]:
        assert self._evaluate_model is not None
        model = self.model
        training_forward = model.__dict__.pop("forward", None)  # decoding needs the model's own
        model.eval()
        try:
            with self.accelerator.autocast():
                scores = {f"eval_{name}": value for name, value in self._evaluate_model(model).items()}
        finally:
            model.train()
            if training_forward is not None:
                model.forward = training_forward
        self.log(scores)
        args, handler = self.args, self.callback_handler
        self.control = handler.on_evaluate(args, self.state, self.control, scores)  # type: ignore[has-type]
        return scores

    def _load_best_model(self) -> None:
        if isinstance(self.model, PeftModel):
            super()._load_best_model()
        else:
            load_trained(self.model, Path(self.state.best_model_checkpoint) / TRAINED)

    def _count(self, num_tokens: int, num_positions: int) -> None:
        self._num_tokens += num_tokens
        self._num_computed += family_of(bare(self.model).config.model_type).num_computed(num_tokens, num_positions)

    def log(self, logs: dict[str, float], start_time: float | None = None) -> None:
        if "loss" in logs and self._num_computed:  # not the final summary
            counted = torch.tensor([self._num_tokens, self._num_computed], device=self.args.device)
            num_tokens, num_computed = self.accelerator.reduce(counted, "sum").tolist()  # over all processes
            logs["padding_share"] = 1 - num_tokens / num_computed
            self._num_tokens = self._num_computed = 0
        super().log(logs, start_time)

    def _get_train_sampler(self, train_dataset: Any = None) -> Sampler[int]:
        return SequentialSampler(train_dataset if train_dataset is not None else self.train_dataset)

    def save_model(self, output_dir: str | None = None, _internal_call: bool = False) -> None:
        folder = Path(output_dir or self.args.output_dir)
        if not self.engine.startswith("ZeRO"):
            save_weights(self.model, folder)
        elif self.args.should_save:
            note_zero(folder, self.engine, self.args.world_size)

    def _load_from_checkpoint(self, resume_from_checkpoint: str, model: Any = None) -> None:
        if model is not None:  # sharded: loaded before sharding
            return
        if isinstance(self.model, PeftModel):
            super()._load_from_checkpoint(resume_from_checkpoint)
        else:
            load_trained(self.model, Path(resume_from_checkpoint) / TRAINED)

    def _save_optimizer_and_scheduler(self, output_dir: str) -> None:
        if self.engine != "FSDP2":
            super()._save_optimizer_and_scheduler(output_dir)
            return
        save_optimizer(self.optimizer, Path(output_dir) / OPTIMIZER_NAME if self.args.should_save else None)
        if self.args.should_save:
            torch.save(self.lr_scheduler.state_dict(), Path(output_dir) / SCHEDULER_NAME)

    def _load_optimizer_and_scheduler(self, checkpoint: str | None) -> None:
        if self.engine != "FSDP2" or checkpoint is None:
            super()._load_optimizer_and_scheduler(checkpoint)
            return
        load_optimizer(self.optimizer, Path(checkpoint) / OPTIMIZER_NAME)
        self.lr_scheduler.load_state_dict(torch.load(Path(checkpoint) / SCHEDULER_NAME, weights_only=True))


def _counted(rows: Sequence[Row], pad_id: int) -> Batch:
    # Counted here: summing the mask on a GPU would make the CPU wait.
    return {**collate_training(rows, pad_id), "num_tokens": sum(map(len, rows))}


def _connected_loss(model: Any, first_layer: int, batch: Any) -> tuple[torch.Tensor, int]:
    total, num_labels = answer_loss(model, batch, first_layer)
    if not total.requires_grad:  # a batch of only text, when only the audio part is trained
        total = total + 0.0 * next(parameter for parameter in model.parameters() if parameter.requires_grad).sum()
    return total, num_labels
