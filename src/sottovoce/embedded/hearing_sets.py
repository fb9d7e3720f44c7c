"""The embedded model's recognition accuracy on four sets of recordings that played no part in making it."""

from __future__ import annotations

import tempfile
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from rich.table import Table

from sottovoce.core.progress import Say
from sottovoce.core.types import Utterance
from sottovoce.data.corpora import massive, picovoice
from sottovoce.data.corpora.home import home_manifest
from sottovoce.data.manifest import read_manifest
from sottovoce.embedded.transcripts import heard_rates

FRENCH_VOICE = "kokoro:ff_siwis"  # the only voice made for French


@dataclass(frozen=True)
class HearingSet:
    """A set of recordings and the figure to judge it by.

    Args:
        title: its content, for display.
        figure: a key of :func:`heard_rates`.
        source: its path in the data folder, "" if it ships with the package.
        utterances: reads the source, and may write to a work folder; all utterances have a recording.
    """

    title: str
    figure: str
    source: str
    utterances: Callable[[Path, Path], list[Utterance]]


def _home(source: Path, work: Path) -> list[Utterance]:
    return _spoken(home_manifest("en-US"), "test")


def _massive(source: Path, work: Path) -> list[Utterance]:
    return _spoken(massive.prepare(source, work, speech=source.parent.parent / "speech"), "test")


def _barista(source: Path, work: Path) -> list[Utterance]:
    return _spoken(picovoice.prepare(source, work), "dev")


def _french(source: Path, work: Path) -> list[Utterance]:
    return [u for u in _spoken(home_manifest("fr-FR"), "test") if u.speaker == FRENCH_VOICE]


def _spoken(manifest: Path, split: str) -> list[Utterance]:
    return [u for u in read_manifest(manifest, allow_outside=True) if u.split == split and u.audio is not None]


HEARING_SETS = {
    "home-en": HearingSet("home, English test, six test voices", "word_error_rate", "", _home),
    "massive-en": HearingSet("MASSIVE en-US test, six test voices", "word_error_rate", "massive/en-US.jsonl", _massive),
    "barista-fillers": HearingSet("Picovoice barista, real people", "fillers_found", "barista", _barista),
    "french": HearingSet("home, French test, one French voice", "word_error_rate", "", _french),
}


def hearing_rates(data: Path, say: Say) -> Iterator[tuple[str, dict[str, Any]]]:
    """The result of :func:`heard_rates` for each set, by name; a set without data is skipped, with a message.

    Args:
        data: the folder with ``massive/en-US.jsonl``, ``speech`` and ``barista``.
    """
    for name, each in HEARING_SETS.items():
        source = data / each.source
        if not source.exists():
            say(f"{name} is skipped: there is no {source}; give the folder that has {each.source} with --data")
            continue
        with tempfile.TemporaryDirectory() as work:
            yield name, heard_rates(each.utterances(source, Path(work)), say)


def hearing_table(rates: dict[str, dict[str, Any]]) -> Table:
    """A row for each set."""
    table = Table("set", "recordings", "number", "word errors", "fillers heard word for word")
    for name, found in rates.items():
        errors, fillers = found["word_error_rate"], found["fillers_found"]
        # This corpus has no transcripts, only fillers, so there is no word error rate.
        shown = "–" if HEARING_SETS[name].figure == "fillers_found" else f"{errors:.1%}"
        heard = "–" if fillers is None else f"{fillers:.1%}"
        table.add_row(name, HEARING_SETS[name].title, str(found["num_utterances"]), shown, heard)
    return table
