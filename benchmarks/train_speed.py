"""Speed and memory of training on a CPU: Sottovoce's training code against a plain transformers Trainer.

The embedded model and the built-in corpus, LoRA of rank 16, batches of 8, as in recipes/quickstart.yaml; bfloat16, or
float32 for processors without.
Three jobs: speech only, text with 5 % speech, text only. Both sides are given the same rows in the same order, the same
model and the same trained parameters in the same dtypes; they run in turn (A B A B), each in a process of its own.

    python benchmarks/train_speed.py                   # the three jobs
    python benchmarks/train_speed.py --float32         # as on a processor without bfloat16
    python benchmarks/train_speed.py --first-layer 15  # LoRA on the layers from 15 on (train.lora.first_layer)
    python benchmarks/train_speed.py --tiny            # a tiny random model: shows that it works, and no more
"""

from __future__ import annotations

import argparse
import os
import platform
from collections.abc import Callable, Sequence
from dataclasses import asdict, dataclass, field, replace
from pathlib import Path
from statistics import median
from typing import Any

import torch
from counts import Counts, count
from home_job import HomeJob
from own_process import MIB, alone, peak_bytes
from random_job import RandomJob
from real_sizes import TINY, Size
from sides import OURS, PLAIN, SIDES, Job, train
from written import write

from sottovoce.models.precision import product_rate

SHARES = {"speech": 1.0, "mixed": 0.05, "text": 0.0}
"""The jobs, by their share of speech among the rows."""
COLUMNS = (
    "job", "side", "samples/s", "ratio", "s a step", "peak MiB", "of it before training", "loss part, MiB",
    "kept of it, MiB", "GFLOP a step", "MFU", "recordings encoded", "rows of logits", "before, s", "losses apart",
)  # fmt: skip


@dataclass
class Result:
    """One side of one job, over all its turns.

    ``step_seconds`` are of all steps but each turn's first; ``losses`` of the first turn, in nats a token; ``counts``
    of all steps, and of what comes before the first. ``peak_bytes`` is the largest of the turns', ``started_bytes``
    that process's peak before its first step.
    """

    job: str
    side: str
    num_steps: int
    batch: int
    step_seconds: list[float] = field(default_factory=list)
    losses: list[float] = field(default_factory=list)
    early_seconds: list[float] = field(default_factory=list)
    peak_bytes: int = 0
    started_bytes: int = 0
    counts: dict[str, int] = field(default_factory=dict)

    @property
    def samples_per_second(self) -> float:
        return self.batch / median(self.step_seconds)

    def add(self, turn: dict[str, Any]) -> None:
        """Takes up what :func:`measure` returned."""
        self.step_seconds += turn["step_seconds"]
        self.early_seconds.append(turn["early_seconds"])
        self.losses = self.losses or turn["losses"]
        self.counts = self.counts or turn["counts"]
        if turn["peak_bytes"] > self.peak_bytes:
            self.peak_bytes, self.started_bytes = turn["peak_bytes"], turn["started_bytes"]


