"""Training speed and memory: Sottovoce's training code against a plain transformers Trainer, in one run.

Qwen2-Audio-7B's real sizes with random weights, the same rows in the same order, the same trained parameters in the
same dtypes. The plain side does what a script written in an afternoon does: the model's own forward on padded batches,
so that every recording goes through the audio tower at every step, in a window of 30 s, and every position gets logits.

    python benchmarks/gpu_training.py                  # on a GPU: LoRA and full fine-tuning, batches of 128
    python benchmarks/gpu_training.py --ways "torch.compile" "eager attention" --kinds lora
    python benchmarks/gpu_training.py --tiny           # on any machine, in seconds: shows that it works, and no more
"""

from __future__ import annotations

import argparse
import gc
from collections.abc import Callable, Iterator, Sequence
from dataclasses import asdict, dataclass, replace
from pathlib import Path
from typing import Any

import torch
from counts import count
from random_job import RandomJob
from real_sizes import SEVEN_B, TINY
from sides import OURS, SIDES, train
from ways import WAYS
from written import markdown, write

from sottovoce.study.resources.memory import CARDS, GIB

COLUMNS = (
    "trained", "way", "side", "samples/s", "peak GiB", "forecast GiB", "TFLOP a step", "MFU", "heard first, s",
    "first step, s", "losses",
)  # fmt: skip
TERAFLOPS = {card.name.removeprefix("RTX "): card.teraflops for card in CARDS} | {"H100": 989.0}  # dense bfloat16


@dataclass(frozen=True)
class Result:
    """What one side came to. Seconds are of all steps but the first, ``num_timed`` of them; of one that did not run
    ``failure`` says why, and there is nothing else."""

    kind: str
    way: str
    side: str
    seconds: float = 0.0
    num_timed: int = 0
    peak_bytes: int | None = None
    operations: int = 0
    hearing_seconds: float = 0.0
    first_seconds: float = 0.0
    losses: tuple[float, ...] = ()
    failure: str = ""


