"""A recipe for the tiny model, small enough for a whole study in seconds, and what a finished study consists of."""

from __future__ import annotations

import shutil
from pathlib import Path
from typing import Any

import yaml

SCHEMES = ("zero_shot", "text_only", "direct_mixing", "curriculum")
RUN = "curriculum-30pct"  # a cell of the study
BUDGETS = (0.1, 0.3)  # of 18 training utterances: 2 and 5 clips


def tiny_recipe(out: Path, model: Path, manifest: Path, **changes: Any) -> dict[str, Any]:
    """The recipe's content."""
    stage = {"num_train_epochs": 1, "learning_rate": 1e-2}
    return {
        "name": "tiny",
        **({} if "models" in changes else {"model": str(model)}),
        "corpus": {"manifest": str(manifest)},
        "schemes": list(SCHEMES),
        "budgets": list(BUDGETS),
        "out": str(out),
        "train": {
            "language_model": "lora",
            "stage": stage,
            "first_stage": stage,
            "last_stage": stage,
            "per_device_train_batch_size": 4,
            "save_steps": 2,
        },
        "decode": {"batch_size": 4, "max_new_tokens": 80},
        **changes,
    }


def write_recipe(folder: Path, model: Path, manifest: Path, **changes: Any) -> Path:
    """Writes ``folder/tiny.yaml``, whose study goes to ``folder/runs/tiny``."""
    path = folder / "tiny.yaml"
    path.write_text(yaml.safe_dump(tiny_recipe(folder / "runs", model, manifest, **changes)), encoding="utf-8")
    return path


def run_tiny_study(folder: Path, model: Path, manifest: Path, **changes: Any) -> Path:
    """Runs the study in this process and returns its folder."""
    from sottovoce.core.recipe_file import load_recipe
    from sottovoce.study.runner import run_study

    path = write_recipe(folder, model, manifest, **changes)
    recipe = load_recipe(path)
    assert not run_study(recipe, path, lambda line: None)
    return recipe.folder


def copy_of_run(tiny_study: Path, folder: Path) -> Path:
    """A run of a copy of the finished study, without the stages; it was decoded without confidences."""
    study = folder / "runs/tiny"
    shutil.copytree(tiny_study, study, ignore=shutil.ignore_patterns("stages"))
    return study / "cells" / RUN


def results_of(study: Path, cells: tuple[str, ...] = ("*",)) -> dict[str, bytes]:
    """The bytes of everything that a cell's training, decoding and scoring came to."""
    patterns = ("predictions-*.jsonl", "scores.json", "weights/*.safetensors")
    found = [path for cell in cells for pattern in patterns for path in study.glob(f"cells/{cell}/{pattern}")]
    return {str(path.relative_to(study)): path.read_bytes() for path in found}
