"""Several processes that train one model (`accelerate launch`, `torchrun`).

Each process trains on its share of every batch; only the first one decodes, scores and writes.
"""

from __future__ import annotations

import time
from pathlib import Path

import torch
from accelerate import PartialState

from sottovoce.core.errors import UserError


def processes() -> PartialState:
    """This process's place among the others; the first call joins them and selects this one's GPU."""
    return PartialState(cpu=not torch.cuda.is_available())


def accumulation_of(gradient_accumulation_steps: int, num_processes: int) -> int:
    """Each process's number of accumulated batches, so that a step is the recipe's for any number of processes.

    Raises:
        UserError: the batches cannot be divided equally.
    """
    if gradient_accumulation_steps % num_processes:
        raise UserError(
            f"{num_processes} processes cannot share {gradient_accumulation_steps} accumulated batches equally",
            f"make train.gradient_accumulation_steps a multiple of {num_processes}, and "
            "train.per_device_train_batch_size that much smaller",
        )
    return gradient_accumulation_steps // num_processes


def wait_for(path: Path) -> None:
    """Waits until the first process has written a file. A barrier would time out during a long decoding."""
    while not path.exists():
        time.sleep(0.2)
