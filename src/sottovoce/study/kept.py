"""The proofs and measurements made before a study's first step, kept in its folder so that a rerun skips them.

Nothing else reads this file: if it is missing, damaged or out of date, the proofs and measurements are made again.
"""

from __future__ import annotations

import hashlib
import json
from collections.abc import Callable
from functools import cache
from importlib.metadata import version
from pathlib import Path
from typing import Any

from sottovoce.core.downloads import sha256_of
from sottovoce.core.recipe import Recipe, Train
from sottovoce.core.storage import write_whole
from sottovoce.models.load import model_identity
from sottovoce.study.layout import StudyFolder
from sottovoce.study.workspace import machine

# Training settings that change neither what a step computes nor what is trained.
OF_NO_STEP = {"stage", "first_stage", "last_stage", "logging_steps", "save_steps"}

Values = dict[str, Any]  # as JSON has them


def kept(folder: Path, name: str, circumstances: Values, make: Callable[[], Values]) -> Values:
    """What ``make`` returns, or returned earlier under the same name in the same circumstances.

    Args:
        folder: the study's; if it does not exist, as in a dry run, nothing is kept.
        circumstances: everything that the result depends on.
    """
    earlier = _entries(folder).get(name)
    if isinstance(earlier, dict) and earlier.get("seal") == _seal(circumstances, earlier.get("values")):
        values: Values = earlier["values"]
        return values
    made = make()
    if folder.is_dir():
        entries = _entries(folder) | {name: {"values": made, "seal": _seal(circumstances, made)}}
        write_whole(StudyFolder(folder).preflight, json.dumps(entries, indent=1))
    return made


def _seal(circumstances: Values, values: Any) -> str:
    """A hash that matches only these values in these circumstances."""
    return hashlib.sha256(json.dumps([circumstances, values], sort_keys=True).encode()).hexdigest()


def _entries(folder: Path) -> Values:
    try:
        entries = json.loads((StudyFolder(folder).preflight).read_text(encoding="utf-8"))
    except (FileNotFoundError, ValueError):  # missing, not JSON or not UTF-8
        return {}
    return entries if isinstance(entries, dict) else {}


def circumstances_of(recipe: Recipe, train: Train) -> Values:
    """What a model's proofs and measurements depend on: its files, training settings, the machine, versions, our code.

    Args:
        recipe: for that model alone.
        train: its settings, with ``gradient_checkpointing`` resolved.
    """
    return {
        "model": model_identity(recipe.model),
        "files": _small_files_sha256(Path(recipe.model)),
        "train": train.model_dump(mode="json", exclude=OF_NO_STEP),
        "machine": machine(train.bf16),
        "versions": {name: version(name) for name in ("torch", "transformers", "peft")},
        "code": _code_sha256(),
    }


def _small_files_sha256(folder: Path) -> str:
    """Covers a model folder's configuration, tokenizer and template; the model's identity covers the weights."""
    files = sorted(path for pattern in ("*.json", "*.jinja", "*.txt", "*.model") for path in folder.glob(pattern))
    return hashlib.sha256("".join(f"{path.name} {sha256_of(path)} " for path in files).encode()).hexdigest()


@cache
def _code_sha256() -> str:
    """Covers our own files: the version alone would miss changes during development."""
    files = sorted(Path(__file__).parent.parent.rglob("*.py"))
    return hashlib.sha256("".join(map(sha256_of, files)).encode()).hexdigest()
