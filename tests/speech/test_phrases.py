from __future__ import annotations

import pytest

from sottovoce.data.corpora.home_sentences import write_sentences
from sottovoce.speech.phrases import phrases


@pytest.mark.parametrize("locale", ["en-US", "fr-FR"])
def test_phrases_differ_and_do_not_depend_on_how_many_are_made(locale: str) -> None:
    many = phrases(locale, 500, seed=0)
    assert len(set(many)) == 500
    assert phrases(locale, 100, seed=0) == many[:100]
    assert phrases(locale, 100, seed=1) != many[:100]


@pytest.mark.parametrize("locale", ["en-US", "fr-FR"])
def test_no_phrase_is_a_sentence_of_the_built_in_corpus(locale: str) -> None:
    assert not set(phrases(locale, 3000, seed=0)) & {sentence.transcript for sentence in write_sentences(locale)}


def test_every_part_is_filled_in() -> None:
    assert not any("{" in text or "  " in text for text in phrases("en-US", 500, 0) + phrases("fr-FR", 500, 0))
