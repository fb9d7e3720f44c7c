"""Training that starts from an earlier run."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest
from tiny_study import run_tiny_study

from sottovoce.core.errors import UserError

STAGE = {"num_train_epochs": 1, "learning_rate": 1e-2, "warmup_ratio": 0.0}
TRAIN = {"language_model": "lora", "per_device_train_batch_size": 4, "lr_scheduler_type": "constant"}


def run(folder: Path, model: Path, corpus: Path, train: dict[str, Any] | None = None, **changes: Any) -> Path:
    """The only cell of a study of one scheme."""
    folder.mkdir(exist_ok=True)
    settings = {**TRAIN, "stage": STAGE, **(train or {})}
    study = run_tiny_study(folder, model, corpus, train=settings, **{"schemes": ["text_only"], **changes})
    return next((study / "cells").iterdir())


def loss_of(cell: Path) -> float:
    (done,) = (cell.parent.parent / "stages").glob("*/done.json")
    return float(json.loads(done.read_text())["loss"])


def test_it_trains_on_from_the_runs_weights(tmp_path: Path, tiny_model_dir: Path, tiny_corpus: Path) -> None:
    first = run(tmp_path / "first", tiny_model_dir, tiny_corpus)
    second = run(tmp_path / "second", tiny_model_dir, tiny_corpus, start_from=str(first))
    assert loss_of(second) < loss_of(first)
    (one,), (other,) = (list((cell.parent.parent / "stages").glob("text-*")) for cell in (first, second))
    assert one.name != other.name
    again = run(tmp_path / "again", tiny_model_dir, tiny_corpus, start_from=str(first))
    assert [path.name for path in (again.parent.parent / "stages").glob("text-*")] == [other.name]


def test_what_does_not_fit_is_refused(tmp_path: Path, tiny_model_dir: Path, tiny_corpus: Path) -> None:
    with pytest.raises(UserError, match="is not a run folder"):
        run(tmp_path / "a", tiny_model_dir, tiny_corpus, start_from=str(tmp_path))
    untrained = run(tmp_path / "b", tiny_model_dir, tiny_corpus, schemes=["zero_shot"])
    with pytest.raises(UserError, match="was not trained"):
        run(tmp_path / "c", tiny_model_dir, tiny_corpus, start_from=str(untrained))
    first = run(tmp_path / "d", tiny_model_dir, tiny_corpus)
    with pytest.raises(UserError, match=r"train\.lora = .*'r': 16.* this recipe has .*'r': 8"):
        run(tmp_path / "e", tiny_model_dir, tiny_corpus, train={"lora": {"r": 8}}, start_from=str(first))
