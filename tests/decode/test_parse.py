from __future__ import annotations

from pathlib import Path

import pytest

from sottovoce.core.types import REJECTIONS, Entity, Frame, Labels, Utterance
from sottovoce.data.manifest import write_manifest
from sottovoce.data.prompts import answer_of
from sottovoce.decode.parse import parse_answer
from sottovoce.score.evaluate import score
from sottovoce.score.files import PredictionRow, read_gold

FRAME = Frame("light", "on", (Entity("room", "hall"), Entity("time", "8 o'clock")))
LINE = answer_of(FRAME)


@pytest.mark.parametrize(
    "frame",
    [
        FRAME,
        Frame("light", "on"),
        Frame("", ""),
        Frame("música", "reproducir", (Entity("artista", "Beyoncé 🎵"), Entity("canción", 'la "uno" {2}\n'))),
        Frame("a", "b", (Entity("room", "hall"), Entity("room", "den"), Entity("room", "hall"))),
    ],
)
def test_what_training_teaches_is_read_back(frame: Frame) -> None:
    prediction = parse_answer("u1", answer_of(frame))
    assert (prediction.id, prediction.status, prediction.frame) == ("u1", "ok", frame)


@pytest.mark.parametrize(
    "raw",
    [
        LINE,
        f"  \n{LINE}\n",
        f"Sure! Here it is: {LINE}",
        f"```json\n{LINE}\n```",
        "```json\n" + LINE.replace("[{", "{\n\t").replace("}, {", ",\n\t").replace("}]", "\n}") + "\n```",
        f'{LINE} and then {{"scenario": "other", "action": "off"}}',
        f"{LINE}{{",
        LINE.replace(", ", ",\n\t"),
        '{"action": "on", "sure": true, "entities": [{"room": "hall"}, {"time": "8 o\'clock"}], "scenario": "light"}',
        '{"scenario": "light", "action": "on", "entities": [{"room": "hall", "time": "8 o\'clock"}, {}]}',
    ],
)
def test_text_around_the_first_object_and_the_order_of_keys_do_not_matter(raw: str) -> None:
    prediction = parse_answer("u1", raw)
    assert (prediction.status, prediction.frame, prediction.raw) == ("ok", FRAME, raw)


def test_absent_entities_are_none() -> None:
    assert parse_answer("u1", '{"scenario": "light", "action": "on"}').frame == Frame("light", "on")


def read(entities: str) -> tuple[tuple[str, str], ...]:
    """What is read of an answer with these entities, as (type, filler); its intent is the right one."""
    prediction = parse_answer("u1", f'{{"scenario": "light", "action": "on", "entities": {entities}}}')
    assert prediction.status == "ok" and prediction.frame
    assert prediction.frame.intent == "light_on"
    return tuple((entity.type, entity.filler) for entity in prediction.frame.entities)


@pytest.mark.parametrize(
    ("entities", "expected"),
    [
        ('{"room": "hall", "time": "noon"}', (("room", "hall"), ("time", "noon"))),
        ('{"room": ["hall", "den"]}', (("room", "hall"), ("room", "den"))),
        ('[{"room": ["hall", "den"]}, {"time": "noon"}]', (("room", "hall"), ("room", "den"), ("time", "noon"))),
        ("{}", ()),
        ("null", ()),
        ('{"room": null, "time": "noon"}', (("time", "noon"),)),
        ('[{"room": [null, "den"]}, null]', (("room", "den"),)),
        ('[{"degrees": 21}, {"price": 7.50}]', (("degrees", "21"), ("price", "7.50"))),
        ('[{"degrees": [-3, 1e2]}]', (("degrees", "-3"), ("degrees", "1e2"))),
        ('{"degrees": ' + "9" * 10_000 + "}", (("degrees", "9" * 10_000),)),
    ],
)
def test_slots_are_read_in_the_forms_that_models_write_them(
    entities: str, expected: tuple[tuple[str, str], ...]
) -> None:
    assert read(entities) == expected


