"""A family's real sizes on a CPU, random bfloat16 weights: LoRA steps on text and on speech, and one decoded answer.

It proves the real sizes' path from end to end, and shows what text-only fine-tuning takes on a machine without a GPU:
from its text steps, the time of 400 sentences in three epochs is computed.

    python benchmarks/on_cpu.py                     # Qwen2-Audio-7B: 19 GiB and some minutes
    python benchmarks/on_cpu.py --model Voxtral-Mini-3B
    python benchmarks/on_cpu.py --tiny              # shows that it works, and no more
"""

from __future__ import annotations

import argparse
import os
import platform
import time
from collections.abc import Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from statistics import mean
from typing import Any

import torch
from counts import count
from gpu_decoding import Length
from own_process import peak_bytes
from random_job import ANSWER_TOKENS, RandomJob
from real_sizes import REAL, TINIES, Size
from sides import OURS, SIDES, train
from written import markdown, write

from sottovoce.core.machine import machine_bytes
from sottovoce.data.collate import Row
from sottovoce.decode.greedy import greedy
from sottovoce.decode.prefix_reader import supports_steps
from sottovoce.models.families.registry import family_of
from sottovoce.models.injection import bare
from sottovoce.models.load import LoadedModel
from sottovoce.study.resources.memory import GIB

SENTENCES, EPOCHS = 400, 3
COLUMNS = (
    "model", "sizes", "weights, G", "held by forecast, GiB", "peak GiB", "loaded in s", "a clip heard in s",
    "text row, s", "tokens", "speech row, s", "TFLOP a text row", f"answer of {ANSWER_TOKENS} tokens, s",
    "text-only, h",
)  # fmt: skip


@dataclass(frozen=True, kw_only=True)
class CpuJob(RandomJob):
    """Steps of text, and a last one of speech."""

    def spoken(self, number: int) -> bool:
        return number >= (self.num_steps - 1) * self.batch


def job_of(size: Size, num_steps: int, batch: int, per_device: int, bf16: bool) -> CpuJob:
    return CpuJob(
        size=size, num_steps=num_steps, batch=batch, per_device=per_device, share=0.0, seconds=3.0, bf16=bf16,
        learning_rate=1e-4,
    )  # fmt: skip


def measured(job: CpuJob) -> dict[str, Any]:
    """What the job came to. The process has loaded no other model, and its peak is this one's."""
    rows = job.random_rows()
    expected = job.forecast("lora")
    started = time.perf_counter()
    side = SIDES[OURS](job, "lora")  # loads, and hears the recordings
    loading = time.perf_counter() - started - side.early_seconds
    operations = count(job, side, 1).operations / job.per_device
    answering = answer_seconds(job, side)
    course = train(side)
    text = [row for row, clip in rows if clip is None]
    *text_seconds, speech_seconds = course.step_seconds
    a_row = mean(text_seconds) / job.batch
    return {
        "model": job.size.name, "sizes": job.size.source, "batch": job.batch, "per_device": job.per_device,
        "num_weights": sum(p.numel() for p in bare(side.model).parameters()),
        "forecast_bytes": expected.held, "peak_bytes": peak_bytes(), "loading_seconds": loading,
        "hearing_seconds": side.early_seconds / max(1, side.num_heard), "losses": course.losses,
        "first_seconds": course.first_seconds, "text_row_seconds": a_row,
        "text_row_tokens": mean(len(row) for row in text), "text_row_operations": operations,
        "speech_row_seconds": speech_seconds / job.batch, "answer_seconds": answering,
        "text_only_hours": SENTENCES * EPOCHS * a_row / 3600,
    }  # fmt: skip


def answer_seconds(job: CpuJob, side: Any) -> float | None:
    """Of an answer as long as the rows' to a recording that was heard; None of families that our loop does not read."""
    base = bare(side.model)
    loaded = LoadedModel(base, job.processor(base.config), family_of(job.size.model_type), job.bf16)
    if not supports_steps(loaded.family, base):
        return None
    row: Row = side.rows[-1]
    side.model.eval()
    started = time.perf_counter()
    with torch.autocast("cpu", torch.bfloat16, enabled=job.bf16):
        greedy(loaded, side.model, [row], [Length(ANSWER_TOKENS)], ANSWER_TOKENS)
    return time.perf_counter() - started


def table(results: Sequence[dict[str, Any]]) -> str:
    """The results as Markdown."""
    rows = []
    for r in results:
        answer = r["answer_seconds"]
        rows.append(
            [r["model"], r["sizes"], f"{r['num_weights'] / 1e9:.2f}", f"{r['forecast_bytes'] / GIB:.1f}",
             f"{r['peak_bytes'] / GIB:.1f}", f"{r['loading_seconds']:.0f}", f"{r['hearing_seconds']:.2f}",
             f"{r['text_row_seconds']:.2f}", f"{r['text_row_tokens']:.0f}", f"{r['speech_row_seconds']:.2f}",
             f"{r['text_row_operations'] / 1e12:.3g}", "–" if answer is None else f"{answer:.1f}",
             f"{r['text_only_hours']:.1f}"]
        )  # fmt: skip
    return markdown(COLUMNS, rows)


def main(arguments: Sequence[str] | None = None) -> None:
    parser = argparse.ArgumentParser(description="A real size on a CPU: LoRA steps, and an answer.")
    sizes = {size.name: size for size in (*REAL, *TINIES)}
    parser.add_argument("--model", choices=tuple(sizes), default=REAL[0].name)
    parser.add_argument("--tiny", action="store_true", help="a tiny Qwen2-Audio, in seconds")
    parser.add_argument("--steps", type=int, default=4, help="the first is not timed, the last is speech")
    parser.add_argument("--batch", type=int, default=4, help="rows of a step")
    parser.add_argument("--per-device", type=int, default=1, help="rows computed at once; a divisor of --batch")
    parser.add_argument("--float32", action="store_true", help="for a processor without bfloat16: twice the memory")
    parser.add_argument("--out", type=Path, default=Path("runs/on_cpu"))
    options = parser.parse_args(arguments)
    if options.steps < 3 or options.batch % options.per_device:
        parser.error("--steps is 3 or more, and --per-device divides --batch")
    if torch.cuda.is_available():
        parser.error("this machine has a GPU; benchmarks/gpu_training.py is for that")
    size = TINIES[0] if options.tiny else sizes[options.model]
    job = job_of(size, options.steps, options.batch, options.per_device, not options.float32)
    if size in TINIES:
        job = replace(job, seconds=0.8)
    expected, here = job.forecast("lora").held, machine_bytes()
    if expected > here:
        parser.error(f"{size.name} needs {expected / GIB:.1f} GiB by the forecast, {here / GIB:.1f} are here")
    machine = f"{os.cpu_count()} CPU cores, {platform.machine()}, torch {torch.__version__}"
    result = measured(job)
    text = f"{machine}; LoRA, steps of {job.batch} rows, {job.per_device} at once\n\n{table([result])}"
    print(text)
    write(options.out, text, {"machine": machine, "results": [result]})


if __name__ == "__main__":
    main()
