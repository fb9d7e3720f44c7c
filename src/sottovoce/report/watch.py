"""Keeps a study's report up to date while the study runs in another process."""

from __future__ import annotations

import time
from collections.abc import Callable
from datetime import datetime
from pathlib import Path

from sottovoce.core.errors import UserError
from sottovoce.report.html import Report, read_report, write_report
from sottovoce.study.layout import StudyFolder

POLL_SECONDS = 3


def watch_report(folder: Path, published: Path | None, say: Callable[[str], None]) -> Report:
    """Writes the report now and whenever the study changes, until all cells are finished or Ctrl-C.

    Until then the page reloads itself.

    Args:
        folder: the study's.
        published: as :func:`read_report` takes it.
        say: one line each time.

    Returns:
        The last report.

    Raises:
        UserError: the folder is not a study. If a file is damaged later it waits: a study that starts over removes its
            files for a moment.
    """
    seen, report = _state(folder), read_report(folder, published)
    try:
        while not _write(report, say):
            report, seen = _next(folder, published, seen, say)
    except KeyboardInterrupt:
        say("stopped; the report is as of the last change")
        write_report(report)
    return report


def _write(report: Report, say: Callable[[str], None]) -> bool:
    """Writes the report, and returns whether it is the last one."""
    results = report.curves.results
    finished = len(results.finished) == len(results.cells)
    page = write_report(report, None if finished else POLL_SECONDS + 2)
    num_failed = sum(bool(cell.failed) for cell in results.cells if not cell.finished)
    failed = f", {num_failed} failed" if num_failed else ""
    say(f"{datetime.now():%H:%M:%S} {len(results.finished)} of {len(results.cells)} cells finished{failed}: {page}")
    return finished


def _next(
    folder: Path, published: Path | None, seen: dict[Path, tuple[int, int]], say: Callable[[str], None]
) -> tuple[Report, dict[Path, tuple[int, int]]]:
    """Waits for a change and reads the report again."""
    while True:
        time.sleep(POLL_SECONDS)
        if (state := _state(folder)) == seen:
            continue
        seen = state
        try:
            return read_report(folder, published), seen
        except (UserError, FileNotFoundError) as error:
            say(f"{datetime.now():%H:%M:%S} waiting: {error}")


def _state(folder: Path) -> dict[Path, tuple[int, int]]:
    state = {}
    for path in StudyFolder(folder).reported():
        try:
            entry = path.stat()
        except FileNotFoundError:  # removed since it was listed
            continue
        state[path] = entry.st_mtime_ns, entry.st_size
    return state
