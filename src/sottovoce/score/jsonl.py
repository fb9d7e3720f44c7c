"""JSONL files read row by row: a file of any size takes the memory of its longest line, and a fault names its line."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import Any, TypeVar

from pydantic import BaseModel, ValidationError

from sottovoce.core.errors import UserError, first_fault
from sottovoce.data.manifest import json_object, numbered_lines

_Model = TypeVar("_Model", bound=BaseModel)


def json_rows(path: Path, what: str) -> Iterator[tuple[str, dict[str, Any]]]:
    """Yields each row with its ``file:line``. Blank lines are passed over; line feeds alone end lines, so that U+2028
    in a transcript is a letter; a carriage return before one and a byte-order mark are no part of the text.

    Args:
        path: the file.
        what: what it is called in messages, "prediction file".

    Raises:
        UserError: no such file, no rows, text that is not UTF-8, or a line that is not one JSON object.
    """
    if not path.is_file():
        raise UserError(f"no such {what}: {path}", "correct the path")
    empty = True
    for where, line in numbered_lines(path):
        empty = False
        yield where, json_object(line, where)
    if empty:
        raise UserError(f"{path}: the {what} is empty", "add at least one row")


def validated(model: type[_Model], row: dict[str, Any], where: str) -> _Model:
    """The row as a model.

    Raises:
        UserError: it does not fit; the message names file:line and the key.
    """
    try:
        return model.model_validate(row)
    except ValidationError as error:
        raise UserError(f"{where}: {first_fault(error)}", "correct that row") from error
