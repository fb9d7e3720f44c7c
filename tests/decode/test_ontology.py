"""Answers held to an ontology; llguidance reads the grammar."""

from __future__ import annotations

from typing import Any

import pytest
from lively import enlivened, steps_of
from spoken_rows import mixed_rows
from tiny_model import tiny_tokenizer

from sottovoce.core.types import REJECTIONS, Entity, Frame, Labels
from sottovoce.data.corpora.home import home_manifest
from sottovoce.data.manifest import read_manifest
from sottovoce.data.prompts import answer_of
from sottovoce.decode.batches import generate
from sottovoce.decode.ontology import GrammarForm, labels_of, ontology_of
from sottovoce.decode.parse import parse_answer
from sottovoce.models.load import LoadedModel

FRAMES = [
    Frame("light", "on", (Entity("room", "den"), Entity("colour", "red"))),
    Frame("light", "off"),
    Frame("music", "play", (Entity("artist", "x"),)),
]
ODD_FILLERS = ('say "on"', "a\\b", "été", "東京", "}]}", "\t", "\x01", "")


def accepts(form: GrammarForm, tokenizer: Any, answer: str) -> bool:
    """Whether the answer, tokenised as for training, is one of the form; what is forced must be what it goes on by."""
    ids, state = tokenizer(answer, add_special_tokens=False).input_ids, form.new_state()
    while True:
        forced = state.forced()
        if forced != ids[: len(forced)]:
            return False
        ids = ids[len(forced) :]
        if not ids or state.ended:
            return state.ended and not ids
        allowed = state.allowed()
        if ids[0] >= len(allowed) or not allowed[ids[0]]:
            return False
        state.advance(ids.pop(0))


def test_the_ontology_is_a_function_of_intents_and_slot_types_alone() -> None:
    other = [
        Frame("music", "play"),
        Frame("light", "off", (Entity("artist", "y"), Entity("room", "hall"))),
        Frame("light", "on", (Entity("colour", "blue"),)),
    ]
    assert ontology_of(FRAMES) == ontology_of(other) == ontology_of(FRAMES * 2)
    assert ontology_of(FRAMES) != ontology_of(FRAMES[:2])
    assert "den" not in ontology_of(FRAMES)


@pytest.mark.parametrize(
    "frame",
    [
        *FRAMES,
        Frame("light", "off", tuple(Entity("room", filler) for filler in ("den", "the hall", "attic"))),
        *(Frame("light", "on", (Entity("room", filler),)) for filler in ODD_FILLERS),
    ],
)
def test_answers_as_training_writes_them_are_accepted(frame: Frame) -> None:
    tokenizer = tiny_tokenizer()
    assert accepts(GrammarForm(ontology_of(FRAMES), tokenizer), tokenizer, answer_of(frame))


@pytest.mark.parametrize(
    "answer",
    [
        answer_of(Frame("light", "play")),  # each is known, not together
        answer_of(Frame("alarm", "set")),
        answer_of(Frame("light", "on", (Entity("time", "noon"),))),
        answer_of(FRAMES[1]).replace(", ", ","),
        answer_of(FRAMES[1]) + " ",
        answer_of(FRAMES[1])[:-1],
        answer_of(FRAMES[0]).replace("den", "d\nen"),
        answer_of(FRAMES[0]).replace("den", "d\\nen"),
        answer_of(FRAMES[0]).replace("den", 'd"en'),
        '{"action": "on", "scenario": "light", "entities": []}',
        "",
    ],
)
def test_other_answers_are_refused(answer: str) -> None:
    tokenizer = tiny_tokenizer()
    assert not accepts(GrammarForm(ontology_of(FRAMES), tokenizer), tokenizer, answer)


