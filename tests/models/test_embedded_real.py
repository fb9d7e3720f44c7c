"""The real embedded model: assembled (from the hub or the package index), it still speaks, and it hears."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch

from sottovoce.core.errors import UserError
from sottovoce.data.audio import load_audio
from sottovoce.data.collate import tokenize
from sottovoce.data.corpora.home import home_manifest
from sottovoce.data.manifest import read_manifest
from sottovoce.data.prompts import slu_example
from sottovoce.embedded.transcripts import transcribe_manifest
from sottovoce.models.embedded import embedded_model_dir
from sottovoce.models.features import encode_clips
from sottovoce.models.load import LoadedModel, load_model
from sottovoce.score.metrics.wer import word_error_rate

pytestmark = pytest.mark.slow


@pytest.fixture(scope="module")
def embedded(bf16_everywhere: None) -> LoadedModel:
    try:
        return load_model("embedded")
    except UserError as error:
        pytest.skip(f"the embedded model cannot be assembled here: {error}")


def test_a_second_start_finds_the_assembled_model(embedded: LoadedModel) -> None:
    said: list[str] = []
    assert embedded_model_dir(said.append).is_dir()
    assert said == []


def test_it_kept_its_language(embedded: LoadedModel) -> None:
    tokenizer = embedded.processor.tokenizer
    chat = [{"role": "user", "content": "What is the capital of France?"}]
    prompt = embedded.processor.apply_chat_template(chat, add_generation_prompt=True, tokenize=False)
    inputs = tokenizer(prompt, return_tensors="pt")
    with torch.inference_mode():
        ids = embedded.model.generate(**inputs, max_new_tokens=20, do_sample=False)
    assert "Paris" in tokenizer.decode(ids[0][inputs["input_ids"].shape[1] :])


def test_it_hears_most_words_of_voices_it_never_heard(embedded: LoadedModel, tmp_path: Path) -> None:
    lines = [line for line in home_manifest("en-US").read_text().splitlines() if '"split": "test"' in line][::10]
    folder = home_manifest("en-US").parent
    manifest = tmp_path / "manifest.jsonl"
    manifest.write_text("\n".join(line.replace('"audio/', f'"{folder}/audio/') for line in lines))
    said = transcribe_manifest(manifest, "test", None, lambda line: None, allow_outside=True)
    assert said["num_utterances"] == len(lines) > 30
    assert said["word_error_rate"] < 0.08


def heard(embedded: LoadedModel, clip: np.ndarray[Any, Any], locale: str = "en-US") -> str:
    (states,) = encode_clips(embedded.model, embedded.processor, [clip.astype(np.float32)], locales=[locale])
    return str(embedded.family.transcript(embedded.processor, states))


def without_speech() -> dict[str, np.ndarray[Any, Any]]:
    noise, times = np.random.default_rng(0), np.arange(48_000) / 16_000
    chord = sum(np.sin(2 * np.pi * pitch * times) for pitch in (220, 277, 330, 440)) * 0.1
    return {
        "nothing": np.zeros(0), "silence": np.zeros(32_000), "the whole window": np.zeros(200_000),
        "faint hiss": noise.normal(0, 0.001, 48_000), "hiss": noise.normal(0, 0.1, 48_000), "chord": chord,
    }  # fmt: skip


@pytest.mark.parametrize("name", without_speech())
def test_without_speech_it_hears_no_words(embedded: LoadedModel, name: str) -> None:
    assert heard(embedded, without_speech()[name]) == ""


def test_speech_in_another_language_is_written_down_as_if_it_were_in_the_locales(embedded: LoadedModel) -> None:
    french = next(u for u in read_manifest(home_manifest("fr-FR")) if u.speaker == "kokoro:ff_siwis")
    assert french.audio is not None
    clip = load_audio(french.audio)
    own, foreign = heard(embedded, clip, "fr-FR"), heard(embedded, clip, "en-US")
    assert word_error_rate([french.transcript], [own]) < word_error_rate([french.transcript], [foreign])


def test_a_typed_sentence_and_its_heard_words_are_the_same_tokens(embedded: LoadedModel) -> None:
    spoken = [u for u in read_manifest(home_manifest("en-US")) if u.split == "dev" and u.audio is not None][:16]
    clips = [load_audio(u.audio or Path(), u.where) for u in spoken]
    states = encode_clips(embedded.model, embedded.processor, clips, 16, [u.locale for u in spoken])
    placeholder = embedded.processor.audio_token_id
    for utterance, each in zip(spoken, states, strict=True):
        words = embedded.family.transcript(embedded.processor, each)
        written = replace(utterance, transcript=str(words))
        prompt = tokenize(slu_example(utterance, "speech"), embedded.processor, each).prompt_ids
        ids = iter(each[:, 0].tolist())
        read = [next(ids) if token == placeholder else token for token in prompt]
        assert read == tokenize(slu_example(written, "text"), embedded.processor, None).prompt_ids
