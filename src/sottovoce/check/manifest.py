"""Checks a manifest before training: what is in it, what is wrong, and what looks wrong."""

from __future__ import annotations

import re
from collections import Counter
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

from sottovoce.check.distributions import Distributions, distributions
from sottovoce.check.listen import listen
from sottovoce.core.power import num_independent, power_sentence
from sottovoce.core.types import SPLITS, Split, Utterance
from sottovoce.data.audio import SAMPLING_RATE
from sottovoce.data.budget import choose_speech
from sottovoce.data.manifest import read_manifest

BUDGET_PERCENTS = (1, 2, 5, 10, 20, 50, 100)
MAX_LISTED = 20


@dataclass(frozen=True, slots=True)
class SplitSummary:
    """Counts of one split: ``hours`` of speech, named ``speakers``, ``intents`` and ``slot_types`` that occur."""

    split: Split
    utterances: int
    with_speech: int
    hours: float
    speakers: int
    intents: int
    slot_types: int


@dataclass(frozen=True, slots=True)
class Coverage:
    """What a speech budget of ``percent`` of train covers: ``minutes`` of speech, and the intents left without any."""

    percent: int
    utterances: int
    minutes: float
    intents_without_speech: tuple[str, ...]


@dataclass(frozen=True)
class CheckReport:
    """The result of a check; every fault, warning and note is one line, with file:line if it has one place.

    Faults prevent training; warnings deserve a look; notes say how the data will be handled. ``faults_by_kind`` and
    ``warnings_by_kind`` hold all of them, and only the kinds that occur. ``window_seconds`` is the longest clip that
    the model does not cut.
    """

    splits: tuple[SplitSummary, ...]
    coverage: tuple[Coverage, ...]
    faults_by_kind: Mapping[str, Sequence[str]]
    warnings_by_kind: Mapping[str, Sequence[str]]
    notes: list[str]
    distributions: Distributions
    window_seconds: float

    @property
    def fit_to_train(self) -> bool:
        return not self.faults_by_kind

    @property
    def faults(self) -> list[str]:
        """The faults for a terminal: at most 20 of a kind, then how many more."""
        return _listed(self.faults_by_kind)

    @property
    def warnings(self) -> list[str]:
        """The warnings for a terminal, in the same way."""
        return _listed(self.warnings_by_kind)

    def lines(self) -> Iterator[str]:
        """Notes, warnings and faults for a terminal, each starting with that word."""
        for word, lines in (("note", self.notes), ("warning", self.warnings), ("fault", self.faults)):
            yield from (f"{word}: {line}" for line in lines)

    def table_rows(self) -> list[tuple[str, ...]]:
        """The splits as a table, header first."""
        rows: list[tuple[str, ...]] = [
            ("split", "utterances", "with speech", "hours", "speakers", "intents", "slot types")
        ]
        for entry in self.splits:
            counts = (entry.speakers, entry.intents, entry.slot_types)
            size = (entry.split, str(entry.utterances), str(entry.with_speech), f"{entry.hours:.2f}")
            rows.append((*size, *map(str, counts)))
        return rows

    def coverage_rows(self) -> list[tuple[str, ...]]:
        """The speech budgets that the recordings allow as a table, header first."""
        rows: list[tuple[str, ...]] = [("budget", "utterances", "minutes", "intents without speech")]
        for entry in self.coverage:
            size = (f"{entry.percent} %", str(entry.utterances), f"{entry.minutes:.1f}")
            rows.append((*size, str(len(entry.intents_without_speech))))
        return rows


def check_manifest(path: Path, window_seconds: float = 30.0, allow_outside: bool = False, seed: int = 0) -> CheckReport:
    """Checks a manifest and all of its recordings, with a progress bar.

    Args:
        path: the manifest.
        window_seconds: the longest clip that the model does not cut.
        allow_outside: permit audio outside the manifest's folder.
        seed: for drawing the speech budgets.

    Raises:
        UserError: the manifest cannot be read, or a row is not valid (`read_manifest`).
    """
    recordings = listen(read_manifest(path, allow_outside), window_seconds)
    utterances = recordings.utterances
    by_split = {split: [utterance for utterance in utterances if utterance.split == split] for split in SPLITS}
    transcribed = [utterance for utterance in utterances if utterance.transcript]
    train = by_split["train"]
    empty = [f"{path}: the split {split} is empty" for split in ("train", "test") if not by_split[split]]
    labels = list(_strange_labels(by_split)) if train else []
    speechless = [f"{path}: no train utterance has speech"] if train and not any(u.audio for u in train) else []
    faults = {"splits": empty, "recordings": recordings.faults, "intents": [line for fault, line in labels if fault]}
    warnings = {
        "speech": speechless,
        "slot types": [line for fault, line in labels if not fault],
        "transcripts": list(_repeated(transcribed)),
        **recordings.warnings,
        "fillers": list(_strange_fillers(transcribed)),
    }
    return CheckReport(
        splits=tuple(_summary(split, by_split[split]) for split in SPLITS),
        coverage=tuple(_coverage(train, seed)),
        faults_by_kind={kind: lines for kind, lines in faults.items() if lines},
        warnings_by_kind={kind: lines for kind, lines in warnings.items() if lines},
        notes=[
            *_other_rates(recordings.rates),
            *_shared_speakers(by_split),
            *_untranscribed(train),
            *_power(by_split["test"]),
        ],
        distributions=distributions(utterances, recordings.rates),
        window_seconds=window_seconds,
    )


