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
import json
import tempfile
import time
from collections.abc import Callable, Iterator, Sequence
from dataclasses import asdict, dataclass, replace
from pathlib import Path
from typing import Any

import torch
from random_job import ANSWER_TOKENS, PAD_ID, SEVEN_B, TINY, Job, model_of, rows_of
from torch.nn.utils.rnn import pad_sequence
from torch.utils.flop_counter import FlopCounterMode
from transformers import PrinterCallback, Qwen2AudioConfig, Trainer, TrainerCallback

from sottovoce.data.audio import SAMPLING_RATE, Samples
from sottovoce.data.collate import IGNORED, Row, collate_training, moved
from sottovoce.models.features import encode_clips
from sottovoce.models.injection import answer_loss
from sottovoce.study.activations import RowSize
from sottovoce.study.memory import CARDS, GIB, forecast_memory
from sottovoce.train.parts import with_weights
from sottovoce.train.trainer import AnswerTrainer, Rows

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


def ours(job: Job, kind: str, folder: str) -> Result:
    """Recordings go through the tower once, before the first step."""
    loaded, rows = model_of(job), rows_of(job)
    started = time.perf_counter()
    states = iter(encode_clips(loaded.model, loaded.processor, [clip for _, clip in rows if clip is not None]))
    kept = [row if clip is None else replace(row, audio_states=next(states)) for row, clip in rows]
    hearing = time.perf_counter() - started
    torch.manual_seed(job.seed)
    model = with_weights(loaded, job.settings(kind), None)

    def loss(batch: Any) -> torch.Tensor:
        return answer_loss(model, batch)[0]

    first = collate_training(kept[: job.per_device], PAD_ID)
    operations = counted(job, loss, first)
    trainer = AnswerTrainer(model, job.arguments(kind, folder), Rows(kept, range(len(kept))), PAD_ID)
    return measured(job, kind, "sottovoce", trainer, operations, hearing)


def plain(job: Job, kind: str, folder: str) -> Result:
    """The model's own forward, by a Trainer as it is."""
    loaded, rows = model_of(job), rows_of(job)
    torch.manual_seed(job.seed)
    model = with_weights(loaded, job.settings(kind), None)  # the same parameters in the same dtypes

    def collate(part: Sequence[tuple[Row, Samples | None]]) -> dict[str, torch.Tensor]:
        batch = pad([row for row, _ in part])
        if clips := [clip for _, clip in part if clip is not None]:
            mel = loaded.processor.feature_extractor(
                clips,
                sampling_rate=SAMPLING_RATE,
                return_attention_mask=True,
                padding="max_length",
                return_tensors="pt",
            )
            batch |= {"input_features": mel["input_features"], "feature_attention_mask": mel["attention_mask"]}
        return batch

    operations = counted(job, lambda batch: model(**batch).loss, collate(rows[: job.per_device]))
    trainer = Trainer(model=model, args=job.arguments(kind, folder), train_dataset=rows, data_collator=collate)
    # Without this word gradients of accumulated batches are added up and not averaged: the model's forward takes
    # num_items_in_batch and ignores it.
    trainer.loss_is_scaled_for_ga = False
    return measured(job, kind, "plain Trainer", trainer, operations, 0.0)


def pad(rows: Sequence[Row]) -> dict[str, torch.Tensor]:
    """Rows padded on the right to the longest; -100 on all that is not answer."""
    ids = [torch.tensor(row.prompt_ids + row.answer_ids) for row in rows]
    labels = [torch.tensor([IGNORED] * len(row.prompt_ids) + row.answer_ids) for row in rows]
    return {
        "input_ids": pad_sequence(ids, batch_first=True, padding_value=PAD_ID),
        "attention_mask": pad_sequence([torch.ones_like(row) for row in ids], batch_first=True),
        "labels": pad_sequence(labels, batch_first=True, padding_value=IGNORED),
    }


def counted(job: Job, loss: Callable[[Any], torch.Tensor], batch: Any) -> int:
    """Floating-point operations of a step: those of one batch, forward and backward, times the accumulated ones."""
    with FlopCounterMode(display=False) as counter, torch.autocast(job.device.type, torch.bfloat16, enabled=job.bf16):
        total = loss(moved(batch, job.device))
        total.backward()  # type: ignore[no-untyped-call]
    return int(counter.get_total_flops() * (job.batch // job.per_device))


def measured(job: Job, kind: str, side: str, trainer: Trainer, operations: int, hearing: float) -> Result:
    """Trains and measures."""
    trainer.remove_callback(PrinterCallback)
    trainer.model.zero_grad(set_to_none=True)
    cuda = job.device.type == "cuda"
    if cuda:
        torch.cuda.reset_peak_memory_stats()
    ends = Clock()
    trainer.add_callback(ends)
    trainer.train()
    losses = tuple(line["loss"] for line in trainer.state.log_history if "loss" in line)
    peak = torch.cuda.max_memory_allocated() if cuda else None
    seconds, num_timed = ends.times[-1] - ends.times[0], len(ends.times) - 1
    return Result(kind, side, seconds, num_timed, peak, operations, hearing, losses)


class Clock(TrainerCallback):  # type: ignore[misc]
    """When each step ended."""

    def __init__(self) -> None:
        self.times: list[float] = []

    def on_step_end(self, args: Any, state: Any, control: Any, **kwargs: Any) -> None:
        if torch.cuda.is_available():
            torch.cuda.synchronize()
        self.times.append(time.perf_counter())


def forecast(job: Job, kind: str) -> float:
    """What ``plan-memory`` says of a step of our side, in bytes that tensors hold."""
    with tempfile.TemporaryDirectory() as folder:
        Qwen2AudioConfig(**job.config).save_pretrained(folder)
        size = RowSize(max(len(row) for row, _ in rows_of(job)), ANSWER_TOKENS)
        return forecast_memory(folder, job.settings(kind), size).held


def run(job: Job, kinds: Sequence[str], say: Callable[[str], None]) -> Iterator[Result]:
    """Each kind on each side; one that does not fit into the card is told and left out."""
    for kind in kinds:
        for side in (ours, plain):
            with tempfile.TemporaryDirectory() as folder:
                try:
                    yield side(job, kind, folder)
                except torch.cuda.OutOfMemoryError:
                    say(f"{kind}, {side.__name__}: out of memory")
            gc.collect()
            if torch.cuda.is_available():
                torch.cuda.empty_cache()


def table(job: Job, results: Sequence[Result], teraflops: float | None) -> str:
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
    job = Job(
        SEVEN_B, options.steps, options.batch, options.per_device, options.speech_share, options.seconds, True, 1e-4
    )
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
    options.out.mkdir(parents=True, exist_ok=True)
    (options.out / "table.md").write_text(text + "\n", encoding="utf-8")
    content = {"machine": name, "teraflops": teraflops, "job": asdict(job), "results": [asdict(r) for r in results]}
    (options.out / "results.json").write_text(json.dumps(content, indent=1) + "\n", encoding="utf-8")


if __name__ == "__main__":
    main()
