"""The prompt and the answer: one line of JSON, the same for text and speech."""

from __future__ import annotations

import json
from itertools import groupby
from typing import Any

from sottovoce.core.recipe import Prompt
from sottovoce.core.types import Example, Frame, Labels, Modality, Utterance

SLU_INSTRUCTION = "\nIntent and slots as JSON:"
TRANSCRIBE_INSTRUCTION = "\nTranscribe:"


def answer_of(frame: Frame) -> str:
    """The generated line: ``{"scenario": ..., "action": ..., "entities": [{"<type>": "<filler>"}, ...]}``.

    Without an intent it is ``{"scenario": "out_of_scope", "action": "", "entities": []}``, or ``no_speech`` likewise.
    """
    entities = [{entity.type: entity.filler} for entity in frame.entities]
    line = {"scenario": frame.scenario, "action": frame.action, "entities": entities}
    return json.dumps(line, ensure_ascii=False)


def instruction_of(prompt: Prompt, labels: Labels) -> str:
    """What a recipe's prompts ask for, behind what was said.

    Args:
        labels: of the training utterances, for a prompt that lists them.
    """
    asked = f"\n{prompt.instruction.strip()}" if prompt.instruction else SLU_INSTRUCTION
    return _listed(labels) + asked if prompt.list_labels else asked


def _listed(labels: Labels) -> str:
    by_scenario = groupby(labels.intents, key=lambda intent: intent[0])
    listed = [(scenario, ", ".join(action for _, action in intents)) for scenario, intents in by_scenario]
    actions = [f"{scenario}: {names}" if names else scenario for scenario, names in listed]
    slots = f"\nSlots: {', '.join(labels.slots)}" if labels.slots else ""
    return f"\nScenarios and their actions: {'; '.join(actions)}{slots}"


def slu_example(utterance: Utterance, modality: Modality, copy: int = 0, instruction: str = SLU_INSTRUCTION) -> Example:
    """An utterance as a training or test example of spoken language understanding."""
    return Example(utterance, modality, instruction, answer_of(utterance.frame), copy)


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
