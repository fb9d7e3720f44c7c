"""The one progress bar of the project: done, total, elapsed and the time that is left, on standard error.

A process that works for another shows nothing itself: what its bars would show goes into a file, and the other shows a
line for each of its jobs.
"""

from __future__ import annotations

import json
import time
from collections.abc import Callable, Iterable, Iterator
from contextlib import contextmanager, suppress
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any, Self

from rich.console import Console
from rich.progress import (
    BarColumn,
    MofNCompleteColumn,
    Progress,
    Task,
    TaskID,
    TextColumn,
    TimeElapsedColumn,
    TimeRemainingColumn,
)

from sottovoce.core.storage import write_whole

Say = Callable[[str], None]  # takes a line for the user
REPORT_SECONDS = 0.5  # between two looks at what another process does


def progress_bar(disable: bool = False, transient: bool = False) -> Progress:
    """A progress bar; where standard error is no terminal it prints its last state only, if disabled nothing.

    Args:
        transient: it leaves nothing behind.
    """
    columns = (
        TextColumn("{task.description}"),
        BarColumn(),
        MofNCompleteColumn(),
        TimeElapsedColumn(),
        TextColumn("left"),
        TimeRemainingColumn(),
    )
    if _reports and not disable:
        return _Reporting(_reports[-1], *columns)
    return _Bar(*columns, console=Console(stderr=True), disable=disable, transient=transient)


class _Bar(Progress):
    """A progress bar that as a context is shown from its first task on: without any it leaves no empty line behind."""

    _waits = False

    def __enter__(self) -> Self:
        self._waits = True
        return self

    def add_task(self, *args: Any, **kwargs: Any) -> TaskID:
        if self._waits:
            self.start()
        return super().add_task(*args, **kwargs)

    def stop(self) -> None:
        if self.live.is_started:
            super().stop()


def show_count(numbers: Iterable[int], what: str) -> None:
    """Shows numbers as they come, where it is not known how many there will be."""
    with progress_bar() as progress:
        task = progress.add_task(what, total=None)
        for number in numbers:
            progress.update(task, completed=number)


# --- in a process that works for another


@contextmanager
def reported_to(path: Path) -> Iterator[None]:
    """While it lasts, progress bars of this process are not shown; what they would show goes into a file."""
    _reports.append(_Report(path))
    try:
        yield
    finally:
        _reports.pop()


@dataclass
class _Doing:
    """A task of a progress bar: what it was called first and is called now."""

    title: str
    now: str
    completed: float
    total: float | None


class _Report:
    """All tasks so far, in a JSON file that is written anew now and then."""

    def __init__(self, path: Path) -> None:
        self._path, self._doings, self._written = path, list[_Doing](), 0.0
        self._write()

    def begin(self, doing: _Doing) -> int:
        self._doings.append(doing)
        self._write()
        return len(self._doings) - 1

    def change(self, place: int, now: str, completed: float, total: float | None) -> None:
        doing = self._doings[place]
        doing.now, doing.completed, doing.total = now, completed, total
        if time.monotonic() - self._written > REPORT_SECONDS or completed == total:
            self._write()

    def _write(self) -> None:
        self._written = time.monotonic()
        with suppress(OSError):  # it is not worth a training
            write_whole(self._path, json.dumps([asdict(doing) for doing in self._doings]))


_reports: list[_Report] = []


class _Reporting(Progress):
    """A progress bar that is not shown and tells a report what it would show."""

    def __init__(self, report: _Report, *columns: Any) -> None:
        super().__init__(*columns, disable=True)
        self._report, self._places = report, dict[TaskID, int]()

    def add_task(self, description: str, *args: Any, **kwargs: Any) -> TaskID:
        identity = super().add_task(description, *args, **kwargs)
        task = self._task(identity)
        self._places[identity] = self._report.begin(_Doing(description, description, task.completed, task.total))
        return identity

    def update(self, task_id: TaskID, *args: Any, **kwargs: Any) -> None:
        super().update(task_id, *args, **kwargs)
        self._tell(task_id)

    def advance(self, task_id: TaskID, advance: float = 1) -> None:
        super().advance(task_id, advance)
        self._tell(task_id)

    def _tell(self, task_id: TaskID) -> None:
        task = self._task(task_id)
        self._report.change(self._places[task_id], task.description, task.completed, task.total)

    def _task(self, identity: TaskID) -> Task:
        return next(task for task in self.tasks if task.id == identity)


# --- in the process that they work for


@dataclass
class _Line:
    """What is shown of a job: its task in the bar, and how many of its own tasks were told."""

    path: Path
    begun: bool = False
    num_told: int = 0
    task: TaskID | None = field(default=None)


class JobLines:
    """A line for each job that other processes are at: on a terminal a live one, elsewhere one when a part begins.

    Args:
        folder: an empty one, for the jobs' reports.
        say: takes lines for the user.
    """

    def __init__(self, folder: Path, say: Callable[[str], None]) -> None:
        self._folder, self._say = folder, say
        self._bar = progress_bar(transient=True)
        self._live = self._bar.console.is_terminal
        self._lines: dict[str, _Line] = {}

    def __enter__(self) -> JobLines:
        if self._live:
            self._bar.start()
        return self

    def __exit__(self, *_: Any) -> None:
        if self._live:
            self._bar.stop()

    def expect(self, job: str) -> Path:
        """The file that a job has to report to, see :func:`reported_to`; its line is shown from when it does."""
        self._lines[job] = _Line(self._folder / f"{len(self._lines)}.json")
        return self._lines[job].path

    def say(self, line: str) -> None:
        """A line for the user, above the live ones."""
        if self._live:
            self._bar.stop()
        self._say(line)
        if self._live:
            self._bar.start()

    def look(self) -> None:
        """Shows what the jobs are at."""
        for job, line in self._lines.items():
            self._look_at(job, line)

    def end(self, job: str) -> None:
        """Takes a job's line away when it has ended."""
        line = self._lines[job]
        self._look_at(job, line)
        if line.task is not None:
            self._bar.remove_task(line.task)
        # Its place stays taken: paths are counted by lines.
        self._lines[job] = _Line(line.path.with_name("ended"))

    def _look_at(self, job: str, line: _Line) -> None:
        if not line.path.exists():
            return
        doings = [_Doing(**each) for each in json.loads(line.path.read_text(encoding="utf-8"))]
        if not line.begun:
            line.begun = True
            if self._live:
                line.task = self._bar.add_task(job, total=None)
            else:
                self._say(f"{job}: begins")
        new, line.num_told = doings[line.num_told :], len(doings)
        if line.task is None:
            for doing in new:
                self._say(f"{job}: {doing.title.removeprefix(f'{job}: ')}")
        elif doings:
            last = doings[-1]
            change = self._bar.reset if new else self._bar.update  # of what is new, time is counted anew
            change(
                line.task,
                description=f"{job}: {last.now.removeprefix(f'{job}: ')}",
                total=last.total,
                completed=last.completed,  # type: ignore[arg-type]
            )
