"""Runs a study's cells on a Ray cluster: a local one, or many machines that share the study's folder.

Stages that several cells need are trained first, once. A lost worker's job is restarted on another one and resumes from
its last checkpoint, like an interrupted study.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import dataclass
from typing import Any

from sottovoce.core.errors import UserError
from sottovoce.study.cells import Cell
from sottovoce.study.engines.base import Failure
from sottovoce.study.engines.jobs import report_end, submit_all
from sottovoce.study.workspace import Study

MAX_RETRIES = 3  # of a lost worker's job


@dataclass(frozen=True)
class OnRay:
    """Runs cells on a cluster.

    Args:
        address: of the cluster, such as ``auto`` or ``ray://head:10001``; "" starts one on this machine.
        gpus_per_cell: GPUs for each cell; None: one if the cluster has any.
        cpus_per_cell: CPU cores for each cell.
    """

    address: str = ""
    gpus_per_cell: float | None = None
    cpus_per_cell: float = 1.0

    def num_at_once(self, study: Study, cells: list[Cell]) -> int:
        return 1  # the cells run elsewhere

    def run(self, study: Study, cells: list[Cell]) -> Iterator[Failure | None]:
        """Yields once for each cell, in the order in which they end.

        Raises:
            UserError: ray is not installed, the cluster cannot be reached, or it lacks the resources for a cell.
        """
        if not cells:
            return
        ray = _ray()
        try:
            ray.init(
                address=self.address or None, ignore_reinit_error=True, log_to_driver=False, include_dashboard=False
            )
        except (ConnectionError, ValueError) as error:
            advice = "start one with `ray start --head`"
            raise UserError(f"no Ray cluster at {self.address!r}: {error}", advice) from error
        try:
            yield from self._run(ray, study, cells)
        finally:
            ray.shutdown()  # an existing cluster stays; this closes the connection

    def _run(self, ray: Any, study: Study, cells: list[Cell]) -> Iterator[Failure | None]:
        needs = self._needs(ray)

        def submit(action: Callable[..., Any], arguments: tuple[Any, ...], before: list[Any]) -> Any:
            return ray.remote(**needs)(_task(action)).remote(arguments, *before)

        _, jobs = submit_all(study, cells, submit)
        waiting = {job: name for name, job in jobs.items()}
        while waiting:
            (done,), _ = ray.wait(list(waiting), num_returns=1)
            name = waiting.pop(done)
            try:
                failure = ray.get(done)
            except ray.exceptions.RayTaskError as error:  # would fail every other cell, too
                raise error.as_instanceof_cause() from error
            except ray.exceptions.RayError as error:
                failure = Failure(name, f"its workers were lost ({str(error).splitlines()[0]})")
            yield report_end(study, name, failure)

    def _needs(self, ray: Any) -> dict[str, Any]:
        there = ray.cluster_resources()
        num_gpus = self.gpus_per_cell if self.gpus_per_cell is not None else float(there.get("GPU", 0) > 0)
        for name, wanted in (("GPU", num_gpus), ("CPU", self.cpus_per_cell)):
            if wanted > there.get(name, 0):
                have = f"the cluster has {there.get(name, 0):g}"
                raise UserError(f"a cell needs {wanted:g} {name}, {have}", f"lower --{name.lower()}s-per-cell")
        return {"num_gpus": num_gpus, "num_cpus": self.cpus_per_cell, "max_retries": MAX_RETRIES}


def _task(action: Callable[..., Any]) -> Callable[..., Any]:
    """The action as a Ray task that starts once the tasks ``before`` it have ended."""

    def task(arguments: tuple[Any, ...], *before: object) -> Any:
        return action(*arguments)

    return task


def _ray() -> Any:
    try:
        import ray
    except ImportError as error:
        raise UserError("--on ray needs Ray", "pip install 'sottovoce[ray]'") from error
    return ray
