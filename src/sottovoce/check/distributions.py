"""The distribution of a manifest's utterances over clip lengths, intents, slot types, speakers and sampling rates."""

from __future__ import annotations

import math
from collections import Counter, defaultdict
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from itertools import count

from sottovoce.core.types import SPLITS, Split, Utterance

MAX_BINS = 30


@dataclass(frozen=True, slots=True)
class LabelCount:
    """How many train utterances have an intent or a slot type, and how many of them have speech."""

    name: str
    utterances: int
    with_speech: int


@dataclass(frozen=True, slots=True)
class SpeakerMinutes:
    """The minutes that one speaker recorded, in total and in train; the name is None for clips without a speaker."""

    name: str | None
    minutes: float
    train_minutes: float


@dataclass(frozen=True)
class ClipLengths:
    """Clips of each split counted by length; a split without clips is left out.

    ``counts[split][n]`` clips last from ``n * bin_seconds`` to just below ``(n + 1) * bin_seconds``. If ``open_ended``,
    the last number counts all longer ones too.
    """

    bin_seconds: float
    counts: Mapping[Split, tuple[int, ...]]
    open_ended: bool

    @property
    def end_seconds(self) -> float:
        """Where the last bin ends, if it is not open-ended."""
        return self.bin_seconds * max(map(len, self.counts.values()), default=0)


@dataclass(frozen=True)
class Distributions:
    """The data of a check's charts.

    ``seconds`` are the clip lengths of each split that has any. Intents, slot types and speakers are sorted by size,
    largest first. ``sampling_rates`` maps Hz to the number of recordings.
    """

    seconds: Mapping[Split, tuple[float, ...]]
    intents: tuple[LabelCount, ...]
    slot_types: tuple[LabelCount, ...]
    speakers: tuple[SpeakerMinutes, ...]
    sampling_rates: Mapping[int, int]


def distributions(utterances: Sequence[Utterance], sampling_rates: Mapping[int, int]) -> Distributions:
    """Counts a manifest's utterances, whose ``seconds`` must be set if there is audio."""
    train = [utterance for utterance in utterances if utterance.split == "train"]
    spoken = [utterance for utterance in utterances if utterance.audio is not None]
    lengths = {split: tuple(u.seconds or 0.0 for u in spoken if u.split == split) for split in SPLITS}
    return Distributions(
        seconds={split: seconds for split, seconds in lengths.items() if seconds},
        intents=_label_counts(train, lambda utterance: {utterance.frame.intent}),
        slot_types=_label_counts(train, lambda utterance: {entity.type for entity in utterance.frame.entities}),
        speakers=_speakers(spoken),
        sampling_rates=dict(sorted(sampling_rates.items())),
    )


def clip_lengths(seconds: Mapping[Split, Sequence[float]], limit: float) -> ClipLengths:
    """Counts clips in at most 30 bins of a round width.

    Args:
        seconds: the lengths by split.
        limit: in seconds; longer clips go into the last bin, so that one very long clip does not squash the others.
    """
    longest = max((length for lengths in seconds.values() for length in lengths), default=0.0)
    top = min(longest, limit) if limit > 0 else longest
    width = next(width for width in _round_widths() if _bin(top, width) < MAX_BINS)
    num_bins = _bin(top, width) + 1
    counts = dict[Split, tuple[int, ...]]()
    for split, lengths in seconds.items():
        found = Counter(min(_bin(length, width), num_bins - 1) for length in lengths)
        counts[split] = tuple(found[place] for place in range(num_bins))
    return ClipLengths(width, counts, open_ended=_bin(longest, width) >= num_bins)


def _round_widths() -> Iterator[float]:
    """0.1, 0.2, 0.5, 1, 2, 5, 10 ... seconds."""
    return (digit * 10.0**exponent for exponent in count(-1) for digit in (1, 2, 5))


def _bin(seconds: float, width: float) -> int:
    return math.floor(round(seconds / width, 6))  # 0.3 / 0.1 is a little less than 3


def _label_counts(train: Sequence[Utterance], labels_of: Callable[[Utterance], set[str]]) -> tuple[LabelCount, ...]:
    total, spoken = Counter[str](), Counter[str]()
    for utterance in train:
        found = labels_of(utterance)
        total.update(found)
        if utterance.audio is not None:
            spoken.update(found)
    ranked = sorted(total.items(), key=lambda item: (-item[1], item[0]))
    return tuple(LabelCount(name, number, spoken[name]) for name, number in ranked)


def _speakers(spoken: Iterable[Utterance]) -> tuple[SpeakerMinutes, ...]:
    clips = defaultdict[str | None, list[Utterance]](list)
    for utterance in spoken:
        clips[utterance.speaker].append(utterance)
    rows = [
        SpeakerMinutes(name, _minutes(own), _minutes(u for u in own if u.split == "train"))
        for name, own in clips.items()
    ]
    return tuple(sorted(rows, key=lambda row: (-row.minutes, row.name or "")))


def _minutes(clips: Iterable[Utterance]) -> float:
    return math.fsum(clip.seconds or 0.0 for clip in clips) / 60
