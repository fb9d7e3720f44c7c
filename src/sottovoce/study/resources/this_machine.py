"""What text-only fine-tuning needs on this machine, for ``plan-memory``: LoRA, one row at a time."""

from __future__ import annotations

from dataclasses import dataclass, replace

import torch

from sottovoce.core.machine import machine_bytes
from sottovoce.core.recipe import Recipe
from sottovoce.models.precision import computes_bf16, precision_named, product_rate
from sottovoce.study.resources.activations import RowSize
from sottovoce.study.resources.memory import CONTEXT, FRAGMENTS, GIB, Memory, forecast_memory
from sottovoce.study.resources.time import minutes

SENTENCES, EPOCHS = 400, 3  # of a small product
UTILISATION = 0.4  # share of a matrix product's rate that training reaches; assumed, roughly right on CPUs (benchmarks)


@dataclass(frozen=True)
class HereForecast:
    """A step of one text row on this machine: its memory, the machine's, and the operations per second of a matrix
    product in ``dtype``."""

    memory: Memory
    machine_bytes: float
    products_per_second: float
    dtype: str
    is_gpu: bool

    @property
    def bytes(self) -> float:
        """Including what the allocator loses and, on a GPU, CUDA's own memory."""
        return self.memory.held * (1.0 + FRAGMENTS) + (CONTEXT if self.is_gpu else 0.0)

    @property
    def fits(self) -> bool:
        return self.bytes <= self.machine_bytes

    def seconds(self, num_rows: int) -> float:
        return num_rows * self.memory.operations / (self.products_per_second * UTILISATION)


def here_forecast(recipe: Recipe, row: RowSize) -> HereForecast:
    """The forecast for text rows as long as ``row``; times one matrix product."""
    gpu = torch.cuda.is_available()
    changes = {
        "language_model": "lora", "projector": "frozen", "audio_tower": "frozen", "load_in_4bit": False,
        "gradient_checkpointing": False, "per_device_train_batch_size": 1,
        "bf16": recipe.train.bf16 and computes_bf16(),
    }  # fmt: skip
    memory = forecast_memory(recipe.model, recipe.train.model_copy(update=changes), replace(row, seconds=0.0))
    device = torch.device("cuda" if gpu else "cpu")
    here = float(torch.cuda.get_device_properties(0).total_memory) if gpu else machine_bytes()
    rate = product_rate(device, bool(changes["bf16"]))
    return HereForecast(memory, here, rate, precision_named(recipe.train.bf16), gpu)


def here_row(found: HereForecast) -> list[str]:
    """Its row in the table of methods and batch sizes."""
    memory = found.memory
    parts = (memory.weights, memory.gradients + memory.optimizer, memory.activations, found.bytes)
    fits = "this machine" if found.fits else "not this machine"
    time = minutes(found.seconds(1000)) if found.fits else "–"
    return ["lora, text", "1", *(f"{part / GIB:.1f}" for part in parts), fits, time]


def here_sentence(found: HereForecast) -> str:
    """The forecast as a sentence."""
    job = f"Text-only fine-tuning here ({SENTENCES} sentences, {EPOCHS} epochs, LoRA, {found.dtype})"
    memory = f"{found.bytes / GIB:.1f} GiB of {found.machine_bytes / GIB:.1f}"
    if not found.fits:
        return f"{job} does not fit: it needs {memory}."
    rate = f"{found.products_per_second / 1e12:.2g} TFLOP/s, as just timed on a matrix product"
    time = minutes(found.seconds(SENTENCES * EPOCHS))
    return f"{job} needs {memory} and takes about {time}, at {UTILISATION:.0%} of {rate}."
