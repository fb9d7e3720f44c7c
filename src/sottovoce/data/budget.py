"""The speech budget: which train utterances keep their speech.

A budget is a prefix of one seeded order of all utterances with audio: for one seed, 1 % is part of 2 %, which is part
of 5 %. The order is stratified by intent (Adams' apportionment): the next utterance always goes to the intent with the
smallest count / size so far. So every intent occurs once before any occurs twice, larger intents first, and at every
size each intent's count is its proportional share, rounded up.
"""

from __future__ import annotations

import math
from collections import Counter, defaultdict
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from itertools import accumulate
from pathlib import Path
from random import Random

from sottovoce.core.errors import UserError
from sottovoce.core.types import Utterance
from sottovoce.data.audio import audio_header

_PER_SECOND = 1_000_000  # lengths are summed in whole microseconds, so that sums are exact


@dataclass(frozen=True)
class Budget:
    """The train utterances that keep their speech, and the counts per intent.

    ``ids`` are in priority order; ``seconds`` is the amount of chosen speech; ``share`` (0..1) is of all train
    utterances, with or without audio. ``speech_per_intent`` and ``train_per_intent`` count chosen and all utterances.
    """

    ids: tuple[str, ...]
    seconds: float
    share: float
    seed: int
    speech_per_intent: Mapping[str, int]
    train_per_intent: Mapping[str, int]

    @property
    def num_utterances(self) -> int:
        return len(self.ids)

    @property
    def intents_without_speech(self) -> tuple[str, ...]:
        """The intents without any speech, in alphabetical order."""
        return tuple(intent for intent, count in self.speech_per_intent.items() if not count)

    def lines(self) -> list[str]:
        """The coverage report for the terminal, as lines."""
        total, num_intents = sum(self.train_per_intent.values()), len(self.speech_per_intent)
        absent = self.intents_without_speech
        lines = [
            f"speech budget: {self.num_utterances} of {total} train utterances ({self.share:.1%}), "
            f"{self.seconds / 60:.1f} minutes, seed {self.seed}",
            f"{num_intents - len(absent)} of {num_intents} intents have speech",
        ]
        counts = [count for count in self.speech_per_intent.values() if count]
        if counts:
            lines[-1] += f", {min(counts)} to {max(counts)} utterances each"
        if absent:
            lines.append(f"intents without speech: {', '.join(absent)}")
        return lines


def choose_speech(
    utterances: Sequence[Utterance],
    share: float | None = None,
    num_utterances: int | None = None,
    seconds: float | None = None,
    num_speakers: int | None = None,
    seed: int = 0,
) -> Budget:
    """Chooses the train utterances that keep their speech; exactly one of the four sizes is given.

    Args:
        utterances: all train utterances, with and without audio; their order does not matter.
        share: share of all utterances, 0..1, rounded to the nearest whole utterance, at least one if above 0.
        num_utterances: how many.
        seconds: how much speech; takes the longest prefix of the priority order that does not exceed it.
        num_speakers: how many randomly drawn speakers keep all their recordings.
        seed: for the order.

    Raises:
        UserError: not exactly one size, or a size out of range; too few utterances with audio, or too few speakers;
            rows of another split, a duplicate id, a recording whose length is neither given nor readable, or one
            without a speaker if speakers are counted.
    """
    if [share, num_utterances, seconds, num_speakers].count(None) != 3:
        sizes = "share, num_utterances, seconds and num_speakers"
        raise UserError(f"a speech budget needs exactly one of {sizes}", "give one of them")
    _check(utterances)
    order = priority_order(utterances, seed)
    if num_speakers is not None:
        order = _of_speakers(order, num_speakers, seed)
        count = len(order)
    elif seconds is not None:
        count = _count_within(order, seconds)
    elif num_utterances is not None:
        count = num_utterances
        if count < 0:
            raise UserError(f"num_utterances is {count}", "give 0 or more")
    else:
        count = count_of_share(len(utterances), share or 0.0)
    if count > len(order):
        raise UserError(
            f"the speech budget asks for {count} of {len(utterances)} train utterances, "
            f"but only {len(order)} have audio",
            "ask for less, or add recordings",
        )
    chosen = order[:count]
    train = Counter(utterance.frame.intent for utterance in utterances)
    heard = Counter(utterance.frame.intent for utterance in chosen)
    return Budget(
        ids=tuple(utterance.id for utterance in chosen),
        seconds=sum(_microseconds(utterance) for utterance in chosen) / _PER_SECOND,
        share=count / len(utterances),
        seed=seed,
        speech_per_intent={intent: heard[intent] for intent in sorted(train)},
        train_per_intent={intent: train[intent] for intent in sorted(train)},
    )


