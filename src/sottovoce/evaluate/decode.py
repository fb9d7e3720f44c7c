"""Greedy decoding in batches of similar length; finished batches are kept, so that a stopped run goes on."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import torch
from rich.progress import Progress
from transformers import LogitsProcessorList

from sottovoce.data.collate import Row, collate_prompts, end_of_turn_id, moved, tokenize
from sottovoce.evaluate.forms import ANY_TEXT, Form
from sottovoce.evaluate.greedy import first_logits, goes_by_steps, greedy
from sottovoce.evaluate.held import HeldToForm
from sottovoce.models.audio_store import AudioStore
from sottovoce.models.injection import bare, input_embeddings
from sottovoce.models.load import LoadedModel, fused_attention
from sottovoce.recipe import Decode
from sottovoce.storage import json_lines, whole_rows
from sottovoce.types import Example


def decode(
    loaded: LoadedModel, model: Any, examples: Sequence[Example], store: AudioStore, settings: Decode,
    partial: Path, progress: Progress, title: str, form: Form = ANY_TEXT,
) -> dict[str, str]:  # fmt: skip
    """The model's raw answers by utterance id.

    Args:
        model: ``loaded.model`` or its fine-tuned form.
        store: holds the audio states of all examples of modality ``speech``.
        partial: JSONL file of the answers so far; read first, appended to batch by batch.
        form: of every answer.
    """
    answers = {str(row["id"]): str(row["text"]) for row in whole_rows(partial)}
    rows = {e.utterance.id: tokenize(e, loaded.processor, store.states_of(e)) for e in examples}
    by_length = sorted(rows, key=lambda identity: len(rows[identity].prompt_ids))
    task = progress.add_task(title, total=len(examples))
    with partial.open("a", encoding="utf-8") as stream:
        # The batches are the same after an interruption: with other neighbours an answer might come out differently.
        for start in range(0, len(by_length), settings.batch_size):
            part = by_length[start : start + settings.batch_size]
            if answers.keys() >= set(part):
                progress.advance(task, len(part))
                continue
            texts = generate(loaded, model, [rows[identity] for identity in part], settings.max_new_tokens, form)
            for identity, text in zip(part, texts, strict=True):
                stream.write(json_lines([{"id": identity, "text": text}]))
                answers[identity] = text
            stream.flush()
            progress.advance(task, len(part))
    return answers


def generate(
    loaded: LoadedModel, model: Any, rows: Sequence[Row], max_new_tokens: int, form: Form = ANY_TEXT
) -> list[str]:
    """Greedy answers of one batch; the text ends before the end-of-turn token, or where its form says so."""
    if goes_by_steps(loaded.family, bare(model)):
        ids: Any = greedy(loaded, model, rows, [form.course() for _ in rows], max_new_tokens)
    else:
        held = HeldToForm(form, len(rows), end_of_turn_id(loaded.processor.tokenizer))
        ids = _generated(loaded, model, rows, max_new_tokens, logits_processor=LogitsProcessorList([held]))
    return [text.strip() for text in loaded.processor.tokenizer.batch_decode(ids, skip_special_tokens=True)]


def next_token_logits(loaded: LoadedModel, model: Any, rows: Sequence[Row]) -> torch.Tensor:
    """What :func:`generate` chooses each answer's first token by, (batch, vocabulary)."""
    if goes_by_steps(loaded.family, bare(model)):
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
            repetition_penalty=1.0,  # some checkpoints name one, which is meant for conversation
            eos_token_id=end_of_turn_id(loaded.processor.tokenizer),
            pad_token_id=loaded.pad_id,
            **options,
        )


@contextmanager
def _last_position_only(model: Any) -> Iterator[None]:
    # Some forwards compute logits for the whole prompt, of which generation reads the last ones only. A view
    # with gaps torch would multiply row by row, with a copy of the vocabulary's weights for each.
    hook = model.lm_head.register_forward_pre_hook(lambda head, inputs: (inputs[0][:, -1:].contiguous(),))
    try:
        yield
    finally:
        hook.remove()
