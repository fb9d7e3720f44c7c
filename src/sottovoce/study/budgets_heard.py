"""What a study's models write down of its speech budgets' recordings, for recognition noise estimated from that."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path

from sottovoce.core.progress import Say
from sottovoce.core.storage import json_lines, whole_rows, write_whole
from sottovoce.core.types import Utterance
from sottovoce.data.audio import audio_sha256
from sottovoce.data.load import Data
from sottovoce.embedded.mishearings import written_of
from sottovoce.models.load import model_identity
from sottovoce.study.cells import Cell
from sottovoce.study.layout import StudyFolder


def hear_budgets(data: Data, folder: Path, cells: Sequence[Cell], say: Say) -> Data:
    """Has each model write down the recordings of its cells' budgets, those it has not heard before, and keeps that in
    the study's folder.

    Returns:
        the data :func:`with_heard`.
    """
    asking = _asking(cells)
    for model in dict.fromkeys(cell.model for cell in asking):
        own = [cell for cell in asking if cell.model == model]
        ids = {identity for cell in own if cell.budget for identity in cell.budget.ids}
        _hear(folder, model, [utterance for utterance in data.train if utterance.id in ids], say)
    for cell in asking:
        if not (cell.budget and cell.budget.ids):
            say(f"{cell.name}: no recordings to learn mishearings from, so its noise is sound-alike spelling")
    return with_heard(data, folder, cells)


def with_heard(data: Data, folder: Path, cells: Sequence[Cell]) -> Data:
    """The data with what models wrote down before for cells that ask for it; without it their noise is sound-alike
    spelling, as :func:`sottovoce.study.noise_sources.hearing_of` says."""
    models = dict.fromkeys(cell.model for cell in _asking(cells))
    return replace(data, heard={model: _kept(_file(folder, model)) for model in models})


def _asking(cells: Sequence[Cell]) -> list[Cell]:
    """The cells whose noise is estimated from their budgets."""
    noises = [(cell, part.noise) for cell in cells for stage in cell.stages for part in stage.mixture if part.noise]
    return list({cell.name: cell for cell, noise in noises if noise.source == "budget"}.values())


def _hear(folder: Path, model: str, clips: Sequence[Utterance], say: Say) -> None:
    target = _file(folder, model)
    heard = _kept(target)
    new = [clip for clip in clips if audio_sha256(clip.audio or Path(), clip.where) not in heard]
    if not new:
        return
    say(f"{model}: transcribing {len(new)} recordings of the speech budgets, to learn what it mishears")
    partial = target.with_suffix(".partial")
    heard |= written_of(new, model, partial, say)
    write_whole(target, json_lines({"recording": sha, "text": text} for sha, text in heard.items()))
    partial.unlink(missing_ok=True)


def _kept(path: Path) -> dict[str, str]:
    return {str(row["recording"]): str(row["text"]) for row in whole_rows(path)}


def _file(folder: Path, model: str) -> Path:
    return StudyFolder(folder).heard(model_identity(model))
