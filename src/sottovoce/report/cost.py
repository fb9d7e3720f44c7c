"""What a study cost: time, GPU hours, labelled speech. Nothing is guessed: what was not measured is shown as such."""

from __future__ import annotations

import re
from collections import defaultdict
from dataclasses import dataclass

from sottovoce.report.results import CellResult, StudyResults
from sottovoce.report.wording import line_label


@dataclass(frozen=True)
class LineCost:
    """The cells of a line: how many were timed, and their total and mean seconds (None if none was)."""

    label: str
    num_cells: int
    seconds: float | None

    @property
    def mean_seconds(self) -> float | None:
        return None if self.seconds is None else self.seconds / self.num_cells


@dataclass(frozen=True)
class Cost:
    """A study's cost.

    Args:
        seconds: wall time over all runs; None if not recorded.
        lines: the cells' times, by scheme. A stage that cells share counts for the one that trained it.
        gpu_hours: the GPUs in the machine's description, times the wall time or, if that is more because cells ran in
            parallel, the sum of the cells' times; None without GPUs.
        speech_hours: the largest budget of any cell.
    """

    seconds: float | None
    lines: tuple[LineCost, ...]
    gpu_hours: float | None
    speech_hours: float


def study_cost(results: StudyResults) -> Cost:
    """The cost of what has run so far."""
    groups = defaultdict[str, list[CellResult]](list)
    for cell in results.cells:
        groups[line_label(results, cell.scheme, cell.sources, cell.model_name)].append(cell)
    lines = tuple(_line(label, cells) for label, cells in groups.items())
    gpus = re.search(r"(\d+) GPU", results.machine)
    busy = max(results.seconds or 0.0, sum(line.seconds or 0.0 for line in lines))
    hours = int(gpus[1]) * busy / 3600 if gpus and busy else None
    return Cost(results.seconds, lines, hours, max((c.speech_seconds for c in results.cells), default=0.0) / 3600)


def _line(label: str, cells: list[CellResult]) -> LineCost:
    timed = [cell.seconds for cell in cells if cell.seconds is not None]
    return LineCost(label, len(timed), sum(timed) if timed else None)
