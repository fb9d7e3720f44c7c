"""Which utterances to record next, the most useful first: intents take turns, new slots and fillers come first.

The turns are those of a speech budget (:func:`spread_over_intents`), so that any prefix of the list covers the intents
as evenly as possible, and a longer list extends a shorter one. Within an intent the choice is greedy: the utterance
with the most slot types not recorded yet, then the most new fillers, then a new sentence.
"""

from __future__ import annotations

from collections import Counter, defaultdict
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from heapq import heapify, heappop, heappush

from sottovoce.core.types import Entity, Utterance
from sottovoce.data.budget import spread_over_intents


@dataclass(frozen=True, slots=True)
class ToRecord:
    """An utterance without a recording, and a short reason to record it."""

    utterance: Utterance
    reason: str


@dataclass
class _Covered:
    """What the recordings so far cover."""

    slot_types: set[str] = field(default_factory=set)
    fillers: set[Entity] = field(default_factory=set)
    transcripts: set[str] = field(default_factory=set)

    def add(self, utterance: Utterance) -> None:
        self.fillers |= set(map(_folded, utterance.frame.entities))
        self.slot_types |= {entity.type for entity in utterance.frame.entities}
        self.transcripts.add(_fold(utterance.transcript))

    def novelty(self, utterance: Utterance) -> tuple[int, int, int]:
        """How many slot types, fillers and sentences it would add; this only falls as more is covered."""
        slot_types, fillers = self.new_slot_types(utterance), self.new_fillers(utterance)
        return len(slot_types), len(fillers), int(_fold(utterance.transcript) not in self.transcripts)

    def new_slot_types(self, utterance: Utterance) -> list[str]:
        found = dict.fromkeys(entity.type for entity in utterance.frame.entities)
        return [each for each in found if each not in self.slot_types]

    def new_fillers(self, utterance: Utterance) -> list[Entity]:
        found = {_folded(entity): entity for entity in utterance.frame.entities}
        return [entity for folded, entity in found.items() if folded not in self.fillers]


def to_record(
    utterances: Sequence[Utterance], gains: Mapping[str, float] | None = None, seed: int = 0
) -> list[ToRecord]:
    """All utterances that have no recording, in the order in which they should be recorded.

    Args:
        utterances: of one split, with and without recordings; their order does not matter.
        gains: the gain from recording each intent (:class:`IntentGain`). Turns are then weighted by gain instead of
            intent size, regardless of existing recordings, and intents without a gain come last.
        seed: decides the order of ties.
    """
    covered, num_recorded = _Covered(), Counter[str]()
    for utterance in utterances:
        if utterance.audio is not None:
            covered.add(utterance)
            num_recorded[utterance.frame.intent] += 1
    unrecorded = [utterance for utterance in utterances if utterance.audio is None]
    pools = _Pools(spread_over_intents(unrecorded, seed), covered)
    sizes = Counter(utterance.frame.intent for utterance in utterances)
    listed = []
    for intent in _turns(utterances, num_recorded, gains or {}, seed):
        chosen = pools.take(intent)
        reason = _reason(chosen, covered, num_recorded[intent], sizes[intent])
        if gains and gains.get(intent, 0.0) > 0:
            reason += f"; {intent} could raise intent accuracy by {100 * gains[intent]:.1f} points"
        listed.append(ToRecord(chosen, reason))
        covered.add(chosen)
        num_recorded[intent] += 1
    return listed


class _Pools:
    """The utterances of each intent that are not listed yet."""

    def __init__(self, utterances: Iterable[Utterance], covered: _Covered) -> None:
        self._covered = covered
        self._heaps = defaultdict[str, list[tuple[tuple[int, ...], int, Utterance]]](list)
        for place, utterance in enumerate(utterances):
            self._heaps[utterance.frame.intent].append((self._key(utterance), place, utterance))
        for heap in self._heaps.values():
            heapify(heap)

    def take(self, intent: str) -> Utterance:
        """The most novel utterance of an intent; ties go to the earliest turn."""
        heap = self._heaps[intent]
        while True:
            # Novelty only falls: if the first is still as novel as when it was pushed, no other is more novel.
            key, place, utterance = heappop(heap)
            if (now := self._key(utterance)) == key:
                return utterance
            heappush(heap, (now, place, utterance))

    def _key(self, utterance: Utterance) -> tuple[int, ...]:
        return tuple(-count for count in self._covered.novelty(utterance))


def _turns(
    utterances: Sequence[Utterance], num_recorded: Mapping[str, int], gains: Mapping[str, float], seed: int
) -> list[str]:
    """The intents of the utterances without a recording, in the order of their turns."""
    weights = {intent: gain for intent, gain in gains.items() if gain > 0}
    winning = [u for u in utterances if u.audio is None and u.frame.intent in weights]
    turns = [utterance.frame.intent for utterance in spread_over_intents(winning, seed, weights)]
    # Among the rest, existing recordings use up an intent's first turns: it waits until the others catch up.
    past = Counter(num_recorded)
    for utterance in spread_over_intents([u for u in utterances if u.frame.intent not in weights], seed):
        if past[utterance.frame.intent]:
            past[utterance.frame.intent] -= 1
        else:
            turns.append(utterance.frame.intent)
    return turns


def _reason(utterance: Utterance, covered: _Covered, num_recorded: int, size: int) -> str:
    intent = utterance.frame.intent
    if not num_recorded:
        return f"the first recording of {intent}"
    if slot_types := covered.new_slot_types(utterance):
        return f"the first recording with {' and '.join(slot_types)}"
    if fillers := covered.new_fillers(utterance):
        return "adds " + " and ".join(f"{entity.filler!r} as {entity.type}" for entity in fillers)
    return f"{intent}: recording {num_recorded + 1} of {size} utterances"


def _folded(entity: Entity) -> Entity:
    return Entity(entity.type, _fold(entity.filler))


def _fold(text: str) -> str:
    return " ".join(text.casefold().split())
