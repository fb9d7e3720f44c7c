"""A cell's facts, kept in its cell.json, so that no code needs to parse a cell's name."""

from __future__ import annotations

import json
import re
from collections.abc import Mapping
from pathlib import Path
from typing import Annotated, Any, TypeVar

from pydantic import AfterValidator, BaseModel, ConfigDict, Field, TypeAdapter, ValidationError, model_validator

from sottovoce.core.errors import UserError, first_fault
from sottovoce.core.recipe import DevMetric
from sottovoce.core.storage import write_whole
from sottovoce.core.types import Modality
from sottovoce.study.layout import CellFolder
from sottovoce.train.schemes import SCHEMES

_T = TypeVar("_T")
DAMAGED = "the file is damaged: delete it and rerun the study"
_SIZE = re.compile(r"all|\d[\d.e+]*(pct|utterances|seconds|hours|speakers)")  # in the cell names of earlier versions


def _known(scheme: str) -> str:
    if scheme not in SCHEMES:
        raise ValueError(f"no such scheme: {scheme!r}")
    return scheme


class DevScores(BaseModel):
    """A cell's scores on the dev utterances, with the weights that its last stage ends with.

    ``metric`` is the one that selects; ``step`` of ``num_steps`` has these weights; ``loss`` is in nats a token, the
    others are strict scores, 0..1.
    """

    model_config = ConfigDict(frozen=True)

    modality: Modality
    num_utterances: Annotated[int, Field(ge=1)]
    metric: DevMetric
    step: int
    num_steps: int
    intent_accuracy: float
    slu_f1: float
    loss: float


class CellCard(BaseModel):
    """A cell.json: written when the study is opened, completed when the cell is trained and decoded.

    ``size`` is the speech budget as the recipe gives it, such as "5pct" or "all", and "" if the scheme has none;
    ``speech_ids`` and ``speech_seconds`` describe the target's speech; ``sources`` names the source languages that the
    mixture adds. ``model_name`` is the model as the recipe names it, ``model`` identifies its weights; likewise ``asr``
    and ``recogniser`` for a cascade, whose word error rate is on the test recordings. ``stages`` are the keys of the
    trained stages, None until they are known. ``seconds_per_utterance`` and ``num_parameters`` are the cost of an
    answer, None if not measured. ``dev`` is there if training was evaluated.
    """

    model_config = ConfigDict(frozen=True)

    name: str
    scheme: Annotated[str, AfterValidator(_known)]
    uses_speech: bool
    size: str = ""
    budget_share: float = 0.0
    seed: int = 0
    sources: tuple[str, ...] = ()
    model_name: str = ""
    seconds: float | None = None
    num_text_rows: int = 0
    num_speech_rows: int = 0
    speech_ids: tuple[str, ...] = ()
    speech_seconds: float = 0.0
    model: str = ""
    asr: str = ""
    recogniser: str = ""
    stages: tuple[str, ...] | None = None
    versions: Mapping[str, str] = {}
    data: Mapping[str, str] = {}
    word_error_rate: Annotated[float, Field(ge=0)] | None = None
    seconds_per_utterance: Annotated[float, Field(ge=0)] | None = None
    num_parameters: Annotated[int, Field(ge=0)] | None = None
    dev: DevScores | None = None

    @model_validator(mode="before")
    @classmethod
    def _complete(cls, values: Any) -> Any:
        """Fills in what cards of earlier versions lack."""
        if isinstance(values, dict) and values.get("scheme") in SCHEMES:
            sizes = [part for part in str(values.get("name")).split("-") if _SIZE.fullmatch(part)]
            size = {"size": sizes[0]} if sizes else {}
            return {"uses_speech": SCHEMES[values["scheme"]].uses_speech, **size, **values}
        return values


def read_card(files: CellFolder) -> CellCard:
    """A cell's card.

    Raises:
        UserError: it is missing or damaged; the message names the file.
    """
    if not files.card.is_file():
        raise UserError(f"no such file: {files.card}", "rerun the study, which writes it")
    return checked(CellCard, json_object(files.card) | {"name": files.name}, str(files.card))


def write_card(files: CellFolder, card: CellCard) -> None:
    """Writes a cell's card; fields that were never set are left out."""
    write_whole(files.card, card.model_dump_json(indent=1, exclude_unset=True))


def add_facts(files: CellFolder, **facts: Any) -> None:
    """Updates fields of a cell's card."""
    write_card(files, read_card(files).model_copy(update=facts))


def trained_alike(files: CellFolder) -> list[CellFolder]:
    """The other cells of the study that share all of this cell's stages, so have the same weights."""
    stages = read_card(files).stages
    others = [files.study.cell(path.name) for path in sorted(files.study.cells.glob("*")) if path.name != files.name]
    return [each for each in others if stages and each.card.is_file() and read_card(each).stages == stages]


def json_object(path: Path) -> dict[str, Any]:
    """Reads a JSON object from a file of a study. Raises UserError, naming the file, if it is damaged."""
    try:
        value = json.loads(path.read_text(encoding="utf-8"))
    except (UnicodeDecodeError, json.JSONDecodeError) as error:
        raise UserError(f"{path}: not JSON ({error})", DAMAGED) from error
    if not isinstance(value, dict):
        raise UserError(f"{path}: not a JSON object", DAMAGED)
    return value


def checked(kind: type[_T], value: Any, where: str) -> _T:
    """Validates a value as that type. Raises UserError with ``where`` and the first fault."""
    try:
        return TypeAdapter(kind).validate_python(value)
    except ValidationError as error:
        raise UserError(f"{where}: {first_fault(error)}", DAMAGED) from error
