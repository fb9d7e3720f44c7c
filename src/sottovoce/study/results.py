"""A study folder read back: its cells and scores, and the figures derived from them. Loads no model.

A cell (a scheme at a speech budget) is tested on two inputs: ``speech``, and ``text``, the gold transcripts. How far
its speech score lies below the gold-text score of text-only fine-tuning is what labelled speech can still win. Unless
it says "official", a figure is a strict one: a missing or unreadable answer counts as wrong.
"""

from __future__ import annotations

import json
import math
import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Annotated, Any, Literal, TypeVar

from pydantic import AfterValidator, Field, TypeAdapter, ValidationError

from sottovoce.data.manifest import read_manifest
from sottovoce.errors import UserError
from sottovoce.evaluate import files
from sottovoce.train.schemes import SCHEMES
from sottovoce.types import MODALITIES, Modality, Prediction, Utterance

Metric = Literal["intent_accuracy", "slu_f1"]

_Share = Annotated[float, Field(ge=0, le=1)]
_Count = Annotated[int, Field(ge=0)]
_T = TypeVar("_T")
_ADVICE = "the file is damaged: delete it and run the study again"


def _known(scheme: str) -> str:
    if scheme not in SCHEMES:
        raise ValueError(f"no such scheme: {scheme!r}")
    return scheme


_Scheme = Annotated[str, AfterValidator(_known)]


@dataclass(frozen=True)
class Scores:
    """One scorer's figures for one cell on one input; shares from 0 to 1, then counts of utterances."""

    scenario_accuracy: _Share
    action_accuracy: _Share
    intent_accuracy: _Share
    entity_f1: _Share
    slu_precision: _Share
    slu_recall: _Share
    slu_f1: _Share
    num_scored: _Count
    num_missing: _Count
    num_unreadable: _Count


@dataclass(frozen=True)
class InputScores:
    """The same answers scored twice: as SLURP's own script does (skipping what is missing), and strictly."""

    official: Scores
    strict: Scores


@dataclass(frozen=True)
class CellResult:
    """One trained cell; ``speech`` and ``text`` hold its scores on each input, None while it is unfinished.

    ``speech_ids`` and ``speech_seconds`` are of the target's speech; ``sources`` names the source languages that its
    mixture adds; ``failed`` says why the last try failed, if it did.
    """

    name: str
    scheme: _Scheme
    budget_share: float = 0.0
    seed: int = 0
    sources: tuple[str, ...] = ()
    model_name: str = ""
    speech_seconds: float = 0.0
    failed: str = ""
    seconds: float | None = None
    num_text_rows: int = 0
    num_speech_rows: int = 0
    speech_ids: tuple[str, ...] = ()
    versions: Mapping[str, str] = field(default_factory=dict)
    data: Mapping[str, str] = field(default_factory=dict)
    speech: InputScores | None = None
    text: InputScores | None = None

    @property
    def finished(self) -> bool:
        return self.speech is not None and self.text is not None

    @property
    def num_clips(self) -> int:
        """How many recordings it was trained on; a row may show one of them again."""
        return len(self.speech_ids) or self.num_speech_rows

    def strict(self, modality: Modality) -> Scores:
        """The strict scores on an input of a finished cell."""
        scores = self.speech if modality == "speech" else self.text
        if scores is None:
            raise ValueError(f"cell {self.name} is unfinished")
        return scores.strict


@dataclass(frozen=True)
class StudyResults:
    """A study: what was asked of which data and model, and its cells in the study's order."""

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
    def finished(self) -> tuple[CellResult, ...]:
        return tuple(cell for cell in self.cells if cell.finished)

    def text_only_for(self, cell: CellResult) -> CellResult | None:
        """The finished text-only cell that a cell is measured against: of its model and mixture, and of its own seed
        if there is one."""
        same = (cell.model_name, cell.sources)
        alike = [c for c in self.finished if c.scheme == "text_only" and (c.model_name, c.sources) == same]
        return next((other for other in alike if other.seed == cell.seed), alike[0] if alike else None)

    @property
    def best(self) -> CellResult | None:
        """The finished cell with training speech that is best on test speech: by intent accuracy, then SLU-F1."""
        heard = [cell for cell in self.finished if cell.num_clips]
        return max(
            heard, key=lambda cell: (cell.strict("speech").intent_accuracy, cell.strict("speech").slu_f1), default=None
        )


@dataclass(frozen=True)
class Difference:
    """A difference of two accuracies on the same utterances, with its standard error."""

    value: float
    standard_error: float

    @property
    def distinguishable(self) -> bool:
        """Whether it is at least two standard errors, and not nothing."""
        return self.value != 0 and abs(self.value) >= 2 * self.standard_error


def standard_error(accuracy: float, num_scored: int) -> float:
    """Standard error sqrt(p(1-p)/n) of an accuracy; it covers the choice of test utterances, not of the run."""
    return math.sqrt(accuracy * (1 - accuracy) / num_scored) if num_scored else math.nan


