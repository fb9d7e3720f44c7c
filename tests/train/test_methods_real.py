"""The real embedded model through every way of training: the loss falls, and what moves is what was asked for.

``pytest -m slow -s tests/train/test_methods_real.py`` also prints the table of docs/evidence/models.md.
"""

from __future__ import annotations

import importlib.util
from pathlib import Path
from typing import Any

import pytest
import torch

from sottovoce.core.errors import UserError
from sottovoce.core.recipe import StageSettings, Train
from sottovoce.core.types import MODALITIES
from sottovoce.data.collate import Row, collate_training
from sottovoce.data.corpora.home import home_manifest
from sottovoce.data.manifest import read_manifest
from sottovoce.data.mixture import Part
from sottovoce.data.prompts import slu_example
from sottovoce.models.audio_states import AudioStore
from sottovoce.models.injection import answer_loss, bare
from sottovoce.models.load import LoadedModel, load_model
from sottovoce.train.parts import part_of, reencodes_audio, with_weights
from sottovoce.train.schemes import Stage
from sottovoce.train.stage import plan_stages, run_stage

pytestmark = pytest.mark.slow
NUM_UTTERANCES, NUM_STEPS = 2, 5
PARTS = ("language_model", "projector", "audio_tower")
ALONE = {"language_model": "frozen"}
METHODS: dict[str, tuple[dict[str, Any], float]] = {  # settings and learning rate
    "whole language model": ({"language_model": "full"}, 1e-5),
    "LoRA": ({"language_model": "lora"}, 1e-3),
    "DoRA": ({"language_model": "lora", "lora": {"use_dora": True}}, 1e-3),
    "QLoRA": ({"language_model": "lora", "load_in_4bit": True}, 1e-3),
    "audio tower, LoRA": (ALONE | {"audio_tower": "lora"}, 1e-4),
    "audio tower, whole": (ALONE | {"audio_tower": "full"}, 1e-5),
}


def embedded(train: Train) -> LoadedModel:
    try:
        return load_model("embedded", train.bf16, load_in_4bit=train.load_in_4bit)
    except UserError as error:
        pytest.skip(f"the embedded model cannot be loaded here: {error}")


def loss_of(model: Any, rows: list[Row], pad_id: int) -> float:
    """Nats a token."""
    with torch.no_grad():
        total, count = answer_loss(model.eval(), collate_training(rows, pad_id))
    return float(total) / count


@pytest.mark.parametrize("method", METHODS)
def test_the_loss_falls_and_what_moves_is_what_was_asked_for(method: str, tmp_path: Path) -> None:
    asked, rate = METHODS[method]
    if asked.get("load_in_4bit") and importlib.util.find_spec("bitsandbytes") is None:
        pytest.skip("bitsandbytes is not installed (extra qlora)")
    train = Train.model_validate(asked | {"per_device_train_batch_size": 2 * NUM_UTTERANCES, "bf16": False})
    loaded = embedded(train)
    spoken = [u for u in read_manifest(home_manifest("en-US")) if u.split == "train" and u.audio is not None]
    examples = [slu_example(u, modality) for u in spoken[:NUM_UTTERANCES] for modality in MODALITIES]
    rows = AudioStore(loaded, keeps_inputs=reencodes_audio(loaded.family, train)).rows_of(examples)
    # On a model of its own: on CPUs bitsandbytes packs weights that only compute in another way.
    before = loss_of(embedded(train).model, rows, loaded.pad_id)

    settings = StageSettings(num_train_epochs=NUM_STEPS, learning_rate=rate)
    stage = Stage("text+speech", tuple(Part(modality, of="all") for modality in MODALITIES), settings)
    (plan,) = plan_stages([stage], [[str(example) for example in examples]], method)
    weights = run_stage(loaded, plan, rows, train, tmp_path, seed=0)  # raises if anything frozen has changed

    fresh = embedded(train)
    whole = {part for part in PARTS if getattr(train, part) == "full"}
    untouched = {name: p.clone() for name, p in fresh.model.named_parameters() if part_of(fresh.family, name) in whole}
    model = with_weights(fresh, train, weights)
    trained = {name: p for name, p in bare(model).named_parameters() if p.requires_grad}
    # An adapter's second matrix starts as zeros; what is trained in full is compared with what it was.
    moved = {
        part_of(fresh.family, name)
        for name, p in trained.items()
        if ("lora_B" in name and p.any()) or (name in untouched and not torch.equal(p, untouched[name]))
    }
    asked_for = {part for part in PARTS if getattr(train, part) != "frozen"}
    assert moved == asked_for == {part_of(fresh.family, name) for name in trained}
    after = loss_of(model, rows, fresh.pad_id)
    numbers = sum(p.numel() for p in trained.values())
    print(f"| {method} | {numbers / 1e6:.2f} M | {before:.3f} | {after:.3f} |")
    assert after < before - 0.02
