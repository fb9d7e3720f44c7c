"""What single families need beyond the checks that all of them share."""

from __future__ import annotations

import shutil
from importlib.metadata import version
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from packaging.version import Version
from peft import LoraConfig
from spoken_rows import speech_row, text_row, tone
from tiny_granite_speech import build as build_granite_speech
from tiny_omni import SPECIALS, TEMPLATE, build, thinker_config
from tiny_parts import byte_tokenizer, save, whisper_mel
from transformers import (
    GraniteSpeechFeatureExtractor,
    GraniteSpeechForConditionalGeneration,
    Qwen2_5OmniConfig,
    Qwen2_5OmniForConditionalGeneration,
)
from transformers.integrations.peft import MIN_PEFT_VERSION
from transformers.utils import is_torchaudio_available

from sottovoce.data.collate import collate_training
from sottovoce.decode.batches import generate
from sottovoce.models.families.granite_speech import MEL_DEFAULTS, log_mel
from sottovoce.models.families.registry import FAMILIES
from sottovoce.models.injection import answer_loss
from sottovoce.models.load import LoadedModel, load_model


def loss_of(loaded: LoadedModel, rows: list[Any]) -> float:
    with torch.inference_mode():
        return float(answer_loss(loaded.model, collate_training(rows, loaded.pad_id))[0])


def test_the_thinker_is_loaded_from_a_checkpoint_of_the_whole_qwen2_5_omni(tmp_path: Path) -> None:
    parts = {"enable_audio_output": False, "thinker_config": thinker_config().to_dict()}
    whole = Qwen2_5OmniForConditionalGeneration(Qwen2_5OmniConfig(**parts))
    save(tmp_path, whole, byte_tokenizer(SPECIALS), whisper_mel(chunk_length=6), TEMPLATE)
    loaded = load_model(str(tmp_path), bf16=False)
    assert loaded.family is FAMILIES["qwen2_5_omni"] is FAMILIES["qwen2_5_omni_thinker"]
    expected = whole.thinker.state_dict()
    assert expected.keys() == loaded.model.state_dict().keys()
    assert all(torch.equal(tensor, expected[name]) for name, tensor in loaded.model.state_dict().items())


def test_what_the_thinker_remembers_of_an_earlier_prompt_changes_nothing(tmp_path: Path) -> None:
    build(tmp_path)
    loaded = load_model(str(tmp_path), bf16=False)
    rows = [text_row(loaded, "light on"), speech_row(loaded, 0.5)]
    loss, answers = loss_of(loaded, rows), generate(loaded, loaded.model, rows, 4)
    loaded.model.model.rope_deltas = torch.full((1, 1), 400)
    assert loss_of(loaded, rows) == loss
    assert generate(loaded, loaded.model, rows, 4) == answers


@pytest.mark.skipif(
    Version(version("peft")) < Version(MIN_PEFT_VERSION),
    reason=f"this transformers release loads adapters with peft {MIN_PEFT_VERSION} or later only",
)
def test_the_adapter_of_granite_speech_is_merged_on_loading(tmp_path: Path) -> None:
    plain, adapted = tmp_path / "plain", tmp_path / "adapted"
    for folder in (plain, adapted):
        folder.mkdir()
        build_granite_speech(folder)
    own = GraniteSpeechForConditionalGeneration.from_pretrained(adapted)
    own.add_adapter(LoraConfig(target_modules=r".*language_model.*\.[qv]_proj", r=4, init_lora_weights=False))
    own.save_pretrained(str(tmp_path / "both"))
    for path in (tmp_path / "both").glob("adapter_*"):  # the weights beside them are those of the wrapped layers
        shutil.copy(path, adapted)
    loaded, before = load_model(str(adapted), bf16=False), load_model(str(plain), bf16=False)
    assert not any("lora" in name for name, _ in loaded.model.named_parameters())
    row = speech_row(loaded, 0.5)
    inputs = {"input_ids": torch.tensor([row.prompt_ids])} | loaded.family.audio_inputs(loaded.processor, tone(0.5))
    with torch.inference_mode():
        expected, found = (model(**inputs).logits for model in (own.eval(), loaded.model))
    torch.testing.assert_close(found, expected, rtol=1e-4, atol=1e-4)
    assert loss_of(loaded, [row]) != pytest.approx(loss_of(before, [row]), rel=1e-3)


def test_the_mel_frames_of_granite_speech_are_those_of_transformers() -> None:
    """The file holds what GraniteSpeechFeatureExtractor (transformers 5.24) gave with the MelSpectrogram of torchaudio
    2.11.1; where torchaudio can be imported, which beside a CPU build of torch it cannot, it is asked again."""
    settings = type("Settings", (), MEL_DEFAULTS)
    kept = np.load(Path(__file__).with_name("granite_speech_mel.npz"))
    for seconds in (0.1, 0.755, 1.3):
        noise = np.random.default_rng(0).normal(0, 0.1, int(16_000 * seconds)).astype(np.float32)
        expected = [torch.from_numpy(kept[str(seconds)])]
        if is_torchaudio_available():
            expected.append(GraniteSpeechFeatureExtractor()([noise])["input_features"][0])
        for frames in expected:
            torch.testing.assert_close(log_mel(noise, settings), frames, rtol=1e-4, atol=1e-4)
