"""Words that sound alike, told from their spelling alone.

The key of a word is a skeleton of its consonants in the manner of Metaphone (L. Philips, "Hanging on the Metaphone",
Computer Language 7(12), 1990), with consonants of one place of articulation joined as in Soundex (R. C. Russell, US
patent 1,261,167, 1918): voiced and voiceless ones are what recognisers mix up most easily. Its spelling rules are those
of English; other alphabets' letters stand for themselves.
"""

from __future__ import annotations

import re
import unicodedata
from collections import defaultdict
from collections.abc import Iterable
from functools import lru_cache

from rapidfuzz import process
from rapidfuzz.distance import Levenshtein

NEAREST = 8  # sound-alikes of a word, at most
_LETTERS_AN_EDIT = 3  # of a word, for each letter in which one that is spelled much the same may differ
# In this order; capitals are sounds, which no later rule reads as letters.
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
    """How a word sounds, roughly: its first sound (A for any vowel) and the consonants after it, doubles once.

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

    These are the words of the same :func:`sound_key`, and those that begin with the same sound and differ from it in no
    more than a third of its letters; words that begin otherwise, as "lock" and "unlock", mostly mean something else.
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
        """The nearest sound-alikes of a word with their weights, one over the letters in which each differs from it."""
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
            score_cutoff=len(word) // _LETTERS_AN_EDIT, limit=None,
        )  # fmt: skip
        near |= {other: int(distance) for other, distance, _ in spelled}
        near.pop(word, None)
        ranked = sorted(near.items(), key=lambda item: (item[1], item[0]))
        return tuple((other, 1 / distance) for other, distance in ranked[:NEAREST])


@lru_cache(maxsize=8)
def sound_alikes_in(vocabulary: tuple[str, ...]) -> SoundAlikes:
    """The sound-alikes of a vocabulary, found once however many cells ask for them."""
    return SoundAlikes(vocabulary)
