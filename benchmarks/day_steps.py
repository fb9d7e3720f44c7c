"""The steps of gpu_day.py: what each runs, for how long at most, and what it left."""

from __future__ import annotations

import json
import os
import re
import signal
import subprocess
import sys
from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path
from time import monotonic
from typing import Any

ROOT = Path(__file__).parents[1]
# Those of real_sizes.py, which is not imported here: the peak of a model is measured beside nothing else.
MODELS = ("Qwen2-Audio-7B", "Voxtral-Mini-3B", "GLM-ASR-Nano", "Phi-4-multimodal", "Qwen2.5-Omni-7B, thinker")
TINY_MODELS = ("tiny Qwen2-Audio", "tiny Voxtral", "tiny GLM-ASR")
TINY_LIMIT = 1200  # seconds of a step on a machine with other work, where nothing is to be learnt of speed
WHOLE_BYTES = 133 * 2**30  # what tensors hold where the whole 7B language model is trained, by the forecast


@dataclass(frozen=True)
class Step:
    """A program that writes ``table.md`` and ``results.json`` into the folder that ``--out`` names (``pytest``: prints
    its results), in ``limit`` seconds at most. ``left_out`` says why it is not to be run, "" if it is."""

    name: str
    title: str
    command: list[str]
    limit: float
    left_out: str = ""


@dataclass(frozen=True)
class Outcome:
    """How a step went. ``status`` is done, failed, stopped (at its limit), not begun or left out."""

    name: str
    title: str
    status: str
    reason: str = ""
    seconds: float = 0.0
    text: str = ""
    content: dict[str, Any] = field(default_factory=dict)


def _script(name: str, *arguments: str) -> list[str]:
    return [sys.executable, f"benchmarks/{name}.py", *arguments]


def gpu_steps(tiny: bool, gpu_bytes: float) -> list[Step]:
    """A GPU's 8 minutes, the most wanted first; where all else takes its whole limit, the last one has little left.

    Args:
        gpu_bytes: of the card's memory.
    """
    small = ["--tiny", "--steps", "2"] if tiny else []
    # By name: to look for the mark elsewhere would import what is not carried.
    tests = ["-m", "gpu", *(str(path.relative_to(ROOT)) for path in sorted(ROOT.glob("tests/**/test_*on_gpu.py")))]
    if tiny:  # the same bodies on the CPU, of one family
        tests = ["-m", "not gpu", "-k", "qwen2 and (loss_is or generate)", "tests/models/families/test_on_gpu.py"]
    pytest = [sys.executable, "-m", "pytest", "-v", "--no-header", "--tb=short", "-p", "no:cacheprovider", *tests]
    lora = _script("gpu_training", "--kinds", "lora", "--batch", "64", *small)
    ways = _script("gpu_training", "--kinds", "lora", "--batch", "32", *small, "--ways")
    ways += ["flash attention only", "no fused attention", "eager attention", "torch.compile"]
    whole = _script("gpu_training", "--kinds", "full", "--batch", "16", "--per-device", "1", "--checkpointing", *small)
    fits = tiny or gpu_bytes >= WHOLE_BYTES
    too_small = f"needs {WHOLE_BYTES / 2**30:.0f} GiB by the forecast, the card has {gpu_bytes / 2**30:.0f}"
    steps = [
        Step("tests", "Tests (`pytest -m gpu`)", pytest, 100),
        Step("lora", "LoRA", lora, 110),
        Step("decoding", "Decoding", _script("gpu_decoding", *small[:1]), 70),
        Step("ways", "LoRA: attention and torch.compile", ways, 120),
        Step("full", "The whole language model", whole, 80, "" if fits else too_small),
    ]
    return [replace(step, limit=TINY_LIMIT) for step in steps] if tiny else steps


def cpu_steps(tiny: bool, models: Sequence[str] | None) -> list[Step]:
    """One step for each model; None: for each whose sizes are known."""
    chosen = models or (TINY_MODELS if tiny else MODELS)
    return [Step(name, name, _script("on_cpu", "--model", name), 2400) for name in chosen]


def run_step(step: Step, limit: float, work: Path, log: Path, environment: Mapping[str, str]) -> Outcome:
    """Runs a step; what it prints is added to ``log``, what it leaves is read also if it was stopped."""
    if step.left_out:
        return Outcome(step.name, step.title, "left out", step.left_out)
    folder = work / re.sub(r"\W+", "-", step.name)
    folder.mkdir()
    command = [*step.command, "--out", str(folder)] if "benchmarks/" in step.command[1] else step.command
    started, output = monotonic(), folder / "output"
    with output.open("w", encoding="utf-8") as stream:
        process = subprocess.Popen(
            command, cwd=ROOT, env=dict(environment), stdout=stream, stderr=subprocess.STDOUT, start_new_session=True
        )
        try:
            code: int | None = process.wait(limit)
        except subprocess.TimeoutExpired:
            os.killpg(process.pid, signal.SIGKILL)
            process.wait()
            code = None
    seconds, printed = monotonic() - started, output.read_text(encoding="utf-8", errors="replace")
    with log.open("a", encoding="utf-8") as stream:
        stream.write(f"== {step.name}: {' '.join(command)}\n{printed}\n")
    status = "stopped" if code is None else "done" if code == 0 else "failed"
    reason = "" if status == "done" else f"at its limit of {limit:.0f} s" if code is None else _last_line(printed)
    text, content = _left(folder)
    if "pytest" in step.command:
        text, content = tests_text(printed)
    return Outcome(step.name, step.title, status, reason, round(seconds, 1), text, content)


def _last_line(printed: str) -> str:
    lines = [line for line in printed.splitlines() if line.strip()]
    return lines[-1].strip() if lines else "it printed nothing"


def _left(folder: Path) -> tuple[str, dict[str, Any]]:
    table, results = folder / "table.md", folder / "results.json"
    if not results.is_file():
        return "", {}
    return table.read_text(encoding="utf-8"), json.loads(results.read_text(encoding="utf-8"))


def tests_text(printed: str) -> tuple[str, dict[str, Any]]:
    """What ``pytest -v`` printed so far: how many tests came to what, and which failed."""
    found = re.findall(r"^(\S+::.+?) (PASSED|FAILED|ERROR|SKIPPED)\b", printed, re.MULTILINE)
    counts = Counter(result.lower() for _, result in found)
    broken = [name for name, result in found if result in ("FAILED", "ERROR")]
    text = ", ".join(f"{number} {result}" for result, number in sorted(counts.items())) or "none came to an end"
    text += "".join(f"\n- failed: `{name}`" for name in broken)
    return text + "\n", {"counts": dict(counts), "failed": broken}
