"""A whole alignment of the tiny model: ears, then transcription; stopped and started again it goes on."""

from __future__ import annotations

import json
from pathlib import Path

import pytest
import soundfile
import torch
from safetensors.torch import load_file
from spoken_rows import same_weights, tone
from tiny_model import save_tiny_model
from transformers import Qwen2AudioForConditionalGeneration

from sottovoce.errors import UserError
from sottovoce.models.embedded import merge_alignment
from sottovoce.train import align as align_module
from sottovoce.train.align import Alignment, align
from sottovoce.train.hearing import Hearing

NUM_CLIPS = 8


@pytest.fixture
def base(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    folder = save_tiny_model(tmp_path / "base")
    monkeypatch.setattr(align_module, "base_model_dir", lambda say: folder)
    monkeypatch.setattr(align_module, "replay_examples", lambda *args: [])
    return folder


@pytest.fixture
def speech(tmp_path: Path) -> Path:
    folder = tmp_path / "speech"
    (folder / "audio").mkdir(parents=True)
    rows = []
    for number in range(NUM_CLIPS):
        audio = f"audio/{number}.wav"
        soundfile.write(folder / audio, tone(0.4 + 0.05 * number, 200.0 * (1 + number % 3)), 16_000)
        words = f"{'abc'[number % 3]} d"
        rows.append({"id": str(number), "locale": "en-US", "transcript": words, "audio": audio})
        rows[-1] |= {"speaker": "tone", "seconds": 0.4 + 0.05 * number}
    (folder / "manifest.jsonl").write_text("".join(json.dumps(row) + "\n" for row in rows))
    return folder


def settings(speech: Path, out: Path, **changes: object) -> Alignment:
    hearing = Hearing(num_train_epochs=2, per_device_train_batch_size=4)
    fields = {"num_train_epochs": 1, "per_device_train_batch_size": 4, "hearing": hearing, "replay_share": 0.0}
    return Alignment(speech=speech, out=out, **fields | changes)  # type: ignore[arg-type]


def test_tower_projector_and_language_model_are_trained_and_merged(base: Path, speech: Path, tmp_path: Path) -> None:
    alignment = load_file(align(settings(speech, tmp_path / "run"), lambda line: None))
    model = Qwen2AudioForConditionalGeneration.from_pretrained(base, dtype=torch.float32)
    before = {name: tensor.clone() for name, tensor in model.state_dict().items()}
    merge_alignment(model, alignment)
    changed = {name for name, tensor in model.state_dict().items() if not torch.equal(tensor, before[name])}
    layers = [name for name in before if ".layers." in name and name.endswith(".weight") and "norm" not in name]
    assert {name.split(".")[1] for name in layers} == {"audio_tower", "language_model"}
    projector = {f"model.multi_modal_projector.linear.{part}" for part in ("weight", "bias")}
    assert changed == set(layers) | projector


def test_an_alignment_that_was_stopped_keeps_its_ears(
    base: Path, speech: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def stop(*args: object, **kwargs: object) -> None:
        raise KeyboardInterrupt

    with monkeypatch.context() as stopped, pytest.raises(KeyboardInterrupt):
        stopped.setattr(align_module, "AnswerTrainer", stop)
        align(settings(speech, tmp_path / "run"), lambda line: None)
    ears = tmp_path / "run/hearing/hearing.safetensors"
    trained = ears.stat().st_mtime_ns
    resumed = load_file(align(settings(speech, tmp_path / "run"), lambda line: None))
    assert ears.stat().st_mtime_ns == trained
    whole = load_file(align(settings(speech, tmp_path / "whole"), lambda line: None))
    assert same_weights(resumed, whole)


@pytest.mark.parametrize("num_epochs", [0, 1])
def test_going_on_from_an_alignment_trains_its_ears_as_far_as_asked(
    base: Path, speech: Path, tmp_path: Path, num_epochs: int
) -> None:
    first = load_file(path := align(settings(speech, tmp_path / "first"), lambda line: None))
    hearing = Hearing(num_train_epochs=num_epochs, learning_rate=1e-4, per_device_train_batch_size=4)
    second = load_file(
        align(settings(speech, tmp_path / "second", start=path, seed=1, hearing=hearing), lambda line: None)
    )
    moved = {name for name in second if not torch.equal(second[name], first[name])}
    assert any(name.startswith("audio_tower.") for name in moved) == bool(num_epochs)
    assert "layers.0.mlp.up_proj.lora_B" in moved
    for name in moved:  # it went on from there: a new start would be farther away than these few steps lead
        torch.testing.assert_close(second[name].float(), first[name].float(), rtol=0.0, atol=0.02)


def test_a_folder_with_other_settings_is_refused(base: Path, speech: Path, tmp_path: Path) -> None:
    align(settings(speech, tmp_path / "run"), lambda line: None)
    with pytest.raises(UserError, match="holds an alignment of other settings"):
        align(settings(speech, tmp_path / "run", hearing=Hearing(num_train_epochs=3)), lambda line: None)


def test_the_language_model_transcribes_only_as_many_clips_as_asked(base: Path, speech: Path, tmp_path: Path) -> None:
    align(settings(speech, tmp_path / "run", num_transcribed=5), lambda line: None)
    shards = list((tmp_path / "run/states").glob("*.safetensors"))
    assert sorted(len(load_file(shard)) for shard in shards) == [5, 5]  # clean and perturbed
    steps = json.loads(next((tmp_path / "run").glob("checkpoint-*/trainer_state.json")).read_text())["global_step"]
    assert steps == 2  # batches of 4
