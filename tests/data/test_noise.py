from __future__ import annotations

import unicodedata
from collections import Counter

import pytest
from hypothesis import given
from hypothesis import strategies as st

from sottovoce.core.recipe import Noise
from sottovoce.core.types import Entity, Frame, Utterance
from sottovoce.data.confusions import ConfusionTable
from sottovoce.data.noise import Mishearings, free_words, noisy_transcript
from sottovoce.data.sound_alikes import SoundAlikes
from sottovoce.data.words import words_of

VOCABULARY = ("turn", "train", "light", "lights", "on", "in", "the", "hall", "hull", "été", "étés", "five", "for", "to")
NOTHING_KNOWN = Mishearings(ConfusionTable("en"), SoundAlikes([]))
SPELLING = Mishearings(ConfusionTable("en"), SoundAlikes(VOCABULARY))
TABLE = Mishearings(
    ConfusionTable("en", 100, {"hall": {"call": 3, "whole": 1, "": 9}, "on": {"": 2}}, {"um": 1}),
    SoundAlikes(VOCABULARY),
)
ALL = Noise(rows=1, replace=1, drop=0, insert=0)


def said(transcript: str, *fillers: str, identity: str = "u") -> Utterance:
    frame = Frame("light", "on", tuple(Entity("thing", filler) for filler in fillers))
    return Utterance(identity, "en-US", transcript, frame, "train")


def free(transcript: str, *fillers: str) -> list[str]:
    words = words_of(transcript)
    return [words[place] for place in sorted(free_words(said(transcript, *fillers)))]


def test_a_draw_is_decided_by_seed_utterance_and_copy() -> None:
    noise = Noise(rows=0.7, replace=0.4, drop=0.2, insert=0.2)
    text = "turn the light on in the hall to the light"

    def drawn(noise: Noise, identity: str, copy: int) -> str:
        return noisy_transcript(said(text, identity=identity), noise, TABLE, copy)

    draws = [drawn(noise, f"u{n}", copy) for n in range(20) for copy in range(3)]
    assert draws == [drawn(noise, f"u{n}", copy) for n in range(20) for copy in range(3)]
    assert draws != [drawn(noise.model_copy(update={"seed": 1}), f"u{n}", copy) for n in range(20) for copy in range(3)]
    assert len(set(draws)) > 30


def test_words_become_what_the_table_counted_and_else_what_sounds_alike() -> None:
    found = Counter(noisy_transcript(said("hall", identity=str(n)), ALL, TABLE) for n in range(4000))
    assert set(found) == {"call", "whole"}
    assert found["call"] / 4000 == pytest.approx(3 / 4, abs=0.03)
    known_to_be_dropped_only = {noisy_transcript(said("on", identity=str(n)), ALL, TABLE) for n in range(50)}
    assert known_to_be_dropped_only == {"in"}
    unknown = {noisy_transcript(said("light", identity=str(n)), ALL, TABLE) for n in range(50)}
    assert unknown == {"lights"}


def test_with_nothing_known_words_are_dropped_and_repeated_but_not_replaced() -> None:
    assert noisy_transcript(said("turn on the light"), ALL, NOTHING_KNOWN) == "turn on the light"
    inserted = noisy_transcript(said("turn on"), Noise(rows=1, replace=0, drop=0, insert=1), NOTHING_KNOWN)
    assert inserted == "turn turn on on"


def test_the_rates_are_met_over_many_words() -> None:
    """4,000 sentences of 12 words; four to five standard errors are allowed."""
    mishearings = Mishearings(ConfusionTable("en", 1, {"word": {"ward": 1}}, {"um": 1}), SoundAlikes([]))
    noise = Noise(rows=0.5, replace=0.1, drop=0.03, insert=0.01)
    text = " ".join(["word"] * 12)
    found = [noisy_transcript(said(text, identity=str(n)), noise, mishearings).split() for n in range(4000)]
    noisy = [words for words in found if words != text.split()]
    expected = 0.5 * (1 - (1 - 0.14) ** 12)  # a sentence with noise may keep all its words
    assert len(noisy) / 4000 == pytest.approx(expected, abs=4 * (0.25 / 4000) ** 0.5)
    counts = Counter(word for words in found for word in words)
    num_words = 4000 * 12 / 2  # in the sentences with noise
    missing = 4000 * 12 - counts["word"] - counts["ward"]
    for number, rate in ((counts["ward"], 0.1), (missing, 0.03), (counts["um"], 0.01)):
        assert number / num_words == pytest.approx(rate, abs=5 * (rate / num_words) ** 0.5)


@pytest.mark.parametrize(
    ("transcript", "fillers", "words"),
    [
        ("turn on the hall light", ("hall",), "turn on the light"),
        ("wake me at six o'clock please", ("six o'clock",), "wake me at please"),
        ("call anna and then anna smith", ("anna smith",), "call anna and then"),
        ("five minutes and then five more", ("five",), "minutes and then more"),  # either may be meant
        ("the red light and the red light or red", ("red light",), "the and the or"),
        ("turn on the light bulb", ("lightbulb",), "turn on the"),
        ("wake me at 8pm", ("8",), "wake me at"),
        ("明日の天気 please", ("天気",), "please"),
        ("turn on the light", ("kitchen",), "turn on the light"),
        ("turn on the light", ("?!", ""), "turn on the light"),
        ("Allume l’ENTRE\u0301E", ("entrée",), "allume l"),
        ("allume l'entrée", ("l'entre\u0301e",), "allume"),
        ("hall", ("hall",), ""),
    ],
)
def test_every_word_that_may_stand_in_a_filler_is_kept(transcript: str, fillers: tuple[str, ...], words: str) -> None:
    assert " ".join(free(transcript, *fillers)) == words


