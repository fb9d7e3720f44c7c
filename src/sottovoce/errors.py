"""The one error type that the command line prints as a single line."""

from __future__ import annotations


class UserError(Exception):
    """Something the user can mend: what is wrong (and where, as ``file:line`` if there is one), and what to do.

    Args:
        what: the fault in one line, with the place it was found.
        advice: what to do about it, in one line.
    """

    def __init__(self, what: str, advice: str = "") -> None:
        self.what = what
        self.advice = advice
        super().__init__(f"{what}; {advice}" if advice else what)
