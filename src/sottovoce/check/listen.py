"""Checks a manifest's recordings: which cannot be used, and which sound wrong."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, replace

from sottovoce.core.errors import UserError
from sottovoce.core.progress import progress_bar
from sottovoce.core.types import Utterance
from sottovoce.data.audio import MIN_SECONDS, SILENT_DB, AudioHeader, AudioLevel, audio_header, audio_level

CLIPPED_SHARE = 0.001  # of the samples at full scale; a clip scaled up to full scale has a few
_SECONDS_TOLERANCE = 0.1  # a manifest's seconds may be rounded


@dataclass(frozen=True)
class Recordings:
    """The result of the check.

    ``utterances`` have their measured seconds, and no audio if it cannot be used, which ``faults`` explain;
    ``warnings`` by kind; ``rates`` counts recordings by sampling rate in Hz.
    """

    utterances: list[Utterance]
    faults: list[str]
    warnings: Mapping[str, Sequence[str]]
    rates: Counter[int]


def listen(utterances: Sequence[Utterance], window_seconds: float) -> Recordings:
    """Reads every recording from beginning to end.

    Args:
        utterances: those without a recording are passed through.
        window_seconds: the longest clip that the model does not cut.
    """
    checked: list[Utterance] = []
    faults: list[str] = []
    kinds = ("long clips", "short clips", "silent clips", "clipped clips", "lengths that differ")
    warnings: dict[str, list[str]] = {kind: [] for kind in kinds}
    rates = Counter[int]()
    num_spoken = sum(utterance.audio is not None for utterance in utterances)
    with progress_bar(disable=not num_spoken) as progress:
        task = progress.add_task("listening", total=num_spoken)
        for utterance in utterances:
            if utterance.audio is None:
                checked.append(utterance)
                continue
            progress.advance(task)
            try:
                header = audio_header(utterance.audio, utterance.where)
                level = audio_level(utterance.audio, utterance.where)
            except UserError as error:
                faults.append(error.what)
                checked.append(replace(utterance, audio=None, seconds=None))
                continue
            checked.append(replace(utterance, seconds=header.seconds))
            rates[header.sampling_rate] += 1
            for kind, line in _oddities(utterance, header, level, window_seconds):
                warnings[kind].append(f"{utterance.where}: {line}")
    return Recordings(checked, faults, warnings, rates)


def _oddities(
    utterance: Utterance, header: AudioHeader, level: AudioLevel, window_seconds: float
) -> Iterator[tuple[str, str]]:
    stated = utterance.seconds
    if header.seconds > window_seconds:
        yield "long clips", f"{header.seconds:.2f} s, longer than the window of {window_seconds:g} s"
    if header.seconds < MIN_SECONDS:
        yield "short clips", f"{header.seconds:.3f} s, shorter than {MIN_SECONDS:g} s; silence is added"
    if level.loudest_db < SILENT_DB and utterance.frame.intent != "no_speech":
        yield "silent clips", f"silent: its loudest part is at {level.loudest_db:.0f} dB"
    if level.share_at_full_scale > CLIPPED_SHARE:
        yield "clipped clips", f"clipped: {level.share_at_full_scale:.1%} of its samples are at full scale"
    if stated is not None and abs(stated - header.seconds) > _SECONDS_TOLERANCE:
        yield "lengths that differ", f"{header.seconds:.2f} s long, but the manifest says {stated:.2f} s"