def share_unreadable(scores: Scores) -> float:
    """Share of the scored answers that could not be read as a frame."""
    return scores.num_unreadable / scores.num_scored if scores.num_scored else math.nan


def gap_closed(cell: CellResult, text_only: CellResult, metric: Metric) -> float | None:
    """Share of text-only's loss from gold text to speech that a cell wins back; None if text-only loses nothing.

    (cell on speech - text_only on speech) / (text_only on gold text - text_only on speech): 0 is text-only itself,
    1 is as good on speech as text-only on gold text; it may be negative or above 1.
    """
    floor, ceiling = (float(getattr(text_only.strict(modality), metric)) for modality in MODALITIES)
    reached = float(getattr(cell.strict("speech"), metric))
    return (reached - floor) / (ceiling - floor) if ceiling > floor else None


def intent_right(prediction: Prediction | None, gold: Utterance) -> bool:
    """Whether the intent was read and is right; a missing answer is wrong."""
    return prediction is not None and prediction.frame is not None and prediction.frame.intent == gold.frame.intent


def intent_difference(
    gold: Sequence[Utterance], before: Mapping[str, Prediction], after: Mapping[str, Prediction]
) -> Difference:
    """How much higher the intent accuracy of ``after`` is than that of ``before``, paired by utterance.

    With w utterances won and l lost of n, the difference is (w - l) / n, with standard error
    sqrt(w + l - (w - l)^2 / n) / n: utterances on which both agree say nothing about it.
    """
    steps = [intent_right(after.get(row.id), row) - intent_right(before.get(row.id), row) for row in gold]
    number, net = len(steps), sum(steps)
    return Difference(net / number, math.sqrt(sum(map(abs, steps)) - net**2 / number) / number)


def read_study(folder: Path) -> StudyResults:
    """Reads a study folder; a cell without scores is kept as unfinished.

    Raises:
        UserError: the folder holds no study, or one of its files is damaged; the message names the file.
    """
    path = folder / "study.json"
    if not path.is_file():
        raise UserError(f"{folder} is no study folder: it holds no study.json", "give a folder that a study wrote")
    card = _object(path)
    names = card.get("cells")
    if not isinstance(names, list):
        raise UserError(f"{path}: the list 'cells' is missing", _ADVICE)
    cells = tuple(_read_cell(folder / "cells" / str(name)) for name in names)
    return _checked(StudyResults, {**card, "folder": folder, "cells": cells}, str(path))


def read_gold(results: StudyResults) -> list[Utterance]:
    """The study's test utterances; their recordings may lie outside the study folder."""
    return read_manifest(results.folder / "gold.jsonl", allow_outside=True)


def read_predictions(results: StudyResults, cell: CellResult, modality: Modality) -> dict[str, Prediction]:
    """A cell's answers on an input, by utterance id."""
    rows = files.read_predictions(results.folder / "cells" / cell.name / f"predictions-{modality}.jsonl")
    return {
        row.key: Prediction(row.key, row.text or "", row.status, row.frame if row.status == "ok" else None)
        for row in rows
    }


def _read_cell(folder: Path) -> CellResult:
    card, scores = folder / "cell.json", folder / "scores.json"
    if not card.is_file():
        # Not begun, or not scored: the name still tells scheme and budget, as in "curriculum-5pct".
        scheme, _, budget = folder.name.partition("-")
        found = re.match(r"(\d+(?:\.\d+)?)pct", budget)
        share = float(found[1]) / 100 if found else 0.0
        row = {"name": folder.name, "scheme": scheme, "budget_share": share}
        return _checked(CellResult, row, f"{folder.parent}: cell {folder.name}")
    cell = {**_object(card), "name": folder.name}
    if (failed := folder / "failed.json").is_file():
        cell["failed"] = _object(failed).get("what", "")
    if scores.is_file():
        both = _object(scores)
        for modality in MODALITIES:
            if modality in both:
                cell[modality] = _checked(InputScores, both[modality], f"{scores}: {modality}")
    return _checked(CellResult, cell, str(card))


def _object(path: Path) -> dict[str, Any]:
    try:
        value = json.loads(path.read_text(encoding="utf-8"))
    except (UnicodeDecodeError, json.JSONDecodeError) as error:
        raise UserError(f"{path}: not JSON ({error})", _ADVICE) from error
    if not isinstance(value, dict):
        raise UserError(f"{path}: not a JSON object", _ADVICE)
    return value


def _checked(kind: type[_T], value: Any, where: str) -> _T:
    try:
        return TypeAdapter(kind).validate_python(value)
    except ValidationError as error:
        first = error.errors()[0]
        key = ".".join(str(part) for part in first["loc"])
        fault = f"{key}: {first['msg']}" if key else first["msg"]
        raise UserError(f"{where}: {fault}", _ADVICE) from error
