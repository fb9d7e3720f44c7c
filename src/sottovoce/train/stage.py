"""Runs one stage: rows in a fixed order, the Trainer, checkpoints, and a folder with the resulting weights.

A stage's folder is named after everything that determines its weights (model, data, settings, the stage before it), so
that equal stages of different schemes and budgets are trained only once, and found again after an interruption.
"""

from __future__ import annotations

import hashlib
import json
import math
import shutil
from collections.abc import Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

import torch
from transformers import EarlyStoppingCallback, TrainerCallback, TrainingArguments, set_seed

from sottovoce.core.errors import UserError
from sottovoce.core.recipe import Train
from sottovoce.core.storage import write_whole
from sottovoce.data.collate import Row
from sottovoce.data.mixture import Part
from sottovoce.models.load import LoadedModel
from sottovoce.models.lower_states import LowerStates
from sottovoce.train.callbacks import EvaluateAt, StopWhenDiverged
from sottovoce.train.parts import with_weights
from sottovoce.train.processes import accumulation_of, processes, wait_for
from sottovoce.train.schemes import Stage
from sottovoce.train.sharding import asked_engine, whole
from sottovoce.train.stage_files import DIVERGED, DONE, HISTORY, WEIGHTS
from sottovoce.train.trainer import AnswerTrainer, Evaluate, Rows, last_checkpoint, training_order
from sottovoce.train.weights import save_weights

NEVER = 10**9  # steps
# Settings that are part of a stage's mixture if it uses them.
IN_MIXTURE = {"speech_repeats", "perturb_repeats", "max_speech_share"}


@dataclass(frozen=True)
class StagePlan:
    """A stage and its place in the scheme. ``key`` names it, ``parent_key`` the stage it starts from, "" if none."""

    stage: Stage
    example_keys: tuple[str, ...]
    parent_key: str
    key: str


def plan_stages(stages: Sequence[Stage], example_keys: Sequence[Sequence[str]], root: str) -> list[StagePlan]:
    """Names the stages of a scheme.

    Args:
        example_keys: for each stage, the keys of its examples (by content, not file name).
        root: identifies the model, the settings common to all stages, and the seed.
    """
    plans: list[StagePlan] = []
    for stage, keys in zip(stages, example_keys, strict=True):
        parent = plans[-1].key if plans else ""
        # Unset fields are left out, so that adding a field to Part does not rename stages.
        seen = [_settings_of(part) for part in stage.mixture]
        settings = stage.settings.model_dump(exclude=IN_MIXTURE)
        content = json.dumps([root, parent, seen, settings, list(keys)], sort_keys=True)
        digest = hashlib.sha256(content.encode()).hexdigest()[:16]
        plans.append(StagePlan(stage, tuple(keys), parent, f"{stage.name}-{digest}"))
    return plans


def _settings_of(part: Part) -> dict[str, Any]:
    values = asdict(part) | {"noise": part.noise and part.noise.model_dump()}
    return {key: value for key, value in values.items() if value is not None}


def run_stage(
    loaded: LoadedModel, plan: StagePlan, rows: Sequence[Row], train: Train, folder: Path, seed: int,
    lower: LowerStates | None = None, evaluate: Evaluate | None = None, start: Path | None = None,
) -> Path:  # fmt: skip
    """Trains a stage, resuming from its last checkpoint if there is one; returns at once if it is done.

    Args:
        loaded: a freshly loaded model; training changes it.
        rows: one epoch's tokenised examples.
        folder: the folder of all stages; this one's is ``folder / plan.key``.
        lower: if ``train.lora.first_layer`` is above 0, the states already computed for earlier stages' rows.
        evaluate: scores the model on dev; needed where ``train.eval_strategy`` asks for it.
        start: weights that a first stage starts from, None for the loaded model's own.

    Returns:
        the folder of the weights.

    Raises:
        UserError: the loss is no longer finite, frozen weights have changed, or settings are not compatible.
    """
    home = folder / plan.key
    if (home / DONE).exists():
        return home / WEIGHTS
    parent = folder / plan.parent_key / WEIGHTS if plan.parent_key else start
    first_layer = train.lora.first_layer
    if first_layer and (engine := asked_engine()):
        raise UserError(f"train.lora.first_layer does not work with {engine}", "set it to 0, or do not shard")
    arguments = training_arguments(train, plan.stage, home, seed, loaded.bf16)
    data = _epochs(rows, plan.stage.settings.num_train_epochs, arguments, loaded.pad_id)
    if first_layer:
        data = Rows((lower or LowerStates(first_layer)).of(loaded, data.rows), data.order)
    set_seed(seed)  # a new adapter's initial weights must not depend on what this process did before
    model = with_weights(loaded, train, parent)
    callbacks = [StopWhenDiverged(), *_evaluations(train, plan.stage.settings.num_train_epochs, arguments, data)]
    trainer = AnswerTrainer(
        model, arguments, data, loaded.pad_id, first_layer, None if train.eval_strategy == "no" else evaluate,
        callbacks=callbacks,
    )  # fmt: skip
    frozen = _frozen_sums(model)
    result = trainer.train_shown(plan.stage.name, last_checkpoint(home))
    if moved := [name for name, total in _frozen_sums(model).items() if total != frozen[name]]:
        shutil.rmtree(home)
        raise UserError(f"stage {plan.stage.name}: {moved[0]} is frozen but has changed", "report this")
    if not (math.isfinite(result.training_loss) and _finite(model)):
        write_whole(home / DIVERGED, json.dumps(trainer.state.log_history, indent=1))
        for checkpoint in home.glob("checkpoint-*"):  # useless now
            shutil.rmtree(checkpoint, ignore_errors=True)
        fault = f"stage {plan.stage.name}: the loss is no longer finite (history: {home / DIVERGED})"
        raise UserError(fault, "lower its learning_rate")
    save_weights(model, home / WEIGHTS)
    if not processes().is_main_process:
        wait_for(home / DONE)
        return home / WEIGHTS
    write_whole(home / HISTORY, json.dumps(trainer.state.log_history, indent=1))
    summary = {"loss": result.training_loss, "steps": result.global_step, "seconds": result.metrics["train_runtime"]}
    summary |= {"num_rows": len(rows), "parent": plan.parent_key} | _dev_summary(trainer)
    (home / DONE).write_text(json.dumps(summary, indent=1))
    for checkpoint in home.glob("checkpoint-*"):
        shutil.rmtree(checkpoint)
    return home / WEIGHTS


