"""The one error type that the command line prints as a single line, and advice for misspelt names."""

from __future__ import annotations

import difflib
from collections.abc import Iterable


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
    """Advice for a name that is not known: the nearest valid one if there is one, and all of them."""
    known = sorted(names)
    close = difflib.get_close_matches(name, known, n=1, cutoff=0.4)
    return (f"did you mean {close[0]!r}? " if close else "") + f"known: {', '.join(known) or 'none'}"
