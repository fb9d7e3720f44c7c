"""The folder that recordings are collected in. What it has taken it keeps, whenever the process or the machine dies.

::

    OUT/manifest.jsonl      all utterances of the source, those with a recording with it; made anew from what follows
    OUT/audio/ID.wav        takes, 16 kHz mono 16-bit; beside them the source's own recordings, linked or copied
    OUT/label.jsonl         what was done, a line each: recorded, deleted, skipped, who speaks
    OUT/set-aside/          earlier and deleted takes, and files that are not whole

A take is on the disk under its name before its line is, and its line before anybody is told. What a crash left between
two of these steps is put right when the folder is opened.
"""

from __future__ import annotations

import filecmp
import os
import shutil
import uuid
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import asdict, dataclass, replace
from pathlib import Path
from typing import Any

import soundfile

from sottovoce.data.audio import SAMPLING_RATE, Samples, audio_header, audio_level
from sottovoce.data.manifest import read_manifest, row_of
from sottovoce.errors import UserError
from sottovoce.progress import progress_bar
from sottovoce.serve.take_names import take_names
from sottovoce.storage import alone_in, append_row, durable_file, json_lines, whole_rows
from sottovoce.types import Utterance

MANIFEST, AUDIO, JOURNAL, SET_ASIDE = "manifest.jsonl", "audio", "label.jsonl", "set-aside"
LOWEST_DB = -120.0  # stands for digital silence, which JSON has no number for
Say = Callable[[str], None]


@dataclass(frozen=True, slots=True)
class Take:
    """A recording that was kept; ``loudest_db`` as in :class:`AudioLevel`."""

    id: str
    speaker: str
    seconds: float
    loudest_db: float


class TakeFolder:
    """An open folder; :func:`open_takes` opens one.

    ``takes`` by id, the earliest first; ``skipped`` ids without a take; ``speaker`` of the takes to come;
    ``name`` is a random one that the folder keeps.
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

    def path_of(self, identity: str) -> Path:
        """Where the take of an utterance lies, or would."""
        return self.folder / AUDIO / f"{self._names[identity]}.wav"

    def keep(self, identity: str, samples: Samples, loudest_db: float) -> Take:
        """Writes a take; when it returns the disk has it. An earlier one of the utterance is set aside.

        The same recording once more, as it comes where an answer was lost on its way, is the same take.

        Args:
            identity: of one of the utterances.
            samples: at 16 kHz, shape (num_samples,).

        Raises:
            OSError: it could not be written; nothing is changed then, or the next opening finds it.
        """
        path = self.path_of(identity)
        with durable_file(path) as temporary:
            soundfile.write(temporary, samples, SAMPLING_RATE, subtype="PCM_16", format="WAV")
            known = self.takes.get(identity)
            if known and path.exists() and filecmp.cmp(temporary, path, shallow=False):
                return known
            if path.exists():  # under two names for a moment, so that it has one at any time
                self._aside(path, _link_or_copy)
        take = Take(identity, self.speaker, len(samples) / SAMPLING_RATE, loudest_db)
        self._note("recorded", **asdict(take))
        self._write_manifest(identity)
        return take

    def discard(self, identity: str) -> None:
        """Sets an utterance's take aside; the utterance is without one again. KeyError if it has none."""
        self._aside(self.path_of(self.takes[identity].id), Path.rename)
        self._note("deleted", id=identity)
        self._write_manifest(identity)

    def skip(self, identity: str) -> None:
        """Remembers that an utterance is not to be asked for again."""
        self._note("skipped", id=identity)

    def name_speaker(self, speaker: str) -> None:
        """Remembers who speaks from now on."""
        if speaker != self.speaker:
            self._note("speaker", speaker=speaker)

    def _note(self, event: str, **values: Any) -> None:
        row = {"event": event, **values}
        append_row(self.folder / JOURNAL, row)
        self._replay(row)

    def _replay(self, row: dict[str, Any]) -> None:
        match row:
            case {"event": "opened", "name": name}:
                self.name = name
            case {"event": "recorded", **values}:
                take = Take(**values)
                self.takes.pop(take.id, None)  # what is recorded anew is the latest
                self.takes[take.id] = take
                self.skipped.discard(take.id)
            case {"event": "deleted", "id": identity}:
                self.takes.pop(identity, None)
            case {"event": "skipped", "id": identity}:
                self.skipped.add(identity)
            case {"event": "speaker", "speaker": speaker}:
                self.speaker = speaker

    def _with_take(self, utterance: Utterance) -> Utterance:
        take = self.takes.get(utterance.id)
        if take is None:
            return utterance
        speaker = take.speaker or None
        return replace(utterance, audio=self.path_of(take.id), speaker=speaker, seconds=round(take.seconds, 3))

    def _write_manifest(self, changed: str | None = None) -> None:
        """Writes all rows; those of which nothing changed are kept as text."""
        for identity in self.utterances if changed is None else (changed,):
            row = row_of(self._with_take(self.utterances[identity]), self.folder)
            self._lines[identity] = json_lines([row])
        with durable_file(self.folder / MANIFEST) as temporary:
            temporary.write_text("".join(self._lines.values()), encoding="utf-8")

    def _aside(self, path: Path, how: Callable[[Path, Path], Any]) -> Path:
        """Brings a file into ``set-aside`` under a name that nothing has there."""
        number = 1
        while (target := self.folder / SET_ASIDE / f"{path.stem}.{number}{path.suffix}").exists():
            number += 1
        how(path, target)
        return target

    def _open(self, say: Say) -> None:
        """Reads what was done, brings files and lines together, and writes the manifest."""
        for row in whole_rows(self.folder / JOURNAL):
            self._replay(row)
        self._refuse_other_source()
        for half in sorted((self.folder / AUDIO).glob(".*.part")):
            say(f"{half.name} is not whole: it lies in {self._aside(half, Path.rename)}")
        for identity, utterance in self.utterances.items():
            if utterance.audio is None or identity in self.takes:
                self._reconcile(identity, say)
        self._bring_source_recordings(say)
        self._write_manifest()

    def _refuse_other_source(self) -> None:
        """A take belongs to what was read aloud: it must be in the source still, word by word."""
        path = self.folder / MANIFEST
        said = {each.id: each.transcript for each in read_manifest(path, allow_outside=True)} if path.exists() else {}
        for identity in self.takes:
            now = self.utterances.get(identity)
            if now is None or said.get(identity, now.transcript) != now.transcript:
                fault = f"{self.folder} holds a recording of {identity!r}, which is not in the manifest in these words"
                raise UserError(fault, "give the manifest that was recorded, or another folder")

    def _reconcile(self, identity: str, say: Say) -> None:
        path, take = self.path_of(identity), self.takes.get(identity)
        if not path.exists():
            if take is not None:
                say(f"{path} is gone: its utterance is wanted again")
                self._note("deleted", id=identity)
            return
        try:
            seconds = audio_header(path).seconds
        except UserError as error:
            say(f"{error.what}: it lies in {self._aside(path, Path.rename)}")
            if take is not None:
                self._note("deleted", id=identity)
            return
        if take is None or seconds != take.seconds:
            say(f"{path} was kept, but not noted before the end: noted now")
            loudest_db = max(audio_level(path).loudest_db, LOWEST_DB)
            self._note("recorded", **asdict(Take(identity, self.speaker, seconds, loudest_db)))

    def _bring_source_recordings(self, say: Say) -> None:
        """Links the source's recordings into the folder, which a manifest may not lead out of; or copies them."""
        spoken = [each for each in self.utterances.values() if each.audio is not None and each.id not in self.takes]
        num_copied = 0
        with progress_bar(disable=not spoken) as progress:
            for utterance in progress.track(spoken, description="linking recordings"):
                source = (utterance.audio or Path()).resolve()
                if not source.is_file():
                    fault = f"{utterance.where}: no such recording: {utterance.audio}"
                    raise UserError(fault, "correct the path in the manifest, or add the file")
                target = self.folder / AUDIO / f"{self._names[utterance.id]}{source.suffix}"
                if target.exists() and not _same(source, target):
                    self._aside(target, Path.rename)
                if not target.exists():
                    num_copied += not _link_or_copy(source, target)
                self.utterances[utterance.id] = replace(utterance, audio=target)
        if spoken:
            how = f"linked, {num_copied} of them copied" if num_copied else "linked"
            say(f"{len(spoken)} recordings of the source are in {self.folder / AUDIO}, {how}")


