"""Which parts are trained: each combination moves what was asked for, and nothing else, and is saved and merged."""

from __future__ import annotations

import json
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
import torch
from peft.tuners.tuners_utils import BaseTunerLayer
from pydantic import ValidationError
from spoken_rows import mixed_rows, same_weights, tone, utterance, weights_of
from tiny_study import run_tiny_study

from sottovoce.core.errors import UserError
from sottovoce.core.recipe import Lora, StageSettings, Train
from sottovoce.data.collate import Row, collate_training
from sottovoce.data.manifest import read_manifest
from sottovoce.data.prompts import slu_example
from sottovoce.decode.batches import generate, next_token_logits
from sottovoce.models.audio_states import AudioStore
from sottovoce.models.injection import answer_loss, input_embeddings, token_losses
from sottovoce.models.load import LoadedModel, load_model
from sottovoce.study.preflight import PROOFS, prove
from sottovoce.study.runs import answer_form, load_run
from sottovoce.train.parts import part_of, reencodes_audio, with_weights
from sottovoce.train.schemes import Stage
from sottovoce.train.stage import plan_stages, run_stage

PARTS = ("language_model", "projector", "audio_tower")
COMBINATIONS = [
    ("lora", "full", "frozen"),
    ("frozen", "full", "frozen"),
    ("full", "full", "frozen"),
    ("lora", "frozen", "lora"),
    ("frozen", "frozen", "lora"),
    ("lora", "full", "lora"),
    ("full", "full", "full"),
    ("lora", "full", "full"),
    ("frozen", "frozen", "full"),
]
EACH = pytest.mark.parametrize("asked", COMBINATIONS, ids="-".join)


def train(asked: tuple[str, ...], **changes: Any) -> Train:
    parts = dict(zip(PARTS, asked, strict=True))
    settings = {"bf16": False, "per_device_train_batch_size": 2, "lora": Lora(r=4), "logging_steps": 1}
    return Train.model_validate(parts | settings | changes)


def rows_for(loaded: LoadedModel, settings: Train) -> list[Row]:
    """The mixed rows, with mel frames where the audio part hears anew."""
    rows = mixed_rows(loaded)
    if not reencodes_audio(loaded.family, settings):
        return rows
    clips = [None, tone(0.5), None, tone(1.3, 700.0)]
    heard = [None if clip is None else loaded.family.audio_inputs(loaded.processor, clip) for clip in clips]
    return [replace(row, audio_inputs=inputs) for row, inputs in zip(rows, heard, strict=True)]


def stage(loaded: LoadedModel, settings: Train, folder: Path) -> Path:
    (plan,) = plan_stages([Stage("both", (), StageSettings(num_train_epochs=2, learning_rate=1e-2))], [["r"]], "root")
    return run_stage(loaded, plan, rows_for(loaded, settings), settings, folder, seed=0)


@EACH
def test_every_preflight_proof_holds(loaded: LoadedModel, asked: tuple[str, ...]) -> None:
    settings = train(asked)
    examples = [slu_example(utterance("x"), modality) for modality in ("text", "speech") * 2]
    held = list(prove(loaded, settings, examples, rows_for(loaded, settings)))
    assert [proof.name for proof in held] == list(PROOFS)


@EACH
def test_training_moves_the_parts_that_were_asked_for(
    loaded: LoadedModel, tiny_model_dir: Path, tmp_path: Path, asked: tuple[str, ...]
) -> None:
    before = weights_of(loaded.model)
    settings = train(asked)
    weights = stage(loaded, settings, tmp_path)
    again = load_model(str(tiny_model_dir), bf16=False)
    model = with_weights(again, settings, weights)
    if hasattr(model, "merge_and_unload"):
        model = model.merge_and_unload()
    after = weights_of(model)
    moved = {part_of(again.family, name) for name in before if not torch.equal(before[name], after[name])}
    assert moved == {part for part, how in zip(PARTS, asked, strict=True) if how != "frozen"}
    assert before.keys() == after.keys()
    batch = collate_training(mixed_rows(again), again.pad_id)  # heard by the tower as it is now
    trained = collate_training(mixed_rows(loaded), loaded.pad_id)
    with torch.no_grad():
        merged, unmerged = (float(answer_loss(m, b)[0]) for m, b in ((model, batch), (loaded.model.eval(), trained)))
    assert merged == pytest.approx(unmerged, rel=1e-5)


def test_dora_is_trained_saved_and_merged(loaded: LoadedModel, tiny_model_dir: Path, tmp_path: Path) -> None:
    settings = train(("lora", "frozen", "frozen"), lora=Lora(r=4, use_dora=True))
    weights = stage(loaded, settings, tmp_path)
    again = load_model(str(tiny_model_dir), bf16=False)
    model = with_weights(again, settings, weights).eval()
    assert any("lora_magnitude_vector" in name for name, _ in model.named_parameters())
    rows = mixed_rows(again)
    before = next_token_logits(again, model, rows)
    torch.testing.assert_close(next_token_logits(again, model.merge_and_unload(), rows), before, rtol=1e-4, atol=1e-4)


def in_bf16(tiny_model_dir: Path, **lora: Any) -> tuple[LoadedModel, Any]:
    """The tiny model in bfloat16 with an adapter that is not zero."""
    loaded = load_model(str(tiny_model_dir))
    model = with_weights(loaded, train(("lora", "frozen", "frozen"), bf16=True, lora=Lora(r=4, **lora)), None).eval()
    torch.manual_seed(1)
    for name, parameter in model.named_parameters():
        if "lora_B" in name:
            parameter.data.normal_(std=0.1)
    return loaded, model


