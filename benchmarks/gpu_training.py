"""Training speed and memory: Sottovoce's training code against a plain transformers Trainer, in one run.

Qwen2-Audio-7B's real sizes with random weights, the same rows in the same order, the same trained parameters in the
same dtypes. The plain side does what a script written in an afternoon does: the model's own forward on padded batches,
so that every recording goes through the audio tower at every step, in a window of 30 s, and every position gets logits.

    python benchmarks/gpu_training.py                  # on a GPU: LoRA and full fine-tuning, batches of 128
    python benchmarks/gpu_training.py --tiny           # on any machine, in seconds: shows that it works, and no more
"""

from __future__ import annotations

import argparse
import gc
import tempfile
from collections.abc import Callable, Iterator, Sequence
from dataclasses import asdict, dataclass, replace
from pathlib import Path

import torch
from counts import count
from random_job import ANSWER_TOKENS, SEVEN_B, TINY, RandomJob
from sides import SIDES, Job, train
from transformers import Qwen2AudioConfig
from written import write

from sottovoce.study.resources.activations import RowSize
from sottovoce.study.resources.memory import CARDS, GIB, forecast_memory

COLUMNS = (
    "trained", "side", "samples/s", "peak GiB", "forecast GiB", "TFLOP a step", "MFU", "heard first, s", "losses",
)  # fmt: skip


@dataclass(frozen=True)
class Result:
    """What one side came to. Seconds are of all steps but the first, ``num_timed`` of them."""

    kind: str
    side: str
    seconds: float
    num_timed: int
    peak_bytes: int | None
    operations: int
    hearing_seconds: float
    losses: tuple[float, ...]


def measured(job: Job, kind: str, name: str) -> Result:
    """Counts, trains and measures one side. A step's operations are those of its first batch times the accumulated."""
    side = SIDES[name](job, kind)
    operations = count(job, side, 1).operations * (job.batch // job.per_device)
    cuda = job.device.type == "cuda"
    if cuda:
        torch.cuda.reset_peak_memory_stats()
    course = train(side)
    peak = torch.cuda.max_memory_allocated() if cuda else None
    seconds, num_timed = sum(course.step_seconds), len(course.step_seconds)
    return Result(kind, name, seconds, num_timed, peak, operations, side.early_seconds, course.losses)


def forecast(job: RandomJob, kind: str) -> float:
    """What ``plan-memory`` says of a step of our side, in bytes that tensors hold."""
    with tempfile.TemporaryDirectory() as folder:
        Qwen2AudioConfig(**job.config).save_pretrained(folder)
        size = RowSize(max(len(row) for row, _ in job.random_rows()), ANSWER_TOKENS)
        return forecast_memory(folder, job.settings(kind), size).held


def run(job: Job, kinds: Sequence[str], say: Callable[[str], None]) -> Iterator[Result]:
    """Each kind on each side; one that does not fit into the card is told and left out."""
    for kind in kinds:
        for name in SIDES:
            try:
                yield measured(job, kind, name)
            except torch.cuda.OutOfMemoryError:
                say(f"{kind}, {name}: out of memory")
            gc.collect()
            if torch.cuda.is_available():
                torch.cuda.empty_cache()


def table(job: RandomJob, results: Sequence[Result], teraflops: float | None) -> str:
    """The results as Markdown. MFU: the operations that a step needs, those of our side, by its time and the peak."""
    lines = ["| " + " | ".join(COLUMNS) + " |", "|" + " --- |" * len(COLUMNS)]
    needed = {result.kind: result.operations for result in results if result.side == "sottovoce"}
    expected = {kind: f"{forecast(job, kind) / GIB:.1f}" for kind in {result.kind for result in results}}
    for result in results:
        step = result.seconds / result.num_timed
        useful = needed.get(result.kind)
        mfu = f"{useful / step / (teraflops * 1e12):.0%}" if useful and teraflops else "–"
        peak = "–" if result.peak_bytes is None else f"{result.peak_bytes / GIB:.1f}"
        losses = " ".join(f"{loss:.4f}" for loss in result.losses)
        cells = [
            result.kind, result.side, f"{job.batch / step:.2f}", peak, expected[result.kind],
            f"{result.operations / 1e12:.3g}", mfu, f"{result.hearing_seconds:.1f}", losses,
        ]  # fmt: skip
        lines.append("| " + " | ".join(cells) + " |")
    return "\n".join(lines)


def peak_teraflops(given: float | None) -> tuple[str, float | None]:
    """The machine's name and its dense bfloat16 peak, if it is a card that ``plan-memory`` knows or one is given."""
    name = torch.cuda.get_device_name() if torch.cuda.is_available() else "CPU"
    return name, given or next((card.teraflops for card in CARDS if card.name.removeprefix("RTX ") in name), None)


def main(arguments: Sequence[str] | None = None) -> None:
    parser = argparse.ArgumentParser(description="Training speed and memory against a plain transformers Trainer.")
    parser.add_argument("--tiny", action="store_true", help="tiny random sizes and few rows, on any machine")
    parser.add_argument("--kinds", nargs="+", choices=("lora", "full"), default=["lora", "full"])
    parser.add_argument("--steps", type=int, default=4, help="the first is not timed")
    parser.add_argument("--batch", type=int, default=128, help="rows of a step")
    parser.add_argument("--per-device", type=int, default=4, help="rows computed at once; a divisor of --batch")
    parser.add_argument("--speech-share", type=float, default=0.5, help="of the rows")
    parser.add_argument("--seconds", type=float, default=3.0, help="of a clip, on average")
    parser.add_argument("--teraflops", type=float, help="the card's dense bfloat16 peak, if it is not known")
    parser.add_argument("--out", type=Path, default=Path("runs/gpu_training"))
    options = parser.parse_args(arguments)
    if options.steps < 2 or options.batch % options.per_device:
        parser.error("--steps is 2 or more, and --per-device divides --batch")
    if not options.tiny and not torch.cuda.is_available():
        parser.error("there is no GPU here; --tiny runs anywhere")
    job = RandomJob(
        config=SEVEN_B, num_steps=options.steps, batch=options.batch, per_device=options.per_device,
        share=options.speech_share, seconds=options.seconds, bf16=True, learning_rate=1e-4,
    )  # fmt: skip
    if options.tiny:
        job = replace(job, config=TINY, batch=4, per_device=2, seconds=0.8, bf16=False, learning_rate=1e-2)
    name, teraflops = peak_teraflops(options.teraflops)
    print(
        f"{name}, peak {f'{teraflops:g} teraFLOP/s' if teraflops else 'unknown'}; {job.num_steps} steps of {job.batch}"
    )
    results = list(run(job, options.kinds, print))
    text = table(job, results, teraflops)
    print(text)
    for kind in options.kinds:
        losses = [result.losses for result in results if result.kind == kind]
        if len(losses) == 2:
            worst = max(abs(left - right) for left, right in zip(*losses, strict=True))
            print(f"{kind}: the losses of both sides are at most {worst:.4f} nats a token apart")
    content = {"machine": name, "teraflops": teraflops, "job": asdict(job), "results": [asdict(r) for r in results]}
    write(options.out, text, content)


if __name__ == "__main__":
    main()
