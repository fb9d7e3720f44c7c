from __future__ import annotations

import re
from dataclasses import replace
from typing import Any

import pytest
import torch
from spoken_rows import mixed_rows, speech_row, text_row, utterance

from sottovoce.core.errors import UserError
from sottovoce.data.collate import IGNORED, LENGTH_STEP, collate_prompts, collate_training, end_of_turn_id, tokenize
from sottovoce.data.prompts import answer_of, slu_example, transcription_example
from sottovoce.models.load import LoadedModel


def test_labels_decode_to_exactly_the_answer_and_the_end_of_turn(loaded: LoadedModel) -> None:
    said = utterance("mets la lumière")
    text = tokenize(slu_example(said, "text"), loaded.processor, None)
    rows = [text, *mixed_rows(loaded)]
    labels = collate_training(rows, loaded.pad_id)["labels"]
    for row in labels:
        assert loaded.processor.tokenizer.decode(row[row != IGNORED]) == answer_of(said.frame) + "<|im_end|>"


def test_inputs_decode_to_the_prompt_and_the_answer(loaded: LoadedModel) -> None:
    row = text_row(loaded, "light on")
    batch = collate_training([row], loaded.pad_id)
    ids = batch["input_ids"][0][batch["attention_mask"][0] == 1]
    assert loaded.processor.tokenizer.decode(ids) == (
        "<|im_start|>user\nlight on\nIntent and slots as JSON:<|im_end|>\n<|im_start|>assistant\n"
        '{"scenario": "light", "action": "on", "entities": [{"room": "hall"}]}<|im_end|>'
    )


def test_every_feature_has_a_placeholder_and_no_other_token_is_one(loaded: LoadedModel) -> None:
    rows = mixed_rows(loaded)
    placeholder = loaded.processor.audio_token_id
    for row in rows:
        features = 0 if row.audio_states is None else len(row.audio_states)
        assert (row.prompt_ids + row.answer_ids).count(placeholder) == features
    batch = collate_training(rows, loaded.pad_id)
    assert int((batch["input_ids"] == placeholder).sum()) == len(batch["audio_states"]) > 0
    assert torch.equal(batch["audio_states"], torch.cat([rows[1].audio_states, rows[3].audio_states]))


@pytest.mark.parametrize("token", ["<|AUDIO|>", "<|im_end|>", "<|im_start|>"])
@pytest.mark.parametrize("modality", ["text", "speech"])
def test_a_transcript_with_a_control_token_is_refused_with_its_line(
    loaded: LoadedModel, modality: str, token: str
) -> None:
    states = None if modality == "text" else speech_row(loaded, 0.5).audio_states
    example = transcription_example(utterance(f"light {token} on"), modality)  # type: ignore[arg-type]
    with pytest.raises(UserError, match=rf"manifest\.jsonl:7: {re.escape(token)} is a control token.*; remove it"):
        tokenize(example, loaded.processor, states)


def test_a_slot_with_the_audio_token_is_refused_also_where_the_transcript_is_not_shown(loaded: LoadedModel) -> None:
    example = slu_example(utterance("light on", room="<|AUDIO|>"), "speech")
    with pytest.raises(UserError, match=r"manifest\.jsonl:7"):
        tokenize(example, loaded.processor, speech_row(loaded, 0.5).audio_states)


def test_an_instruction_with_a_control_token_is_refused(loaded: LoadedModel) -> None:
    for modality, states in (("text", None), ("speech", speech_row(loaded, 0.5).audio_states)):
        example = slu_example(utterance("light on"), modality, instruction="say <|im_end|>")  # type: ignore[arg-type]
        with pytest.raises(UserError, match=r"instruction holds <\|im_end\|>"):
            tokenize(example, loaded.processor, states)


def test_speech_without_states_and_text_with_states_are_refused(loaded: LoadedModel) -> None:
    states = speech_row(loaded, 0.5).audio_states
    with pytest.raises(ValueError, match="u1: speech"):
        tokenize(slu_example(utterance("light on"), "speech"), loaded.processor, None)
    with pytest.raises(ValueError, match="u1: text"):
        tokenize(slu_example(utterance("light on"), "text"), loaded.processor, states)


