"""The folder of collected recordings. It loses nothing that it accepted, even if the process or the machine dies.

::

    OUT/manifest.jsonl      all utterances of the source, with their recordings; rebuilt from the files below
    OUT/audio/ID.wav        takes, 16 kHz mono 16-bit
    OUT/audio/source/       the source's own recordings, linked or copied
    OUT/label.jsonl         a line for each event: recorded, deleted, skipped, who speaks
    OUT/set-aside/          earlier and deleted takes, incomplete files, and files that the source no longer names

A take is on disk under its name before its line is written, and its line before the client gets a response. What a
crash left between two of these steps is repaired when the folder is opened.
"""

from __future__ import annotations

import uuid
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import asdict, dataclass, replace
from functools import partial
from pathlib import Path
from typing import Any

import soundfile
from pydantic import TypeAdapter, ValidationError

from sottovoce.collect.source_recordings import bring_recordings, link_or_copy
from sottovoce.collect.take_names import take_names
from sottovoce.core.downloads import sha256_of
from sottovoce.core.errors import UserError, first_fault
from sottovoce.core.progress import Say
from sottovoce.core.storage import alone_in, append_row, damaged, durable_file, flush, json_lines, whole_rows
from sottovoce.core.types import Utterance
from sottovoce.data.audio import SAMPLING_RATE, Samples, audio_header, audio_level
from sottovoce.data.manifest import read_manifest, row_of

MANIFEST, AUDIO, JOURNAL, SET_ASIDE = "manifest.jsonl", "audio", "label.jsonl", "set-aside"
SOURCE = "audio/source"  # no take can be there, since their names have no slash
LOWEST_DB = -120.0  # for digital silence, since JSON has no infinity


@dataclass(frozen=True, slots=True)
class Take:
    """A recording that was kept; ``loudest_db`` as in :class:`AudioLevel`, ``file`` its name in ``audio``."""

    id: str
    speaker: str
    seconds: float
    loudest_db: float
    file: str
    sha256: str


_TAKE = TypeAdapter(Take)


