"""A study folder read back: its cells and their scores. Loads no model.

A cell (a scheme at a speech budget) is tested on two inputs: ``speech``, and ``text``, the gold transcripts. How far
its speech score lies below the gold-text score of text-only fine-tuning is what labelled speech can still win. Unless
it says "official", a figure is a strict one: a missing or unreadable answer counts as wrong.
"""

from __future__ import annotations

import json
import re
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Annotated, Any, TypeVar

from pydantic import AfterValidator, Field, TypeAdapter, ValidationError

from sottovoce.core.errors import UserError
from sottovoce.core.types import MODALITIES, Modality, Prediction
from sottovoce.score import files
from sottovoce.score.metrics import registry
from sottovoce.train.schemes import SCHEMES

_Count = Annotated[int, Field(ge=0)]
_T = TypeVar("_T")
_ADVICE = "the file is damaged: delete it and run the study again"
# What a cell is called tells what it is, before it has begun: "curriculum-from-en-5pct-seed1-Qwen2-Audio-7B".
_NAME = re.compile(
    r"(?P<scheme>[^-]+)(?:-from-(?P<sources>[A-Za-z0-9_+]+))?"
    r"(?:-(?P<size>all|\d[\d.e+-]*(?:pct|utterances|seconds|hours|speakers)))?(?:-seed(?P<seed>-?\d+))?(?:-(?P<model>.+))?"
)


def _known(scheme: str) -> str:
    if scheme not in SCHEMES:
        raise ValueError(f"no such scheme: {scheme!r}")
    return scheme


_Scheme = Annotated[str, AfterValidator(_known)]


def _possible(scores: dict[str, float]) -> dict[str, float]:
    for name in (*registry.headline_keys(), "num_scored", "num_unreadable"):
        if name not in scores:
            raise ValueError(f"{name} is missing")
    for metric in registry.METRICS:
        if metric.unit and scores.get(metric.key, 0.0) > 1:
            raise ValueError(f"{metric.key} is above 1")
    return scores


Scores = Annotated[dict[str, Annotated[int | float, Field(ge=0, allow_inf_nan=False)]], AfterValidator(_possible)]
"""What one scorer says of one cell on one input, as scores.json has it: metrics by their keys (a study that ran before
there was a metric lacks it), then counts of utterances."""


@dataclass(frozen=True)
class InputScores:
    """The same answers scored twice: as SLURP's own script does (skipping what is missing), and strictly."""

    official: Scores
    strict: Scores


@dataclass(frozen=True)
class CellResult:
    """One trained cell; ``speech`` and ``text`` hold its scores on each input, None while it is unfinished.

    ``speech_ids`` and ``speech_seconds`` are of the target's speech; ``size`` is the budget as its name has it, such as
    "5pct" or "all"; ``sources`` names the source languages that its mixture adds; ``failed`` says why the last try
    failed, if it did. A cascade names its recogniser, ``asr``, with that one's word error rate on the test recordings.
    ``seconds_per_utterance`` and ``num_parameters`` are what an answer costs, None where that was not measured.
    """

    name: str
    scheme: _Scheme
    budget_share: float = 0.0
    size: str = ""
    seed: int = 0
    sources: tuple[str, ...] = ()
    model_name: str = ""
    speech_seconds: float = 0.0
    failed: str = ""
    asr: str = ""
    word_error_rate: Annotated[float, Field(ge=0)] | None = None
    seconds: float | None = None
    seconds_per_utterance: Annotated[float, Field(ge=0)] | None = None
    num_parameters: _Count | None = None
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
        """How many of the target's recordings it was trained on; a row may show one of them again."""
        # With sources there are rows of their speech, too, also where the target has none.
        return len(self.speech_ids) if self.speech_ids or self.sources else self.num_speech_rows

    def strict(self, modality: Modality) -> Scores:
        """The strict scores on an input of a finished cell."""
        scores = self.speech if modality == "speech" else self.text
        if scores is None:
            raise ValueError(f"cell {self.name} is unfinished")
        return scores.strict

    def headline_on_speech(self) -> list[float]:
        """The headline metrics of a finished cell on speech, strict: the larger, the better the cell."""
        return [self.strict("speech")[key] for key in registry.headline_keys()]


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

    @property
    def has_costs(self) -> bool:
        """Whether any cell says what an answer costs."""
        return any(cell.num_parameters is not None for cell in self.cells)

    @property
    def is_grid(self) -> bool:
        """Whether some scheme has several cells, so that there are lines to draw and not just points."""
        return len({cell.scheme for cell in self.cells}) < len(self.cells)

    def text_only_for(self, cell: CellResult) -> CellResult | None:
        """The finished text-only cell that a cell is measured against: of its model and mixture, and of its own seed
        if there is one."""
        same = (cell.model_name, cell.sources)
        alike = [c for c in self.finished if c.scheme == "text_only" and (c.model_name, c.sources) == same]
        return next((other for other in alike if other.seed == cell.seed), alike[0] if alike else None)

    @property
    def best(self) -> CellResult | None:
        """The finished cell with training speech (of whatever language) that is best on test speech: by the
        headline metrics in their order. A cascade is a baseline, as text-only is: what the best is set against."""
        heard = [cell for cell in self.finished if SCHEMES[cell.scheme].has_budget]
        return max(heard, key=CellResult.headline_on_speech, default=None)


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
    models = str(card.get("model", "")).split(", ")
    cells = tuple(_read_cell(folder / "cells" / str(name), models) for name in names)
    return _checked(StudyResults, {**card, "folder": folder, "cells": cells}, str(path))


def prediction_file(results: StudyResults, cell: CellResult, modality: Modality) -> Path:
    """Where a cell's answers on an input lie."""
    return results.folder / "cells" / cell.name / f"predictions-{modality}.jsonl"


def read_predictions(results: StudyResults, cell: CellResult, modality: Modality) -> dict[str, Prediction]:
    """A cell's answers on an input, by utterance id."""
    rows = files.read_predictions(prediction_file(results, cell, modality))
    return {
        row.key: Prediction(row.key, row.text or "", "ok", row.frame)
        if row.status == "ok"
        else Prediction(row.key, row.text or "", "unreadable", None)
        for row in rows
    }


def _read_cell(folder: Path, models: list[str]) -> CellResult:
    card, failed, scores = (folder / name for name in ("cell.json", "failed.json", "scores.json"))
    cell = cell_named(folder.name, models)
    if card.is_file():
        cell |= {**_object(card), "name": folder.name}
        if scores.is_file():
            both = _object(scores)
            for modality in MODALITIES:
                if modality in both:
                    cell[modality] = _checked(InputScores, both[modality], f"{scores}: {modality}")
    if failed.is_file():
        cell["failed"] = _object(failed).get("what", "")
    return _checked(CellResult, cell, str(card) if card.is_file() else f"{folder.parent}: cell {folder.name}")


def cell_named(name: str, models: list[str]) -> dict[str, Any]:
    """What a cell's name says of it; the first model goes without saying."""
    found = _NAME.fullmatch(name)
    if found is None:
        return {"name": name, "scheme": name}
    size, tail = found["size"] or "", re.sub(r"\W+", "_", found["model"] or "")
    return {
        "name": name,
        "scheme": found["scheme"],
        "size": size,
        "budget_share": float(size[:-3]) / 100 if size.endswith("pct") else 0.0,
        "seed": int(found["seed"] or 0),
        "sources": tuple((found["sources"] or "").split("+")) if found["sources"] else (),
        "model_name": next((m for m in models if tail and re.sub(r"\W+", "_", m).endswith(tail)), models[0]),
    }


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
