"""How well the embedded model hears, on four sets of recordings that nothing of it was made from."""

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

FRENCH_VOICE = "kokoro:ff_siwis"  # the one French voice; the others are of other languages


@dataclass(frozen=True)
class HearingSet:
    """A set of recordings and the figure that it is heard by.

    Args:
        title: what it holds, for people.
        figure: of :func:`heard_rates`.
        source: where it lies in the folder of data, "" for what comes with the package.
        utterances: all with a recording, read from the source, with a folder to write to.
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
    """What :func:`heard_rates` says of each set, by its name; a set whose data are absent is left out, with a line.

    Args:
        data: the folder with ``massive/en-US.jsonl``, ``speech`` and ``barista``.
    """
    for name, each in HEARING_SETS.items():
        source = data / each.source
        if not source.exists():
            say(f"{name} is left out: there is no {source}; name the folder that holds {each.source} with --data")
            continue
        with tempfile.TemporaryDirectory() as work:
            yield name, heard_rates(each.utterances(source, Path(work)), say)


def hearing_table(rates: dict[str, dict[str, Any]]) -> Table:
    """A row for each set."""
    table = Table("set", "recordings", "number", "word errors", "fillers heard word for word")
    for name, found in rates.items():
        errors, fillers = found["word_error_rate"], found["fillers_found"]
        # Without transcripts no word error rate: the corpus lists the fillers in place of what was said.
        shown = "–" if HEARING_SETS[name].figure == "fillers_found" else f"{errors:.1%}"
        heard = "–" if fillers is None else f"{fillers:.1%}"
        table.add_row(name, HEARING_SETS[name].title, str(found["num_utterances"]), shown, heard)
    return table
