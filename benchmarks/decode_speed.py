"""Decoding speed of a trained run: Sottovoce's decoding against transformers' plain ``generate``, in one run.

The plain side does what a script written in an afternoon does: the model's own ``generate`` on batches of 8 utterances
in file order, padded to the longest, with mel frames of the model's whole window. Both sides hear every recording.

    python benchmarks/decode_speed.py runs/home-en/cells/curriculum-5pct
"""

from __future__ import annotations

import argparse
import os
import platform
import tempfile
import time
from collections.abc import Callable, Sequence
from dataclasses import asdict, dataclass, field
from pathlib import Path
from statistics import median
from typing import Any

import torch
from rich.progress import Progress
from sides import num_places, own_inputs
from torch.nn.utils.rnn import pad_sequence
from written import write

from sottovoce.core.recipe import Grammar, Recipe
from sottovoce.core.types import MODALITIES, Example, Frame
from sottovoce.data.audio import SAMPLING_RATE, load_audio
from sottovoce.data.collate import Row, end_of_turn_id, tokenize
from sottovoce.data.load import load_data
from sottovoce.data.prompts import slu_example
from sottovoce.decode.batches import decode
from sottovoce.decode.parse import parse_answer
from sottovoce.models.audio_states import AudioStore
from sottovoce.models.load import LoadedModel, fused_attention
from sottovoce.study.runs import answer_form, load_run

PLAIN = "plain generate"
HEARD = "sottovoce, heard before"
SIDES: dict[str, Grammar | None] = {PLAIN: None, "sottovoce": "none", "sottovoce, ontology": "ontology", HEARD: "none"}
COLUMNS = (
    "answered from",
    "side",
    "utterances/s",
    "ratio",
    "passes",
    "positions",
    "as plain",
    "intent %",
    "unreadable",
)


@dataclass
class Result:
    """What a side's turns came to; ``passes`` are the language model's forwards, ``positions`` what they read."""

    modality: str
    side: str
    seconds: list[float] = field(default_factory=list)
    passes: int = 0
    positions: int = 0
    texts: list[str] = field(default_factory=list)
    frames: list[Frame | None] = field(default_factory=list)


@dataclass(frozen=True)
class Run:
    """A trained run and the utterances to decode."""

    loaded: LoadedModel
    model: Any
    recipe: Recipe

    def plain(self, examples: Sequence[Example], batch_size: int) -> list[str]:
        """Answers by the model's own ``generate``."""
        texts: list[str] = []
        for start in range(0, len(examples), batch_size):
            inputs = self._plain_inputs(examples[start : start + batch_size])
            with torch.inference_mode():
                ids = self.model.generate(
                    **inputs,
                    max_new_tokens=self.recipe.decode.max_new_tokens,
                    do_sample=False,
                    repetition_penalty=1.0,
                    eos_token_id=end_of_turn_id(self.loaded.processor.tokenizer),
                    pad_token_id=self.loaded.pad_id,
                )
            answers = ids[:, inputs["input_ids"].shape[1] :]
            texts += self.loaded.processor.tokenizer.batch_decode(answers, skip_special_tokens=True)
        return texts

    def _plain_inputs(self, examples: Sequence[Example]) -> dict[str, torch.Tensor]:
        processor, rows, clips = self.loaded.processor, list[Row](), []
        for example in examples:
            states = None
            if example.modality == "speech":
                clip = load_audio(example.utterance.audio or Path(), example.utterance.where)
                clips.append(clip[: int(self.loaded.window_seconds * SAMPLING_RATE)])
                states = torch.empty(num_places(self.loaded.family, len(clips[-1])), 0)
            rows.append(tokenize(example, processor, states))
        ids = [torch.tensor(row.prompt_ids) for row in rows]
        inputs = {
            "input_ids": pad_sequence(ids, True, self.loaded.pad_id, "left"),
            "attention_mask": pad_sequence([torch.ones_like(row) for row in ids], True, 0, "left"),
        }
        dtype = self.model.dtype
        inputs |= {
            name: tensor.to(dtype) if tensor.is_floating_point() else tensor
            for name, tensor in own_inputs(self.loaded, clips).items()
        }
        return {name: tensor.to(self.model.device) for name, tensor in inputs.items()}

    def heard(self, examples: Sequence[Example]) -> AudioStore:
        """What a study keeps of the recordings, for all of its cells."""
        store = AudioStore(self.loaded)
        with Progress(disable=True) as progress:
            store.encode([(e.utterance, 0) for e in examples if e.modality == "speech"], progress)
        return store

    def ours(self, examples: Sequence[Example], grammar: Grammar, store: AudioStore) -> list[str]:
        """Answers as a study decodes them."""
        form = answer_form(self.recipe.folder, grammar, self.loaded)
        with tempfile.TemporaryDirectory() as folder, Progress(disable=True) as progress:
            partial = Path(folder) / "answers.partial"
            answers = decode(
                self.loaded, self.model, examples, store, self.recipe.decode, partial, progress, "decoding", form
            )
        return [answers[example.utterance.id].text for example in examples]


