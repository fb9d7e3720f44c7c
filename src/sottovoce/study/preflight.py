"""Proofs before the first step: checks for the silent faults of fine-tuning audio language models.

Each proof runs a few spoken and written utterances through the code that trains and decodes. It returns what it saw, or
raises UserError with what to do.
"""

from __future__ import annotations

import tempfile
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import torch

from sottovoce.core.errors import UserError
from sottovoce.core.recipe import Train
from sottovoce.core.types import MODALITIES, Example, Utterance
from sottovoce.data.collate import IGNORED, Batch, Row, collate_training, end_of_turn_id, moved
from sottovoce.data.corpora.home import home_manifest
from sottovoce.data.manifest import read_manifest
from sottovoce.data.prompts import SLU_INSTRUCTION, slu_example
from sottovoce.decode.batches import next_token_logits
from sottovoce.models.audio_states import AudioStore
from sottovoce.models.injection import answer_loss, bare, token_losses
from sottovoce.models.load import LoadedModel, load_model
from sottovoce.models.lower_states import LowerStates
from sottovoce.train.parts import has_adapter, part_of, whole_parts, with_weights
from sottovoce.train.weights import save_weights

LARGEST_SAVED = 2 * 2**30  # bytes; larger weights are not written to disk just for a proof
PARTS = ("language_model", "projector", "audio_tower")
TRAINED_PARTS = "parts are trained as asked"  # what this proof saw is printed before every training
REPORT = "nothing was trained; report this with the model's name"


@dataclass(frozen=True)
class Proof:
    """A check that passed, and what it saw."""

    name: str
    seen: str

    def __str__(self) -> str:
        return f"{self.name} ({self.seen})"


@dataclass(frozen=True)
class _Subject:
    """The input of the proofs. ``model`` is ``loaded.model`` with its adapter, in evaluation mode."""

    loaded: LoadedModel
    train: Train
    model: Any
    examples: Sequence[Example]
    rows: Sequence[Row]

    @property
    def text(self) -> list[Row]:
        return [row for row in self.rows if row.audio_states is None]

    @property
    def speech(self) -> list[Row]:
        return [row for row in self.rows if row.audio_states is not None]

    @property
    def tolerance(self) -> float:
        """Nats per token, above rounding errors and below real faults; bfloat16 keeps 8 bits."""
        return 0.05 if self.loaded.model.dtype == torch.bfloat16 else 1e-3

    def losses(self, rows: Sequence[Row], first_layer: int = 0) -> list[float]:
        """Each row's mean loss per token, all rows in one batch; see ``token_losses``."""
        with torch.no_grad(), self.autocast():
            losses, places = token_losses(self.model, self.batch(rows), first_layer)
        return [float(losses[places == number].mean()) for number in range(len(rows))]

    def batch(self, rows: Sequence[Row]) -> Batch:
        return moved(collate_training(rows, self.loaded.pad_id), self.loaded.model.device)

    def autocast(self) -> torch.autocast:
        return torch.autocast(self.loaded.model.device.type, torch.bfloat16, enabled=self.loaded.bf16)


def proof_examples(utterances: Sequence[Utterance], instruction: str = SLU_INSTRUCTION) -> list[Example]:
    """The shortest and the longest recorded utterance with words, each spoken and written."""
    worded = [utterance for utterance in utterances if utterance.transcript]
    by_length = sorted(worded or utterances, key=lambda utterance: utterance.seconds or 0.0)
    ends = by_length[0], by_length[-1]
    return [slu_example(each, modality, instruction=instruction) for each in ends for modality in MODALITIES]


def check_model(name: str, manifest: Path | None, allow_outside: bool) -> Iterator[Proof]:
    """Runs the proofs on a model with LoRA, on utterances of a manifest or of the built-in corpus.

    Raises:
        UserError: the model or the manifest cannot be read, no utterance has a recording, or a proof fails.
    """
    path = manifest or home_manifest("en-US")
    spoken = [utterance for utterance in read_manifest(path, allow_outside) if utterance.audio is not None]
    if not spoken:
        raise UserError(f"{path}: no utterance has a recording", "record one, or leave out the manifest")
    loaded, examples = load_model(name), proof_examples(spoken)
    yield from prove(loaded, Train(language_model="lora"), examples, AudioStore(loaded).rows_of(examples))