def measured(job: RandomJob, kind: str, way: str, name: str) -> Result:
    """Counts, trains and measures one side. A step's operations are those of its first batch times the accumulated."""
    side = SIDES[name](replace(job, attention=WAYS[way].attention), kind)
    operations = count(job, side, 1).operations * (job.batch // job.per_device)
    cuda = job.device.type == "cuda"
    if cuda:
        torch.cuda.reset_peak_memory_stats()
    with WAYS[way].around(side.model):
        course = train(side)
    peak = torch.cuda.max_memory_allocated() if cuda else None
    return Result(
        kind, way, name, sum(course.step_seconds), len(course.step_seconds), peak, operations, side.early_seconds,
        course.first_seconds, course.losses,
    )  # fmt: skip


def run(
    job: RandomJob, kinds: Sequence[str], ways: Sequence[str], sides: Sequence[str], say: Callable[[str], None]
) -> Iterator[Result]:
    """Each kind in each way on each side; one that the card or torch cannot do is reported, and the others follow."""
    wanted = [(kind, way, side) for kind in kinds for way in ways for side in sides if side in WAYS[way].sides]
    for kind, way, side in wanted:
        try:
            yield measured(job, kind, way, side)
        except RuntimeError as error:  # out of memory, no such kernel, not compilable
            failure = f"{type(error).__name__}: {str(error).strip().splitlines()[0]}"
            say(f"{kind}, {way}, {side}: {failure}")
            yield Result(kind, way, side, failure=failure)
        gc.collect()
        torch.compiler.reset()
        if torch.cuda.is_available():
            torch.cuda.empty_cache()


def table(job: RandomJob, results: Sequence[Result], teraflops: float | None, expected: dict[str, float]) -> str:
    """The results as Markdown. MFU: the operations that a step needs, those of our side, by its time and the peak.

    Args:
        expected: bytes that a step of our side holds by the forecast, by kind.
    """
    needed = {(r.kind, r.way): r.operations for r in results if r.side == OURS}
    rows = []
    for result in results:
        if result.failure:
            cells = [result.kind, result.way, result.side, result.failure, *["–"] * (len(COLUMNS) - 4)]
        else:
            step = result.seconds / result.num_timed
            useful = needed.get((result.kind, result.way)) or needed.get((result.kind, "as it is"))
            cells = [
                result.kind, result.way, result.side, f"{job.batch / step:.2f}",
                "–" if result.peak_bytes is None else f"{result.peak_bytes / GIB:.1f}",
                f"{expected[result.kind] / GIB:.1f}", f"{result.operations / 1e12:.3g}",
                f"{useful / step / (teraflops * 1e12):.0%}" if useful and teraflops else "–",
                f"{result.hearing_seconds:.1f}", f"{result.first_seconds:.1f}",
                " ".join(f"{loss:.4f}" for loss in result.losses),
            ]  # fmt: skip
        rows.append(cells)
    return markdown(COLUMNS, rows)


def peak_teraflops(given: float | None) -> tuple[str, float | None]:
    """The machine's name and its dense bfloat16 peak by the vendor, if it is a card that we know or one is given."""
    name = torch.cuda.get_device_name() if torch.cuda.is_available() else "CPU"
    return name, given or next((peak for card, peak in TERAFLOPS.items() if card in name), None)


def job_of(options: Any) -> RandomJob:
    """The job that the command line asks for."""
    job = RandomJob(
        size=SEVEN_B, num_steps=options.steps, batch=options.batch, per_device=options.per_device,
        share=options.speech_share, seconds=options.seconds, bf16=True, learning_rate=1e-4,
        checkpointing=options.checkpointing,
    )  # fmt: skip
    if options.tiny:
        job = replace(job, size=TINY, batch=4, per_device=2, seconds=0.8, bf16=False, learning_rate=1e-2)
    return job


def main(arguments: Sequence[str] | None = None) -> None:
    parser = argparse.ArgumentParser(description="Training speed and memory against a plain transformers Trainer.")
    parser.add_argument("--tiny", action="store_true", help="tiny random sizes and few rows, on any machine")
    parser.add_argument("--kinds", nargs="+", choices=("lora", "full"), default=["lora", "full"])
    parser.add_argument("--ways", nargs="+", choices=tuple(WAYS), default=["as it is"])
    parser.add_argument("--sides", nargs="+", choices=tuple(SIDES), default=list(SIDES))
    parser.add_argument("--steps", type=int, default=4, help="the first is not timed")
    parser.add_argument("--batch", type=int, default=128, help="rows of a step")
    parser.add_argument("--per-device", type=int, default=4, help="rows computed at once; a divisor of --batch")
    parser.add_argument("--speech-share", type=float, default=0.5, help="of the rows")
    parser.add_argument("--seconds", type=float, default=3.0, help="of a clip, on average")
    parser.add_argument("--checkpointing", action="store_true", help="compute layers again in the backward pass")
    parser.add_argument("--teraflops", type=float, help="the card's dense bfloat16 peak, if it is not known")
    parser.add_argument("--out", type=Path, default=Path("runs/gpu_training"))
    options = parser.parse_args(arguments)
    if options.steps < 2 or options.batch % options.per_device:
        parser.error("--steps is 2 or more, and --per-device divides --batch")
    if not options.tiny and not torch.cuda.is_available():
        parser.error("there is no GPU here; --tiny runs anywhere")
    job = job_of(options)
    name, teraflops = peak_teraflops(options.teraflops)
    peak = f"{teraflops:g} teraFLOP/s" if teraflops else "unknown"
    head = f"{name}, peak {peak}; {job.size.name}, {job.num_steps} steps of {job.batch} rows, {job.per_device} at once"
    print(head)
    expected = {kind: job.forecast(kind).held for kind in options.kinds}
    results: list[Result] = []
    for result in run(job, options.kinds, options.ways, options.sides, print):
        results.append(result)
        text = f"{head}\n\n{table(job, results, teraflops, expected)}"
        content = {"machine": name, "teraflops": teraflops, "job": asdict(replace(job, size=None))}
        content |= {"model": job.size.name, "forecast_bytes": expected, "results": [asdict(each) for each in results]}
        write(options.out, text, content)  # after each, so that what is stopped has left something
    print(text)


if __name__ == "__main__":
    main()
