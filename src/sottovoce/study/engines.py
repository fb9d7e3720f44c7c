"""Where a study's cells run, by name."""

from __future__ import annotations

import os

from sottovoce.errors import UserError, nearest
from sottovoce.study.launch import Launch, one_by_one


def engine_named(name: str, gpus_per_cell: float | None, cpus_per_cell: float) -> Launch:
    """What runs the cells: ``here``, one after the other; ``processes`` or ``processes:NUMBER``, several at once, as
    many as there are cores if not said; ``ray`` or ``ray:ADDRESS``, on a Ray cluster; ``slurm`` or
    ``slurm:PARTITION``, as SLURM jobs.

    Raises:
        UserError: there is no such place, or no such number.
    """
    kind, _, address = name.partition(":")
    if name == "here":
        return one_by_one
    if kind == "processes":
        from sottovoce.study.process_engine import InProcesses

        if address and (not address.isdecimal() or int(address) < 1):
            raise UserError(f"--on {name}: {address!r} is no number of processes", "write for example processes:2")
        return InProcesses(int(address or os.cpu_count() or 1))
    if kind == "ray":
        from sottovoce.study.ray_engine import OnRay

        return OnRay(address, gpus_per_cell, cpus_per_cell)
    if kind == "slurm":
        from sottovoce.study.slurm_engine import OnSlurm

        return OnSlurm(address, gpus_per_cell, cpus_per_cell)
    raise UserError(f"--on {name}: unknown", nearest(kind, ("here", "processes", "ray", "slurm")))