def prove(loaded: LoadedModel, train: Train, examples: Sequence[Example], rows: Sequence[Row]) -> Iterator[Proof]:
    """Runs the proofs in order.

    Args:
        loaded: the proofs attach an adapter to it and change its weights, so load it for them alone.
        examples: utterances, some spoken and some written.
        rows: the examples, tokenised.

    Raises:
        UserError: the first proof that fails.
    """
    subject = _Subject(loaded, train, with_weights(loaded, train, None).eval(), examples, rows)
    for name, proof in PROOFS.items():
        yield Proof(name, proof(subject))


def _labels_are_the_answer(subject: _Subject) -> str:
    tokenizer = subject.loaded.processor.tokenizer
    labels = collate_training(subject.rows, subject.loaded.pad_id)["labels"]
    for example, row in zip(subject.examples, labels, strict=True):
        scored = row[row != IGNORED].tolist()
        text = tokenizer.decode(scored[:-1])
        if text.strip() != example.answer.strip() or scored[-1] != end_of_turn_id(tokenizer):
            fault = f"the labels of {example.utterance.where} decode to {text!r}, the answer is {example.answer!r}"
            raise UserError(fault, REPORT)
    return f"{len(labels)} rows decode to their answers and nothing else"


def _text_carries_no_audio(subject: _Subject) -> str:
    batch = subject.batch(subject.text)
    placeholder = subject.loaded.processor.audio_token_id
    if "audio_states" in batch or "audio_inputs" in batch or bool((batch["input_ids"] == placeholder).any()):
        raise UserError("a written utterance carries audio", REPORT)
    return f"{len(subject.text)} written rows: no placeholder, no audio input"


def _placeholders_equal_features(subject: _Subject) -> str:
    batch = subject.batch([replace(row, audio_inputs=None) for row in subject.rows])
    placeholders = int((batch["input_ids"] == subject.loaded.processor.audio_token_id).sum())
    if placeholders != len(batch["audio_states"]):
        raise UserError(f"{placeholders} audio placeholders for {len(batch['audio_states'])} audio features", REPORT)
    return f"{placeholders} of each in {len(subject.speech)} recordings"


def _audio_matters(subject: _Subject) -> str:
    row = replace(max(subject.speech, key=len), audio_inputs=None)
    assert row.audio_states is not None
    scrambled = replace(row, audio_states=row.audio_states.flip(0, 1))
    before, after = subject.losses([row]) + subject.losses([scrambled])
    if after == before:  # a model that ignores audio gives exactly the same loss
        raise UserError(
            f"scrambling a recording's audio tokens leaves the loss at {before:.3f}: the model ignores audio",
            "check that audio tower and projector hold trained weights, or use another model",
        )
    return f"scrambling a recording's audio tokens: loss {before:.4f} -> {after:.4f}"


def _rows_are_independent(subject: _Subject) -> str:
    together = subject.losses(subject.rows)
    alone = [loss for row in subject.rows for loss in subject.losses([row])]
    return _same(subject, together, alone, "other rows in the batch or padding change a row's loss")


def _padding_side_does_not_matter(subject: _Subject) -> str:
    """A prompt padded on the left, as in decoding, is continued as one padded on the right, as in training."""
    firsts = [replace(row, answer_ids=row.answer_ids[:1]) for row in subject.rows]
    with subject.autocast():
        scores = next_token_logits(subject.loaded, subject.model, subject.rows).float().log_softmax(-1)
    decoding = [-float(line[row.answer_ids[0]]) for line, row in zip(scores, firsts, strict=True)]
    return _same(subject, subject.losses(firsts), decoding, "decoding and training see different prompts")


def _lower_layers_are_frozen(subject: _Subject) -> str:
    if not (first_layer := subject.train.lora.first_layer):
        return "all layers are trained"
    apart = LowerStates(first_layer).of(subject.loaded, subject.rows)
    fault = f"computing the lowest {first_layer} layers beforehand changes the loss"
    return _same(subject, subject.losses(apart, first_layer), subject.losses(subject.rows), fault)


def _same(subject: _Subject, some: Sequence[float], others: Sequence[float], fault: str) -> str:
    worst = max(abs(left - right) for left, right in zip(some, others, strict=True))
    # An improbable token has a large negative log-probability, and rounding errors grow with it.
    if any(abs(a - b) > subject.tolerance * max(1.0, abs(b)) for a, b in zip(some, others, strict=True)):
        raise UserError(f"{fault} by {worst:.4f} nats per token", REPORT)
    return f"at most {worst:.4f} nats per token apart"