def test_loras_copies_of_its_input_are_left_out_without_a_bit_of_difference(tiny_model_dir: Path) -> None:
    loaded, model = in_bf16(tiny_model_dir)
    batch = collate_training(mixed_rows(loaded), loaded.pad_id)
    layers = [module for module in model.modules() if isinstance(module, BaseTunerLayer)]
    found = []
    for copied in (False, True):
        if copied:
            for layer in layers:
                assert not layer.cast_input_dtype_enabled
                layer.cast_input_dtype_enabled = True
        model.zero_grad()
        with torch.autocast("cpu", torch.bfloat16):
            losses, _ = token_losses(model, batch)
            losses.sum().backward()
        gradients = {name: p.grad.clone() for name, p in model.named_parameters() if p.grad is not None}
        found.append((losses.detach(), gradients))
    (losses, gradients), (expected, expected_gradients) = found
    assert torch.equal(losses, expected) and len(gradients) == 2 * len(layers)
    assert same_weights(gradients, expected_gradients)


def test_doras_layers_are_left_as_peft_has_them(tiny_model_dir: Path) -> None:
    _, model = in_bf16(tiny_model_dir, use_dora=True)
    layers = [module for module in model.modules() if isinstance(module, BaseTunerLayer)]
    assert layers and all(layer.cast_input_dtype_enabled for layer in layers)


def test_audio_heard_anew_enters_as_audio_that_was_kept(loaded: LoadedModel) -> None:
    kept = collate_training(mixed_rows(loaded), loaded.pad_id)
    anew = collate_training(rows_for(loaded, train(("lora", "frozen", "lora"))), loaded.pad_id)
    assert len(anew["audio_inputs"]) == 2 and "audio_states" not in anew
    expected, found = input_embeddings(loaded.model, kept), input_embeddings(loaded.model, anew)
    torch.testing.assert_close(found, expected, rtol=1e-5, atol=1e-5)


def test_only_a_tower_that_is_trained_hears_anew(loaded: LoadedModel) -> None:
    family = loaded.family
    elsewhere = replace(family, projects_at_each_step=False)
    anew = {asked: reencodes_audio(family, train(asked)) for asked in COMBINATIONS}
    assert anew == {asked: asked[2] != "frozen" for asked in COMBINATIONS}
    assert reencodes_audio(elsewhere, train(("lora", "full", "frozen")))
    assert not reencodes_audio(elsewhere, train(("lora", "frozen", "frozen")))


@pytest.mark.parametrize("asked", [("lora", "full", "frozen"), ("frozen", "frozen", "full"), ("lora", "full", "lora")])
def test_a_projector_inside_the_tower_is_not_trained_without_it(loaded: LoadedModel, asked: tuple[str, ...]) -> None:
    nested = replace(loaded, family=replace(loaded.family, projector="model.audio_tower.layer_norm"))
    with pytest.raises(UserError, match=r"the projector and the audio tower of .* are one module; train both in full"):
        with_weights(nested, train(asked), None)
    both = with_weights(nested, train(("frozen", "full", "full")), None)
    trained = {name for name, parameter in both.named_parameters() if parameter.requires_grad}
    assert {"model.audio_tower.layer_norm.weight", "model.audio_tower.conv1.weight"} <= trained


@pytest.mark.parametrize(
    ("asked", "message"),
    [
        (("frozen", "frozen", "frozen"), "nothing would be trained"),
        (("full", "frozen", "lora"), "audio_tower: lora needs"),
    ],
)
def test_a_senseless_combination_is_refused(asked: tuple[str, ...], message: str) -> None:
    with pytest.raises(ValidationError, match=message):
        train(asked)


def test_a_study_that_trains_tower_and_projector_decodes_with_what_it_trained(
    tiny_model_dir: Path, tiny_corpus: Path, tmp_path: Path
) -> None:
    settings = {"language_model": "lora", "projector": "full", "audio_tower": "lora", "per_device_train_batch_size": 4}
    stages = {name: {"num_train_epochs": 1, "learning_rate": 1e-2} for name in ("stage", "first_stage", "last_stage")}
    study = run_tiny_study(
        tmp_path, tiny_model_dir, tiny_corpus, schemes=["direct_mixing"], budgets=[0.3], train=settings | stages
    )
    loaded, model, recipe = load_run(study / "cells/direct_mixing-30pct", lambda line: None)
    form = answer_form(study, recipe.decode.grammar, loaded)
    spoken = [u for u in read_manifest(study / "gold.jsonl", allow_outside=True) if u.audio]
    examples = [slu_example(u, "speech") for u in spoken]
    rows, as_before = (AudioStore(by).rows_of(examples) for by in (loaded, load_model(str(tiny_model_dir))))
    assert not any(torch.equal(new.audio_states, old.audio_states) for new, old in zip(rows, as_before, strict=True))  # type: ignore[arg-type]
    found = [json.loads(line) for line in (study / "cells/direct_mixing-30pct/predictions-speech.jsonl").open()]
    by_length = sorted(rows, key=lambda row: len(row.prompt_ids))
    expected = [
        generate(loaded, model, by_length[start : start + 4], recipe.decode.max_new_tokens, form)
        for start in range(0, len(rows), 4)
    ]
    assert sorted(row["text"] for row in found) == sorted(text for part in expected for text in part)
