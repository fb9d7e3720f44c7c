"""Runs a study's cells in several processes on this machine, each with its share of the cores.

This pays for small models: their steps are many small operations, in which threads mostly wait for each other.
"""

from __future__ import annotations

import os
import sys
from collections.abc import Callable, Iterator
from concurrent.futures import FIRST_COMPLETED, Future, ProcessPoolExecutor, wait
from concurrent.futures.process import BrokenProcessPool
from contextlib import contextmanager
from dataclasses import dataclass, replace
from multiprocessing import get_context
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

import torch

from sottovoce.core.errors import UserError
from sottovoce.core.machine import num_cores
from sottovoce.core.progress import REPORT_SECONDS, JobLines, reported_to
from sottovoce.study.cells import Cell
from sottovoce.study.engines.base import HERE, Failure
from sottovoce.study.engines.jobs import report_end, submit_all
from sottovoce.study.workspace import Study


def threads_of_each(num_processes: int) -> int:
    """How many threads each of several processes gets, of the cores that this process may use."""
    return max(1, num_cores() // num_processes)


@contextmanager
def threads_of_one(num_processes: int) -> Iterator[None]:
    """Gives this process as many threads as one of several would have."""
    before = torch.get_num_threads()
    if num_processes > 1:
        torch.set_num_threads(threads_of_each(num_processes))
    try:
        yield
    finally:
        torch.set_num_threads(before)


@dataclass(frozen=True)
class InProcesses:
    """Runs ``num_processes`` cells at once; each needs the memory of one."""

    num_processes: int

    def num_at_once(self, study: Study, cells: list[Cell]) -> int:
        return self.num_processes

    def run(self, study: Study, cells: list[Cell]) -> Iterator[Failure | None]:
        """Yields once for each cell, in the order in which they end.

        Raises:
            UserError: a process was killed, or there is a GPU, which the processes would compete for.
        """
        if len(cells) < 2:
            yield from HERE.run(study, cells)
            return
        if torch.cuda.is_available():
            raise UserError("--on processes does not support GPUs", "use --on ray, which assigns GPUs to cells")
        number = min(self.num_processes, len(cells))
        options = (threads_of_each(number), study.layout.output.absolute())
        pool = ProcessPoolExecutor(number, get_context("spawn"), initializer=_begin, initargs=options)
        try:
            with TemporaryDirectory(ignore_cleanup_errors=True) as reports, JobLines(Path(reports), study.say) as lines:
                yield from _run(pool, replace(study, say=lines.say), cells, lines)
        except BrokenProcessPool as error:
            advice = "if memory ran out, rerun with `--on here` or fewer `--on processes:N`"
            raise UserError(f"one of {number} processes was killed ({study.layout.output})", advice) from error
        finally:
            pool.shutdown(wait=False, cancel_futures=True)


@dataclass(frozen=True, eq=False)
class _Job:
    """A function to call once the jobs ``before`` it have ended."""

    action: Callable[..., Any]
    arguments: tuple[Any, ...]
    before: list[_Job]


def _run(pool: ProcessPoolExecutor, study: Study, cells: list[Cell], lines: JobLines) -> Iterator[Failure | None]:
    waiting: list[_Job] = []

    def submit(action: Callable[..., Any], arguments: tuple[Any, ...], before: list[_Job]) -> _Job:
        waiting.append(_Job(action, arguments, before))
        return waiting[-1]

    of_stages, of_cells = submit_all(study, cells, submit)
    cell_names = {job: name for name, job in of_cells.items()}
    names = cell_names | {job: f"{key} (shared)" for key, job in of_stages.items()}
    running: dict[Future[Any], _Job] = {}
    while waiting or running:
        unfinished = {*waiting, *running.values()}
        for job in [job for job in waiting if not unfinished.intersection(job.before)]:
            waiting.remove(job)
            running[pool.submit(_reported, lines.expect(names[job]), job.action, job.arguments)] = job
        ended = wait(running, REPORT_SECONDS, return_when=FIRST_COMPLETED).done
        lines.look()
        for done in ended:
            job, result = running.pop(done), done.result()
            lines.end(names[job])
            failure = report_end(study, names[job], result)
            if job in cell_names:  # a stage's failure is reported by each cell that needs it
                yield failure


def _reported(report: Path, action: Callable[..., Any], arguments: tuple[Any, ...]) -> Any:
    with reported_to(report):
        return action(*arguments)


def _begin(num_threads: int, output: Path) -> None:
    """Sets up a new process: its threads, and a file for its output."""
    torch.set_num_threads(num_threads)
    stream = output.open("a", encoding="utf-8")
    for number in (sys.stdout.fileno(), sys.stderr.fileno()):
        os.dup2(stream.fileno(), number)
