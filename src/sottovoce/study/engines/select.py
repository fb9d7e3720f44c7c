"""Engines by name: where a study's cells run."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass

import torch

from sottovoce.core.errors import UserError, nearest
from sottovoce.core.machine import machine_bytes, num_cores
from sottovoce.study.cells import Cell
from sottovoce.study.engines.base import HERE, Engine, Failure
from sottovoce.study.engines.processes import InProcesses
from sottovoce.study.resources.memory import forecast_memory, longest_of
from sottovoce.study.work import epochs_by_model
from sottovoce.study.workspace import Study
from sottovoce.train.processes import processes

AT_ONCE = 2  # cells at the same time by default, on a CPU; more were not measured
MEMORY_SHARE = 0.7  # share of the machine's memory that they may need together


def engine_named(name: str, gpus_per_cell: float | None, cpus_per_cell: float) -> Engine:
    """The engine of that name: ``here``, one cell after the other; ``processes`` or ``processes:NUMBER``, several at
    once (default: as many as cores); ``ray`` or ``ray:ADDRESS``, on a Ray cluster; ``slurm`` or ``slurm:PARTITION``, as
    SLURM jobs; ``auto``, see :class:`Auto`.

    Raises:
        UserError: the engine is unknown, or the number is not valid.
    """
    kind, _, address = name.partition(":")
    if name == "auto":
        return Auto()
    if name == "here":
        return HERE
    if kind == "processes":
        if address and (not address.isdecimal() or int(address) < 1):
            raise UserError(f"--on {name}: {address!r} is not a number of processes", "write for example processes:2")
        return InProcesses(int(address) if address else num_cores())
    if kind == "ray":
        from sottovoce.study.engines.ray import OnRay

        return OnRay(address, gpus_per_cell, cpus_per_cell)
    if kind == "slurm":
        from sottovoce.study.engines.slurm import OnSlurm

        return OnSlurm(address, gpus_per_cell, cpus_per_cell)
    raise UserError(f"--on {name}: unknown", nearest(kind, ("auto", "here", "processes", "ray", "slurm")))


@dataclass(frozen=True)
class Auto:
    """Runs two cells at once on a CPU with enough cores and memory, else one after the other."""

    def num_at_once(self, study: Study, cells: list[Cell]) -> int:
        return AT_ONCE if several_fit(study, cells) else 1

    def run(self, study: Study, cells: list[Cell]) -> Iterator[Failure | None]:
        number = self.num_at_once(study, cells)
        engine: Engine = InProcesses(number) if number > 1 else HERE
        yield from engine.run(study, cells)


def several_fit(study: Study, cells: list[Cell]) -> bool:
    """Whether two of the cells can be trained at once on this machine's CPU."""
    too_few = min(len(cells), num_cores()) < AT_ONCE
    if too_few or torch.cuda.is_available() or processes().num_processes > 1:
        return False
    needs = []
    for model, epochs in epochs_by_model(study.work_of(cells)).items():
        recipe = study.recipe.of_model(model)
        try:
            needs.append(forecast_memory(model, recipe.train, longest_of(recipe, epochs)).total)
        except UserError:  # unknown for this family
            return False
    return bool(needs) and AT_ONCE * max(needs) <= MEMORY_SHARE * machine_bytes()
