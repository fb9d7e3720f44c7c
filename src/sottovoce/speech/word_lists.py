"""Lists of common words in random company, for alignment: what was never spoken there is heard badly afterwards."""

from __future__ import annotations

import random
import re
from collections.abc import Iterator
from functools import cache

from sottovoce.errors import UserError
from sottovoce.registry_files import COMMON_WORDS, fetch_archive

FILES = {"en-US": "english.txt", "fr-FR": "french.txt"}
SHORTEST = 3  # letters; shorter entries are mostly abbreviations, and the short words occur in every sentence
WORDS_A_LIST = (3, 6)


def word_lists(locale: str, count: int, seed: int) -> list[str]:
    """``count`` lists of three to six words each; every word occurs once before any occurs twice.

    Raises:
        UserError: a locale without words, or the words cannot be fetched.
    """
    rng = random.Random(f"{seed}/{locale}")
    supply = _shuffled(_words(locale), rng)
    return [" ".join(next(supply) for _ in range(rng.randint(*WORDS_A_LIST))) for _ in range(count)]


def _shuffled(words: tuple[str, ...], rng: random.Random) -> Iterator[str]:
    while True:
        yield from rng.sample(words, len(words))


@cache
def _words(locale: str) -> tuple[str, ...]:
    if locale not in FILES:
        raise UserError(f"there are no words for {locale}", f"locales: {', '.join(FILES)}")
    path = fetch_archive(COMMON_WORDS) / "package" / "build" / "resources" / FILES[locale]
    lines = path.read_text(encoding="utf-8").lower().split()
    fit = (word for word in lines if len(word) >= SHORTEST and re.fullmatch(r"[^\W\d_]+", word))
    # Without a vowel it is an abbreviation, which the voices would spell.
    return tuple(dict.fromkeys(word for word in fit if re.search(r"[aeiouyàâéèêëîïôöùûüœ]", word)))
