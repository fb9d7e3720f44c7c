from __future__ import annotations

from dataclasses import replace

import torch
from spoken_rows import mixed_rows, speech_row, text_row, tone

from sottovoce.data.collate import Row, collate_training
from sottovoce.models.injection import answer_loss
from sottovoce.models.load import LoadedModel


def loss_of(loaded: LoadedModel, rows: list[Row]) -> tuple[float, int]:
    with torch.inference_mode():
        total, num_labels = answer_loss(loaded.model, collate_training(rows, loaded.pad_id))
    return float(total), num_labels


def by_hand(loaded: LoadedModel, logits: torch.Tensor, row: Row) -> float:
    """Summed negative log-probability of the answer's tokens, each read off the position before it."""
    logs = logits.double().log_softmax(-1)
    start = len(row.prompt_ids)
    return -sum(float(logs[start + offset - 1, token]) for offset, token in enumerate(row.answer_ids))


@torch.inference_mode()
def test_speech_loss_is_that_of_the_models_own_forward(loaded: LoadedModel) -> None:
    row = speech_row(loaded, 0.9)
    features = loaded.processor.feature_extractor(
        tone(0.9), sampling_rate=16_000, return_attention_mask=True, padding="max_length", return_tensors="pt"
    )
    logits = loaded.model(
        input_ids=torch.tensor([row.prompt_ids + row.answer_ids]),
        input_features=features["input_features"],
        feature_attention_mask=features["attention_mask"],
    ).logits[0]
    total, num_labels = loss_of(loaded, [row])
    assert num_labels == len(row.answer_ids)
    assert abs(total - by_hand(loaded, logits, row)) < 1e-5 * total


@torch.inference_mode()
def test_text_loss_is_that_of_the_models_own_forward(loaded: LoadedModel) -> None:
    row = text_row(loaded, "light on")
    logits = loaded.model(input_ids=torch.tensor([row.prompt_ids + row.answer_ids])).logits[0]
    total, num_labels = loss_of(loaded, [row])
    assert num_labels == len(row.answer_ids)
    assert abs(total - by_hand(loaded, logits, row)) < 1e-5 * total


def test_neither_padding_nor_neighbours_nor_batch_size_change_a_rows_loss(loaded: LoadedModel) -> None:
    rows = mixed_rows(loaded)
    alone = [loss_of(loaded, [row])[0] for row in rows]
    for neighbours in range(1, len(rows)):
        for index, row in enumerate(rows):
            others = [rows[(index + step) % len(rows)] for step in range(1, neighbours + 1)]
            batch, rest = loss_of(loaded, [row, *others])[0], sum(loss_of(loaded, [other])[0] for other in others)
            assert abs(batch - rest - alone[index]) < 1e-5 * batch
    longest = max(len(row) for row in rows)
    assert min(len(row) for row in rows) < longest - 30  # else this would test no padding


def test_each_row_of_a_mixed_batch_hears_its_own_audio(loaded: LoadedModel) -> None:
    rows = mixed_rows(loaded)
    expected = sum(loss_of(loaded, [row])[0] for row in rows)
    for order in ([1, 0, 2, 3], [3, 2, 1, 0], [0, 2, 3, 1]):
        total, _ = loss_of(loaded, [rows[index] for index in order])
        assert abs(total - expected) < 1e-5 * expected
    first, second = rows[1], rows[3]
    states = torch.cat([first.audio_states, second.audio_states]).flip(0)
    swapped = [replace(first, audio_states=states[: len(first.audio_states)])]
    assert abs(loss_of(loaded, swapped)[0] - loss_of(loaded, [first])[0]) > 1e-4


def test_gradients_of_a_mixed_batch_are_the_sum_of_the_rows_gradients(loaded: LoadedModel) -> None:
    rows = mixed_rows(loaded)
    head = loaded.model.lm_head.weight.requires_grad_(True)

    def gradient(part: list[Row]) -> torch.Tensor:
        total, _ = answer_loss(loaded.model, collate_training(part, loaded.pad_id))
        return torch.autograd.grad(total, head)[0]

    torch.testing.assert_close(gradient(rows), sum(gradient([row]) for row in rows), rtol=1e-4, atol=1e-5)


def test_a_text_only_batch_carries_no_audio_key_and_has_a_loss(loaded: LoadedModel) -> None:
    rows = [text_row(loaded, "light on"), text_row(loaded, "light off please")]
    assert set(collate_training(rows, loaded.pad_id)) == {"input_ids", "attention_mask", "labels"}
    assert loss_of(loaded, rows)[0] > 0


def test_other_audio_changes_the_loss_of_speech(loaded: LoadedModel) -> None:
    low, high = speech_row(loaded, 0.9, 200.0), speech_row(loaded, 0.9, 2_000.0)
    assert low.prompt_ids == high.prompt_ids and low.answer_ids == high.answer_ids
    assert abs(loss_of(loaded, [low])[0] - loss_of(loaded, [high])[0]) > 1e-4


def test_audio_in_the_batch_does_not_change_the_loss_of_text(loaded: LoadedModel) -> None:
    text = text_row(loaded, "light on")
    alone, _ = loss_of(loaded, [text])
    for pitch in (200.0, 2_000.0):
        speech = speech_row(loaded, 0.9, pitch)
        together = loss_of(loaded, [speech, text])[0] - loss_of(loaded, [speech])[0]
        assert abs(together - alone) < 1e-5 * alone


def test_the_prompt_is_not_scored(loaded: LoadedModel) -> None:
    row = text_row(loaded, "light on")
    batch = collate_training([row], loaded.pad_id)
    total, num_labels = answer_loss(loaded.model, batch)
    batch["labels"][0, : len(row.prompt_ids)] = batch["input_ids"][0, : len(row.prompt_ids)]
    scored, num_scored = answer_loss(loaded.model, batch)
    assert num_scored == num_labels + len(row.prompt_ids) - 1 and float(scored) > float(total)
