"""The project's progress bar: done, total, elapsed and remaining time, on standard error.

A worker process shows nothing itself: it writes the state of its bars to a file, and the parent shows a line per job.
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
REPORT_SECONDS = 0.5  # between two updates from a worker process


def progress_bar(disable: bool = False, transient: bool = False) -> Progress:
    """A progress bar; without a terminal it prints only its last state.

    Args:
        transient: the bar disappears when it ends.
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
    """As a context manager it appears with its first task, so that no tasks leave no empty line."""

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
    """Shows a count whose total is not known."""
    with progress_bar() as progress:
        task = progress.add_task(what, total=None)
        for number in numbers:
            progress.update(task, completed=number)


# --- in a worker process


@contextmanager
def reported_to(path: Path) -> Iterator[None]:
    """Until the block ends, progress bars of this process write their state to a file instead of showing it."""
    _reports.append(_Report(path))
    try:
        yield
    finally:
        _reports.pop()


@dataclass
class _State:
    """A task of a progress bar, with its first description and its current one."""

    title: str
    now: str
    completed: float
    total: float | None


class _Report:
    """All tasks so far, in a JSON file that is rewritten as they advance."""

    def __init__(self, path: Path) -> None:
        self._path, self._states, self._written = path, list[_State](), 0.0
        self._write()

    def begin(self, state: _State) -> int:
        self._states.append(state)
        self._write()
        return len(self._states) - 1

    def change(self, place: int, now: str, completed: float, total: float | None) -> None:
        state = self._states[place]
        state.now, state.completed, state.total = now, completed, total
        if time.monotonic() - self._written > REPORT_SECONDS or completed == total:
            self._write()

    def _write(self) -> None:
        self._written = time.monotonic()
        with suppress(OSError):  # a report that cannot be written must not end a training
            write_whole(self._path, json.dumps([asdict(state) for state in self._states]))


_reports: list[_Report] = []


class _Reporting(Progress):
    """A hidden progress bar that passes its tasks to a report."""

    def __init__(self, report: _Report, *columns: Any) -> None:
        super().__init__(*columns, disable=True)
        self._report, self._places = report, dict[TaskID, int]()

    def add_task(self, description: str, *args: Any, **kwargs: Any) -> TaskID:
        identity = super().add_task(description, *args, **kwargs)
        task = self._task(identity)
        self._places[identity] = self._report.begin(_State(description, description, task.completed, task.total))
        return identity

    def update(self, task_id: TaskID, *args: Any, **kwargs: Any) -> None:
        super().update(task_id, *args, **kwargs)
        self._report_task(task_id)

    def advance(self, task_id: TaskID, advance: float = 1) -> None:
        super().advance(task_id, advance)
        self._report_task(task_id)

    def _report_task(self, task_id: TaskID) -> None:
        task = self._task(task_id)
        self._report.change(self._places[task_id], task.description, task.completed, task.total)

    def _task(self, identity: TaskID) -> Task:
        return next(task for task in self.tasks if task.id == identity)


# --- in the parent process


@dataclass
class _Line:
    """The line of a job: its task in the bar, and how many of its own tasks have been shown."""

    path: Path
    begun: bool = False
    num_shown: int = 0
    task: TaskID | None = field(default=None)


class JobLines:
    """A line for each job in a worker process: live on a terminal, elsewhere a new line whenever a part begins.

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
        """The file that a job must report to (:func:`reported_to`); its line appears with its first report."""
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
        """Updates the line of each job."""
        for job, line in self._lines.items():
            self._look_at(job, line)

    def end(self, job: str) -> None:
        """Removes the line of a finished job."""
        line = self._lines[job]
        self._look_at(job, line)
        if line.task is not None:
            self._bar.remove_task(line.task)
        # The entry stays: file names are numbered by how many there are.
        self._lines[job] = _Line(line.path.with_name("ended"))

    def _look_at(self, job: str, line: _Line) -> None:
        if not line.path.exists():
            return
        states = [_State(**each) for each in json.loads(line.path.read_text(encoding="utf-8"))]
        if not line.begun:
            line.begun = True
            if self._live:
                line.task = self._bar.add_task(job, total=None)
            else:
                self._say(f"{job}: started")
        new, line.num_shown = states[line.num_shown :], len(states)
        if line.task is None:
            for state in new:
                self._say(f"{job}: {state.title.removeprefix(f'{job}: ')}")
        elif states:
            last = states[-1]
            change = self._bar.reset if new else self._bar.update  # a new task starts its own clock
            change(
                line.task,
                description=f"{job}: {last.now.removeprefix(f'{job}: ')}",
                total=last.total,
                completed=last.completed,  # type: ignore[arg-type]
            )
