"""Recognition noise: a transcript as a recogniser might have written it, with fillers unchanged.

Training on text with recognition errors is the idea of TASU (arXiv 2511.03310) and of text denoising (arXiv
2601.20900). Fillers are also part of the answer, so noise in them would teach wrong answers.
"""

from __future__ import annotations

import random
from collections.abc import Sequence
from dataclasses import dataclass

from sottovoce.core.recipe import Noise
from sottovoce.core.types import Utterance
from sottovoce.data.confusions import ConfusionTable
from sottovoce.data.sound_alikes import SoundAlikes
from sottovoce.data.words import plain_word, word_spans, words_of

_LINKS = "'’-"  # between two words without a space


@dataclass(frozen=True)
class Mishearings:
    """What a recogniser writes instead of a word: by the table's counts, or a sound-alike for words without counts."""

    table: ConfusionTable
    sound_alikes: SoundAlikes

    def instead_of(self, word: str) -> Sequence[tuple[str, float]]:
        """Possible replacements of a word with weights; empty if none sounds like it."""
        counted = [(written, float(n)) for written, n in self.table.heard.get(word, {}).items() if written]
        return sorted(counted) or self.sound_alikes.of(word)

    def inserted_after(self, word: str) -> Sequence[tuple[str, float]]:
        """Possible insertions after a word with weights; without counts, the word itself."""
        return sorted((written, float(n)) for written, n in self.table.inserted.items()) or [(word, 1.0)]


def noisy_transcript(utterance: Utterance, noise: Noise, mishearings: Mishearings, copy: int = 0) -> str:
    """The transcript with noise; deterministic given utterance, settings, mishearings and copy.

    Each word outside the fillers is replaced, dropped, or followed by an insertion with the rates of ``noise``; a word
    without sound-alikes is not replaced. Insertions are made between two words outside fillers, or at the end. If no
    word outside the fillers would remain, the transcript is unchanged.

    Args:
        copy: selects one of many draws.
    """
    text = utterance.transcript
    rng = random.Random(f"{noise.seed} {utterance.locale} {utterance.id} {copy}")
    if rng.random() >= noise.rows:
        return text
    spans = word_spans(text)
    free = free_words(utterance)
    gaps = [text[end:start] for (_, end), (start, _) in zip([(0, 0), *spans], [*spans, (len(text), 0)], strict=True)]
    words = [text[start:end] for start, end in spans]
    for place in sorted(free):
        draw, word = rng.random(), plain_word(words[place])
        if draw < noise.replace:
            if choices := mishearings.instead_of(word):
                words[place] = _in_its_case(_drawn(choices, rng), words[place])
        elif draw < noise.replace + noise.drop:
            words[place] = ""
        elif draw < noise.replace + noise.drop + noise.insert and _may_follow(place, gaps, free):
            words[place] += " " + _drawn(mishearings.inserted_after(word), rng)
    return _joined(words, gaps) if any(words[place] for place in free) else text


def free_words(utterance: Utterance) -> set[int]:
    """The indices of the transcript's words outside fillers.

    A filler that occurs once protects its words. If it occurs several times, all occurrences are protected, and its
    words elsewhere too; if it does not occur word for word, all words that contain it or are contained in it.
    """
    words = words_of(utterance.transcript)
    kept: set[int] = set()
    for filler in {entity.filler for entity in utterance.frame.entities}:
        wanted = words_of(filler)
        if not wanted:
            continue
        starts = [n for n in range(len(words) - len(wanted) + 1) if words[n : n + len(wanted)] == wanted]
        kept |= {start + n for start in starts for n in range(len(wanted))}
        if len(starts) > 1:
            kept |= {place for place, word in enumerate(words) if word in wanted}
        if not starts:
            whole = "".join(wanted)
            kept |= {place for place, word in enumerate(words) if word in whole or whole in word}
    return set(range(len(words))) - kept


def _drawn(choices: Sequence[tuple[str, float]], rng: random.Random) -> str:
    texts, weights = zip(*choices, strict=True)
    return str(rng.choices(texts, weights)[0])


def _in_its_case(written: str, word: str) -> str:
    return written[:1].upper() + written[1:] if word[:1].isupper() else written


def _may_follow(place: int, gaps: Sequence[str], free: set[int]) -> bool:
    """Whether a word may be inserted after this one: the next is not in a filler, and a space separates them."""
    is_last = place + 2 == len(gaps)
    return is_last or (place + 1 in free and gaps[place + 1][:1].isspace())


def _joined(words: Sequence[str], gaps: Sequence[str]) -> str:
    """Joins words and the text between them; a dropped word takes its space or apostrophe with it."""
    text, begun = gaps[0], False
    for word, gap in zip(words, gaps[1:], strict=True):
        if word:
            text, begun = text + word + gap, True
        elif gap and not gap.strip(_LINKS):
            continue  # an apostrophe or hyphen belongs to the dropped word
        elif begun:
            spaced = text.rstrip()
            text = (spaced if spaced != text else text.rstrip(_LINKS)) + gap
        else:
            text += gap.lstrip()
    return text
