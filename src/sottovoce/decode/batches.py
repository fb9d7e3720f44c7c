"""Greedy decoding in batches of similar length; finished batches are kept, so that a stopped run resumes."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

import torch
from rich.progress import Progress
from transformers import LogitsProcessorList

from sottovoce.core.recipe import Decode
from sottovoce.core.storage import json_lines, whole_rows
from sottovoce.core.types import Example
from sottovoce.data.collate import Row, collate_prompts, end_of_turn_id, moved, tokenize
from sottovoce.decode.constraints import ANY_TEXT, Form
from sottovoce.decode.greedy import greedy, greedy_with_intents
from sottovoce.decode.intent_confidence import Intents, IntentTree
from sottovoce.decode.logits_processor import ConstraintProcessor
from sottovoce.decode.parse import parse_answer
from sottovoce.decode.prefix_reader import first_logits, supports_steps
from sottovoce.models.audio_states import AudioStore
from sottovoce.models.injection import bare, input_embeddings
from sottovoce.models.load import LoadedModel, fused_attention


@dataclass(frozen=True)
class RawAnswer:
    """A model's raw answer, and the probability (0..1) of its intent among the known ones.

    The confidence is 0 if the answer names none of them or cannot be read, None if it is not measured.
    """

    text: str
    confidence: float | None = None


def decode(
    loaded: LoadedModel, model: Any, examples: Sequence[Example], store: AudioStore, settings: Decode,
    partial: Path, progress: Progress, title: str, form: Form = ANY_TEXT, tree: IntentTree | None = None,
) -> dict[str, RawAnswer]:  # fmt: skip
    """The model's answers by utterance id.

    Args:
        model: ``loaded.model``, or that with fine-tuned weights.
        store: holds the audio states of all ``speech`` examples.
        partial: JSONL file of the answers so far; read first, appended to batch by batch.
        form: constrains every answer.
        tree: the known intents, if confidences are wanted.
    """
    answers = {str(row["id"]): RawAnswer(str(row["text"]), row.get("confidence")) for row in whole_rows(partial)}
    rows = {e.utterance.id: tokenize(e, loaded.processor, store.states_of(e)) for e in examples}
    by_length = sorted(rows, key=lambda identity: len(rows[identity].prompt_ids))
    task = progress.add_task(title, total=len(examples))
    with partial.open("a", encoding="utf-8") as stream:
        # Batches are the same after an interruption: an answer could differ with other rows in its batch.
        for start in range(0, len(by_length), settings.batch_size):
            part = by_length[start : start + settings.batch_size]
            if answers.keys() >= set(part):
                progress.advance(task, len(part))
                continue
            batch = [rows[identity] for identity in part]
            found = answered(loaded, model, batch, settings.max_new_tokens, form, tree)
            for identity, (text, intents) in zip(part, found, strict=True):
                answers[identity] = RawAnswer(text, confidence_of(text, intents))
                stream.write(json_lines([{"id": identity} | asdict(answers[identity])]))
            stream.flush()
            progress.advance(task, len(part))
    return answers


def confidence_of(text: str, intents: Intents | None) -> float | None:
    """The probability of the intent that an answer names; see :class:`RawAnswer`."""
    if intents is None:
        return None
    frame = parse_answer("", text).frame
    return 0.0 if frame is None else intents.get((frame.scenario, frame.action), 0.0)


def generate(
    loaded: LoadedModel, model: Any, rows: Sequence[Row], max_new_tokens: int, form: Form = ANY_TEXT
) -> list[str]:
    """Greedy answers of one batch; the text ends before the end-of-turn token, or where its form ends it."""
    return [text for text, _ in answered(loaded, model, rows, max_new_tokens, form)]


def answered(
    loaded: LoadedModel, model: Any, rows: Sequence[Row], max_new_tokens: int, form: Form = ANY_TEXT,
    tree: IntentTree | None = None,
) -> list[tuple[str, Intents | None]]:  # fmt: skip
    """:func:`generate`; with a tree also each known intent's probability, for models that :func:`supports_steps`."""
    tokenizer, by_steps = loaded.processor.tokenizer, supports_steps(loaded.family, bare(model))
    states, ids = [form.new_state() for _ in rows], list[list[int]]()
    intents: Sequence[Intents | None] = [None] * len(rows)
    if by_steps and tree:
        ids, intents = greedy_with_intents(loaded, model, rows, states, max_new_tokens, tree)
    elif by_steps:
        ids = greedy(loaded, model, rows, states, max_new_tokens)
    else:
        held = ConstraintProcessor(form, len(rows), end_of_turn_id(tokenizer))
        ids = _generated(loaded, model, rows, max_new_tokens, logits_processor=LogitsProcessorList([held]))
    texts = [text.strip() for text in tokenizer.batch_decode(ids, skip_special_tokens=True)]
    return list(zip(texts, intents, strict=True))


def next_token_logits(loaded: LoadedModel, model: Any, rows: Sequence[Row]) -> torch.Tensor:
    """The logits from which :func:`generate` chooses each answer's first token, (batch, vocabulary)."""
    if supports_steps(loaded.family, bare(model)):
        return first_logits(loaded, model, rows)
    output = _generated(loaded, model, rows, 1, output_logits=True, return_dict_in_generate=True)
    logits: torch.Tensor = output.logits[0]
    return logits


@torch.inference_mode()
def _generated(loaded: LoadedModel, model: Any, rows: Sequence[Row], max_new_tokens: int, **options: Any) -> Any:
    base = bare(model)
    batch = moved(collate_prompts(rows, loaded.pad_id), base.device)
    embeddings = input_embeddings(model, batch)
    with _last_position_only(base), fused_attention(base), loaded.family.generating(base, batch["input_ids"]):
        return model.generate(
            inputs_embeds=embeddings.to(base.dtype),
            attention_mask=batch["attention_mask"],
            max_new_tokens=max_new_tokens,
            do_sample=False,
            repetition_penalty=1.0,  # some checkpoints set one for conversation
            eos_token_id=end_of_turn_id(loaded.processor.tokenizer),
            pad_token_id=loaded.pad_id,
            **options,
        )


@contextmanager
def _last_position_only(model: Any) -> Iterator[None]:
    # Some forwards compute logits for the whole prompt, though generation reads only the last ones. Contiguous, as
    # torch would multiply a view with gaps row by row, with a copy of the vocabulary's weights for each.
    hook = model.lm_head.register_forward_pre_hook(lambda head, inputs: (inputs[0][:, -1:].contiguous(),))
    try:
        yield
    finally:
        hook.remove()
