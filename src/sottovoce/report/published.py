"""Published figures to see a study beside: shipped ones, only of the study's own corpus, and those a user names."""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from types import GenericAlias
from typing import Annotated, Any, TypeVar

import yaml
from pydantic import BaseModel, ConfigDict, Field, TypeAdapter, ValidationError, create_model

from sottovoce.core.errors import UserError
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
    """One system's published figures (shares, 0..1, by the metrics' keys); ``drawn`` into the study's figure or not."""

    model: str
    source: str
    figures: Mapping[str, float]
    drawn: bool


def published_for(results: StudyResults, own: Path | None = None) -> tuple[Published, ...]:
    """The published figures that belong beside a study.

    Args:
        results: the study.
        own: a YAML file of a user's own, a list of ``{model, source}`` with headline metrics in percent; all of it is
            drawn, since its user says that it fits.

    Raises:
        UserError: there is no such file, or it is not of that form.
    """
    shipped = [
        _published(figure, figure.reference or figure.model.casefold() in _models(results))
        for group in _read(_SHIPPED, list[_Group])
        if _is_corpus(results.corpus, group)
        for figure in TypeAdapter(_rows()).validate_python(group.figures)
    ]
    return (*shipped, *(_published(figure, True) for figure in (_read(own, _rows()) if own else ())))


def _rows() -> Any:
    """What such a file may hold: rows with a percentage of each headline metric."""
    fields: dict[str, Any] = dict.fromkeys(headline_keys(), (Annotated[float, Field(ge=0, le=100)] | None, None))
    return GenericAlias(list, (create_model("Row", __base__=_Figure, **fields),))


def _published(figure: _Figure, drawn: bool) -> Published:
    given = figure.model_dump(include=set(headline_keys()), exclude_none=True)
    return Published(figure.model, figure.source, {key: value / 100 for key, value in given.items()}, drawn)


def _is_corpus(name: str, group: _Group) -> bool:
    """Whether a study's corpus, such as "slurp en-US", is the group's."""
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
        first = error.errors()[0]
        key = ".".join(str(part) for part in first["loc"])
        advice = f"give a list of {{model, source, {', '.join(headline_keys())}}}, in percent"
        raise UserError(f"{path}: {key}: {first['msg']}".replace(": :", ":"), advice) from error
