"""Each preflight proof holds on a sound model, and fails where what it is about is broken."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import pytest
import torch
from spoken_rows import mixed_rows, utterance
from typer.testing import CliRunner

from sottovoce.cli.main import app
from sottovoce.core.errors import UserError
from sottovoce.core.recipe import Lora, Train
from sottovoce.core.types import Example, Modality
from sottovoce.data.collate import Row
from sottovoce.data.manifest import read_manifest
from sottovoce.data.prompts import slu_example
from sottovoce.decode import prefix_reader as reader_module
from sottovoce.models import divided, lower_states
from sottovoce.models.families.qwen2_audio import Qwen2Audio
from sottovoce.models.load import LoadedModel
from sottovoce.study import preflight as module
from sottovoce.study.preflight import PROOFS, Proof, proof_examples, prove

NAMES = list(PROOFS)


def train(kind: str = "lora") -> Train:
    """``upper``: LoRA on all layers but the first one."""
    if kind == "upper":
        return Train(language_model="lora", bf16=False, lora=Lora(r=4, first_layer=1))
    return Train(language_model=kind, bf16=False, lora=Lora(r=4))  # type: ignore[arg-type]


def examples() -> list[Example]:
    """What :func:`mixed_rows` tokenises."""
    modalities: list[Modality] = ["text", "speech", "text", "speech"]
    return [slu_example(utterance("never shown"), modality) for modality in modalities]


def proofs(loaded: LoadedModel, rows: list[Row] | None = None, kind: str = "lora") -> list[Proof]:
    return list(prove(loaded, train(kind), examples(), rows or mixed_rows(loaded)))


@pytest.mark.parametrize("kind", ["lora", "upper", "full"])
def test_all_proofs_hold_on_a_sound_model(loaded: LoadedModel, kind: str) -> None:
    held = proofs(loaded, kind=kind)
    assert [proof.name for proof in held] == NAMES
    assert all(proof.seen for proof in held)


# --- faults, each with the proof that must find it


def deaf(loaded: LoadedModel, rows: list[Row], patch: pytest.MonkeyPatch) -> LoadedModel:
    torch.nn.init.zeros_(loaded.model.model.multi_modal_projector.linear.weight)
    return loaded


def other_answer(loaded: LoadedModel, rows: list[Row], patch: pytest.MonkeyPatch) -> LoadedModel:
    rows[1] = replace(rows[1], answer_ids=rows[1].answer_ids[1:])
    return loaded


def placeholder_in_text(loaded: LoadedModel, rows: list[Row], patch: pytest.MonkeyPatch) -> LoadedModel:
    rows[0] = replace(rows[0], prompt_ids=[*rows[0].prompt_ids, loaded.processor.audio_token_id])
    return loaded


def placeholder_too_many(loaded: LoadedModel, rows: list[Row], patch: pytest.MonkeyPatch) -> LoadedModel:
    rows[1] = replace(rows[1], prompt_ids=[loaded.processor.audio_token_id, *rows[1].prompt_ids])
    return loaded


def neighbours_leak(loaded: LoadedModel, rows: list[Row], patch: pytest.MonkeyPatch) -> LoadedModel:
    sound = Qwen2Audio.hidden_states

    def leaking(self: Qwen2Audio, *args: Any) -> torch.Tensor:
        states = sound(self, *args)
        return states + states.mean(dim=0, keepdim=True)

    patch.setattr(Qwen2Audio, "hidden_states", leaking)
    return loaded


def decoding_reads_pads(loaded: LoadedModel, rows: list[Row], patch: pytest.MonkeyPatch) -> LoadedModel:
    sound = reader_module.collate_training

    def unmasked(rows: list[Row], pad_id: int) -> dict[str, torch.Tensor]:
        batch = sound(rows, pad_id)
        return {**batch, "attention_mask": torch.ones_like(batch["attention_mask"])}

    patch.setattr(reader_module, "collate_training", unmasked)
    return loaded


def lora_on_the_tower(loaded: LoadedModel, rows: list[Row], patch: pytest.MonkeyPatch) -> LoadedModel:
    return replace(loaded, family=replace(loaded.family, language_model=r".*layers\.\d+\.self_attn\.[qkv]_proj"))


def all_is_trained(loaded: LoadedModel, rows: list[Row], patch: pytest.MonkeyPatch) -> LoadedModel:
    patch.setattr(Qwen2Audio, "trained_parts", lambda self, model: [model])
    return loaded


def adapter_is_cut_off(loaded: LoadedModel, rows: list[Row], patch: pytest.MonkeyPatch) -> LoadedModel:
    sound = Qwen2Audio.logits
    patch.setattr(Qwen2Audio, "logits", lambda self, base, states: sound(self, base, states.detach()).requires_grad_())
    return loaded


def saving_loses(loaded: LoadedModel, rows: list[Row], patch: pytest.MonkeyPatch) -> LoadedModel:
    sound = module.save_weights

    def lossy(model: Any, folder: Path) -> None:
        with torch.no_grad():
            next(p for name, p in model.named_parameters() if "lora_B" in name).zero_()
        sound(model, folder)

    patch.setattr(module, "save_weights", lossy)
    return loaded


def lower_layers_differ(loaded: LoadedModel, rows: list[Row], patch: pytest.MonkeyPatch) -> LoadedModel:
    sound = divided.lower_hidden_states
    patch.setattr(lower_states, "lower_hidden_states", lambda *args: sound(*args).flip(-1))
    return loaded


Break = Callable[[LoadedModel, list[Row], pytest.MonkeyPatch], LoadedModel]


@dataclass(frozen=True)
class Fault:
    broken: Break
    finder: str
    message: str
    kind: str = "lora"


FAULTS = [
    Fault(other_answer, "labels are the answer", "manifest.jsonl:7 decode to"),
    Fault(placeholder_in_text, "text carries no audio", "a written utterance carries audio"),
    Fault(placeholder_too_many, "placeholders equal features", "audio placeholders for"),
    Fault(deaf, "audio matters", "the model ignores audio"),
    Fault(neighbours_leak, "rows are independent", "other rows in the batch or padding change a row's loss"),
    Fault(decoding_reads_pads, "padding side does not matter", "decoding and training see different prompts"),
    Fault(lora_on_the_tower, "parts are trained as asked", "audio_tower is frozen, but"),
    Fault(all_is_trained, "parts are trained as asked", "projector is frozen, but", kind="full"),
    Fault(adapter_is_cut_off, "what is frozen has no gradient", "language_model is lora, but 0 of its tensors"),
    Fault(
        lower_layers_differ, "lower layers can be computed beforehand", "layers beforehand changes the loss", "upper"
    ),
    Fault(saving_loses, "saved weights reload equal", "changes the loss"),
]


@pytest.mark.parametrize("fault", FAULTS, ids=lambda fault: fault.broken.__name__)
def test_a_fault_is_found_by_its_proof(loaded: LoadedModel, fault: Fault, monkeypatch: pytest.MonkeyPatch) -> None:
    rows = mixed_rows(loaded)
    broken = fault.broken(loaded, rows, monkeypatch)
    held: list[str] = []
    with pytest.raises(UserError, match=fault.message):
        for proof in prove(broken, train(fault.kind), examples(), rows):
            held.append(proof.name)
    assert held == NAMES[: NAMES.index(fault.finder)]


def test_every_proof_has_a_fault_that_it_finds() -> None:
    assert {fault.finder for fault in FAULTS} == set(NAMES)


# --- where they run


def test_the_shortest_and_the_longest_recording_are_looked_at(tiny_corpus: Path) -> None:
    spoken = [u for u in read_manifest(tiny_corpus) if u.audio]
    chosen = proof_examples(spoken)
    assert [example.modality for example in chosen] == ["speech", "text"] * 2
    seconds = [u.seconds for u in spoken]
    assert [chosen[0].utterance.seconds, chosen[2].utterance.seconds] == [min(seconds), max(seconds)]  # type: ignore[type-var]
    assert [example.utterance for example in proof_examples(spoken[:1])] == spoken[:1] * 4


def test_a_model_is_checked_alone_or_with_a_manifest(tiny_model_dir: Path, tiny_corpus: Path) -> None:
    for arguments in ([], [str(tiny_corpus)]):
        result = CliRunner().invoke(app, ["check", *arguments, "--model", str(tiny_model_dir)])
        assert result.exit_code == 0, result.output
        assert result.output.count("holds: ") == len(NAMES)


def test_a_manifest_without_recordings_cannot_check_a_model(tiny_model_dir: Path, tiny_corpus: Path) -> None:
    rows = [line for line in tiny_corpus.read_text().splitlines() if '"audio"' not in line]
    (silent := tiny_corpus.parent / "silent.jsonl").write_text("\n".join(rows) + "\n")
    result = CliRunner().invoke(app, ["check", str(silent), "--model", str(tiny_model_dir)])
    assert isinstance(result.exception, UserError)
    assert "silent.jsonl: no utterance has a recording" in str(result.exception)