def measure(
    run: Run, num_utterances: int, num_rounds: int, batch_size: int, say: Callable[[str], None]
) -> list[Result]:
    """The sides by turns, each modality apart; a first, short turn of each side is not timed."""
    test = load_data(run.recipe).test[:num_utterances]
    language = run.loaded.model.get_submodule(run.loaded.family.text_model)
    results = []
    for modality in MODALITIES:
        examples = [slu_example(utterance, modality) for utterance in test]
        sides = [side for side in SIDES if modality == "speech" or side != HEARD]
        own = {side: Result(modality, side) for side in sides}
        with fused_attention(run.loaded.model):
            before = run.heard(examples)
        for number in range(num_rounds + 1):
            for side, result in own.items():
                grammar = SIDES[side]
                result.passes = result.positions = 0

                def count(module: Any, inputs: Any, options: dict[str, Any], result: Result = result) -> None:
                    read = options.get("inputs_embeds")
                    read = options["input_ids"] if read is None else read
                    result.passes, result.positions = result.passes + 1, result.positions + read.shape[:2].numel()

                hook = language.register_forward_pre_hook(count, with_kwargs=True)
                started, part = time.perf_counter(), examples if number else examples[:batch_size]
                with fused_attention(run.loaded.model):
                    if grammar is None:
                        texts = run.plain(part, batch_size)
                    else:
                        texts = run.ours(part, grammar, before if side == HEARD else run.heard(part))
                hook.remove()
                if number:
                    result.seconds.append(time.perf_counter() - started)
                    result.texts = [text.strip() for text in texts]
                    result.frames = [parse_answer("", text).frame for text in result.texts]
                    say(f"{modality}, {side}: {result.seconds[-1]:.1f} s")
        results += own.values()
    return results


def table(results: Sequence[Result], gold: Sequence[Frame]) -> str:
    """The results as Markdown; ``as plain`` counts the frames that are those of the plain side."""
    lines = ["| " + " | ".join(COLUMNS) + " |", "| --- | --- |" + " ---: |" * (len(COLUMNS) - 2)]
    base = {result.modality: result for result in results if result.side == PLAIN}
    for result in results:
        plain = base[result.modality]
        same = sum(mine == its for mine, its in zip(result.frames, plain.frames, strict=True))
        pairs = zip(result.frames, gold, strict=True)
        right = sum(frame is not None and frame.intent == true.intent for frame, true in pairs)
        cells = [
            result.modality, result.side, f"{len(gold) / median(result.seconds):.2f}",
            f"{median(plain.seconds) / median(result.seconds):.2f}", str(result.passes), str(result.positions),
            f"{same} of {len(gold)}", f"{100 * right / len(gold):.1f}",
            str(sum(frame is None for frame in result.frames)),
        ]  # fmt: skip
        lines.append("| " + " | ".join(cells) + " |")
    return "\n".join(lines)


def main(arguments: Sequence[str] | None = None) -> None:
    parser = argparse.ArgumentParser(description="Decoding a trained run against transformers' plain generate.")
    parser.add_argument("run", type=Path, help="the folder of a trained cell")
    parser.add_argument("--utterances", type=int, default=96, help="of the test utterances")
    parser.add_argument("--rounds", type=int, default=2, help="turns of each side")
    parser.add_argument("--batch", type=int, default=8, help="utterances of the plain side's batches")
    parser.add_argument("--note", default="", help="a word about the machine's state, such as: busy")
    parser.add_argument("--out", type=Path, default=Path("runs/decode_speed"))
    options = parser.parse_args(arguments)
    run = Run(*load_run(options.run, print))
    results = measure(run, options.utterances, options.rounds, options.batch, print)
    machine = f"{os.cpu_count()} CPU cores, {platform.machine()}, torch {torch.__version__}"
    said = ", ".join(part for part in (machine, str(run.model.dtype), options.note) if part)
    gold = [utterance.frame for utterance in load_data(run.recipe).test[: options.utterances]]
    text = f"{said}; {len(gold)} utterances\n\n{table(results, gold)}"
    print(text)
    content = {"machine": said, "run": options.run.name, "results": [asdict(result) for result in results]}
    write(options.out, text, content)


if __name__ == "__main__":
    main()
