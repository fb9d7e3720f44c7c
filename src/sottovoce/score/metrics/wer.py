"""Word error rate of transcriptions."""

from __future__ import annotations

from collections.abc import Sequence

from rapidfuzz.distance import Levenshtein

from sottovoce.data.words import words_of


def word_error_rate(references: Sequence[str], hypotheses: Sequence[str]) -> float:
    """Insertions, deletions and substitutions over the number of reference words, summed over all utterances.

    Raises:
        ValueError: the lists differ in length, or there are no reference words.
    """
    errors = num_words = 0
    for reference, hypothesis in zip(references, hypotheses, strict=True):
        expected = words_of(reference)
        errors += Levenshtein.distance(expected, words_of(hypothesis))
        num_words += len(expected)
    if not num_words:
        raise ValueError("no reference words")
    return errors / num_words


def holds_words(text: str, filler: str) -> bool:
    """Whether a text holds all words of a filler, next to each other and in their order."""
    words, wanted = words_of(text), words_of(filler)
    return any(words[start : start + len(wanted)] == wanted for start in range(len(words) - len(wanted) + 1))
