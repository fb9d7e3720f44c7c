"""Words that sound alike, judged by their spelling alone.

A word's key is a skeleton of its consonants, similar to Metaphone (L. Philips, "Hanging on the Metaphone", Computer
Language 7(12), 1990), with consonants of one place of articulation merged as in Soundex (R. C. Russell, US patent
1,261,167, 1918), since recognisers easily confuse voiced and voiceless ones. The spelling rules are English; letters of
other alphabets are kept.
"""

from __future__ import annotations

import re
import unicodedata
from collections import defaultdict
from collections.abc import Iterable
from functools import lru_cache

from rapidfuzz import process
from rapidfuzz.distance import Levenshtein

NEAREST = 8  # sound-alikes per word, at most
_LETTERS_PER_EDIT = 3  # letters of a word per edit that a similar spelling may differ by
# Applied in this order; capitals are sounds, which later rules do not match.
_SPELLINGS = tuple(
    (re.compile(pattern), sound)
    for pattern, sound in (
        (r"^[kgp]n", "N"), (r"^wr", "R"), (r"^wh", "w"), (r"^x", "S"), (r"ph", "F"), (r"gh(?=t|$)", ""),
        (r"tch|sch|sh|ch|dge?(?=e|$)(?<=ge)", "X"), (r"tion|sion", "XN"), (r"th", "T"), (r"x", "KS"), (r"ck|q", "K"),
        (r"c(?=[eiy])", "S"), (r"g(?=[eiy])|j", "X"), (r"[cgk]", "K"), (r"[bp]", "P"), (r"[dt]", "T"), (r"[fv]", "F"),
        (r"[sz]", "S"), (r"[mn]", "N"), (r"l", "L"), (r"r", "R"),
    )
)  # fmt: skip


def sound_key(word: str) -> str:
    """Roughly how a word sounds: its first sound (A for any vowel) and the following consonants, without doubles.

    >>> sound_key("night"), sound_key("knight"), sound_key("lounge"), sound_key("launch"), sound_key("été")
    ('NT', 'NT', 'LNX', 'LNX', 'AT')
    """
    letters = (c for c in unicodedata.normalize("NFKD", word.casefold()) if not unicodedata.combining(c))
    sounds = "".join(letters)
    for spelling, sound in _SPELLINGS:
        sounds = spelling.sub(sound, sounds)
    first, rest = re.sub(r"^[aeiou]", "A", sounds[:1]), re.sub(r"[aeiouhwy]", "", sounds[1:])
    return re.sub(r"(.)\1+", r"\1", first + rest)


class SoundAlikes:
    """Finds the words of a vocabulary that sound like a word.

    These are the words with the same :func:`sound_key`, and those that start with the same sound and differ in at most
    a third of the letters; words that start differently, like "lock" and "unlock", usually mean something else.
    """

    def __init__(self, vocabulary: Iterable[str]) -> None:
        self._same_key: defaultdict[str, list[str]] = defaultdict(list)
        self._same_start: defaultdict[str, list[str]] = defaultdict(list)
        self._found: dict[str, tuple[tuple[str, float], ...]] = {}
        for word in sorted(set(vocabulary)):
            key = sound_key(word)
            self._same_key[key].append(word)
            self._same_start[key[:1]].append(word)

    def of(self, word: str) -> tuple[tuple[str, float], ...]:
        """The nearest sound-alikes of a word, with weights 1 / edit distance."""
        if word not in self._found:
            self._found[word] = self._nearest(word)
        return self._found[word]

    def _nearest(self, word: str) -> tuple[tuple[str, float], ...]:
        key = sound_key(word)
        if not key:
            return ()
        near = {other: Levenshtein.distance(word, other) for other in self._same_key.get(key, ())}
        spelled = process.extract(
            word, self._same_start.get(key[:1], ()), scorer=Levenshtein.distance,
            score_cutoff=len(word) // _LETTERS_PER_EDIT, limit=None,
        )  # fmt: skip
        near |= {other: int(distance) for other, distance, _ in spelled}
        near.pop(word, None)
        ranked = sorted(near.items(), key=lambda item: (item[1], item[0]))
        return tuple((other, 1 / distance) for other, distance in ranked[:NEAREST])


@lru_cache(maxsize=8)
def sound_alikes_in(vocabulary: tuple[str, ...]) -> SoundAlikes:
    """The sound-alikes of a vocabulary, cached for all cells."""
    return SoundAlikes(vocabulary)
