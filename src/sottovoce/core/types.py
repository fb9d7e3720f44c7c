"""The record types that the whole project uses."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass, field
from pathlib import Path
from typing import Literal, get_args

Split = Literal["train", "dev", "test"]
Modality = Literal["text", "speech"]
MODALITIES: tuple[Modality, ...] = ("speech", "text")
Rejection = Literal["no_speech", "out_of_scope"]
REJECTIONS: tuple[Rejection, ...] = get_args(Rejection)
ParseStatus = Literal["ok", "unknown_label", Rejection, "unreadable"]
RowStatus = Literal[ParseStatus, "abstained", "unreadable_input"]  # of prediction files
ANSWERED = ("ok", "unknown_label", *REJECTIONS)  # the statuses of answers that count; unknown labels count as wrong

SPLITS: tuple[Split, ...] = ("train", "dev", "test")


@dataclass(frozen=True, slots=True)
class Entity:
    """A filled slot: its type and the words of the transcript that fill it."""

    type: str
    filler: str


@dataclass(frozen=True, slots=True)
class Frame:
    """What an utterance means: scenario, action and entities; the intent is scenario and action together.

    Where there is no intent, the scenario is one of REJECTIONS and the action empty: ``no_speech``, nobody said
    anything; ``out_of_scope``, what was said is none of the product's business.
    """

    scenario: str
    action: str
    entities: tuple[Entity, ...] = ()

    @property
    def intent(self) -> str:
        return self.scenario if self.is_rejection else f"{self.scenario}_{self.action}"

    @property
    def is_rejection(self) -> bool:
        """Whether it says that there is no intent."""
        return self.scenario in REJECTIONS and not self.action


@dataclass(frozen=True, slots=True)
class Labels:
    """The known intents (scenario and action) and slot types: those of the training utterances, sorted."""

    intents: tuple[tuple[str, str], ...]
    slots: tuple[str, ...]

    @classmethod
    def of(cls, frames: Iterable[Frame]) -> Labels:
        """All that occur in frames."""
        intents, slots = set[tuple[str, str]](), set[str]()
        for frame in frames:
            intents.add((frame.scenario, frame.action))
            slots.update(entity.type for entity in frame.entities)
        return cls(tuple(sorted(intents)), tuple(sorted(slots)))

    def cover(self, frame: Frame) -> bool:
        """Whether a frame names no others; an entity without a type names none."""
        known = (frame.scenario, frame.action) in self.intents
        return known and all(entity.type in self.slots for entity in frame.entities if entity.type)


@dataclass(frozen=True, slots=True)
class Utterance:
    """One labelled utterance of a manifest; ``audio`` is None where only text exists, and ``transcript`` is "" where
    only a recording exists.

    ``seconds`` is the recording's length, ``where`` the ``file:line`` that the row was read from.
    """

    id: str
    locale: str
    transcript: str
    frame: Frame
    split: Split
    audio: Path | None = None
    speaker: str | None = None
    seconds: float | None = None
    where: str = field(default="", compare=False)


@dataclass(frozen=True, slots=True)
class Example:
    """What the model is shown: an utterance's transcript or its recording in the same prompt, and the answer.

    ``copy`` 0 is the original recording, every other number a perturbed copy of it.
    """

    utterance: Utterance
    modality: Modality
    instruction: str
    answer: str
    copy: int = 0


@dataclass(frozen=True, slots=True)
class Prediction:
    """A model's answer to one utterance: the raw text, whether it could be parsed, and the frame if so.

    ``no_speech`` and ``out_of_scope``: the frame is that rejection.
    ``unknown_label``: the frame names an intent or a slot type that is not among the known ones.
    """

    id: str
    raw: str
    status: ParseStatus
    frame: Frame | None
