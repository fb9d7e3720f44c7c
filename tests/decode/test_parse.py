from __future__ import annotations

import pytest

from sottovoce.core.types import Entity, Frame
from sottovoce.data.prompts import answer_of
from sottovoce.decode.parse import parse_answer

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
        '{"scenario": "light", "action": "on", "entities": {"room": "hall"}}',
        '{"scenario": "light", "action": "on", "entities": null}',
        '{"scenario": "light", "action": "on", "entities": "room"}',
        '{"scenario": "light", "action": "on", "entities": ["room"]}',
        '{"scenario": "light", "action": "on", "entities": [["room", "hall"]]}',
        '{"scenario": "light", "action": "on", "entities": [{"room": 3}]}',
        '{"scenario": "light", "action": "on", "entities": [{"room": null}]}',
        '{"scenario": "light", "action": "on", "entities": [{"room": {"name": "hall"}}]}',
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
