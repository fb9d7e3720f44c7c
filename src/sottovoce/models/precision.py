"""Whether to compute in bfloat16: only if the hardware supports it and its results are right; and the speed of matrix
products."""

from __future__ import annotations

import time
from functools import cache

import torch

NATIVE = ("avx512_bf16", "amx_bf16", "bf16", "sve_bf16")  # on x86-64 and ARM processors
ROUNDING = 2.0**-8  # relative, of a bfloat16; half of that if rounded to nearest


@cache
def computes_bf16() -> bool:
    """Whether this hardware has instructions for bfloat16 matrix products, and they pass a check.

    Without them torch emulates bfloat16, several times slower than float32.
    """
    if torch.cuda.is_available():
        return bool(torch.cuda.is_bf16_supported(including_emulation=False))
    if not hasattr(torch.cpu, "get_capabilities"):  # this torch cannot tell
        return products_are_right()
    there = torch.cpu.get_capabilities()
    return any(there.get(name, False) for name in NATIVE) and products_are_right()


def precision_named(bf16: bool) -> str:
    """The dtype to compute in on this machine, by torch's name.

    Args:
        bf16: whether bfloat16 is wanted.
    """
    return "bfloat16" if bf16 and computes_bf16() else "float32"


def precision_lines(bf16: bool) -> list[str]:
    """A line for the user if bfloat16 is wanted and not available."""
    if not bf16 or computes_bf16():
        return []
    return [f"No bfloat16 on this {'GPU' if torch.cuda.is_available() else 'CPU'}; using float32"]


def products_are_right() -> bool:
    """Whether a bfloat16 matrix product is exact up to rounding, with sums in float32."""
    generator = torch.Generator().manual_seed(0)
    left, right = (torch.randn(shape, generator=generator).bfloat16() for shape in ((64, 512), (512, 64)))
    exact = left.double() @ right.double()
    size = left.double().abs() @ right.double().abs()  # rounding in float32 grows with the sum of absolute values
    return bool(((left @ right).double() - exact).abs().le(ROUNDING * exact.abs() + 1e-5 * size).all())


def product_rate(device: torch.device, bf16: bool, size: int = 2048, num_tries: int = 4) -> float:
    """Floating-point operations per second of a square matrix product: the best of ``num_tries`` after a warm-up."""
    dtype = torch.bfloat16 if bf16 else torch.float32
    left, right = (torch.randn(size, size, device=device).to(dtype) for _ in range(2))
    seconds = []
    for _ in range(1 + num_tries):
        started = time.perf_counter()
        (left @ right)[0, 0].item()  # waits for a GPU
        seconds.append(time.perf_counter() - started)
    return 2 * size**3 / min(seconds[1:])
