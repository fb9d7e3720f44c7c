"""Turns examples into token ids and labels, and rows into padded batches. Only answers have labels."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from functools import lru_cache
from typing import Any

import torch

from sottovoce.core.errors import UserError
from sottovoce.core.types import Example
from sottovoce.data.prompts import messages_of

Batch = dict[str, Any]  # tensors, and the mel frames of clips to encode anew
IGNORED = -100  # the label of positions that are not scored
TURN_ENDS = ("<|im_end|>", "<end_of_turn>", "<|end|>")  # ChatML, Gemma, Phi
# On a CPU, torch compiles its matrix products for every shape that it has not seen recently, which takes longer than a
# step: a few recurring lengths cost far less than their padding.
LENGTH_STEP = 16


@dataclass(frozen=True)
class Row:
    """One tokenised example.

    ``prompt_ids`` has the audio placeholder once for each audio token; ``audio_states`` are the clip's,
    (num_audio_tokens, width), None for text; ``audio_inputs`` are the clip's mel frames, if the audio part is trained
    and encodes it anew; ``answer_ids`` ends with the end-of-turn token. ``lower_states`` is the row's output of the
    language model's frozen lower layers, (num_tokens, hidden_size), if only the upper layers are trained.
    """

    prompt_ids: list[int]
    answer_ids: list[int]
    audio_states: torch.Tensor | None
    audio_inputs: dict[str, torch.Tensor] | None = None
    lower_states: torch.Tensor | None = None

    def __len__(self) -> int:
        return len(self.prompt_ids) + len(self.answer_ids)


def tokenize(
    example: Example, processor: Any, audio_states: torch.Tensor | None,
    audio_inputs: dict[str, torch.Tensor] | None = None,
) -> Row:  # fmt: skip
    """Tokenises one example for training or decoding.

    Args:
        example: if its modality is ``speech``, ``audio_states`` are required; if ``text``, they must be None.
        processor: the model's, whose chat template writes the prompt.
        audio_inputs: the clip's, if the audio part is trained.

    Raises:
        UserError: the numbers of placeholders and audio features differ, the template does not write one placeholder
            per clip, or the transcript, answer or instruction contains one of the tokenizer's control tokens.
    """
    tokenizer = processor.tokenizer
    if (example.modality == "speech") != (audio_states is not None):
        raise ValueError(f"{example.utterance.id}: {example.modality} example with audio_states={audio_states}")
    _refuse_control_tokens(example, tokenizer)
    prompt = processor.apply_chat_template(messages_of(example), add_generation_prompt=True, tokenize=False)
    if audio_states is not None:
        prompt = _expanded(prompt, processor.audio_token, len(audio_states), example)
    prompt_ids = tokenizer(prompt, add_special_tokens=False).input_ids
    answer_ids = tokenizer(example.answer, add_special_tokens=False).input_ids
    placeholders = (prompt_ids + answer_ids).count(processor.audio_token_id)
    num_features = 0 if audio_states is None else len(audio_states)
    if placeholders != num_features:
        raise UserError(
            f"{example.utterance.where}: {placeholders} audio placeholders for {num_features} audio features",
            f"remove {processor.audio_token} from the transcript",
        )
    return Row(prompt_ids, [*answer_ids, end_of_turn_id(tokenizer)], audio_states, audio_inputs)


def _refuse_control_tokens(example: Example, tokenizer: Any) -> None:
    """Text such as ``<|im_end|>`` would end the turn in the middle of a transcript."""
    shown = example.utterance.transcript if example.modality == "text" else ""
    for token in _control_tokens(tokenizer):
        if token in shown or token in example.answer:
            fault = f"{example.utterance.where}: {token} is a control token of the model"
            raise UserError(fault, "remove it from the transcript and the labels")
        if token in example.instruction:
            fault = f"the prompt's instruction holds {token}, a control token of the model"
            raise UserError(fault, "remove it from prompt.instruction, or from the labels that it lists")


@lru_cache(maxsize=4)  # some tokenizers have thousands, and every row is checked
def _control_tokens(tokenizer: Any) -> tuple[str, ...]:
    return tuple(token.content for token in tokenizer.added_tokens_decoder.values() if token.special)


def _expanded(prompt: str, audio_token: str, num_tokens: int, example: Example) -> str:
    parts = prompt.split(audio_token)
    if len(parts) != 2:
        raise UserError(
            f"{example.utterance.where}: the prompt has {len(parts) - 1} audio placeholders for one recording",
            f"use a chat template that writes {audio_token} once, and an instruction without it",
        )
    return parts[0] + audio_token * num_tokens + parts[1]


def end_of_turn_id(tokenizer: Any) -> int:
    """The token that ends the assistant's turn: one of ``TURN_ENDS`` if the tokenizer has it, else end of sequence."""
    for token in TURN_ENDS:
        turn_end = tokenizer.convert_tokens_to_ids(token)
        if turn_end is not None and turn_end != tokenizer.unk_token_id:
            return int(turn_end)
    return int(tokenizer.eos_token_id)


