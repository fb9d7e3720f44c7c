"""Splits text into words, for error rates and recognition noise."""

from __future__ import annotations

import re
import unicodedata

# A separate accent, from one of Unicode's blocks of combining marks, belongs to the word.
_WORD = re.compile(r"(?:\w[\u0300-\u036f\u1ab0-\u1aff\u1dc0-\u1dff\u20d0-\u20ff\ufe20-\ufe2f]*)+")


def word_spans(text: str) -> list[tuple[int, int]]:
    """Where the words of a text start and end; punctuation, apostrophes and hyphens separate words."""
    return [match.span() for match in _WORD.finditer(text)]


def words_of(text: str) -> list[str]:
    """The words of a text, lower-cased, accents composed with their letters (NFC)."""
    return [plain_word(text[start:end]) for start, end in word_spans(text)]


def plain_word(word: str) -> str:
    """A word normalised for comparison: lower-cased, accents composed (NFC)."""
    return unicodedata.normalize("NFC", word.lower())


def language_of(locale: str) -> str:
    """The language of a locale: ``en`` for ``en-US``."""
    return re.split("[-_]", locale)[0].lower()
