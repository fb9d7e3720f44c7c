"""Requests and responses of label mode."""

from __future__ import annotations

from typing import Annotated, Literal

from pydantic import BaseModel, Field

from sottovoce import __version__
from sottovoce.collect.collection import Collection, Progress
from sottovoce.collect.take_check import TakeCheck
from sottovoce.collect.takes import Take
from sottovoce.plan.recording_order import ToRecord
from sottovoce.serve.schemas import Slot


class LabelAbout(BaseModel):
    """What the page needs to know; ``collection`` is a unique name."""

    mode: Literal["label"] = "label"
    title: str
    collection: str
    version: str = __version__
    model: str = ""
    intents: list[str]
    slots: list[str]
    max_seconds: float
    window_seconds: float
    max_bytes: int
    transcripts: bool = False
    abstain_below: float = 0.0


class Wanted(BaseModel):
    """An utterance to read aloud, and why this one."""

    id: str
    transcript: str
    intent: str
    entities: list[Slot]
    reason: str


class Coverage(BaseModel):
    """How many of the wanted utterances of an intent are recorded."""

    intent: str
    num_recorded: int
    num_wanted: int


class Next(BaseModel):
    """What to read aloud now, and the progress so far."""

    num_wanted: int
    num_recorded: int
    num_skipped: int
    seconds_recorded: float
    speaker: str
    utterance: Wanted | None
    coverage: list[Coverage]


class Kept(BaseModel):
    """A recording that was kept; ``peak_share`` is its largest sample, 1 at full scale."""

    id: str
    seconds: float
    loudest_db: float
    peak_share: float
    notes: list[str]


class Recorded(BaseModel):
    """A recording."""

    id: str
    transcript: str
    intent: str
    seconds: float
    loudest_db: float


class Recordings(BaseModel):
    """The recordings so far, the newest first."""

    recordings: list[Recorded]


class Speaker(BaseModel):
    """Who speaks from now on."""

    speaker: Annotated[str, Field(max_length=100)]


def about_body(collection: Collection, title: str, max_bytes: int) -> LabelAbout:
    """What a collection is about."""
    frames = [utterance.frame for utterance in collection.utterances]
    return LabelAbout(
        title=title,
        collection=collection.name,
        intents=sorted({frame.intent for frame in frames}),
        slots=sorted({entity.type for frame in frames for entity in frame.entities}),
        max_seconds=collection.window_seconds,
        window_seconds=collection.window_seconds,
        max_bytes=max_bytes,
    )


def next_body(progress: Progress) -> Next:
    """The progress of a collection."""
    coverage = [
        Coverage(intent=name, num_recorded=has, num_wanted=all_) for name, (has, all_) in progress.coverage.items()
    ]
    return Next(
        num_wanted=progress.num_wanted,
        num_recorded=progress.num_recorded,
        num_skipped=progress.num_skipped,
        seconds_recorded=progress.seconds_recorded,
        speaker=progress.speaker,
        utterance=None if progress.next is None else _wanted(progress.next),
        coverage=coverage,
    )


def kept_body(take: Take, check: TakeCheck) -> Kept:
    """A take that was kept."""
    notes = [f"{note.what}; {note.advice}" for note in check.notes]
    return Kept(id=take.id, seconds=take.seconds, loudest_db=take.loudest_db, peak_share=check.peak_share, notes=notes)


def recorded_body(collection: Collection) -> Recordings:
    """The takes of a collection."""
    return Recordings(
        recordings=[
            Recorded(
                id=take.id,
                transcript=utterance.transcript,
                intent=utterance.frame.intent,
                seconds=take.seconds,
                loudest_db=take.loudest_db,
            )
            for take, utterance in collection.recorded()
        ]
    )


def _wanted(listed: ToRecord) -> Wanted:
    utterance = listed.utterance
    slots = [Slot(type=entity.type, filler=entity.filler) for entity in utterance.frame.entities]
    return Wanted(
        id=utterance.id,
        transcript=utterance.transcript,
        intent=utterance.frame.intent,
        entities=slots,
        reason=listed.reason,
    )
