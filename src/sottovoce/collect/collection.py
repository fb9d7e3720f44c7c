"""What has been recorded and what still has to be: the list of utterances and the folder of takes."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from threading import Lock

from sottovoce.collect.take_check import Finding, TakeCheck, check_take
from sottovoce.collect.takes import LOWEST_DB, Take, TakeFolder, open_takes
from sottovoce.core.errors import UserError
from sottovoce.core.progress import Say
from sottovoce.core.types import Split, Utterance
from sottovoce.data.audio import audio_level, load_audio
from sottovoce.data.budget import count_of_share
from sottovoce.data.manifest import read_manifest
from sottovoce.plan.recording_order import ToRecord, to_record

DEFAULT_SHARE = 0.05
SLACK_SECONDS = 4.0  # a take that exceeds the window by no more than this is still read, to report its length


class NoSuchUtteranceError(Exception):
    """An id that is not to be recorded, or has no recording."""


class RefusedTakeError(Exception):
    """A recording that was refused, and why."""

    def __init__(self, finding: Finding) -> None:
        self.finding = finding
        super().__init__(finding.what)


@dataclass(frozen=True, slots=True)
class Progress:
    """The progress of a collection; ``next`` is what to read aloud now, None if nothing is left.

    ``num_recorded`` counts this folder's takes of the split being recorded, ``seconds_recorded`` is their length;
    ``num_skipped`` is for that split too; ``coverage`` has for each intent how many are recorded and wanted.
    """

    num_wanted: int
    num_recorded: int
    num_skipped: int
    seconds_recorded: float
    speaker: str
    next: ToRecord | None
    coverage: dict[str, tuple[int, int]]


class Collection:
    """Utterances to record and their takes; its methods may be called from several threads.

    Args:
        takes: the open folder.
        listed: what may be recorded, most useful first.
        num_wanted: how many of these should have takes in the end; later ones make up for skipped ones.
        window_seconds: the longest take that is accepted.
    """

    def __init__(self, takes: TakeFolder, listed: Sequence[ToRecord], num_wanted: int, window_seconds: float) -> None:
        self.window_seconds = window_seconds
        self._takes, self._num_wanted = takes, num_wanted
        self._listed = {each.utterance.id: each for each in listed}
        self._places = {identity: place for place, identity in enumerate(self._listed)}
        self._lock = Lock()

    @property
    def name(self) -> str:
        """A unique name, even among folders of the same name."""
        return self._takes.name

    @property
    def utterances(self) -> Sequence[Utterance]:
        """All utterances of the source."""
        return list(self._takes.utterances.values())

    def progress(self, after: str | None = None) -> Progress:
        """The progress, and what is next: after the utterance ``after`` in the list, wrapping around at its end.

        Raises:
            NoSuchUtteranceError: ``after`` is not in the list.
        """
        if after is not None and after not in self._places:
            raise NoSuchUtteranceError
        with self._lock:
            takes, left = self._done(), self._left()
            intents = Counter(self._listed[take.id].utterance.frame.intent for take in takes)
            wanted = intents + Counter(each.utterance.frame.intent for each in left)
            place = -1 if after is None else self._places[after]
            others = [each for each in left if each.utterance.id != after]
            behind = (each for each in others if self._places[each.utterance.id] > place)
            return Progress(
                num_wanted=len(takes) + len(left),
                num_recorded=len(takes),
                num_skipped=len(self._takes.skipped & self._listed.keys()),
                seconds_recorded=sum(take.seconds for take in takes),
                speaker=self._takes.speaker,
                next=next(behind, None) or next(iter(others or left), None),
                coverage={intent: (intents[intent], wanted[intent]) for intent in sorted(wanted)},
            )

    def record(self, identity: str, content: bytes) -> tuple[Take, TakeCheck]:
        """Checks a recording and keeps it; it is on disk when this returns.

        Args:
            identity: of an utterance that may be recorded, or was.
            content: of a file that soundfile reads.

        Raises:
            NoSuchUtteranceError: the id is unknown, of another split, or recorded in the source.
            RefusedTakeError: it is unfit for training; nothing is kept.
            UserError: it is not audio.
        """
        utterance = self._utterance(identity)
        samples = load_audio(content, max_seconds=self.window_seconds + SLACK_SECONDS)
        level = audio_level(content)
        check = check_take(samples, level, utterance.transcript, self.window_seconds)
        if check.refusals:
            raise RefusedTakeError(check.refusals[0])
        with self._lock:
            return self._takes.keep(identity, samples, max(level.loudest_db, LOWEST_DB)), check

    def skip(self, identity: str) -> None:
        """Stops asking for an utterance without a take. Raises NoSuchUtteranceError as `record`."""
        self._utterance(identity)
        with self._lock:
            if identity not in self._takes.takes.keys() | self._takes.skipped:
                self._takes.skip(identity)

    def discard(self, identity: str) -> None:
        """Sets a take aside; its utterance is wanted again. Raises NoSuchUtteranceError if there is none."""
        with self._lock:
            self._takes.finish()  # in case an earlier try failed
            self._takes.discard(self._take(identity).id)

    def name_speaker(self, speaker: str) -> None:
        """Who speaks from now on."""
        with self._lock:
            self._takes.name_speaker(speaker)

    def recorded(self) -> list[tuple[Take, Utterance]]:
        """The takes and their utterances, newest first."""
        with self._lock:
            return [(take, self._takes.utterances[take.id]) for take in reversed(self._takes.takes.values())]

    def path_of(self, identity: str) -> Path:
        """The path of a take. Raises NoSuchUtteranceError if there is none."""
        with self._lock:
            return self._takes.path_of(self._take(identity).id)

    def _done(self) -> list[Take]:
        """The takes of listed utterances: those of another split do not count towards the target."""
        return [take for take in self._takes.takes.values() if take.id in self._listed]

    def _left(self) -> list[ToRecord]:
        """What is wanted and not yet recorded, in the order of the list."""
        done = self._takes.takes.keys() | self._takes.skipped
        left = [each for identity, each in self._listed.items() if identity not in done]
        return left[: max(0, self._num_wanted - len(self._done()))]

    def _utterance(self, identity: str) -> Utterance:
        if identity not in self._listed and identity not in self._takes.takes:
            raise NoSuchUtteranceError
        return self._takes.utterances[identity]

    def _take(self, identity: str) -> Take:
        if identity not in self._takes.takes:
            raise NoSuchUtteranceError
        return self._takes.takes[identity]


@contextmanager
def open_collection(
    manifest: Path,
    folder: Path,
    say: Say,
    *,
    split: Split = "train",
    study: Path | None = None,
    share: float | None = None,
    num_utterances: int | None = None,
    window_seconds: float = 12.0,
    allow_outside: bool = False,
) -> Iterator[Collection]:
    """Opens a folder to collect recordings of a manifest's utterances.

    Args:
        manifest: the source.
        folder: where recordings and the new manifest go (:mod:`sottovoce.collect.takes`).
        say: takes a line for each repair.
        split: whose utterances are recorded.
        study: a study's folder, whose results give the expected gain of each intent.
        share: how many takes to make, 0..1 of the split; 0.05 if neither this nor ``num_utterances`` is given.
        window_seconds: the longest take that is accepted.
        allow_outside: permit recordings of the source outside its folder.

    Raises:
        UserError: the manifest or the study cannot be read, everything is recorded, a size is out of range, or as
            `open_takes`.
    """
    if share is not None and num_utterances is not None:
        raise UserError("both a share and a number of utterances are given", "give only one")
    utterances = read_manifest(manifest, allow_outside)
    of_split = [utterance for utterance in utterances if utterance.split == split]
    if not of_split:
        raise UserError(f"{manifest}: the split {split} is empty", "choose another split")
    listed = to_record(of_split, _gains(study, of_split))
    if not listed:
        raise UserError(f"{manifest}: every utterance of {split} has a recording", "choose another split")
    if num_utterances is None:
        num_utterances = count_of_share(len(of_split), DEFAULT_SHARE if share is None else share)
    if num_utterances < 1:
        raise UserError(f"{num_utterances} recordings are wanted", "ask for one or more")
    with open_takes(folder, manifest, utterances, say) as takes:
        yield Collection(takes, listed, num_utterances, window_seconds)


def _gains(study: Path | None, utterances: Sequence[Utterance]) -> dict[str, float] | None:
    if study is None:
        return None
    from sottovoce.plan.planner import gains_by_intent  # takes a second to import

    gains = gains_by_intent(study)
    if not gains.keys() & {utterance.frame.intent for utterance in utterances}:
        raise UserError(f"{study} is a study of other intents", "name a study of this manifest")
    return gains
