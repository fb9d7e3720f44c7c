from __future__ import annotations

import json
from pathlib import Path

from sottovoce.core.recipe import Prompt
from sottovoce.core.types import Entity, Frame, Labels, Utterance
from sottovoce.data.prompts import (
    SLU_INSTRUCTION,
    answer_of,
    instruction_of,
    messages_of,
    slu_example,
    transcription_example,
)
from sottovoce.models.load import LoadedModel

SAID = Utterance(
    "u1", "fr-FR", "mets un réveil à six heures",
    Frame("alarm", "set", (Entity("time", "six heures"), Entity("date", "demain"), Entity("time", "sept heures"))),
    "train", Path("clips/u1.wav"),
)  # fmt: skip


def prompt_of(loaded: LoadedModel, utterance: Utterance, modality: str) -> str:
    messages = messages_of(slu_example(utterance, modality))  # type: ignore[arg-type]
    return str(loaded.processor.apply_chat_template(messages, add_generation_prompt=True, tokenize=False))


def test_the_answer_is_the_papers_json_on_one_line() -> None:
    assert answer_of(SAID.frame) == (
        '{"scenario": "alarm", "action": "set", '
        '"entities": [{"time": "six heures"}, {"date": "demain"}, {"time": "sept heures"}]}'
    )
    assert answer_of(Frame("music", "stop")) == '{"scenario": "music", "action": "stop", "entities": []}'


def test_the_answer_keeps_accents_and_quotes_whole() -> None:
    frame = Frame("music", "play", (Entity("song", 'l\'été "indien"\nfin'),))
    line = answer_of(frame)
    assert "été" in line and "\n" not in line
    assert json.loads(line)["entities"] == [{"song": 'l\'été "indien"\nfin'}]


def test_text_and_speech_prompts_differ_only_in_what_is_heard(loaded: LoadedModel) -> None:
    text, speech = prompt_of(loaded, SAID, "text"), prompt_of(loaded, SAID, "speech")
    assert text.count(SAID.transcript) == 1 and speech.count("<|AUDIO|>") == 1
    assert text.replace(SAID.transcript, "<|AUDIO|>") == speech


def test_text_and_speech_have_the_same_answer() -> None:
    text, speech = slu_example(SAID, "text"), slu_example(SAID, "speech")
    assert (text.instruction, text.answer) == (speech.instruction, speech.answer)


def test_the_speech_prompt_does_not_tell_the_transcript_or_the_answer(loaded: LoadedModel) -> None:
    speech = prompt_of(loaded, SAID, "speech")
    assert not any(word in speech for word in ("réveil", "heures", "alarm", "u1.wav"))


def test_a_transcription_asks_for_the_transcript_by_another_instruction() -> None:
    heard = transcription_example(SAID)
    assert (heard.modality, heard.answer) == ("speech", SAID.transcript)
    assert heard.instruction != slu_example(SAID, "speech").instruction


LABELS = Labels.of([SAID.frame, Frame("alarm", "stop"), Frame("music", "play", (Entity("song", "x"),))])


def test_a_recipe_without_a_prompt_asks_as_ever() -> None:
    assert instruction_of(Prompt(), LABELS) == SLU_INSTRUCTION == slu_example(SAID, "text").instruction


def test_an_instruction_replaces_ours_on_a_line_of_its_own() -> None:
    assert instruction_of(Prompt(instruction="Frame: "), LABELS) == "\nFrame:"


def test_labels_are_listed_before_the_instruction() -> None:
    listed = "\nScenarios and their actions: alarm: set, stop; music: play\nSlots: date, song, time"
    assert instruction_of(Prompt(list_labels=True), LABELS) == listed + SLU_INSTRUCTION
    both = instruction_of(Prompt(instruction="Frame:", list_labels=True), Labels((("light", "on"),), ()))
    assert both == "\nScenarios and their actions: light: on\nFrame:"
