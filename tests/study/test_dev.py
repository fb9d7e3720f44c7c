"""Training that is evaluated on dev: when, what is kept, and what it leaves as it was."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest
from tiny_study import run_tiny_study

from sottovoce.core.recipe import Train
from sottovoce.study.card import read_card
from sottovoce.study.layout import CellFolder

EPOCHS = 4


def trained(folder: Path, model: Path, corpus: Path, **train: Any) -> Path:
    """The only cell, text-only, of a study with these training settings."""
    stage = {name: train.pop(name) for name in ("num_train_epochs", "learning_rate") if name in train}
    stage = {"num_train_epochs": EPOCHS, "learning_rate": 1e-2, "warmup_ratio": 0.0} | stage
    fixed = {"language_model": "lora", "per_device_train_batch_size": 4, "lr_scheduler_type": "constant"}
    settings = {**fixed, "stage": stage, **train}
    folder.mkdir(exist_ok=True)
    study = run_tiny_study(folder, model, corpus, schemes=["text_only"], train=settings)
    return study / "cells" / "text_only"


def summary_of(cell: Path) -> dict[str, Any]:
    (done,) = (cell.parent.parent / "stages").glob("*/done.json")
    summary: dict[str, Any] = json.loads(done.read_text())
    return summary


def weights_of(cell: Path) -> bytes:
    return (cell / "weights" / "adapter_model.safetensors").read_bytes()


def test_an_evaluation_changes_no_weight(tmp_path: Path, tiny_model_dir: Path, tiny_corpus: Path) -> None:
    cell = trained(tmp_path / "seen", tiny_model_dir, tiny_corpus, eval_strategy="epoch")
    kept_apart = {json.loads(row)["id"] for row in (cell.parent.parent / "dev.jsonl").read_text().splitlines()}
    rows = [json.loads(row) for row in tiny_corpus.read_text().splitlines()]
    assert kept_apart < {row["id"] for row in rows if row["split"] == "train"}
    without = tiny_corpus.with_name("without.jsonl")
    without.write_text("".join(json.dumps(row) + "\n" for row in rows if row["id"] not in kept_apart))
    assert weights_of(trained(tmp_path / "plain", tiny_model_dir, without)) == weights_of(cell)


def test_after_each_epoch_and_the_best_is_kept(tmp_path: Path, tiny_model_dir: Path, tiny_corpus: Path) -> None:
    selecting = {"eval_strategy": "epoch", "load_best_model_at_end": True, "metric_for_best_model": "loss"}
    cell = trained(tmp_path, tiny_model_dir, tiny_corpus, learning_rate=3.0, **selecting)
    summary = summary_of(cell)
    steps = [each["step"] for each in summary["evaluations"]]
    assert len(steps) == EPOCHS and steps[-1] == summary["steps"]
    best = min(summary["evaluations"], key=lambda each: each["loss"])
    assert summary["kept_step"] == best["step"]
    dev = read_card(CellFolder(cell)).dev
    assert dev and (dev.step, dev.loss, dev.num_steps) == (best["step"], best["loss"], summary["steps"])
    assert best["step"] < summary["steps"]  # at this rate it soon gets worse
    # The order of an epoch's rows does not depend on how many epochs follow, nor does a constant rate.
    epochs = 1 + steps.index(best["step"])
    up_to_there = trained(
        tmp_path / "shorter", tiny_model_dir, tiny_corpus, learning_rate=3.0, num_train_epochs=epochs,
        eval_strategy="epoch",
    )  # fmt: skip
    assert weights_of(up_to_there) == weights_of(cell)


def test_patience(tmp_path: Path, tiny_model_dir: Path, tiny_corpus: Path) -> None:
    stopping = {"eval_strategy": "epoch", "early_stopping_patience": 1, "metric_for_best_model": "slu_f1"}
    cell = trained(tmp_path, tiny_model_dir, tiny_corpus, learning_rate=1e-12, **stopping)
    summary = summary_of(cell)
    assert len(summary["evaluations"]) == 2  # the second is no better than the first
    assert summary["steps"] == summary["evaluations"][-1]["step"] == summary["kept_step"]


def test_every_so_many_steps_and_the_last(tmp_path: Path, tiny_model_dir: Path, tiny_corpus: Path) -> None:
    summary = summary_of(trained(tmp_path, tiny_model_dir, tiny_corpus, eval_strategy="steps", eval_steps=7))
    assert [each["step"] for each in summary["evaluations"]] == [7, 14, summary["steps"]]


def test_dev_decides_the_stage_only_where_it_selects() -> None:
    evaluated = Train(eval_strategy="epoch")
    assert not evaluated.selects and Train(eval_strategy="epoch", early_stopping_patience=1).selects
    assert Train().model_dump() == Train(eval_strategy="no", report_to=("tensorboard",)).model_dump()
    assert "eval_strategy" not in Train().model_dump()
    with pytest.raises(ValueError, match="need eval_strategy"):
        Train(load_best_model_at_end=True)
