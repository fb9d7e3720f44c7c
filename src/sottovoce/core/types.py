"""The record types that the whole project uses."""

from __future__ import annotations

from dataclasses import dataclass, field
from pathlib import Path
from typing import Literal

Split = Literal["train", "dev", "test"]
Modality = Literal["text", "speech"]
MODALITIES: tuple[Modality, ...] = ("speech", "text")
ParseStatus = Literal["ok", "unreadable"]
RowStatus = Literal["ok", "unreadable", "abstained", "unreadable_input", "no_speech"]  # of prediction files

SPLITS: tuple[Split, ...] = ("train", "dev", "test")


@dataclass(frozen=True, slots=True)
class Entity:
    """A filled slot: its type and the words of the transcript that fill it."""

    type: str
    filler: str


@dataclass(frozen=True, slots=True)
class Frame:
    """What an utterance means: scenario, action and entities; the intent is scenario and action together."""

    scenario: str
    action: str
    entities: tuple[Entity, ...] = ()

    @property
    def intent(self) -> str:
        return f"{self.scenario}_{self.action}"


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
    """A model's answer to one utterance: the raw text, whether it could be parsed, and the frame if so."""

    id: str
    raw: str
    status: ParseStatus
    frame: Frame | None
