"""A study folder read back: its cells and their scores. Loads no model.

A cell (a scheme at a speech budget) is tested on two inputs: ``speech``, and ``text``, the gold transcripts. The gap
between its speech score and text-only's gold-text score is what labelled speech can still gain. Figures are strict (a
missing or unreadable answer counts as wrong) unless they are called official.
"""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import Annotated, Any

from pydantic import AfterValidator, Field

from sottovoce.core.errors import UserError
from sottovoce.core.types import ANSWERED, MODALITIES, Modality, Prediction
from sottovoce.score import files
from sottovoce.score.metrics import registry
from sottovoce.study.card import DAMAGED, CellCard, checked, json_object, read_card
from sottovoce.study.layout import CellFolder, StudyFolder

_Count = Annotated[int, Field(ge=0)]


def _possible(scores: dict[str, float]) -> dict[str, float]:
    for name in (*registry.headline_keys(), "num_scored", "num_unreadable"):
        if name not in scores:
            raise ValueError(f"{name} is missing")
    for metric in registry.METRICS:
        if metric.unit and scores.get(metric.key, 0.0) > 1:
            raise ValueError(f"{metric.key} is above 1")
    return scores


Scores = Annotated[dict[str, Annotated[int | float, Field(ge=0, allow_inf_nan=False)]], AfterValidator(_possible)]
"""One scorer's figures for a cell on one input, as in scores.json: metrics by key (an older study lacks newer metrics),
then counts of utterances."""


@dataclass(frozen=True)
class InputScores:
    """The same answers scored twice: as SLURP's own script does (skipping what is missing), and strictly."""

    official: Scores
    strict: Scores


class CellResult(CellCard):
    """One cell with its scores on ``speech`` and ``text``, None while it is unfinished.

    ``failed`` says why the last run failed, if it did.
    """

    failed: str = ""
    speech: InputScores | None = None
    text: InputScores | None = None

    @property
    def finished(self) -> bool:
        return self.speech is not None and self.text is not None

    @property
    def num_clips(self) -> int:
        """How many of the target's recordings it was trained on; several rows may show the same one."""
        # Rows also count the speech of sources, even if the target has none.
        return len(self.speech_ids) if self.speech_ids or self.sources else self.num_speech_rows

    def strict(self, modality: Modality) -> Scores:
        """The strict scores on an input of a finished cell."""
        scores = self.speech if modality == "speech" else self.text
        if scores is None:
            raise ValueError(f"cell {self.name} is unfinished")
        return scores.strict

    def headline_on_speech(self) -> list[float]:
        """The headline metrics of a finished cell on speech, strict; larger is better."""
        return [self.strict("speech")[key] for key in registry.headline_keys()]


@dataclass(frozen=True)
class StudyResults:
    """A study: its data and models, and its cells in the study's order."""

    folder: Path
    name: str
    title: str
    recipe: str
    created: str
    machine: str
    model: str
    corpus: str
    num_train: int
    num_test: int
    budget_share: float
    num_speech: int
    cells: tuple[CellResult, ...]
    seconds: float | None = None
    majority_intent_accuracy: float | None = None
    unheard_voices: bool = False

    @property
    def layout(self) -> StudyFolder:
        return StudyFolder(self.folder)

    @property
    def finished(self) -> tuple[CellResult, ...]:
        return tuple(cell for cell in self.cells if cell.finished)

    @property
    def has_costs(self) -> bool:
        """Whether any cell has measured the cost of an answer."""
        return any(cell.num_parameters is not None for cell in self.cells)

    @property
    def num_unknown_labels(self) -> int:
        """How many answers to speech name an intent or a slot type that training did not have, over all cells."""
        return sum(int(cell.strict("speech").get("num_unknown_label", 0)) for cell in self.finished)

    @property
    def is_grid(self) -> bool:
        """Whether some scheme has several cells, so that there are lines to draw and not just points."""
        return len({cell.scheme for cell in self.cells}) < len(self.cells)

    def text_only_for(self, cell: CellResult) -> CellResult | None:
        """The finished text-only cell to compare a cell with: of its model and mixture, and of its seed if possible."""
        same = (cell.model_name, cell.sources)
        alike = [c for c in self.finished if c.scheme == "text_only" and (c.model_name, c.sources) == same]
        return next((other for other in alike if other.seed == cell.seed), alike[0] if alike else None)

    @property
    def best(self) -> CellResult | None:
        """The finished cell with training speech (in any language) that is best on test speech, by the headline
        metrics in turn. A cascade is a baseline like text-only, never the best."""
        spoken = [cell for cell in self.finished if cell.uses_speech]
        return max(spoken, key=CellResult.headline_on_speech, default=None)


def read_study(folder: Path) -> StudyResults:
    """Reads a study folder; a cell without scores is kept as unfinished.

    Raises:
        UserError: the folder is not a study, or one of its files is damaged; the message names the file.
    """
    path = StudyFolder(folder).summary
    if not path.is_file():
        raise UserError(f"{folder} is not a study folder: it has no {path.name}", "give a folder that a study wrote")
    card = json_object(path)
    names = card.get("cells")
    if not isinstance(names, list):
        raise UserError(f"{path}: the list 'cells' is missing", DAMAGED)
    cells = tuple(_read_cell(StudyFolder(folder).cell(str(name))) for name in names)
    return checked(StudyResults, {**card, "folder": folder, "cells": cells}, str(path))


def prediction_file(results: StudyResults, cell: CellResult, modality: Modality) -> Path:
    """The file of a cell's answers on an input."""
    return results.layout.cell(cell.name).predictions(modality)


def read_predictions(results: StudyResults, cell: CellResult, modality: Modality) -> dict[str, Prediction]:
    """A cell's answers on an input, by utterance id."""
    rows = files.read_predictions(prediction_file(results, cell, modality))
    return {
        row.key: Prediction(row.key, row.text or "", "ok", row.frame)
        if row.status in ANSWERED
        else Prediction(row.key, row.text or "", "unreadable", None)
        for row in rows
    }


def _read_cell(files: CellFolder) -> CellResult:
    facts: dict[str, Any] = dict(read_card(files))
    if files.failed.is_file():
        facts["failed"] = str(json_object(files.failed).get("what", ""))
    if (path := files.scores()).is_file():
        scores = json_object(path)
        facts |= {each: checked(InputScores, scores[each], f"{path}: {each}") for each in MODALITIES if each in scores}
    return CellResult(**facts)