def test_labels_of_any_letters_are_written_as_json_writes_them() -> None:
    odd = Frame('a"b\\', "é|/(\n", (Entity("[x]*", "y"),))
    tokenizer = tiny_tokenizer()
    form = GrammarForm(ontology_of([odd, FRAMES[1]]), tokenizer)
    assert accepts(form, tokenizer, answer_of(odd)) and accepts(form, tokenizer, answer_of(FRAMES[1]))
    assert not accepts(form, tokenizer, answer_of(odd).replace("[x]*", "x"))


def test_without_slot_types_there_are_no_entities() -> None:
    tokenizer = tiny_tokenizer()
    form = GrammarForm(ontology_of(FRAMES[1:2]), tokenizer)
    (state, ids) = form.new_state(), tokenizer(answer_of(FRAMES[1]), add_special_tokens=False).input_ids
    assert state.forced() == ids and state.ended  # a single intent: nothing is left to choose


@pytest.mark.slow
@pytest.mark.parametrize("locale", ["en-US", "fr-FR"])
def test_all_training_answers_of_home_are_accepted_with_the_embedded_tokenizer(locale: str) -> None:
    from transformers import AutoTokenizer

    from sottovoce.models.embedded import embedded_model_dir

    tokenizer = AutoTokenizer.from_pretrained(embedded_model_dir())
    frames = [u.frame for u in read_manifest(home_manifest(locale)) if u.split == "train"]
    form = GrammarForm(ontology_of(frames), tokenizer)
    answers = sorted({answer_of(frame) for frame in frames})
    assert len(answers) > 100 and [a for a in answers if not accepts(form, tokenizer, a)] == []
    assert not accepts(form, tokenizer, answer_of(Frame("alarm", "play")))


def test_every_answer_of_a_random_model_is_a_frame_of_the_ontology(
    loaded: LoadedModel, monkeypatch: pytest.MonkeyPatch
) -> None:
    lively, form = enlivened(loaded), GrammarForm(ontology_of(FRAMES), loaded.processor.tokenizer)
    rows = mixed_rows(loaded)
    with steps_of(loaded) as steps:
        texts = generate(loaded, loaded.model, rows, 90, form)
    assert "unreadable" in {parse_answer("u", text).status for text in generate(lively, lively.model, rows, 90)}
    for text in texts:
        whole = parse_answer("u", text)
        if whole.frame is None:  # a filler that did not end in time
            assert text.startswith('{"scenario": "')
        else:
            assert whole.frame.intent in {frame.intent for frame in FRAMES}
            assert {entity.type for entity in whole.frame.entities} <= {"room", "colour", "artist"}
    assert max(len(text) for text in texts) > 60 and len(steps) < 50  # of 90 tokens the keys are forced
    monkeypatch.setattr("sottovoce.decode.batches.supports_steps", lambda *_: False)
    with steps_of(loaded) as theirs:
        assert generate(loaded, loaded.model, rows, 90, form) == texts
    assert len(theirs) > len(steps) + 40


@pytest.mark.parametrize("rejection", REJECTIONS)
def test_that_there_is_no_intent_is_allowed_where_training_said_so(rejection: str) -> None:
    tokenizer, frame = tiny_tokenizer(), Frame(rejection, "")
    assert accepts(GrammarForm(ontology_of([*FRAMES, frame]), tokenizer), tokenizer, answer_of(frame))
    assert not accepts(GrammarForm(ontology_of(FRAMES), tokenizer), tokenizer, answer_of(frame))
    assert (rejection, "") in labels_of(ontology_of([*FRAMES, frame])).intents


def test_the_labels_of_a_grammar_are_those_it_was_made_of() -> None:
    odd = Frame('say "on"', "a\\b", (Entity("été\u2028: | x", "y"),))
    assert labels_of(ontology_of([*FRAMES, odd])) == Labels(
        (("light", "off"), ("light", "on"), ("music", "play"), ('say "on"', "a\\b")),
        ("artist", "colour", "room", "été\u2028: | x"),
    )
    assert labels_of(ontology_of(FRAMES[1:2])) == Labels((("light", "off"),), ())
