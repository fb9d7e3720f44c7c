from __future__ import annotations

import unicodedata

import pytest

from sottovoce.data.sound_alikes import SoundAlikes, sound_alikes_in, sound_key


@pytest.mark.parametrize(
    ("word", "other"),
    [
        ("night", "knight"), ("right", "write"), ("lounge", "launch"), ("to", "two"), ("their", "there"),
        ("bat", "pad"), ("phone", "fawn"), ("quick", "kick"), ("été", "ete"), ("naïve", "nave"), ("Straße", "strasse"),
    ],
)  # fmt: skip
def test_words_that_sound_alike_have_the_same_key(word: str, other: str) -> None:
    assert sound_key(word) == sound_key(other)


@pytest.mark.parametrize(
    ("word", "other"), [("light", "night"), ("lock", "unlock"), ("on", "off"), ("up", "down"), ("шум", "дом")]
)
def test_words_that_sound_otherwise_have_other_keys(word: str, other: str) -> None:
    assert sound_key(word) != sound_key(other)


def test_a_key_does_not_depend_on_how_accents_are_written() -> None:
    for word in ("éteins", "über", "señal", "tiếng"):
        assert sound_key(unicodedata.normalize("NFD", word)) == sound_key(word)


def test_sound_alikes_have_the_same_key_or_nearly_the_same_letters_after_the_same_first_sound() -> None:
    found = SoundAlikes(["light", "lights", "late", "night", "alight", "kitchen", "light"]).of("light")
    assert found == (("lights", 1.0), ("late", 1 / 4))
    assert dict(SoundAlikes(["lock", "unlock", "increase", "decrease"]).of("unlock")) == {}


def test_the_nearest_come_first_and_are_eight_at_most() -> None:
    vocabulary = ["red", "rat", "rate", "rite", "route", "ride", "read", "rode", "rude", "raid", "root"]
    found = SoundAlikes(vocabulary).of("right")
    weights = [weight for _, weight in found]
    assert len(found) == 8 and weights == sorted(weights, reverse=True)


@pytest.mark.parametrize("word", ["", "zzz", "?", "明日"])
def test_what_nothing_sounds_like_has_none(word: str) -> None:
    assert SoundAlikes(["light", "on"]).of(word) == ()
    assert SoundAlikes([]).of("light") == ()


def test_a_vocabulary_is_looked_through_once() -> None:
    assert sound_alikes_in(("a", "b")) is sound_alikes_in(("a", "b"))
    assert sound_alikes_in(("a", "c")) is not sound_alikes_in(("a", "b"))
