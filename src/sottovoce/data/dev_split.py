"""A dev split taken from the training utterances, where a corpus has none."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Sequence
from random import Random

from sottovoce.core.types import Utterance

DEV_SHARE = 0.1  # of the training utterances
MAX_DEV = 200
MAX_GROUP_SHARE = 0.5  # sentences and speakers that tie more than this together cannot be kept apart


def split_off_dev(train: Sequence[Utterance], seed: int) -> tuple[list[Utterance], list[Utterance], str]:
    """Takes a tenth of the training utterances, at most 200, for dev.

    No sentence is in both parts, and no speaker either unless one speaker, or one chain of shared sentences, ties more
    than half of the utterances together. Every intent keeps at least one training utterance.

    Args:
        seed: draws the groups.

    Returns:
        The rest of ``train``, dev, both in their order, and the rule in one line for the user.
    """
    groups, kept_apart = _groups(train, by_speaker=True), "sentence or speaker"
    if max(map(len, groups)) > MAX_GROUP_SHARE * len(train):
        groups, kept_apart = _groups(train, by_speaker=False), "sentence"
    wanted = min(MAX_DEV, round(DEV_SHARE * len(train)))
    left = Counter(utterance.frame.intent for utterance in train)
    Random(seed).shuffle(groups)
    chosen: set[str] = set()
    for group in groups:
        lost = Counter(utterance.frame.intent for utterance in group)
        if len(chosen) + len(group) <= wanted and all(left[intent] > number for intent, number in lost.items()):
            chosen |= {utterance.id for utterance in group}
            left -= lost
    dev = [utterance for utterance in train if utterance.id in chosen]
    line = f"no split dev: {len(dev)} of {len(train)} training utterances become dev; no {kept_apart} is in both"
    return [utterance for utterance in train if utterance.id not in chosen], dev, line


def _groups(utterances: Sequence[Utterance], by_speaker: bool) -> list[list[Utterance]]:
    """Utterances that share a sentence, or a speaker, directly or through others."""
    parent: dict[str, str] = {}

    def root(name: str) -> str:
        while parent.setdefault(name, name) != name:
            parent[name] = name = parent[parent[name]]
        return name

    def ties(utterance: Utterance) -> Iterable[str]:
        if utterance.transcript:
            yield f"sentence {utterance.transcript.casefold()}"
        if by_speaker and utterance.audio is not None and utterance.speaker:
            yield f"speaker {utterance.speaker}"

    for utterance in utterances:
        for tie in ties(utterance):
            parent[root(tie)] = root(f"id {utterance.id}")
    found: dict[str, list[Utterance]] = {}
    for utterance in utterances:
        found.setdefault(root(f"id {utterance.id}"), []).append(utterance)
    return list(found.values())
