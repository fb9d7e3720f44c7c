"""The prompt and the answer: one line of JSON, the same for text and speech."""

from __future__ import annotations

import json
from typing import Any

from sottovoce.core.types import Example, Frame, Modality, Utterance

SLU_INSTRUCTION = "\nIntent and slots as JSON:"
TRANSCRIBE_INSTRUCTION = "\nTranscribe:"


def answer_of(frame: Frame) -> str:
    """The generated line: ``{"scenario": ..., "action": ..., "entities": [{"<type>": "<filler>"}, ...]}``."""
    entities = [{entity.type: entity.filler} for entity in frame.entities]
    line = {"scenario": frame.scenario, "action": frame.action, "entities": entities}
    return json.dumps(line, ensure_ascii=False)


def slu_example(utterance: Utterance, modality: Modality, copy: int = 0) -> Example:
    """An utterance as a training or test example of spoken language understanding."""
    return Example(utterance, modality, SLU_INSTRUCTION, answer_of(utterance.frame), copy)


def transcription_example(utterance: Utterance, modality: Modality = "speech") -> Example:
    """An utterance as a transcription example; from text, that is repetition."""
    return Example(utterance, modality, TRANSCRIBE_INSTRUCTION, utterance.transcript)


def messages_of(example: Example) -> list[dict[str, Any]]:
    """The prompt's chat messages, without the answer; text prompts have the transcript in place of the audio."""
    if example.modality == "speech":
        shown: dict[str, Any] = {"type": "audio", "audio": str(example.utterance.audio)}
    else:
        shown = {"type": "text", "text": example.utterance.transcript}
    return [{"role": "user", "content": [shown, {"type": "text", "text": example.instruction}]}]
