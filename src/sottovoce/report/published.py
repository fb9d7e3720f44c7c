"""Published figures to compare a study with: shipped ones for its corpus, and the user's own."""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from types import GenericAlias
from typing import Annotated, Any, TypeVar

import yaml
from pydantic import BaseModel, ConfigDict, Field, TypeAdapter, ValidationError, create_model

from sottovoce.core.errors import UserError, first_fault
from sottovoce.report.results import StudyResults
from sottovoce.report.wording import model_tail
from sottovoce.score.metrics.registry import headline_keys

_T = TypeVar("_T")
_SHIPPED = Path(__file__).with_name("published.yaml")


class _Closed(BaseModel):
    model_config = ConfigDict(extra="forbid", frozen=True)


class _Figure(_Closed):
    model: str
    source: str
    reference: bool = False


class _Group(_Closed):
    corpora: list[str]
    locale: str
    figures: list[Any]


@dataclass(frozen=True)
class Published:
    """One system's published figures (shares, 0..1, by metric key); ``drawn`` if the study's figure shows them."""

    model: str
    source: str
    figures: Mapping[str, float]
    drawn: bool


def published_for(results: StudyResults, own: Path | None = None) -> tuple[Published, ...]:
    """The published figures to compare a study with.

    Args:
        results: the study.
        own: the user's YAML file, a list of ``{model, source}`` with headline metrics in percent, all of them drawn.

    Raises:
        UserError: there is no such file, or it does not have that form.
    """
    shipped = [
        _published(figure, figure.reference or figure.model.casefold() in _models(results))
        for group in _read(_SHIPPED, list[_Group])
        if _is_corpus(results.corpus, group)
        for figure in TypeAdapter(_rows()).validate_python(group.figures)
    ]
    return (*shipped, *(_published(figure, True) for figure in (_read(own, _rows()) if own else ())))


def _rows() -> Any:
    """The type of such a file: rows with headline metrics in percent."""
    fields: dict[str, Any] = dict.fromkeys(headline_keys(), (Annotated[float, Field(ge=0, le=100)] | None, None))
    return GenericAlias(list, (create_model("Row", __base__=_Figure, **fields),))


def _published(figure: _Figure, drawn: bool) -> Published:
    given = figure.model_dump(include=set(headline_keys()), exclude_none=True)
    return Published(figure.model, figure.source, {key: value / 100 for key, value in given.items()}, drawn)


def _is_corpus(name: str, group: _Group) -> bool:
    """Whether the group is about a study's corpus, such as "slurp en-US"."""
    corpus, _, locale = name.rpartition(" ")
    plain = re.sub(r"\W+", "_", corpus.casefold())
    return locale == group.locale and plain in group.corpora


def _models(results: StudyResults) -> set[str]:
    return {model_tail(cell.model_name).casefold() for cell in results.cells}


def _read(path: Path, kind: type[_T]) -> _T:
    if not path.is_file():
        raise UserError(f"no such file of published figures: {path}", "correct the path")
    try:
        return TypeAdapter(kind).validate_python(yaml.safe_load(path.read_text(encoding="utf-8")))
    except (UnicodeDecodeError, yaml.YAMLError) as error:
        raise UserError(f"{path}: not YAML ({error})".replace("\n", " "), "correct it") from error
    except ValidationError as error:
        advice = f"give a list of {{model, source, {', '.join(headline_keys())}}}, in percent"
        raise UserError(f"{path}: {first_fault(error)}", advice) from error
