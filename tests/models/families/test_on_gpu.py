"""The tiny models of all families on a GPU: what they compute is what a CPU computes, in float32 and in bfloat16.

Every body runs on the CPU too, so that it is known to be right before a GPU is there.
"""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import pytest
import torch
from lively import enlivened, ids_of_transformers
from on_devices import loaded_on
from spoken_rows import mixed_rows, utterance

from sottovoce.core.recipe import Lora, Train
from sottovoce.core.types import Entity, Frame
from sottovoce.data.collate import Row, collate_training, moved
from sottovoce.data.prompts import slu_example
from sottovoce.decode.batches import generate, next_token_logits
from sottovoce.decode.constraints import ANY_TEXT
from sottovoce.decode.greedy import greedy
from sottovoce.decode.ontology import GrammarForm, ontology_of
from sottovoce.decode.parse import parse_answer
from sottovoce.decode.prefix_reader import supports_steps
from sottovoce.models.injection import answer_loss
from sottovoce.models.load import LoadedModel
from sottovoce.study.preflight import PROOFS, prove
from sottovoce.train.parts import with_weights

CPU = torch.device("cpu")
FLOAT32 = 2e-3  # relative; cuDNN multiplies the audio towers' convolutions in TF32
BFLOAT16 = 0.1  # relative, of the float32 loss


def loss_of(loaded: LoadedModel, model: Any, rows: list[Row], packed: bool = True) -> torch.Tensor:
    batch = moved(collate_training(rows, loaded.pad_id), loaded.model.device)
    if not packed:
        del batch["attention_mask"]
    return answer_loss(model, batch)[0]


@torch.inference_mode()
def test_the_loss_is_the_cpus(folder: Path, device: torch.device) -> None:
    expected = loaded_on(CPU, folder)
    wanted = float(loss_of(expected, expected.model, mixed_rows(expected)))
    for bf16, tolerance in ((False, FLOAT32), (True, BFLOAT16)):
        loaded = loaded_on(device, folder, bf16)
        assert loaded.model.device.type == device.type and loaded.bf16 == bf16
        assert float(loss_of(loaded, loaded.model, mixed_rows(loaded))) == pytest.approx(wanted, rel=tolerance)


@torch.inference_mode()
def test_rows_without_their_padding_have_the_loss_of_padded_rows(folder: Path, device: torch.device) -> None:
    for bf16, tolerance in ((False, 1e-4), (True, 0.01)):
        loaded = loaded_on(device, folder, bf16)
        packed, padded = (float(loss_of(loaded, loaded.model, mixed_rows(loaded), way)) for way in (True, False))
        assert packed == pytest.approx(padded, rel=tolerance)


@contextmanager
def scored_positions(loaded: LoadedModel) -> Iterator[list[int]]:
    """How many positions each forward computes logits for."""
    counts: list[int] = []
    hook = loaded.model.lm_head.register_forward_hook(lambda _, __, logits: counts.append(logits.shape[:-1].numel()))
    yield counts
    hook.remove()


def test_only_answers_are_scored_and_gradients_are_the_cpus(folder: Path, device: torch.device) -> None:
    """Also of layers that are computed once more for the backward pass."""
    found = []
    for place, checkpointing in ((CPU, False), (device, False), (device, True)):
        loaded = loaded_on(place, folder)
        rows = mixed_rows(loaded)
        settings = Train(language_model="lora", bf16=False, lora=Lora(r=4), gradient_checkpointing=checkpointing)
        torch.manual_seed(0)
        model = with_weights(loaded, settings, None)
        generator = torch.Generator().manual_seed(0)
        with torch.no_grad():  # an adapter's second half starts at 0, and hides the first one's gradient
            for parameter in (p for p in model.parameters() if p.requires_grad):
                parameter.copy_(0.05 * torch.randn(parameter.shape, generator=generator))
        with scored_positions(loaded) as counts:
            loss = loss_of(loaded, model, rows)
        loss.backward()  # type: ignore[no-untyped-call]
        assert counts == [sum(len(row.answer_ids) for row in rows)]
        found.append({name: p.grad.cpu() for name, p in model.named_parameters() if p.grad is not None})
    expected, *others = found
    largest = max(float(gradient.abs().max()) for gradient in expected.values())
    for gradients in others:
        assert gradients.keys() == expected.keys() and largest > 0
        for name, gradient in gradients.items():
            torch.testing.assert_close(gradient, expected[name], rtol=0.02, atol=FLOAT32 * largest, msg=name)


def test_the_preflight_proofs_hold(folder: Path, device: torch.device) -> None:
    for bf16 in (False, True):
        loaded = loaded_on(device, folder, bf16)
        rows = mixed_rows(loaded)
        said = [slu_example(utterance("x"), "text" if row.audio_states is None else "speech") for row in rows]
        held = list(prove(loaded, Train(language_model="lora", bf16=bf16), said, rows))
        assert [proof.name for proof in held] == list(PROOFS)


def test_answers_are_those_of_generate(folder: Path, device: torch.device) -> None:
    loaded = enlivened(loaded_on(device, folder))
    rows = mixed_rows(loaded)
    expected = ids_of_transformers(loaded, rows, 12)
    assert len(expected) == len(rows)
    if supports_steps(loaded.family, loaded.model):
        assert len({tuple(ids) for ids in expected}) > 1
        assert greedy(loaded, loaded.model, rows, [ANY_TEXT] * len(rows), 12) == expected


def test_in_bfloat16_the_first_token_is_chosen_by_nearly_the_cpus_logits(folder: Path, device: torch.device) -> None:
    expected, loaded = loaded_on(CPU, folder), loaded_on(device, folder, bf16=True)
    wanted = next_token_logits(expected, expected.model, mixed_rows(expected)).float()
    logits = next_token_logits(loaded, loaded.model, mixed_rows(loaded)).float().cpu()
    apart = torch.linalg.vector_norm(logits - wanted) / torch.linalg.vector_norm(wanted)
    assert apart < BFLOAT16


def test_answers_can_be_held_to_an_ontology(folder: Path, device: torch.device) -> None:
    loaded = loaded_on(device, folder, bf16=True)
    frames = [Frame("light", "on", (Entity("room", "x"),)), Frame("light", "off"), Frame("music", "play")]
    form = GrammarForm(ontology_of(frames), loaded.processor.tokenizer)
    for text in generate(loaded, loaded.model, mixed_rows(loaded), 70, form):
        frame = parse_answer("u", text).frame
        assert text.startswith('{"scenario": "') and (frame is None or frame.intent in {f.intent for f in frames})
