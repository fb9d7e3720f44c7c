"""How a study's models transcribe the recordings of its speech budgets; recognition noise is estimated from it."""

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


def transcribe_budgets(data: Data, folder: Path, cells: Sequence[Cell], say: Say) -> Data:
    """Has each model transcribe the recordings of its cells' budgets and keeps the transcripts in the study's folder;
    recordings that already have one are skipped.

    Returns:
        the data :func:`with_budget_transcripts`.
    """
    estimating = _estimating(cells)
    for model in dict.fromkeys(cell.model for cell in estimating):
        own = [cell for cell in estimating if cell.model == model]
        ids = {identity for cell in own if cell.budget for identity in cell.budget.ids}
        _transcribe(folder, model, [utterance for utterance in data.train if utterance.id in ids], say)
    for cell in estimating:
        if not (cell.budget and cell.budget.ids):
            say(f"{cell.name}: no recordings to learn mishearings from; its noise is sound-alike spelling")
    return with_budget_transcripts(data, folder, cells)


def with_budget_transcripts(data: Data, folder: Path, cells: Sequence[Cell]) -> Data:
    """The data with the transcripts made so far, for cells that estimate their noise from them; without any, noise is
    sound-alike spelling (see :func:`sottovoce.study.noise_sources.noisy_text_for`)."""
    models = dict.fromkeys(cell.model for cell in _estimating(cells))
    return replace(data, heard={model: _kept(_file(folder, model)) for model in models})


def _estimating(cells: Sequence[Cell]) -> list[Cell]:
    """The cells that estimate their noise from their budgets."""
    noises = [(cell, part.noise) for cell in cells for stage in cell.stages for part in stage.mixture if part.noise]
    return list({cell.name: cell for cell, noise in noises if noise.source == "budget"}.values())


def _transcribe(folder: Path, model: str, clips: Sequence[Utterance], say: Say) -> None:
    target = _file(folder, model)
    heard = _kept(target)
    new = [clip for clip in clips if audio_sha256(clip.audio or Path(), clip.where) not in heard]
    if not new:
        return
    say(f"{model}: transcribing {len(new)} recordings of the speech budgets to learn what it mishears")
    partial = target.with_suffix(".partial")
    heard |= written_of(new, model, partial, say)
    write_whole(target, json_lines({"recording": sha, "text": text} for sha, text in heard.items()))
    partial.unlink(missing_ok=True)


def _kept(path: Path) -> dict[str, str]:
    return {str(row["recording"]): str(row["text"]) for row in whole_rows(path)}


def _file(folder: Path, model: str) -> Path:
    return StudyFolder(folder).heard(model_identity(model))
