"""Decoding speed at Qwen2-Audio-7B's real sizes, random weights: Sottovoce's loop against transformers' ``generate``.

Answers have lengths that are drawn beforehand, the same on both sides: random weights end none. The plain side pads
prompts to the longest and hears every recording in a window of 30 s; a row whose answer has ended stays in its batch.

    python benchmarks/gpu_decoding.py            # on a GPU
    python benchmarks/gpu_decoding.py --tiny     # on any machine, in seconds: shows that it works, and no more
"""

from __future__ import annotations

import argparse
import random
import time
from collections.abc import Callable, Sequence
from dataclasses import asdict, dataclass, replace
from pathlib import Path
from typing import Any

import torch
from gpu_training import peak_teraflops
from random_job import ANSWER_TOKENS, RandomJob
from real_sizes import SEVEN_B, TINY
from sides import HeardRow, own_inputs, with_states
from torch.nn.utils.rnn import pad_sequence
from transformers import StoppingCriteria
from written import markdown, write

from sottovoce.data.collate import moved
from sottovoce.decode.constraints import AnyText
from sottovoce.decode.greedy import greedy
from sottovoce.models.features import encode_clips
from sottovoce.models.load import LoadedModel
from sottovoce.study.resources.memory import GIB

PLAIN, OURS, HEARD = "plain generate", "sottovoce", "sottovoce, heard before"
COLUMNS = ("answered from", "side", "utterances/s", "ratio", "peak GiB")


class Length(AnyText):
    """An answer that ends after so many tokens."""

    def __init__(self, num_tokens: int) -> None:
        self._left = num_tokens

    @property
    def ended(self) -> bool:  # type: ignore[override]
        return self._left == 0

    def take(self, token: int) -> None:
        self._left -= 1


class Lengths(StoppingCriteria):  # type: ignore[misc]
    """The same for each row of a batch, as ``generate`` asks for it."""

    def __init__(self, num_tokens: Sequence[int], prompt_length: int, device: torch.device) -> None:
        self._ends = prompt_length + torch.tensor(num_tokens, device=device)

    def __call__(self, input_ids: torch.Tensor, scores: Any, **kwargs: Any) -> torch.Tensor:
        return input_ids.shape[1] >= self._ends


@dataclass(frozen=True)
class Result:
    """A side's turn; ``ids`` are the tokens of its answers."""

    modality: str
    side: str
    seconds: float
    peak_bytes: int | None
    ids: list[list[int]]


def plain(loaded: LoadedModel, rows: Sequence[HeardRow], lengths: Sequence[int]) -> list[list[int]]:
    """One batch by the model's own ``generate``."""
    prompts = [torch.tensor(row.prompt_ids) for row, _ in rows]
    inputs = {
        "input_ids": pad_sequence(prompts, True, loaded.pad_id, "left"),
        "attention_mask": pad_sequence([torch.ones_like(ids) for ids in prompts], True, 0, "left"),
    } | own_inputs(loaded, [clip for _, clip in rows if clip is not None])
    dtype, device = loaded.model.dtype, loaded.model.device
    inputs = moved({name: t.to(dtype) if t.is_floating_point() else t for name, t in inputs.items()}, device)
    length = inputs["input_ids"].shape[1]
    with torch.inference_mode():
        found = loaded.model.generate(
            **inputs, max_new_tokens=max(lengths), do_sample=False, pad_token_id=loaded.pad_id, eos_token_id=None,
            stopping_criteria=[Lengths(lengths, length, device)],
        )  # fmt: skip
    answers = found[:, length:].tolist()
    return [ids[:number] for ids, number in zip(answers, lengths, strict=True)]


def ours(loaded: LoadedModel, rows: Sequence[HeardRow], lengths: Sequence[int]) -> list[list[int]]:
    """One batch as a study decodes it; a row without a clip is text, or was heard before."""
    states = iter(encode_clips(loaded.model, loaded.processor, [clip for _, clip in rows if clip is not None]))
    heard = [row if clip is None else with_states(row, next(states), loaded) for row, clip in rows]
    return greedy(loaded, loaded.model, heard, [Length(number) for number in lengths], max(lengths))


