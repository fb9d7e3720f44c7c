"""A trained run's answer to one utterance, and the interface of a model that gives it."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any, Literal, Protocol

from sottovoce.core.types import Frame, ParseStatus
from sottovoce.data.audio import Samples

Status = Literal[ParseStatus, "abstained"]


@dataclass(frozen=True, slots=True)
class IntentProbability:
    """A known intent and its probability, 0..1."""

    scenario: str
    action: str
    probability: float

    @property
    def intent(self) -> str:
        return Frame(self.scenario, self.action).intent


@dataclass(frozen=True, slots=True)
class Understanding:
    """An utterance's frame, and the model's confidence in its intent.

    Args:
        frame: None if the answer could not be read or says that there is no intent, or no words were heard; if the
            model abstains, its best guess.
        status: ``unknown_label`` if the frame names an intent or a slot type that training did not have; ``abstained``
            if the confidence is below the threshold; ``no_speech`` if a recording is silent or, to a model that hears
            words, without any; this and ``out_of_scope`` also if the model answers so.
        confidence: probability of the answered intent among the known ones, 0..1; 0 if it is not one of them or could
            not be read; None if it was not measured.
        intents: the most likely known intents, most likely first; empty if not measured.
        raw: the model's answer as generated.
        seconds: of the recording, None for text.
        cut: the recording was too long for the model and was cut.
        transcript: the typed text, or the words heard in a recording; None if the model does not give them.
    """

    frame: Frame | None
    status: Status
    confidence: float | None
    intents: tuple[IntentProbability, ...]
    raw: str
    seconds: float | None = None
    cut: bool = False
    transcript: str | None = None

    def as_json(self) -> dict[str, Any]:
        """What ``predict`` prints and the server returns; scenario, action, entities and text are SLURP's keys."""
        frame = self.frame or Frame("", "")
        return {
            "scenario": frame.scenario,
            "action": frame.action,
            "intent": frame.intent if self.frame else "",
            "entities": [{"type": entity.type, "filler": entity.filler} for entity in frame.entities],
            "status": self.status,
            "confidence": self.confidence,
            "intents": [{"intent": each.intent, "probability": each.probability} for each in self.intents],
            "text": self.raw,
            "seconds": self.seconds,
            "cut": self.cut,
            "transcript": self.transcript,
        }


class Understander(Protocol):
    """What the server runs: a :class:`sottovoce.inference.model.Model`."""

    @property
    def window_seconds(self) -> float:
        """The longest recording that is not cut."""
        ...

    def understand_all(self, inputs: Sequence[Samples | str]) -> list[Understanding]:
        """One answer for each recording (mono, 16 kHz) or typed text, computed together."""
        ...
