"""The one error type that the command line prints as a single line, and what its messages share."""

from __future__ import annotations

import difflib
from collections.abc import Iterable
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from pydantic import ValidationError


class UserError(Exception):
    """Something the user can fix: what is wrong (and where, as ``file:line`` if there is one), and what to do.

    Args:
        what: the fault in one line, with the place it was found.
        advice: what to do about it, in one line.
    """

    def __init__(self, what: str, advice: str = "") -> None:
        self.what = what
        self.advice = advice
        super().__init__(f"{what}; {advice}" if advice else what)


def nearest(name: str, names: Iterable[str]) -> str:
    """Advice for an unknown name: the closest known one, if any, and all known ones."""
    known = sorted(names)
    close = difflib.get_close_matches(name, known, n=1, cutoff=0.4)
    return (f"did you mean {close[0]!r}? " if close else "") + f"known: {', '.join(known) or 'none'}"


def first_fault(error: ValidationError) -> str:
    """The first fault that pydantic found, as one line: the key, with dots, and what is wrong with it."""
    first = error.errors()[0]
    key = ".".join(key_path(error))
    if first["type"] == "missing":
        return f"the key {key!r} is missing"
    if first["type"] == "extra_forbidden":
        return f"unknown key {key!r}"
    # A row is one line of a file: pydantic's own "line 1" would contradict file:line.
    message = first["msg"].removeprefix("Value error, ").replace("at line 1 column", "at column")
    return f"{key}: {message}" if key else message


def key_path(error: ValidationError) -> list[str]:
    """Where the first fault is. Of a union pydantic also names the member it tried, which the user does not know."""
    places = map(str, error.errors()[0]["loc"])
    return [place for place in places if place != "constrained-float" and not place.startswith("literal[")]