def num_occurrences(text: str, filler: str) -> int:
    words, wanted = words_of(text), words_of(filler)
    return sum(words[n : n + len(wanted)] == wanted for n in range(len(words)))


PIECES = st.sampled_from(
    ["turn", "The", "light", "on", "hall", "été", "e\u0301te\u0301", "l'été", "half-five", "don’t", "8"]
)
HARD = st.builds(
    lambda rates, seed: Noise(rows=1, replace=rates[0], drop=rates[1], insert=rates[2], seed=seed),
    st.sampled_from([(1, 0, 0), (0, 1, 0), (0, 0, 1), (0.3, 0.5, 0.2), (0.1, 0.03, 0.01)]),
    st.integers(0, 1000),
)


@st.composite
def utterances(draw: st.DrawFn) -> Utterance:
    """Sentences with up to three fillers that stand in them, once or twice, and maybe one that does not."""
    pieces = draw(st.lists(PIECES, min_size=1, max_size=9))
    text = pieces[0]
    for piece in pieces[1:]:
        text += draw(st.sampled_from([" ", " ", " ", ", ", "  ", " - "])) + piece
    text += draw(st.sampled_from(["", "", ".", " ?"]))
    fillers = []
    for _ in range(draw(st.integers(0, 3))):
        start = draw(st.integers(0, len(pieces) - 1))
        filler = " ".join(pieces[start : draw(st.integers(start + 1, min(len(pieces), start + 3)))])
        fillers.append(filler)
    fillers += draw(st.sampled_from([[], ["kitchen"]]))
    return said(text, *fillers)


@given(utterances(), HARD, st.sampled_from([NOTHING_KNOWN, SPELLING, TABLE]), st.integers(0, 3))
def test_fillers_stay_as_they_are_and_something_is_left_beside_them(
    utterance: Utterance, noise: Noise, mishearings: Mishearings, copy: int
) -> None:
    text = noisy_transcript(utterance, noise, mishearings, copy)
    for entity in utterance.frame.entities:
        assert entity.filler in text or entity.filler not in utterance.transcript
        assert num_occurrences(text, entity.filler) >= num_occurrences(utterance.transcript, entity.filler)
    places = free_words(utterance)
    words = words_of(utterance.transcript)
    rest = iter(words_of(text))
    assert all(word in rest for place, word in enumerate(words) if place not in places)  # in their order
    assert text == utterance.transcript or len(words_of(text)) > len(words) - len(places)


@pytest.mark.parametrize("transcript", ["hall", "hall hall", "on", "?", "e\u0301te\u0301", "L'été."])
@pytest.mark.parametrize("fillers", [(), ("hall",)])
def test_very_short_transcripts_never_become_empty(transcript: str, fillers: tuple[str, ...]) -> None:
    for seed in range(30):
        for rates in ((0.0, 1.0, 0.0), (0.2, 0.7, 0.1)):
            noise = Noise(rows=1, replace=rates[0], drop=rates[1], insert=rates[2], seed=seed)
            text = noisy_transcript(said(transcript, *fillers), noise, TABLE)
            assert text == transcript or words_of(text)
            assert fillers != ("hall",) or "hall" not in transcript or text == transcript


@pytest.mark.parametrize(
    ("transcript", "dropped", "text"),
    [
        ("turn off, the light", {"off"}, "turn, the light"),
        ("turn off, the light", {"the"}, "turn off, light"),
        ("what's up", {"s"}, "what up"),
        ("what's up", {"what"}, "s up"),
        ("allume l'entrée", {"l"}, "allume entrée"),
        ("wake me at five a.m. today", {"today"}, "wake me at five a.m."),
        ("to -5 degrees", {"to"}, "-5 degrees"),
        ("« turn on »", {"on"}, "« turn »"),
        ("a b c d", {"a", "b"}, "c d"),
        ("a b c d", {"b", "c"}, "a d"),
    ],
)
def test_a_dropped_word_takes_the_space_or_the_apostrophe_along(transcript: str, dropped: set[str], text: str) -> None:
    kept = [word for word in words_of(transcript) if word not in dropped]
    utterance = said(transcript, *kept[1:])  # the first word may go, so that something is left if the others do
    noises = [Noise(rows=1, replace=0, drop=0.5, insert=0, seed=seed) for seed in range(60)]
    assert text in {noisy_transcript(utterance, noise, NOTHING_KNOWN) for noise in noises}


def test_a_replaced_word_keeps_its_capital_and_composed_or_not_is_known() -> None:
    assert noisy_transcript(said("Light"), ALL, SPELLING) == "Lights"
    for form in ("NFC", "NFD"):
        assert noisy_transcript(said(unicodedata.normalize(form, "été")), ALL, SPELLING) == "étés"


def test_nothing_is_inserted_inside_a_word_or_beside_a_filler() -> None:
    every = Noise(rows=1, replace=0, drop=0, insert=1)
    assert noisy_transcript(said("what's on in the hall", "hall"), every, TABLE) == "what's um on um in um the hall"
    assert noisy_transcript(said("the hall light", "hall"), every, TABLE) == "the hall light um"


@pytest.mark.parametrize("changes", [{"rows": 1.1}, {"drop": -0.1}, {"replace": 0.9, "drop": 0.2}, {"source": "magic"}])
def test_settings_that_make_no_sense_are_refused(changes: dict[str, object]) -> None:
    with pytest.raises(ValueError, match=next(iter(changes))):
        Noise.model_validate(changes)