def _parts_are_trained_as_asked(subject: _Subject) -> str:
    family, counts = subject.loaded.family, []
    parameters = _by_part(subject)
    for part in PARTS:
        asked = getattr(subject.train, part)
        trained = sum(p.numel() for p in parameters[part] if p.requires_grad)
        if bool(trained) != (asked != "frozen"):
            raise UserError(f"train.{part} is {asked}, but {trained} of its parameters are trained", REPORT)
        counts.append(f"{part} {trained / 1e6:.2f} M of {sum(p.numel() for p in parameters[part]) / 1e6:.2f} M")
    adapted = [name for name, module in bare(subject.model).named_modules() if hasattr(module, "lora_A")]
    for name in adapted:
        if getattr(subject.train, part_of(family, name)) != "lora":
            raise UserError(f"LoRA is on {name}, where the recipe has none", REPORT)
    return f"LoRA on {len(adapted)} layers; trained: {', '.join(counts)}"


def _frozen_has_no_gradient(subject: _Subject) -> str:
    moved: set[torch.Tensor] = set()

    def note(parameter: torch.Tensor) -> None:
        if parameter.grad is not None and bool(parameter.grad.any()):
            moved.add(parameter)
        parameter.grad = None  # keeping all gradients may not fit where sharded training does

    trained = [parameter for parameter in subject.model.parameters() if parameter.requires_grad]
    hooks = [parameter.register_post_accumulate_grad_hook(note) for parameter in trained]
    subject.model.train()  # 4-bit layers have no gradient otherwise
    with subject.autocast():
        total, count = answer_loss(subject.model, subject.batch(subject.rows))
    (total / count).backward()  # type: ignore[no-untyped-call]
    subject.model.eval()
    for hook in hooks:
        hook.remove()
    moving = {part: sum(p in moved for p in parameters) for part, parameters in _by_part(subject).items()}
    for part, number in moving.items():
        if bool(number) != (getattr(subject.train, part) != "frozen"):
            fault = f"train.{part} is {getattr(subject.train, part)}, but {number} of its tensors have a gradient"
            raise UserError(fault, REPORT)
    return "tensors with a gradient: " + ", ".join(f"{part} {number}" for part, number in moving.items())


def _by_part(subject: _Subject) -> dict[str, list[torch.nn.Parameter]]:
    parts: dict[str, list[torch.nn.Parameter]] = {part: [] for part in PARTS}
    for name, parameter in bare(subject.model).named_parameters():
        parts[part_of(subject.loaded.family, name)].append(parameter)
    return parts


def _saved_weights_reload_equal(subject: _Subject) -> str:
    trained = [p for p in subject.model.parameters() if p.requires_grad]
    size = sum(p.numel() * p.element_size() for p in trained)
    if size > LARGEST_SAVED:
        return f"skipped: {size / 2**30:.0f} GiB"
    generator = torch.Generator().manual_seed(0)
    with torch.no_grad():
        for p in trained:  # a new adapter changes nothing, so losing it would go unnoticed
            p.add_(0.01 * torch.randn(p.shape, generator=generator).to(p))
    before = subject.losses(subject.rows)
    with tempfile.TemporaryDirectory() as folder:
        save_weights(subject.model, Path(folder))
        if has_adapter(subject.train):
            subject.model.unload()
        with torch.no_grad():
            for name in whole_parts(subject.loaded, subject.train):
                for p in subject.loaded.model.get_submodule(name).parameters():
                    p.zero_()
        again = with_weights(subject.loaded, subject.train, Path(folder)).eval()
    after = replace(subject, model=again).losses(subject.rows)
    worst = max(abs(left - right) for left, right in zip(before, after, strict=True))
    # bitsandbytes repacks 4-bit weights for another adapter, on CPUs with different rounding.
    if worst > (0.1 * subject.tolerance if subject.train.load_in_4bit else 0.0):
        raise UserError(f"saving and loading the weights changes the loss by {worst:.4f} nats per token", REPORT)
    return f"{size / 2**20:.1f} MiB saved and loaded: losses at most {worst:.4f} nats per token apart"


# The gradient proof comes before those that only run forward: on CPUs these pack 4-bit weights so that no gradient
# passes any more. The last proof changes the weights.
PROOFS: dict[str, Callable[[_Subject], str]] = {
    "labels are the answer": _labels_are_the_answer,
    "text carries no audio": _text_carries_no_audio,
    "placeholders equal features": _placeholders_equal_features,
    TRAINED_PARTS: _parts_are_trained_as_asked,
    "what is frozen has no gradient": _frozen_has_no_gradient,
    "audio matters": _audio_matters,
    "rows are independent": _rows_are_independent,
    "padding side does not matter": _padding_side_does_not_matter,
    "lower layers can be computed beforehand": _lower_layers_are_frozen,
    "saved weights reload equal": _saved_weights_reload_equal,
}
