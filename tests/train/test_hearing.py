from __future__ import annotations

from pathlib import Path

import pytest
import soundfile
import torch
from safetensors.torch import load_file
from spoken_rows import same_weights, tone, weights_of
from tiny_model import tiny_encoder_state, tiny_tokenizer
from transformers import LlamaConfig, LlamaForCausalLM

from sottovoce.data.audio import load_audio
from sottovoce.models.embedded import build, merge_alignment
from sottovoce.models.features import encode_clips
from sottovoce.train.hearing import Hearing, hear
from sottovoce.train.spoken_clips import SpokenClips, Vocabulary, spoken_ids, vocabulary_of
from sottovoce.types import Frame, Utterance

WORDS = {"a": 300.0, "b": 600.0, "c": 1200.0}


@pytest.fixture
def parts():  # type: ignore[no-untyped-def]
    tokenizer = tiny_tokenizer()
    torch.manual_seed(0)
    config = LlamaConfig(
        vocab_size=len(tokenizer), hidden_size=48, intermediate_size=96, num_hidden_layers=2, num_attention_heads=4,
        num_key_value_heads=2, pad_token_id=1, bos_token_id=0, eos_token_id=1, initializer_range=0.5,
    )  # fmt: skip
    return build(tiny_encoder_state(), LlamaForCausalLM(config), tokenizer)


@pytest.fixture
def spoken(tmp_path: Path) -> list[Utterance]:
    """Each word is a tone of its own pitch, in four lengths."""
    utterances = []
    for word, pitch in WORDS.items():
        for number in range(4):
            seconds = 0.4 + 0.1 * number
            path = tmp_path / f"{word}-{number}.wav"
            soundfile.write(path, tone(seconds, pitch), 16_000)
            utterances.append(
                Utterance(f"{word}-{number}", "en-US", word, Frame("", ""), "train", path, "tone", seconds)
            )
    return utterances


def words_heard(model, processor, vocabulary: Vocabulary, utterances: list[Utterance]) -> list[str]:  # type: ignore[no-untyped-def]
    """The likeliest path of each clip through the model as it decodes, without repetitions and blanks."""
    texts = []
    clips = [load_audio(u.audio) for u in utterances if u.audio is not None]
    for states in encode_clips(model, processor, clips):
        with torch.inference_mode():
            scores = vocabulary.log_probabilities(model.model.multi_modal_projector(states))
        path = scores.argmax(-1).tolist()
        kept = [token for token, before in zip(path, [0, *path[:-1]], strict=True) if token and token != before]
        texts.append(processor.tokenizer.decode(vocabulary.ids[kept]))
    return texts


def test_the_nearest_embedding_is_the_likeliest(parts, spoken) -> None:  # type: ignore[no-untyped-def]
    model, processor = parts
    vocabulary = vocabulary_of(spoken, processor.tokenizer, model.get_input_embeddings().weight)
    assert sorted(processor.tokenizer.decode(vocabulary.ids)) == sorted(" abc")
    scores = vocabulary.log_probabilities(vocabulary.embeddings + 0.01)
    assert scores.argmax(-1).tolist() == list(range(len(vocabulary.ids)))
    distances = torch.cdist(vocabulary.embeddings[:1], vocabulary.embeddings)[0].square()
    expected = (-distances).log_softmax(-1)  # sharpness 2 and the half of the squared distance
    torch.testing.assert_close(vocabulary.log_probabilities(vocabulary.embeddings[0]), expected)


def test_spaces_are_not_spoken(parts) -> None:  # type: ignore[no-untyped-def]
    _, processor = parts
    utterance = Utterance("u", "en-US", "dim it", Frame("", ""), "train")
    assert processor.tokenizer.decode(spoken_ids(utterance, processor.tokenizer)) == "dimit"


def test_every_other_time_a_clip_is_heard_perturbed_and_never_twice_alike(parts, spoken) -> None:  # type: ignore[no-untyped-def]
    model, processor = parts
    vocabulary = vocabulary_of(spoken, processor.tokenizer, model.get_input_embeddings().weight)
    clips = SpokenClips(spoken, [(0, times) for times in range(4)], processor, vocabulary, seed=0)
    mel = [clips[place]["mel"] for place in range(4)]
    assert torch.equal(mel[0], mel[2]) and torch.equal(mel[1], clips[1]["mel"])
    assert not torch.equal(mel[0], mel[1]) and not torch.equal(mel[1], mel[3])


def test_ears_learn_to_write_words_and_are_kept(parts, spoken, tmp_path: Path) -> None:  # type: ignore[no-untyped-def]
    model, processor = parts
    vocabulary = vocabulary_of(spoken, processor.tokenizer, model.get_input_embeddings().weight)
    wanted = [u.transcript for u in spoken]
    assert words_heard(model, processor, vocabulary, spoken) != wanted
    tower = weights_of(model.model.audio_tower)
    settings = Hearing(num_train_epochs=50, learning_rate=1e-2, per_device_train_batch_size=4)
    ears = hear(model, processor, spoken, tmp_path / "ears", settings, None, lambda line: None)
    assert same_weights(tower, weights_of(model.model.audio_tower))
    merge_alignment(model, ears)
    assert words_heard(model, processor, vocabulary, spoken) == wanted
    assert ears.keys() == load_file(tmp_path / "ears" / "hearing.safetensors").keys()
    again = hear(
        model, processor, [], tmp_path / "ears", settings, None, lambda line: None
    )  # there is nothing left to train
    assert same_weights(ears, again)