def _other_rates(rates: Mapping[int, int]) -> Iterator[str]:
    for rate, count in sorted(rates.items()):
        if rate != SAMPLING_RATE:
            yield f"{count} recordings are at {rate} Hz; they are converted to {SAMPLING_RATE} Hz"


def _summary(split: Split, utterances: Sequence[Utterance]) -> SplitSummary:
    spoken = [utterance for utterance in utterances if utterance.audio is not None]
    return SplitSummary(
        split=split,
        utterances=len(utterances),
        with_speech=len(spoken),
        hours=sum(utterance.seconds or 0.0 for utterance in spoken) / 3600,
        speakers=len({utterance.speaker for utterance in spoken} - {None}),
        intents=len({utterance.frame.intent for utterance in utterances}),
        slot_types=len({entity.type for utterance in utterances for entity in utterance.frame.entities}),
    )


def _coverage(train: Sequence[Utterance], seed: int) -> Iterator[Coverage]:
    num_spoken = sum(utterance.audio is not None for utterance in train)
    for percent in BUDGET_PERCENTS if num_spoken else ():
        if round(percent / 100 * len(train)) > num_spoken:
            break
        budget = choose_speech(train, share=percent / 100, seed=seed)
        yield Coverage(percent, budget.num_utterances, budget.seconds / 60, budget.intents_without_speech)


def _strange_labels(by_split: dict[Split, list[Utterance]]) -> Iterator[tuple[bool, str]]:
    """Labels of dev and test that train lacks: (True, line) for an intent, (False, line) for a slot type."""
    intents = {utterance.frame.intent for utterance in by_split["train"]}
    slots = {entity.type for utterance in by_split["train"] for entity in utterance.frame.entities}
    for split in ("dev", "test"):
        first = dict[tuple[bool, str], str]()
        counts = Counter[tuple[bool, str]]()
        for utterance in by_split[split]:
            found = {(False, entity.type) for entity in utterance.frame.entities if entity.type not in slots}
            if utterance.frame.intent not in intents and not utterance.frame.is_rejection:
                found.add((True, utterance.frame.intent))
            for label in found:
                first.setdefault(label, utterance.where)
            counts.update(found)
        for (is_intent, name), count in sorted(counts.items()):
            kind = "intent" if is_intent else "slot type"
            where = first[is_intent, name]
            yield is_intent, f"{where}: the {kind} {name!r} is in {split} ({count} utterances), but not in train"


def _repeated(transcribed: Sequence[Utterance]) -> Iterator[str]:
    """Transcripts of dev and test that an earlier split has too."""
    first = dict[tuple[str, str], Utterance]()
    for utterance in sorted(transcribed, key=lambda utterance: SPLITS.index(utterance.split)):
        key = utterance.locale, " ".join(utterance.transcript.casefold().split())
        earlier = first.setdefault(key, utterance)
        if earlier.split != utterance.split:
            words = f"{utterance.transcript!r} of {utterance.split} is also in {earlier.split}"
            yield f"{utterance.where}: the transcript {words} ({earlier.where})"


def _strange_fillers(transcribed: Sequence[Utterance]) -> Iterator[str]:
    for utterance in transcribed:
        words = _fold(utterance.transcript)
        for entity in utterance.frame.entities:
            if _fold(entity.filler) not in words:
                yield f"{utterance.where}: the filler {entity.filler!r} of {entity.type!r} is not in the transcript"


def _fold(text: str) -> str:
    # SLURP's fillers are tokens joined by spaces: "jessica 's" means "jessica's".
    return re.sub(r"\s+(?=['’])", "", " ".join(text.casefold().split()))


def _shared_speakers(by_split: dict[Split, list[Utterance]]) -> Iterator[str]:
    train, test = ({u.speaker for u in by_split[split] if u.audio} - {None} for split in ("train", "test"))
    if shared := sorted(speaker for speaker in train & test if speaker is not None):
        yield f"{len(shared)} speakers are in both train and test, such as {shared[0]!r}"


def _power(test: Sequence[Utterance]) -> Iterator[str]:
    if test:
        yield power_sentence(num_independent(test))


def _untranscribed(train: Sequence[Utterance]) -> Iterator[str]:
    if count := sum(not utterance.transcript and not utterance.frame.is_rejection for utterance in train):
        yield f"{count} training recordings have no transcript: they are used as speech only"


def _listed(by_kind: Mapping[str, Sequence[str]]) -> list[str]:
    """At most 20 lines of each kind, then how many more there are."""
    listed = list[str]()
    for kind, lines in by_kind.items():
        more = len(lines) - MAX_LISTED
        listed += [*lines[:MAX_LISTED], *([f"... and {more} more {kind}"] if more > 0 else [])]
    return listed
