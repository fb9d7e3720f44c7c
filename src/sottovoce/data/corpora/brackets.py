"""Slot annotation in brackets, as MASSIVE and others write it: ``wake me at [time : five am]``."""

from __future__ import annotations

import re

from sottovoce.core.errors import UserError
from sottovoce.core.types import Entity

_BRACKET = re.compile(r"[\[\]]")


def parse_brackets(annotated: str, where: str) -> tuple[str, tuple[Entity, ...]]:
    """Reads ``[type : filler]`` annotation.

    Args:
        annotated: the annotated transcript; fillers may contain colons, but no brackets.
        where: ``file:line`` of the row, for the error.

    Returns:
        the plain transcript, and the entities in spoken order.

    Raises:
        UserError: a bracket is not closed, not opened or nested, or has no type or no filler.
    """
    plain: list[str] = []
    entities: list[Entity] = []
    start, opened = 0, -1
    for match in _BRACKET.finditer(annotated):
        place = match.start()
        if (match[0] == "[") == (opened >= 0):
            fault = "a bracket inside a bracket" if opened >= 0 else "a bracket closed that was not opened"
            raise _error(fault, annotated, place, where)
        if match[0] == "[":
            plain.append(annotated[start:place])
            opened = place
            continue
        kind, colon, filler = (part.strip() for part in annotated[opened + 1 : place].partition(":"))
        if not (kind and colon and filler):
            raise _error("a bracket that is not [type : filler]", annotated, opened, where)
        plain.append(filler)
        entities.append(Entity(kind, filler))
        start, opened = place + 1, -1
    if opened >= 0:
        raise _error("a bracket that is not closed", annotated, opened, where)
    plain.append(annotated[start:])
    return "".join(plain), tuple(entities)


def _error(fault: str, annotated: str, place: int, where: str) -> UserError:
    return UserError(f"{where}: {fault} at column {place + 1} of {annotated!r}", "write each slot as [type : filler]")
