"""Runs cells in order; one that fails keeps its log and does not stop the others."""

from __future__ import annotations

import json
import traceback
from collections.abc import Iterator
from dataclasses import dataclass, replace
from datetime import UTC, datetime
from typing import Protocol

from sottovoce.core.errors import UserError
from sottovoce.core.storage import disk_is_full, write_whole
from sottovoce.study.cell import run_cell
from sottovoce.study.cells import Cell
from sottovoce.study.workspace import Study
from sottovoce.train.processes import processes

OF_ONE_CELL = (UserError, MemoryError, RuntimeError)  # may fail one cell and not the next


@dataclass(frozen=True)
class Failure:
    """A cell that could not be finished, and why, in one line."""

    cell: str
    what: str


class Engine(Protocol):
    """Where cells run."""

    def num_at_once(self, study: Study, cells: list[Cell]) -> int:
        """How many cells it runs at the same time on this machine."""

    def run(self, study: Study, cells: list[Cell]) -> Iterator[Failure | None]:
        """Runs the cells and yields once for each as it ends: the failure, or None."""


@dataclass(frozen=True)
class Here:
    """Runs the cells in this process, in order."""

    def num_at_once(self, study: Study, cells: list[Cell]) -> int:
        return 1

    def run(self, study: Study, cells: list[Cell]) -> Iterator[Failure | None]:
        for cell in cells:
            yield attempt(study, cell)


HERE = Here()


def attempt(study: Study, cell: Cell) -> Failure | None:
    """Runs one cell; its messages and the traceback of a failure go into its log.

    Two kinds of error are raised: a full disk, which would fail the next cell too, and any error when several processes
    train together, as the others would wait for the one that failed.
    """
    files = study.layout.cell(cell.name)
    files.path.mkdir(parents=True, exist_ok=True)
    with files.log.open("a", encoding="utf-8") as log:

        def say(line: str) -> None:
            log.write(f"{_now()} {line}\n")
            log.flush()
            study.say(line)

        try:
            run_cell(replace(study, say=say), cell)
        except OF_ONE_CELL as error:
            if disk_is_full(error) or processes().num_processes > 1:
                raise
            traceback.print_exc(file=log)
            what = in_one_line(error)
            write_whole(files.failed, json.dumps({"what": what, "when": _now()}))
            say(f"{cell.name} failed: {what} (log: {files.log}); continuing with the other cells")
            return Failure(cell.name, what)
    files.failed.unlink(missing_ok=True)
    return None


def in_one_line(error: Exception) -> str:
    """An error as one line for users."""
    if isinstance(error, MemoryError) or "out of memory" in str(error) or "can't allocate memory" in str(error):
        return "out of memory; `sottovoce plan-memory RECIPE` says which settings fit"
    return " ".join(str(error).split()) or type(error).__name__


def _now() -> str:
    return datetime.now(UTC).isoformat(timespec="seconds")
