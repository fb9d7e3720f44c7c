"""Reads JSONL files row by row: memory is that of the longest line, and errors name file and line."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import Any, TypeVar

from pydantic import BaseModel, ValidationError

from sottovoce.core.errors import UserError, first_fault
from sottovoce.data.manifest import json_object, numbered_lines

_Model = TypeVar("_Model", bound=BaseModel)


def json_rows(path: Path, what: str) -> Iterator[tuple[str, dict[str, Any]]]:
    """Yields each row with its ``file:line``. Blank lines are skipped. Only line feeds end lines, so U+2028 may occur
    in a transcript; a carriage return before one and a byte-order mark are dropped.

    Args:
        path: the file.
        what: the file's name in messages, such as "prediction file".

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
        UserError: it is invalid; the message has file:line and the key.
    """
    try:
        return model.model_validate(row)
    except ValidationError as error:
        raise UserError(f"{where}: {first_fault(error)}", "correct that row") from error