def priority_order(utterances: Sequence[Utterance], seed: int = 0) -> list[Utterance]:
    """All utterances with audio in the order in which budgets take them; depends only on ids and seed."""
    return spread_over_intents([utterance for utterance in utterances if utterance.audio is not None], seed)


def spread_over_intents(
    utterances: Sequence[Utterance], seed: int = 0, weights: Mapping[str, float] | None = None
) -> list[Utterance]:
    """All utterances in an order in which every prefix is stratified by intent.

    Args:
        utterances: with or without audio; their order does not matter.
        seed: for the order.
        weights: of every intent, above 0: the next utterance goes to the intent with the smallest count / weight. None:
            the intents' numbers of utterances.
    """
    strata = defaultdict[str, list[Utterance]](list)
    for utterance in utterances:
        strata[utterance.frame.intent].append(utterance)
    keyed: list[tuple[float, float, float, str, Utterance]] = []
    for intent in sorted(strata):
        members = sorted(strata[intent], key=lambda utterance: utterance.id)
        rng = Random(f"{seed}/{intent}")  # separate, so that a new intent does not change the order of others
        rng.shuffle(members)
        weight = len(members) if weights is None else weights[intent]
        keyed += [(place / weight, -weight, rng.random(), intent, member) for place, member in enumerate(members)]
    return [member for *_, member in sorted(keyed, key=lambda entry: entry[:4])]


def _of_speakers(order: Sequence[Utterance], number: int, seed: int) -> list[Utterance]:
    """The recordings of ``number`` speakers; a smaller number draws a subset of them."""
    nameless = next((utterance for utterance in order if utterance.speaker is None), None)
    if nameless is not None:
        place = nameless.where or f"utterance {nameless.id!r}"
        raise UserError(f"{place}: the recording has no speaker", "add speakers, or give the budget in other units")
    speakers = sorted({utterance.speaker or "" for utterance in order})
    if not 0 <= number <= len(speakers):
        raise UserError(f"the speech budget asks for {number} speakers, but there are {len(speakers)}", "ask for fewer")
    Random(f"{seed}/speakers").shuffle(speakers)
    chosen = set(speakers[:number])
    return [utterance for utterance in order if utterance.speaker in chosen]


def _check(utterances: Sequence[Utterance]) -> None:
    if not utterances:
        raise UserError("there are no train utterances to choose speech from", "give a manifest with a train split")
    seen = set[str]()
    for utterance in utterances:
        place = utterance.where or f"utterance {utterance.id!r}"
        if utterance.split != "train":
            raise UserError(
                f"{place}: a speech budget is for split train, not {utterance.split}", "give only train utterances"
            )
        if utterance.id in seen:
            raise UserError(f"{place}: id {utterance.id!r} occurs twice", "choose the speech of one corpus at a time")
        seen.add(utterance.id)


def count_of_share(total: int, share: float) -> int:
    """A share (0..1) of ``total``, at least 1 if it is above 0. Raises UserError if the share is out of range."""
    if not 0 <= share <= 1:
        raise UserError(f"the speech budget's share is {share}", "give a share in 0..1: 0.05 is 5 %")
    return max(round(share * total), 1 if share else 0)


def _count_within(order: Sequence[Utterance], seconds: float) -> int:
    if not (math.isfinite(seconds) and seconds >= 0):
        raise UserError(f"the speech budget's seconds are {seconds}", "give 0 or more seconds")
    sums = list(accumulate(_microseconds(utterance) for utterance in order))
    wanted, available = round(seconds * _PER_SECOND), sums[-1] if sums else 0
    if wanted > available:
        raise UserError(
            f"the speech budget asks for {seconds:g} seconds, but the {len(order)} train utterances with audio have "
            f"{available / _PER_SECOND:g}",
            "ask for less, or add recordings",
        )
    count = sum(total <= wanted for total in sums)
    if wanted and not count:
        first = f"give at least {sums[0] / _PER_SECOND:g}"
        raise UserError(f"no recording fits into a speech budget of {seconds:g} seconds", first)
    return count


def _microseconds(utterance: Utterance) -> int:
    seconds = utterance.seconds
    if seconds is None:
        seconds = audio_header(utterance.audio or Path(), utterance.where).seconds
    return round(seconds * _PER_SECOND)