@contextmanager
def open_takes(folder: Path, source: Path, utterances: Sequence[Utterance], say: Say) -> Iterator[TakeFolder]:
    """Opens a folder, a new one or one of an earlier session, and keeps other processes out of it meanwhile.

    Args:
        folder: is made if it is not there.
        source: the manifest that the utterances were read from, which must lie elsewhere.
        utterances: all of the source, of all splits.
        say: is told what was put right.

    Raises:
        UserError: another process has it open, it holds other things, or takes of another source; a recording of the
            source is missing.
    """
    if source.resolve().parent == folder.resolve():
        raise UserError(f"{folder} is the manifest's own folder", "name another, new one for the recordings")
    journal = folder / JOURNAL
    if not journal.exists() and folder.exists() and any(path.name != ".lock" for path in folder.iterdir()):
        raise UserError(f"{folder} is not empty, and no folder of recordings", "name a new folder")
    with alone_in(folder, "stop it, or name another folder"):
        if not journal.exists():
            append_row(journal, {"event": "opened", "name": uuid.uuid4().hex})
        for name in (AUDIO, SET_ASIDE):
            (folder / name).mkdir(exist_ok=True)
        takes = TakeFolder(folder, utterances)
        takes._open(say)
        yield takes


def _same(source: Path, target: Path) -> bool:
    """Whether a file is the other one or a copy of it."""
    one, other = source.stat(), target.stat()
    return os.path.samestat(one, other) or (one.st_size, one.st_mtime_ns) == (other.st_size, other.st_mtime_ns)


def _link_or_copy(source: Path, target: Path) -> bool:
    """Gives a file a second name, or where the file system has none a whole copy; True if it is a second name."""
    try:
        os.link(source, target)
    except OSError:  # another file system, or one without links
        with durable_file(target) as temporary:
            shutil.copy2(source, temporary)
        return False
    return True
