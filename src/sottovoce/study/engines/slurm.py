"""Runs a study's cells as SLURM jobs, through submitit; the machines share the study's folder.

Stages that several cells need are jobs that those cells' jobs wait for. To resume a job that ran out of time from its
last checkpoint, rerun the same command.
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

POLL_SECONDS = 5.0


@dataclass(frozen=True)
class OnSlurm:
    """Runs each cell as a job.

    Args:
        partition: of the cluster; "": the default.
        gpus_per_cell, cpus_per_cell: for each job; None: no GPU.
        hours: time limit of a job.
        cluster: for submitit: ``slurm``, or ``local`` for processes on this machine.
    """

    partition: str = ""
    gpus_per_cell: float | None = None
    cpus_per_cell: float = 1.0
    hours: float = 24.0
    cluster: str = "slurm"

    def num_at_once(self, study: Study, cells: list[Cell]) -> int:
        return 1  # the cells run elsewhere

    def run(self, study: Study, cells: list[Cell]) -> Iterator[Failure | None]:
        """Yields once for each cell, in the order in which they end.

        Raises:
            UserError: submitit is not installed, or there is no SLURM.
        """
        if not cells:
            return
        submitit = _submitit()

        def submit(action: Callable[..., Any], arguments: tuple[Any, ...], before: list[Any]) -> Any:
            return self._executor(submitit, study, before).submit(action, *arguments)

        stages, jobs = submit_all(study, cells, submit)
        study.say(f"{len(stages)} jobs for shared stages and {len(jobs)} for cells; output: {study.layout.jobs}")
        names = {job.job_id: name for name, job in jobs.items()}
        for job in submitit.helpers.as_completed(list(jobs.values()), poll_frequency=POLL_SECONDS):
            name = names[job.job_id]
            try:
                failure = job.result()
            except (submitit.core.utils.UncompletedJobError, submitit.core.utils.FailedJobError) as error:
                failure = Failure(name, f"its job ended without a result ({str(error).splitlines()[0]})")
            yield report_end(study, name, failure)

    def _executor(self, submitit: Any, study: Study, before: list[Any]) -> Any:
        try:
            executor = submitit.AutoExecutor(folder=study.layout.jobs, cluster=self.cluster)
        except RuntimeError as error:
            raise UserError(f"no SLURM here: {error}", "run this on a login node, or without --on") from error
        executor.update_parameters(
            timeout_min=round(60 * self.hours),
            cpus_per_task=max(1, round(self.cpus_per_cell)),
            gpus_per_node=round(self.gpus_per_cell or 0),
            name=f"sottovoce-{study.recipe.name}",
        )
        if self.cluster == "slurm":
            waits = {"dependency": "afterany:" + ":".join(job.job_id for job in before)} if before else {}
            executor.update_parameters(
                slurm_additional_parameters=waits, **({"slurm_partition": self.partition} if self.partition else {})
            )
        return executor


def _submitit() -> Any:
    try:
        import submitit
        import submitit.helpers
    except ImportError as error:
        raise UserError("--on slurm needs submitit", "pip install 'sottovoce[slurm]'") from error
    return submitit
