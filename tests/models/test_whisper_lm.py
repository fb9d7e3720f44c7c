"""The embedded model's class: what it hears, in plain transformers and through its family."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from spoken_rows import speech_row, tone, utterance
from tiny_whisper_lm import save_tiny_whisper_lm
from transformers import AutoModelForMultimodalLM, AutoProcessor

from sottovoce.core.errors import UserError
from sottovoce.core.recipe import Train
from sottovoce.data.collate import tokenize
from sottovoce.data.prompts import slu_example
from sottovoce.models.audio_state_cache import key_parts, state_key
from sottovoce.models.features import encode_clips
from sottovoce.models.load import LoadedModel, load_model
from sottovoce.models.whisper_lm.modeling_whisper_lm import (
    MAX_TOKENS_PER_SECOND,
    MIN_TOKENS,
    WhisperLMForConditionalGeneration,
)
from sottovoce.train.parts import with_weights

PROMPT = "<|im_start|>user\n<|AUDIO|>\nIntent:<|im_end|>\n<|im_start|>assistant\n"
CLIPS = [tone(0.5), tone(1.3, 700.0), tone(2.6, 300.0)]


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    made = tmp_path_factory.mktemp("whisper_lm")
    save_tiny_whisper_lm(made)
    return made


@pytest.fixture
def whisper_lm(folder: Path) -> LoadedModel:
    return load_model(str(folder), bf16=False)


def says(loaded: LoadedModel, monkeypatch: pytest.MonkeyPatch, *texts: str) -> None:
    """Has the tower hear texts, one for each clip of a batch, whatever the clips are."""
    words = loaded.model.model.words
    heard = [words._heard.encode(text, add_special_tokens=False).ids for text in texts]
    monkeypatch.setattr(loaded.model.model, "hear", lambda **inputs: heard)


def inputs_of(loaded: LoadedModel, clips: list[Any], language: str = "en") -> dict[str, torch.Tensor]:
    texts = [PROMPT] * len(clips)
    return dict(loaded.processor(text=texts, audio=clips, language=language, sampling_rate=16_000))


# --- words


@pytest.mark.parametrize(
    ("heard", "written"),
    [
        (" Turn the Lights on", "turn the lights on"),
        ("  don\u2019t \u00c9teins-la ", "don't \u00e9teins-la"),
        ("", ""),
    ],
)
def test_what_is_heard_enters_as_the_tokens_of_that_text(
    whisper_lm: LoadedModel, monkeypatch: pytest.MonkeyPatch, heard: str, written: str
) -> None:
    says(whisper_lm, monkeypatch, heard)
    (states,) = encode_clips(whisper_lm.model, whisper_lm.processor, [tone(0.5)])
    assert whisper_lm.family.transcript(whisper_lm.processor, states) == written
    spoken = tokenize(slu_example(utterance("not shown"), "speech"), whisper_lm.processor, states)
    text = tokenize(slu_example(utterance(written), "text"), whisper_lm.processor, None)
    placeholder = whisper_lm.processor.audio_token_id
    ids = iter(states[:, 0].tolist())
    assert [next(ids) if token == placeholder else token for token in spoken.prompt_ids] == text.prompt_ids


def test_numerals_punctuation_and_control_tokens_are_never_heard(whisper_lm: LoadedModel) -> None:
    words = whisper_lm.model.model.words
    decode = words._heard.decode
    spoken = {decode([token]) for token in words.spoken_text.nonzero()[:, 0].tolist()}
    assert set("azAZ\u2019") - {"\u2019"} <= spoken and "'" in spoken and "-" in spoken
    assert not spoken & set('0123456789.,?!%\u20ac$"') and not any("<|" in text for text in spoken)
    written = {decode([token]) for token in words.any_text.nonzero()[:, 0].tolist()}
    assert set("0123456789.,?!") <= written and not any("<|" in text for text in written)


def test_suppression_may_be_switched_off(whisper_lm: LoadedModel) -> None:
    model, words = whisper_lm.model, whisper_lm.model.model.words
    texts = {token: words._heard.decode([token]) for token in words.any_text.nonzero()[:, 0].tolist()}
    digits = [token for token, text in texts.items() if text in "0123456789"]
    keys = model.model.audio_tower.decoder.embed_tokens.weight
    keys.data[digits] *= 50.0  # one of them is far likelier than any letter, whatever is said
    assert not set(model.transcribe(**_heard(whisper_lm))[0]) & set("0123456789")
    model.config.spoken_words_only = False
    assert set(model.transcribe(**_heard(whisper_lm))[0]) & set("0123456789")


def _heard(loaded: LoadedModel, clips: list[Any] | None = None) -> dict[str, torch.Tensor]:
    clips = clips or [tone(0.5)]
    return dict(loaded.processor.audio_inputs(clips, ["en"] * len(clips), 16_000))


@pytest.mark.parametrize("seconds", [0.5, 1.7])
def test_a_transcript_is_limited_by_the_clips_length(whisper_lm: LoadedModel, seconds: float) -> None:
    whisper_lm.model.model.words.end = -1  # it never ends by itself, as in a repetition loop
    words = whisper_lm.model.model.words
    words.spoken_text[-1] = False
    (heard,) = whisper_lm.model.model.hear(**_heard(whisper_lm, [tone(seconds)]))
    assert len(heard) == MIN_TOKENS + np.ceil(MAX_TOKENS_PER_SECOND * seconds)


def test_a_clip_is_heard_the_same_beside_others(whisper_lm: LoadedModel) -> None:
    together = list(encode_clips(whisper_lm.model, whisper_lm.processor, CLIPS, batch_size=3))
    alone = [next(encode_clips(whisper_lm.model, whisper_lm.processor, [clip])) for clip in CLIPS]
    assert all(torch.equal(one, other) for one, other in zip(together, alone, strict=True))


def test_where_no_speech_is_likely_nothing_is_heard(whisper_lm: LoadedModel) -> None:
    inputs = _heard(whisper_lm)
    assert whisper_lm.model.transcribe(**inputs)[0]
    whisper_lm.model.config.no_speech_threshold = 0.0
    assert whisper_lm.model.transcribe(**inputs) == [""]


def test_nothing_heard_leaves_the_prompt_without_audio(
    whisper_lm: LoadedModel, monkeypatch: pytest.MonkeyPatch
) -> None:
    says(whisper_lm, monkeypatch, "")
    row = speech_row(whisper_lm, 0.5)
    assert row.audio_states is not None and row.audio_states.shape == (0, 1)
    assert whisper_lm.processor.audio_token_id not in row.prompt_ids


# --- languages


def test_the_locale_decides_the_language(whisper_lm: LoadedModel) -> None:
    family, parts = whisper_lm.family, (whisper_lm.model, whisper_lm.processor)
    ids = [int(family.training_inputs(*parts, tone(0.5), each)["language_ids"]) for each in ("en-US", "fr_FR", "fr")]
    languages = whisper_lm.processor.languages
    assert ids == [languages["en"], languages["fr"], languages["fr"]]
    prompts = [whisper_lm.model.model.words.prompt(each) for each in ids]
    assert [prompt[1] for prompt in prompts] == ids and len({tuple(prompt) for prompt in prompts}) == 2


def test_a_locale_that_whisper_does_not_know_is_refused_in_one_line(whisper_lm: LoadedModel) -> None:
    with pytest.raises(UserError, match=r"the language of 'tlh-KX'; it knows en, fr; correct") as caught:
        list(encode_clips(whisper_lm.model, whisper_lm.processor, [tone(0.5)], locales=["tlh-KX"]))
    assert "\n" not in str(caught.value)


def test_states_are_kept_under_their_locale_and_the_tokenizer(whisper_lm: LoadedModel, tmp_path: Path) -> None:
    from dataclasses import replace

    clip = tmp_path / "clip.wav"
    clip.write_bytes(b"sound")
    said = replace(utterance("x"), audio=clip)
    assert state_key(said, 0) != state_key(replace(said, locale="fr-FR"), 0)
    before = key_parts(whisper_lm, 16)
    whisper_lm.processor.tokenizer.add_tokens(["lamp"])
    assert key_parts(whisper_lm, 16) != before


# --- plain transformers


def test_a_batch_of_recordings_and_text_grows_by_the_words_and_answers_as_each_alone(whisper_lm: LoadedModel) -> None:
    model, options = whisper_lm.model, {"max_new_tokens": 8, "do_sample": False}
    inputs = inputs_of(whisper_lm, CLIPS)
    together = model.generate(**inputs, **options)
    assert torch.equal(together[:, : inputs["input_ids"].shape[1]], inputs["input_ids"])
    for row, clip in zip(together, CLIPS, strict=True):
        alone = model.generate(**inputs_of(whisper_lm, [clip]), **options)
        kept = row[inputs["input_ids"].shape[1] :][: alone.shape[1] - inputs["input_ids"].shape[1]]
        assert torch.equal(kept, alone[0, inputs["input_ids"].shape[1] :])


@pytest.mark.parametrize("side", ["left", "right"])
def test_labels_grow_with_the_rows(whisper_lm: LoadedModel, side: str) -> None:
    whisper_lm.processor.tokenizer.padding_side = side
    texts = [PROMPT + "light on", PROMPT + "no"]
    inputs = dict(whisper_lm.processor(text=texts, audio=CLIPS[:2], sampling_rate=16_000))
    labels = inputs["input_ids"].masked_fill(inputs["attention_mask"] == 0, -100)
    labels[labels == whisper_lm.processor.tokenizer.convert_tokens_to_ids("<|im_start|>")] = -100  # the first token
    out = whisper_lm.model(**inputs, labels=labels)
    sums = 0.0
    for text, clip in zip(texts, CLIPS, strict=False):
        one = dict(whisper_lm.processor(text=text, audio=clip, sampling_rate=16_000))
        targets = one["input_ids"].masked_fill(one["input_ids"] == one["input_ids"][0, 0], -100)
        number = int((targets != -100).sum()) - 1  # the placeholder has no loss
        sums += float(whisper_lm.model(**one, labels=targets).loss) * number
    number = int((labels != -100).sum()) - len(texts)
    assert float(out.loss) == pytest.approx(sums / number, rel=1e-4)


def test_placeholders_and_recordings_must_be_as_many(whisper_lm: LoadedModel) -> None:
    with pytest.raises(ValueError, match="1 placeholders for 2 recordings"):
        whisper_lm.processor(text=PROMPT, audio=CLIPS[:2], sampling_rate=16_000)


def test_without_tokenizers_beside_it_the_model_says_what_is_missing(whisper_lm: LoadedModel, tmp_path: Path) -> None:
    whisper_lm.model.save_pretrained(tmp_path)
    bare = WhisperLMForConditionalGeneration.from_pretrained(tmp_path)
    with pytest.raises(ValueError, match="audio_tower_tokenizer"):
        bare.transcribe(**_heard(whisper_lm))


FRESH = """
import sys
from transformers import AutoModelForMultimodalLM, AutoProcessor
import numpy
folder = sys.argv[1]
model = AutoModelForMultimodalLM.from_pretrained(folder, trust_remote_code=True)
processor = AutoProcessor.from_pretrained(folder, trust_remote_code=True)
clip = (0.3 * numpy.sin(numpy.arange(8000) / 6)).astype("float32")
inputs = processor(text="<|im_start|>user\\n<|AUDIO|>\\n", audio=clip, sampling_rate=16000)
out = model.generate(**inputs, max_new_tokens=4, do_sample=False)
assert "sottovoce" not in sys.modules
print(out.shape[1] - inputs["input_ids"].shape[1])
"""


def test_a_process_without_this_package_loads_the_folder_by_its_own_code(folder: Path, tmp_path: Path) -> None:
    code = [sys.executable, "-c", FRESH, str(folder)]
    environment = {"HF_MODULES_CACHE": str(tmp_path), "PATH": "", "OMP_NUM_THREADS": "1", "HF_HUB_OFFLINE": "1"}
    fresh = subprocess.run(code, capture_output=True, text=True, env=environment)
    assert fresh.returncode == 0, fresh.stderr[-2000:]
    assert 1 <= int(fresh.stdout) <= 4


def test_here_the_registered_class_is_loaded_without_the_folders_code(folder: Path) -> None:
    model = AutoModelForMultimodalLM.from_pretrained(folder, trust_remote_code=False)
    assert type(model) is WhisperLMForConditionalGeneration
    assert AutoProcessor.from_pretrained(folder, trust_remote_code=False).languages.keys() == {"en", "fr"}


# --- training the tower


def _with_gradient(loaded: LoadedModel, heard: list[int]) -> torch.Tensor:
    inputs = _heard(loaded)
    (features,) = loaded.model.model.get_audio_features(**inputs, heard_ids=[heard])
    return features  # type: ignore[no-any-return]


def test_a_trained_tower_gets_the_gradient_of_the_expected_embedding(
    whisper_lm: LoadedModel, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Against the expected embedding, written down anew."""
    model, words = whisper_lm.model.model.double(), whisper_lm.model.model.words
    heard = words._heard.encode(" go on", add_special_tokens=False).ids
    weight = model.audio_tower.decoder.layer_norm.weight
    weight.requires_grad_(True)
    inputs = {n: t.double() if t.is_floating_point() else t for n, t in _heard(whisper_lm).items()}
    table, towards = model.get_input_embeddings().weight, torch.randn(5, 32, dtype=torch.double)

    def expected() -> torch.Tensor:
        prompt = words.prompt(int(inputs["language_ids"]))
        states = model.audio_tower(
            input_features=inputs["input_features"], decoder_input_ids=torch.tensor([prompt + heard[:-1]])
        ).last_hidden_state[0, len(prompt) - 1 :]
        total = torch.zeros((), dtype=torch.double)
        # " go on": the space before the first word is not read, so five of six tokens have a place.
        for place, (read, pieces) in enumerate(zip(range(-1, 5), [None, *[words.pieces] * 5], strict=True)):
            if pieces is not None:
                known = pieces >= 0
                scores = states[place] @ model.audio_tower.decoder.embed_tokens.weight[known].T
                total = total + scores.softmax(-1) @ table[pieces[known]] @ towards[read]
        return total

    features = model.get_audio_features(**inputs, heard_ids=[heard])[0]
    assert (features * towards).sum().item() == pytest.approx(expected().item())
    (features * towards).sum().backward()
    found = weight.grad.clone()
    weight.grad = None
    expected().backward()
    torch.testing.assert_close(found, weight.grad, rtol=1e-3, atol=1e-5)
    assert found.abs().max() > 1e-6


def test_the_projector_cannot_be_trained_and_says_so(whisper_lm: LoadedModel) -> None:
    with pytest.raises(UserError, match="the projector of whisper_lm has no weights"):
        with_weights(whisper_lm, Train(language_model="lora", projector="full"), None)


def test_lora_on_the_tower_learns(whisper_lm: LoadedModel) -> None:
    from dataclasses import replace

    from sottovoce.data.collate import collate_training
    from sottovoce.models.injection import answer_loss

    row = speech_row(whisper_lm, 1.3)
    inputs = whisper_lm.family.training_inputs(whisper_lm.model, whisper_lm.processor, tone(1.3), "en-US")
    model = with_weights(whisper_lm, Train(language_model="frozen", audio_tower="lora", bf16=False), None)
    loss, _ = answer_loss(model, collate_training([replace(row, audio_inputs=inputs)], whisper_lm.pad_id))
    loss.backward()  # type: ignore[no-untyped-call]
    moved = [n for n, p in model.named_parameters() if p.grad is not None and p.grad.any()]
    assert any("encoder.layers" in name for name in moved) and any("decoder.layers" in name for name in moved)
    assert all("audio_tower" in name and "lora_B" in name for name in moved)
