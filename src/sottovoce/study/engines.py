"""Where a study's cells run, by name."""

from __future__ import annotations

import os

import torch

from sottovoce.errors import UserError, nearest
from sottovoce.recipe import Recipe
from sottovoce.study.launch import Launch, one_by_one
from sottovoce.study.memory import forecast_memory, longest_row
from sottovoce.study.memory_check import machine_bytes
from sottovoce.train.processes import processes

AT_ONCE = 2  # cells that are run at once if nothing is said, on a CPU; more were not measured
MEMORY_SHARE = 0.7  # of the machine's memory, that they may need


def engine_named(name: str, recipe: Recipe, gpus_per_cell: float | None, cpus_per_cell: float) -> Launch:
    """What runs the cells: ``here``, one after the other; ``processes`` or ``processes:NUMBER``, several at once, as
    many as there are cores if not said; ``ray`` or ``ray:ADDRESS``, on a Ray cluster; ``slurm`` or
    ``slurm:PARTITION``, as SLURM jobs; ``auto``, two processes on a CPU that has the cores and the memory, else here.

    Raises:
        UserError: there is no such place, or no such number.
    """
    kind, _, address = name.partition(":")
    if name == "auto" and several_fit(recipe):
        name, kind, address = f"processes:{AT_ONCE}", "processes", str(AT_ONCE)
    elif name == "auto":
        name = "here"
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
    raise UserError(f"--on {name}: unknown", nearest(kind, ("auto", "here", "processes", "ray", "slurm")))


def several_fit(recipe: Recipe) -> bool:
    """Whether two of the recipe's cells can be trained at once on this machine's CPU."""
    if torch.cuda.is_available() or (os.cpu_count() or 1) < AT_ONCE or processes().num_processes > 1:
        return False
    try:
        needs = [
            forecast_memory(own.model, own.train, longest_row(own)[0]).total
            for own in map(recipe.of_model, recipe.all_models)
        ]
    except UserError:  # nothing is trained; or it is told when the study is opened, which is the place for it
        return False
    return AT_ONCE * max(needs) <= MEMORY_SHARE * machine_bytes()