def collate_training(rows: Sequence[Row], pad_id: int) -> Batch:
    """Pads on the right, to a multiple of ``LENGTH_STEP``.

    Returns:
        input_ids, attention_mask and labels, (batch, length); labels are -100 outside the answers. Only if the batch
        has speech: audio_states, (all audio tokens of the batch in order, width), or, if the rows have them,
        audio_inputs, a list of each clip's mel frames. If the rows have them, lower_states, (all tokens of the batch in
        order, hidden_size), instead of any audio.
    """
    length = padded(max(len(row) for row in rows))
    ids, mask, labels = [], [], []
    for row in rows:
        num_padding = length - len(row)
        ids.append(row.prompt_ids + row.answer_ids + [pad_id] * num_padding)
        mask.append([1] * len(row) + [0] * num_padding)
        labels.append([IGNORED] * len(row.prompt_ids) + row.answer_ids + [IGNORED] * num_padding)
    batch = {"input_ids": torch.tensor(ids), "attention_mask": torch.tensor(mask), "labels": torch.tensor(labels)}
    if lower := [row.lower_states for row in rows if row.lower_states is not None]:
        return batch | {"lower_states": torch.cat(lower)}
    return batch | _audio(rows)


def collate_prompts(rows: Sequence[Row], pad_id: int) -> Batch:
    """Pads prompts on the left, to a multiple of ``LENGTH_STEP``, for generation.

    Returns:
        input_ids and attention_mask, (batch, length); audio as in :func:`collate_training`.
    """
    length = padded(max(len(row.prompt_ids) for row in rows))
    ids = [[pad_id] * (length - len(row.prompt_ids)) + row.prompt_ids for row in rows]
    mask = [[0] * (length - len(row.prompt_ids)) + [1] * len(row.prompt_ids) for row in rows]
    return {"input_ids": torch.tensor(ids), "attention_mask": torch.tensor(mask)} | _audio(rows)


def padded(length: int) -> int:
    """The next multiple of ``LENGTH_STEP``, in tokens."""
    return -(-length // LENGTH_STEP) * LENGTH_STEP


def _audio(rows: Sequence[Row]) -> Batch:
    # Batches of text have no audio key at all: empty tensors break some models.
    if inputs := [row.audio_inputs for row in rows if row.audio_inputs is not None]:
        return {"audio_inputs": inputs}
    states = [row.audio_states for row in rows if row.audio_states is not None]
    return {"audio_states": torch.cat(states)} if states else {}


def moved(batch: Batch, device: torch.device) -> Batch:
    """The batch on another device."""
    inputs = {key: value.to(device) for key, value in batch.items() if key != "audio_inputs"}
    if "audio_inputs" in batch:
        inputs["audio_inputs"] = [moved(clip, device) for clip in batch["audio_inputs"]]
    return inputs