class TakeFolder:
    """An open folder; :func:`open_takes` opens one.

    ``takes`` by id, earliest first; ``skipped`` ids without a take; ``speaker`` of the next takes; ``name`` is random
    and stays with the folder.
    """

    def __init__(self, folder: Path, utterances: Sequence[Utterance]) -> None:
        self.folder = folder
        self.utterances = {utterance.id: utterance for utterance in utterances}
        self.takes: dict[str, Take] = {}
        self.skipped: set[str] = set()
        self.speaker = ""
        self.name = ""
        self._names = take_names(self.utterances)
        self._lines: dict[str, str] = {}
        self._is_stale = False  # the manifest, after an error

    def path_of(self, identity: str) -> Path:
        """The path of an utterance's take, existing or not."""
        # Names depend on the other ids of the source, which may change; a take keeps its name.
        take = self.takes.get(identity)
        return self.folder / AUDIO / (take.file if take else f"{self._names[identity]}.wav")

    def keep(self, identity: str, samples: Samples, loudest_db: float) -> Take:
        """Writes a take to disk; an earlier one of the utterance is set aside.

        The same recording again, as after a lost response or an error, is the same take; missing steps are redone.

        Args:
            identity: of one of the utterances.
            samples: at 16 kHz, shape (num_samples,).

        Raises:
            OSError: it could not be written; either nothing has changed, or the next try or opening completes it.
        """
        path = self.path_of(identity)
        with durable_file(path) as temporary:
            soundfile.write(temporary, samples, SAMPLING_RATE, subtype="PCM_16", format="WAV")
            sha256 = sha256_of(temporary)
            if path.exists() and sha256_of(path) != sha256:  # linked first, so that the file always has a name
                self._aside(path, link_or_copy)
        known = self.takes.get(identity)
        if known is None or known.sha256 != sha256:
            seconds = len(samples) / SAMPLING_RATE
            self._note("recorded", **asdict(Take(identity, self.speaker, seconds, loudest_db, path.name, sha256)))
        self._write_manifest(identity)
        return self.takes[identity]

    def discard(self, identity: str) -> None:
        """Sets an utterance's take aside. Raises KeyError if it has none."""
        path = self.path_of(self.takes[identity].id)
        if path.exists():  # else an earlier try already moved it
            self._aside(path, Path.rename)
        self._note("deleted", id=identity)
        self._write_manifest(identity)

    def finish(self) -> None:
        """Writes the manifest if an error prevented that before."""
        if self._is_stale:
            self._write_manifest()

    def skip(self, identity: str) -> None:
        """Records that an utterance must not be asked for again."""
        self._note("skipped", id=identity)

    def name_speaker(self, speaker: str) -> None:
        """Records who speaks from now on."""
        if speaker != self.speaker:
            self._note("speaker", speaker=speaker)

    def _note(self, event: str, **values: Any) -> None:
        row = {"event": event, **values}
        append_row(self.folder / JOURNAL, row)
        self._replay(row)

    def _replay(self, row: dict[str, Any]) -> None:
        match row:
            case {"event": "opened", "name": str(name)}:
                self.name = name
            case {"event": "recorded", **values}:
                take = _TAKE.validate_python(values)
                self.takes.pop(take.id, None)  # a new recording moves to the end
                self.takes[take.id] = take
                self.skipped.discard(take.id)
            case {"event": "deleted", "id": str(identity)}:
                self.takes.pop(identity, None)
            case {"event": "skipped", "id": str(identity)}:
                self.skipped.add(identity)
            case {"event": "speaker", "speaker": str(speaker)}:
                self.speaker = speaker

    def _with_take(self, utterance: Utterance) -> Utterance:
        take = self.takes.get(utterance.id)
        if take is None:
            return utterance
        speaker = take.speaker or None
        return replace(utterance, audio=self.path_of(take.id), speaker=speaker, seconds=round(take.seconds, 3))

    def _write_manifest(self, changed: str | None = None) -> None:
        """Writes all rows; unchanged ones are kept as text."""
        self._is_stale = True
        for identity in self.utterances if changed is None else (changed,):
            row = row_of(self._with_take(self.utterances[identity]), self.folder)
            self._lines[identity] = json_lines([row])
        with durable_file(self.folder / MANIFEST) as temporary:
            temporary.write_text("".join(self._lines.values()), encoding="utf-8")
        self._is_stale = False

    def _aside(self, path: Path, how: Callable[[Path, Path], Any]) -> Path:
        """Moves or links a file into ``set-aside`` under a free name, and flushes that to disk."""
        number = 1
        while (target := self.folder / SET_ASIDE / f"{path.stem}.{number}{path.suffix}").exists():
            number += 1
        how(path, target)
        flush(target.parent)
        flush(path.parent)
        return target

    def _open(self, say: Say) -> None:
        """Reads the journal, reconciles it with the files, and writes the manifest."""
        journal = self.folder / JOURNAL
        for number, row in enumerate(whole_rows(journal), 1):
            try:
                self._replay(row)
            except ValidationError as error:
                raise damaged(f"{journal}:{number}", first_fault(error)) from error
        for take in list(self.takes.values()):
            if not self.path_of(take.id).exists():
                say(f"{self.path_of(take.id)} is gone: its utterance will be asked for again")
                self._note("deleted", id=take.id)
        reworded = self._reworded()
        self._refuse_other_source(reworded)
        for half in sorted((self.folder / AUDIO).glob(".*.part")):
            say(f"{half.name} is incomplete: moved to {self._aside(half, Path.rename)}")
        for identity, utterance in self.utterances.items():
            if utterance.audio is None or identity in self.takes:
                self._reconcile(identity, identity in reworded, say)
        brought = bring_recordings(
            self.utterances.values(), self._names, self.folder / SOURCE, partial(self._aside, how=Path.rename), say
        )
        for identity, path in brought.items():
            self.utterances[identity] = replace(self.utterances[identity], audio=path)
        self._write_manifest()

    def _reworded(self) -> set[str]:
        """Utterances whose transcript in the folder's manifest differs from the source's."""
        path = self.folder / MANIFEST
        before = read_manifest(path, allow_outside=True) if path.exists() else []
        words = {each.id: each.transcript for each in before}
        return {each.id for each in self.utterances.values() if words.get(each.id, each.transcript) != each.transcript}

    def _refuse_other_source(self, reworded: set[str]) -> None:
        """What was read aloud for a take must still be in the source, word for word."""
        for identity in self.takes:
            if identity not in self.utterances or identity in reworded:
                what = f"{self.path_of(identity)} is a recording of {identity!r}"
                advice = "give the manifest that was recorded, or move that file away to continue without it"
                raise UserError(f"{what}, which is not in the manifest with the same transcript", advice)

    def _reconcile(self, identity: str, is_reworded: bool, say: Say) -> None:
        """Adds a file's missing line; a file that is unreadable, or whose transcript changed, is set aside."""
        path, take = self.path_of(identity), self.takes.get(identity)
        if not path.exists():
            return
        sha256 = sha256_of(path)
        if take is not None and take.sha256 == sha256:
            return
        try:
            if is_reworded:
                raise UserError(f"{path} was never entered in {JOURNAL}, and its transcript has changed")
            seconds, loudest_db = audio_header(path).seconds, max(audio_level(path).loudest_db, LOWEST_DB)
        except UserError as error:
            say(f"{error.what}: moved to {self._aside(path, Path.rename)}")
            if take is not None:
                self._note("deleted", id=identity)
            return
        say(f"{path} was kept but never entered in {JOURNAL}: entered now")
        self._note("recorded", **asdict(Take(identity, self.speaker, seconds, loudest_db, path.name, sha256)))


@contextmanager
def open_takes(folder: Path, source: Path, utterances: Sequence[Utterance], say: Say) -> Iterator[TakeFolder]:
    """Opens a folder, new or from an earlier session, and locks it against other processes.

    Args:
        folder: is made if it does not exist.
        source: the manifest that the utterances were read from, which must be elsewhere.
        utterances: all of the source, of all splits.
        say: takes a line for each repair.

    Raises:
        UserError: another process has it open, it has other files or takes of another source, or a recording of the
            source is missing.
    """
    if source.resolve().parent == folder.resolve():
        raise UserError(f"{folder} is the manifest's own folder", "name a new folder for the recordings")
    journal = folder / JOURNAL
    if not journal.exists() and folder.exists() and any(path.name != ".lock" for path in folder.iterdir()):
        raise UserError(f"{folder} is not empty and not a folder of recordings", "name a new folder")
    with alone_in(folder, "stop it, or name another folder"):
        if not journal.exists():
            append_row(journal, {"event": "opened", "name": uuid.uuid4().hex})
        for name in (AUDIO, SOURCE, SET_ASIDE):
            (folder / name).mkdir(exist_ok=True)
        takes = TakeFolder(folder, utterances)
        takes._open(say)
        yield takes
