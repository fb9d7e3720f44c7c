"""The fine-tuning schemes. A scheme is a list of stages, and nothing else.

==============  =====================================================================================
zero_shot       no stage: the model as it is
text_only       the transcript in place of the audio, for every training utterance
direct_mixing   text of all utterances and speech of the budget, shuffled together from the start
curriculum      first text only, then text and speech together, from the first stage's weights
==============  =====================================================================================
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

from sottovoce.data.mixture import Mixture, Part
from sottovoce.recipe import StageSettings, Train


@dataclass(frozen=True)
class Stage:
    """One stage: what is seen, and how it is trained. It starts from the weights of the stage before it."""

    name: str
    mixture: Mixture
    settings: StageSettings


def _text() -> Mixture:
    return (Part("text", of="all"),)


def _text_and_speech(settings: StageSettings) -> Mixture:
    speech = Part("speech", of="budget", repeats=settings.speech_repeats, perturbed=settings.perturb_repeats)
    return (Part("text", of="all"), speech)


def zero_shot(train: Train) -> list[Stage]:
    return []


def text_only(train: Train) -> list[Stage]:
    return [Stage("text", _text(), train.stage)]


def direct_mixing(train: Train) -> list[Stage]:
    return [Stage("text+speech", _text_and_speech(train.stage), train.stage)]


def curriculum(train: Train) -> list[Stage]:
    return [
        Stage("text", _text(), train.first_stage),
        Stage("text+speech", _text_and_speech(train.last_stage), train.last_stage),
    ]


SCHEMES: dict[str, Callable[[Train], list[Stage]]] = {
    "zero_shot": zero_shot,
    "text_only": text_only,
    "direct_mixing": direct_mixing,
    "curriculum": curriculum,
}


def uses_speech(stages: list[Stage]) -> bool:
    """Whether any stage hears speech, so that the speech budget matters to the scheme."""
    return any(part.modality == "speech" for stage in stages for part in stage.mixture)
