from __future__ import annotations

import pytest

from sottovoce.data.words import words_of
from sottovoce.score.metrics.wer import holds_words, word_error_rate


@pytest.mark.parametrize(
    ("text", "words"),
    [
        ("Turn ON the light, please!", ["turn", "on", "the", "light", "please"]),
        ("l'été à 8:30", ["l", "été", "à", "8", "30"]),
        ("l’été", ["l", "été"]),
        ("e\u0301te\u0301", ["été"]),
        ("half-open", ["half", "open"]),
        ("?!", []),
        ("", []),
    ],
)
def test_words_are_lower_cased_and_free_of_punctuation(text: str, words: list[str]) -> None:
    assert words_of(text) == words


@pytest.mark.parametrize(
    ("reference", "hypothesis", "rate"),
    [
        ("light on in the hall", "Light on, in the hall.", 0.0),
        ("light on in the hall", "light off in the hall", 1 / 5),
        ("light on in the hall", "light in the hall", 1 / 5),
        ("light on in the hall", "the light on in the hall", 1 / 5),
        ("light on in the hall", "", 1.0),
        ("light on", "this is quite something else", 5 / 2),
    ],
)
def test_errors_over_reference_words(reference: str, hypothesis: str, rate: float) -> None:
    assert word_error_rate([reference], [hypothesis]) == pytest.approx(rate)


def test_long_utterances_weigh_more_than_short_ones() -> None:
    assert word_error_rate(["on", "light on in the hall"], ["off", "light on in the hall"]) == pytest.approx(1 / 6)


def test_an_empty_reference_counts_what_was_made_up() -> None:
    assert word_error_rate(["", "light on"], ["ghost", "light on"]) == pytest.approx(1 / 2)


def test_nothing_to_score_is_refused() -> None:
    with pytest.raises(ValueError, match="no reference words"):
        word_error_rate(["", "?"], ["a", "b"])
    with pytest.raises(ValueError, match="zip"):
        word_error_rate(["a"], [])


@pytest.mark.parametrize(
    ("text", "filler", "holds"),
    [
        ("I'd like a Large coffee", "large coffee", True),
        ("a large coffee, please", "large coffee", True),
        ("a coffee, large", "large coffee", False),
        ("larger coffee", "large", False),
        ("", "large", False),
    ],
)
def test_a_text_holds_a_filler_only_as_whole_words_in_order(text: str, filler: str, holds: bool) -> None:
    assert holds_words(text, filler) is holds