@pytest.mark.parametrize(
    ("entities", "expected"),
    [
        ('{"room": {"name": "hall"}, "time": "noon"}', (("room", ""), ("time", "noon"))),
        ('[{"room": true}]', (("room", ""),)),
        ('[{"room": NaN}]', (("room", ""),)),
        ('[{"room": [["hall"], "den"]}]', (("room", ""), ("room", "den"))),
        ('["room", {"time": "noon"}]', (("", ""), ("time", "noon"))),
        ('[["room", "hall"]]', (("", ""),)),
        ('"room"', (("", ""),)),
        ("3", (("", ""),)),
    ],
)
def test_an_unreadable_slot_leaves_the_intent_and_is_an_entity_that_is_never_right(
    entities: str, expected: tuple[tuple[str, str], ...]
) -> None:
    assert read(entities) == expected


@pytest.mark.parametrize(
    ("frame", "status"),
    [
        (FRAME, "ok"),
        (Frame("light", "off"), "ok"),
        (Frame("music", "on"), "unknown_label"),  # each is known, not together
        (Frame("", ""), "unknown_label"),
        (Frame("light", "on", (Entity("room", "hall"), Entity("colour", "red"))), "unknown_label"),
    ],
)
def test_an_answer_that_names_a_label_that_training_did_not_have_says_so(frame: Frame, status: str) -> None:
    known = Labels.of([FRAME, Frame("light", "off"), Frame("music", "play")])
    prediction = parse_answer("u1", answer_of(frame), known)
    assert (prediction.status, prediction.frame) == (status, frame)
    assert parse_answer("u1", answer_of(frame)).status == "ok"
    assert parse_answer("u1", answer_of(frame)[:-1], known).status == "unreadable"


@pytest.mark.parametrize("rejection", REJECTIONS)
def test_an_answer_that_there_is_no_intent_is_a_status(rejection: str) -> None:
    prediction = parse_answer("u1", answer_of(Frame(rejection, "")), Labels.of([FRAME]))
    assert (prediction.status, prediction.frame) == (rejection, Frame(rejection, ""))
    with_slots = parse_answer("u1", f'{{"scenario": "{rejection}", "action": "", "entities": {{"room": "hall"}}}}')
    assert (with_slots.status, with_slots.frame) == (rejection, Frame(rejection, ""))
    assert parse_answer("u1", answer_of(Frame(rejection, "on"))).status == "ok"  # a scenario of that name


def test_an_unreadable_slot_names_no_unknown_label() -> None:
    known = Labels.of([FRAME])
    assert parse_answer("u1", '{"scenario": "light", "action": "on", "entities": ["room"]}', known).status == "ok"


def test_an_unreadable_slot_is_a_missed_and_a_false_entity_in_the_strict_scores(tmp_path: Path) -> None:
    gold = tmp_path / "gold.jsonl"
    said = Utterance("u1", "en-US", "hall light", Frame("light", "on", (Entity("room", "hall"),)), "test")
    write_manifest([said], gold)
    prediction = parse_answer("u1", '{"scenario": "light", "action": "on", "entities": {"room": {"name": "hall"}}}')
    assert prediction.frame
    strict = score(read_gold(gold), [PredictionRow("id", "u1", prediction.frame)])["strict"]
    figures = ("intent_accuracy", "entity_precision", "entity_recall", "frame_accuracy", "massive_exact_match")
    assert [strict[name] for name in figures] == [1, 0, 0, 0, 0]


@pytest.mark.parametrize(
    "raw",
    [
        "",
        "   ",
        "{",
        "}",
        "light on",
        "null",
        "[]",
        "{}",
        LINE[:-1],
        LINE[: len(LINE) // 2],
        LINE.replace('"', "'"),
        LINE.replace('"hall"', "hall"),
        '{"scenario": "light"}',
        '{"action": "on", "entities": []}',
        '{"scenario": null, "action": "on"}',
        '{"scenario": "light", "action": 1}',
        '{"scenario": ["light"], "action": "on"}',
        '{"scenario": "light", "action": "on", "entities": [{"room": "ha\x00ll"}]}',
        "{" * 1_000_000,
        '{"entities": ' + "[" * 1_000_000,
        '{"a":' * 100_000,
        '{"scenario": ' + "9" * 10_000 + "}",
        "\ud83d{\udc00",
    ],
    ids=lambda raw: repr(raw[:40]),
)
def test_anything_else_is_unreadable_and_never_an_exception(raw: str) -> None:
    prediction = parse_answer("u1", raw)
    assert (prediction.id, prediction.status, prediction.frame, prediction.raw) == ("u1", "unreadable", None, raw)