def timed(
    loaded: LoadedModel, answer: Callable[..., list[list[int]]], rows: Sequence[HeardRow], lengths: Sequence[int],
    batch: int,
) -> tuple[float, int | None, list[list[int]]]:  # fmt: skip
    """Seconds, peak bytes and tokens of all rows; a first batch with short answers is not timed."""
    cuda = loaded.model.device.type == "cuda"
    answer(loaded, rows[:batch], [2] * len(rows[:batch]))
    if cuda:
        torch.cuda.reset_peak_memory_stats()
        torch.cuda.synchronize()
    started, ids = time.perf_counter(), list[list[int]]()
    for start in range(0, len(rows), batch):
        ids += answer(loaded, rows[start : start + batch], lengths[start : start + batch])
    if cuda:
        torch.cuda.synchronize()
    return time.perf_counter() - started, torch.cuda.max_memory_allocated() if cuda else None, ids


def table(results: Sequence[Result]) -> str:
    """The results as Markdown."""
    base = {result.modality: result.seconds for result in results if result.side == PLAIN}
    return markdown(
        COLUMNS,
        [
            [r.modality, r.side, f"{len(r.ids) / r.seconds:.2f}", f"{base[r.modality] / r.seconds:.2f}",
             "–" if r.peak_bytes is None else f"{r.peak_bytes / GIB:.1f}"]
            for r in results
        ],
    )  # fmt: skip


def main(arguments: Sequence[str] | None = None) -> None:
    parser = argparse.ArgumentParser(description="Decoding at real sizes against transformers' plain generate.")
    parser.add_argument("--tiny", action="store_true", help="a tiny model and few rows, on any machine")
    parser.add_argument("--utterances", type=int, default=96)
    parser.add_argument("--batch", type=int, default=32, help="utterances decoded at once, on every side")
    parser.add_argument("--out", type=Path, default=Path("runs/gpu_decoding"))
    options = parser.parse_args(arguments)
    if not options.tiny and not torch.cuda.is_available():
        parser.error("there is no GPU here; --tiny runs anywhere")
    job = RandomJob(
        size=SEVEN_B, num_steps=1, batch=options.utterances, per_device=1, share=1.0, seconds=3.0, bf16=True,
        learning_rate=0.0,
    )  # fmt: skip
    if options.tiny:
        job = replace(job, size=TINY, batch=6, seconds=0.8, bf16=False)
    batch = 4 if options.tiny else options.batch
    rng = random.Random(job.seed)
    lengths = [rng.randint(ANSWER_TOKENS // 2, ANSWER_TOKENS) for _ in range(job.num_rows)]
    loaded, (name, _) = job.loaded(), peak_teraflops(None)
    head = f"{name}; {job.size.name}, {job.num_rows} utterances, {batch} at once, answers of {min(lengths)} to "
    head += f"{max(lengths)} tokens"
    print(head)
    results: list[Result] = []
    for modality, share in (("speech", 1.0), ("text", 0.0)):
        rows = replace(job, share=share).random_rows()
        turns: list[tuple[str, Any, Sequence[HeardRow]]] = [(PLAIN, plain, rows), (OURS, ours, rows)]
        if share:
            clips = [clip for _, clip in rows if clip is not None]
            states = encode_clips(loaded.model, loaded.processor, clips)
            heard = [(with_states(row, own, loaded), None) for (row, _), own in zip(rows, states, strict=True)]
            turns.append((HEARD, ours, heard))
        for side, answer, given in turns:
            results.append(Result(modality, side, *timed(loaded, answer, given, lengths, batch)))
            content = {"machine": name, "model": job.size.name, "batch": batch}
            write(options.out, f"{head}\n\n{table(results)}", content | {"results": [asdict(r) for r in results]})
    print(table(results))


if __name__ == "__main__":
    main()
