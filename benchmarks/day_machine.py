"""What the machine of a day is, and its rate of bfloat16 matrix products."""

from __future__ import annotations

import argparse
import os
import platform
from pathlib import Path

import torch
from written import write

from sottovoce.models.precision import product_rate


def processor() -> str:
    """The processor's name, as Linux says it."""
    info = Path("/proc/cpuinfo")
    lines = info.read_text(encoding="utf-8").splitlines() if info.is_file() else []
    return next((line.split(":")[1].strip() for line in lines if line.startswith("model name")), platform.machine())


def main() -> None:
    parser = argparse.ArgumentParser(description="What this machine is.")
    parser.add_argument("--out", type=Path, default=Path("runs/machine"))
    options = parser.parse_args()
    gpu = torch.cuda.is_available()
    device = torch.device("cuda" if gpu else "cpu")
    content = {
        "gpu": torch.cuda.get_device_name() if gpu else "", "processor": processor(), "cores": os.cpu_count(),
        "gpu_bytes": torch.cuda.get_device_properties(0).total_memory if gpu else 0,
        "memory_bytes": os.sysconf("SC_PAGE_SIZE") * os.sysconf("SC_PHYS_PAGES"),
        "torch": torch.__version__, "cuda": torch.version.cuda or "", "python": platform.python_version(),
        "products_per_second": product_rate(device, bf16=True, size=8192 if gpu else 1024),
    }  # fmt: skip
    where = f"{content['gpu']}, {content['gpu_bytes'] / 2**30:.0f} GiB" if gpu else content["processor"]
    text = (
        f"{where}; {content['cores']} CPU cores, {content['memory_bytes'] / 2**30:.0f} GiB; "
        f"Python {content['python']}, torch {content['torch']}; "
        f"bfloat16 matrix products at {content['products_per_second'] / 1e12:.3g} TFLOP/s"
    )
    print(text)
    write(options.out, text, content)


if __name__ == "__main__":
    main()