def _evaluations(train: Train, num_epochs: int, arguments: TrainingArguments, data: Rows) -> list[TrainerCallback]:
    """What decides when to evaluate, and when to stop.

    Raises:
        UserError: several processes train the stage.
    """
    if train.eval_strategy == "no":
        return []
    if processes().num_processes > 1:
        raise UserError("train.eval_strategy does not work with several processes", "set it to no, or use one process")
    num_steps = math.ceil(len(data) / (arguments.per_device_train_batch_size * arguments.gradient_accumulation_steps))
    by_epoch = [round(num_steps * epoch / num_epochs) for epoch in range(1, num_epochs + 1)]
    at = by_epoch if train.eval_strategy == "epoch" else range(train.eval_steps, num_steps, train.eval_steps)
    patience = train.early_stopping_patience
    return [EvaluateAt(list(at), train.save_steps), *([EarlyStoppingCallback(patience)] if patience else [])]


def _dev_summary(trainer: AnswerTrainer) -> dict[str, Any]:
    """The evaluations of a stage, and the step whose weights it ends with; empty if it had none."""
    seen = [
        {"step": row["step"]} | {name.removeprefix("eval_"): row[name] for name in row if name.startswith("eval_")}
        for row in trainer.state.log_history
        if any(name.startswith("eval_") for name in row)
    ]
    if not seen:
        return {}
    best = trainer.state.best_global_step if trainer.args.load_best_model_at_end else seen[-1]["step"]
    return {"evaluations": seen, "kept_step": best}


def _epochs(rows: Sequence[Row], num_epochs: int, arguments: TrainingArguments, pad_id: int) -> Rows:
    """The rows of all epochs in order; for several processes, padded to whole steps with rows without an answer."""
    batch_size = arguments.per_device_train_batch_size
    order = training_order(len(rows), num_epochs, arguments.seed)
    if arguments.world_size == 1:
        return Rows(rows, order)
    # Otherwise processes that run out of rows would get earlier ones again.
    step = batch_size * arguments.world_size * arguments.gradient_accumulation_steps
    return Rows([*rows, Row([pad_id] * 2, [], None)], order + [len(rows)] * (-len(order) % step))


def _frozen_sums(model: Any) -> dict[str, int]:
    """The sum of each frozen tensor's bytes; if it differs, the tensor has changed."""
    frozen = {name: p for name, p in model.named_parameters() if not p.requires_grad} | dict(model.named_buffers())
    return {name: int(whole(t).reshape(-1).view(torch.uint8).sum(dtype=torch.int64)) for name, t in frozen.items()}


def _finite(model: Any) -> bool:
    trained = (whole(parameter) for parameter in model.parameters() if parameter.requires_grad)
    # Checks every tensor, even after one that is not finite: all processes must gather the same ones.
    return sum(int((~torch.isfinite(tensor)).sum()) for tensor in trained) == 0


def training_arguments(train: Train, stage: Stage, home: Path, seed: int, bf16: bool) -> TrainingArguments:
    """The Trainer's arguments for a stage."""
    selects = train.eval_strategy != "no"
    return TrainingArguments(
        output_dir=str(home),
        num_train_epochs=1,  # the rows already cover all epochs, in order
        learning_rate=stage.settings.learning_rate,
        warmup_steps=stage.settings.warmup_ratio,  # below 1: a share of all steps
        lr_scheduler_type=train.lr_scheduler_type,
        per_device_train_batch_size=train.per_device_train_batch_size,
        gradient_accumulation_steps=accumulation_of(train.gradient_accumulation_steps, processes().num_processes),
        weight_decay=train.weight_decay,
        max_grad_norm=train.max_grad_norm,
        bf16=bf16,
        use_cpu=not torch.cuda.is_available(),
        logging_steps=train.logging_steps,
        logging_nan_inf_filter=False,  # would hide a loss that is not finite
        save_steps=NEVER if selects else train.save_steps,  # see EvaluateAt
        save_total_limit=1,
        eval_strategy="steps" if selects else "no",
        eval_steps=NEVER if selects else None,
        load_best_model_at_end=train.load_best_model_at_end,
        metric_for_best_model=train.metric_for_best_model if selects else None,
        greater_is_better=train.metric_for_best_model != "loss" if selects else None,
        report_to=list(train.report_to),
        disable_tqdm=True,
        seed=seed,
    )
