"""The one progress bar of the project: done, total, elapsed and the time that is left, on standard error."""

from __future__ import annotations

from collections.abc import Iterable

from rich.console import Console
from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeElapsedColumn, TimeRemainingColumn


def progress_bar(disable: bool = False) -> Progress:
    """A progress bar; where standard error is no terminal it prints its last state only, if disabled nothing."""
    return Progress(
        TextColumn("{task.description}"),
        BarColumn(),
        MofNCompleteColumn(),
        TimeElapsedColumn(),
        TextColumn("left"),
        TimeRemainingColumn(),
        console=Console(stderr=True),
        disable=disable,
    )


def show_count(numbers: Iterable[int], what: str) -> None:
    """Shows numbers as they come, where it is not known how many there will be."""
    with progress_bar() as progress:
        task = progress.add_task(what, total=None)
        for number in numbers:
            progress.update(task, completed=number)