def measure(job: Job, name: str, counted: bool, num_threads: int | None = None) -> dict[str, Any]:
    """One turn of one side: trains; afterwards, if ``counted``, goes through the same batches again and counts."""
    set_threads(num_threads)
    side = SIDES[name](job, "lora")
    started = peak_bytes()
    course = train(side)
    turn = {**asdict(course), "early_seconds": side.early_seconds, "started_bytes": started}
    turn |= {"peak_bytes": peak_bytes(), "counts": {}}  # before anything is counted, which takes memory of its own
    if counted:
        counts = asdict(count(job, side, job.num_steps * job.batch // job.per_device))
        turn["counts"] = {**counts, "num_encoded": counts["num_encoded"] + side.num_heard}
    return turn


def set_threads(num_threads: int | None) -> None:
    """How many threads torch works with; None for as many as it takes by itself."""
    if num_threads is not None:
        torch.set_num_threads(num_threads)


def matrix_product(size: int, bf16: bool, num_threads: int | None, num_tries: int = 8) -> dict[str, Any]:
    """Operations a second of this machine's own matrix product, size x size by size x size: the best of several."""
    set_threads(num_threads)
    dtype = torch.bfloat16 if bf16 else torch.float32
    return {
        "size": size, "dtype": str(dtype).removeprefix("torch."), "num_threads": torch.get_num_threads(),
        "operations_per_second": product_rate(torch.device("cpu"), bf16, size, num_tries),
    }  # fmt: skip


def run(jobs: dict[str, Job], num_rounds: int, num_threads: int | None, say: Callable[[str], None]) -> list[Result]:
    """Every job: each side in turn, ``num_rounds`` times."""
    results = []
    for title, job in jobs.items():
        sides = {name: Result(title, name, job.num_steps, job.batch) for name in SIDES}
        for turn in range(num_rounds):
            for name, result in sides.items():
                result.add(alone(measure, job, name, turn == 0, num_threads))
                speed = f"{result.samples_per_second:.2f} samples/s so far"
                say(f"{title}, {name}, turn {turn + 1} of {num_rounds}: {speed}")
        results += sides.values()
    return results


def losses_apart(results: Sequence[Result], job: str) -> float:
    """How far the two sides' losses lie apart at most, in nats a token."""
    sides = [result.losses for result in results if result.job == job]
    return max(abs(left - right) for left, right in zip(*sides, strict=True))


def table(results: Sequence[Result], peak: float) -> str:
    """The results as Markdown.

    Args:
        peak: operations a second of the machine's matrix product. MFU is, for both sides, the operations that a step
            needs, as counted on our side, over the median step's time and this peak.
    """
    lines = ["| " + " | ".join(COLUMNS) + " |", "| --- | --- |" + " ---: |" * (len(COLUMNS) - 2)]
    needed = {result.job: result.counts["operations"] / result.num_steps for result in results if result.side == OURS}
    base = {result.job: result.samples_per_second for result in results if result.side == PLAIN}
    for result in results:
        counts, step = Counts(**result.counts), median(result.step_seconds)
        cells = [
            result.job, result.side, f"{result.samples_per_second:.2f}",
            f"{result.samples_per_second / base[result.job]:.2f}", f"{step:.3g}", f"{result.peak_bytes / MIB:.0f}",
            f"{result.started_bytes / MIB:.0f}", f"{counts.peak_bytes / MIB:.1f}", f"{counts.kept_bytes / MIB:.1f}",
            f"{counts.operations / result.num_steps / 1e9:.4g}", f"{needed[result.job] / step / peak:.1%}",
            str(counts.num_encoded), str(counts.num_logit_rows), f"{median(result.early_seconds):.1f}",
            f"{losses_apart(results, result.job):.4f}",
        ]  # fmt: skip
        lines.append("| " + " | ".join(cells) + " |")
    return "\n".join(lines)


def jobs_of(
    names: Sequence[str], tiny: bool, num_steps: int, bf16: bool = True, first_layer: int = 0
) -> dict[str, Job]:
    """The jobs; the rows are gone through twice, as they are in training."""
    home = HomeJob(
        num_steps=num_steps, batch=8, per_device=8, share=0.0, bf16=bf16, learning_rate=1e-3, num_epochs=2,
        first_layer=first_layer,
    )  # fmt: skip
    small = RandomJob(
        size=TINY, seconds=0.8, num_steps=num_steps, batch=4, per_device=4, share=0.0, bf16=False,
        learning_rate=1e-2, num_epochs=2, first_layer=first_layer,
    )  # fmt: skip
    return {name: replace(small if tiny else home, share=SHARES[name]) for name in names}


def described(job: Job) -> dict[str, Any]:
    """A job's settings; of its model's size the name."""
    return {key: value.name if isinstance(value, Size) else value for key, value in vars(job).items()}


def main(arguments: Sequence[str] | None = None) -> None:
    parser = argparse.ArgumentParser(description="Training on a CPU against a plain transformers Trainer.")
    parser.add_argument("--tiny", action="store_true", help="a tiny random model and few rows")
    parser.add_argument("--float32", action="store_true", help="compute in float32 instead of bfloat16")
    parser.add_argument("--first-layer", type=int, default=0, help="the first layer with an adapter")
    parser.add_argument("--jobs", nargs="+", choices=tuple(SHARES), default=list(SHARES))
    parser.add_argument("--steps", type=int, help="an even number; the first of each turn is not timed (20)")
    parser.add_argument("--rounds", type=int, default=2, help="turns of each side")
    parser.add_argument("--threads", type=int, help="of torch; as many as it takes by itself, one with --tiny")
    parser.add_argument("--matrix", type=int, default=2048, help="size of the matrix product that gives the peak")
    parser.add_argument("--note", default="", help="a word about the machine's state, such as: busy")
    parser.add_argument("--out", type=Path, default=Path("runs/train_speed"))
    options = parser.parse_args(arguments)
    steps = options.steps or (4 if options.tiny else 20)
    if steps < 2 or steps % 2 or options.rounds < 1:
        parser.error("--steps is an even number, --rounds 1 or more")
    bf16 = not (options.tiny or options.float32)
    jobs = jobs_of(options.jobs, options.tiny, steps, bf16, options.first_layer)
    # A tiny model's threads wait for each other longer than they work.
    num_threads = options.threads or (1 if options.tiny else None)
    product = alone(matrix_product, options.matrix, bf16, num_threads)
    results = run(jobs, options.rounds, num_threads, print)
    machine = f"{os.cpu_count()} CPU cores, {platform.machine()}, torch {torch.__version__}"
    placed = f"LoRA from layer {options.first_layer} on" if options.first_layer else ""
    said = ", ".join(part for part in (machine, placed, options.note) if part)
    text = (
        f"{said}; peak of a {product['size']} x {product['size']} matrix product in {product['dtype']} "
        f"with {product['num_threads']} threads: "
        f"{product['operations_per_second'] / 1e9:.1f} GFLOP/s\n\n" + table(results, product["operations_per_second"])
    )
    print(text)
    content = {
        "machine": said, "matrix_product": product, "jobs": {name: described(job) for name, job in jobs.items()},
        "results": [asdict(result) for result in results],
        "losses_apart": {name: losses_apart(results, name) for name in jobs},
    }  # fmt: skip
    write(options.out, text, content)


if __name__ == "__main__":
    main()