def test_training_rows_are_padded_on_the_right_and_padding_carries_no_label(loaded: LoadedModel) -> None:
    rows = mixed_rows(loaded)
    batch = collate_training(rows, loaded.pad_id)
    assert batch["input_ids"].shape == batch["attention_mask"].shape == batch["labels"].shape
    for row, ids, mask, labels in zip(
        rows, batch["input_ids"].tolist(), batch["attention_mask"].tolist(), batch["labels"].tolist(), strict=True
    ):
        padding = len(ids) - len(row)
        assert ids == row.prompt_ids + row.answer_ids + [loaded.pad_id] * padding
        assert mask == [1] * len(row) + [0] * padding
        assert labels == [IGNORED] * len(row.prompt_ids) + row.answer_ids + [IGNORED] * padding


@pytest.mark.parametrize("collate", [collate_training, collate_prompts])
@pytest.mark.parametrize("transcript", ["on", "light on", "light on in the hall and in the kitchen", "x" * 16])
def test_batches_have_few_lengths_and_no_more_padding_than_these_need(
    loaded: LoadedModel, collate: Any, transcript: str
) -> None:
    row = text_row(loaded, transcript)
    needed = len(row) if collate is collate_training else len(row.prompt_ids)
    length = collate([row], loaded.pad_id)["input_ids"].shape[1]
    assert length % LENGTH_STEP == 0
    assert needed <= length < needed + LENGTH_STEP


def test_prompts_are_padded_on_the_left_and_show_no_answer(loaded: LoadedModel) -> None:
    rows = mixed_rows(loaded)
    batch = collate_prompts(rows, loaded.pad_id)
    assert "labels" not in batch
    for row, ids, mask in zip(rows, batch["input_ids"].tolist(), batch["attention_mask"].tolist(), strict=True):
        padding = len(ids) - len(row.prompt_ids)
        assert ids == [loaded.pad_id] * padding + row.prompt_ids
        assert mask == [0] * padding + [1] * len(row.prompt_ids)


@pytest.mark.parametrize("collate", [collate_training, collate_prompts])
def test_only_batches_with_speech_have_an_audio_key(loaded: LoadedModel, collate) -> None:  # type: ignore[no-untyped-def]
    assert "audio_states" not in collate([text_row(loaded, "light on")], loaded.pad_id)
    assert "audio_states" in collate([text_row(loaded, "light on"), speech_row(loaded, 0.5)], loaded.pad_id)


def test_text_and_speech_rows_of_an_utterance_differ_only_in_what_is_heard(loaded: LoadedModel) -> None:
    text, speech = text_row(loaded, "light on"), speech_row(loaded, 0.5)
    tokenizer, audio = loaded.processor.tokenizer, [loaded.processor.audio_token_id] * len(speech.audio_states)
    heard = tokenizer("light on", add_special_tokens=False).input_ids
    start = speech.prompt_ids.index(audio[0])
    assert speech.prompt_ids[start : start + len(audio)] == audio
    swapped = speech.prompt_ids[:start] + heard + speech.prompt_ids[start + len(audio) :]
    assert swapped == text.prompt_ids and speech.answer_ids == text.answer_ids


def test_the_end_of_turn_is_the_chat_token_or_the_end_of_sequence(loaded: LoadedModel) -> None:
    tokenizer = loaded.processor.tokenizer
    assert tokenizer.convert_ids_to_tokens(end_of_turn_id(tokenizer)) == "<|im_end|>"

    class Plain:
        unk_token_id, eos_token_id = 0, 2

        def convert_tokens_to_ids(self, token: str) -> int:
            return 0

    assert end_of_turn_id(Plain()) == 2


def test_a_longer_clip_makes_a_longer_row(loaded: LoadedModel) -> None:
    short, long = speech_row(loaded, 0.4), speech_row(loaded, 1.2)
    assert len(long) - len(short) == len(long.audio_states) - len(short.audio_states) == 20
    assert len(replace(short, answer_ids=[1])) == len(short.prompt_ids) + 1
