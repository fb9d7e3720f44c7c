"""The command line run in the test's own process, as its entry point does."""

from __future__ import annotations

import json
import sys
from pathlib import Path
from typing import Any, NamedTuple

import pytest

from sottovoce.cli import main as cli


class Outcome(NamedTuple):
    """The exit status, and what was written to standard output and standard error."""

    code: int
    out: str
    err: str

    @property
    def rows(self) -> list[dict[str, Any]]:
        """The lines of standard output, each of which is JSON."""
        return [json.loads(line) for line in self.out.split("\n")[:-1]]


def run_main(monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str], *arguments: str | Path) -> Outcome:
    """Runs ``sottovoce`` with these arguments."""
    monkeypatch.setattr(sys, "argv", ["sottovoce", *map(str, arguments)])
    try:
        cli.main()
        code = 0
    except SystemExit as stop:
        code = int(stop.code or 0)
    return Outcome(code, *capsys.readouterr())
