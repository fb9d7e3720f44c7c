"""Words of a text: what error rates count, and what recognition noise changes."""

from __future__ import annotations

import re
import unicodedata

# An accent that stands apart from its letter, in one of Unicode's blocks of combining marks, belongs to the word.
_WORD = re.compile(r"(?:\w[\u0300-\u036f\u1ab0-\u1aff\u1dc0-\u1dff\u20d0-\u20ff\ufe20-\ufe2f]*)+")


def word_spans(text: str) -> list[tuple[int, int]]:
    """Where the words of a text begin and end; punctuation, apostrophes and hyphens divide words."""
    return [match.span() for match in _WORD.finditer(text)]


def words_of(text: str) -> list[str]:
    """The words of a text, lower-cased, accents composed with their letters (NFC)."""
    return [plain_word(text[start:end]) for start, end in word_spans(text)]


def plain_word(word: str) -> str:
    """A word as it is compared with others: lower-cased and composed."""
    return unicodedata.normalize("NFC", word.lower())


def language_of(locale: str) -> str:
    """The language of a locale: ``en`` of ``en-US``."""
    return re.split("[-_]", locale)[0].lower()
