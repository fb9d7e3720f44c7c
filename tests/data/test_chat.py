import json
from pathlib import Path
from typing import Any

import pytest
from corpus_files import clip, fault_of, jsonl

from sottovoce.core.types import Entity, Frame, Utterance
from sottovoce.data.corpora.registry import prepare
from sottovoce.data.manifest import read_manifest
from sottovoce.data.prompts import SLU_INSTRUCTION, answer_of

FRAME = Frame("bell", "ring", (Entity("time", "ten"),))


def _row(asked: str, answer: str, **keys: Any) -> dict[str, Any]:
    turns = [{"role": "system", "content": "You help."}, {"role": "user", "content": asked}]
    return {"messages": [*turns, {"role": "assistant", "content": answer}], **keys}


def _heard(answer: str, **keys: Any) -> dict[str, Any]:
    return _row("<audio>What is meant?", answer, audios=["wavs/kim/1.wav"], **keys)


@pytest.fixture(autouse=True)
def recording(tmp_path: Path) -> Path:
    return clip(tmp_path / "own" / "wavs" / "kim" / "1.wav", 0.5)


def test_swift_rows_of_text_and_speech_become_one_manifest(tmp_path: Path) -> None:
    file = jsonl(
        tmp_path / "own" / "chat.jsonl",
        _row(f"ring at ten{SLU_INSTRUCTION}", answer_of(FRAME)),
        _heard(answer_of(FRAME), transcript="ring at ten please", id="s1", speaker="kim", split="val", locale="en-GB"),
    )
    out = tmp_path / "out"
    assert read_manifest(prepare("chat", file, out)) == [
        Utterance("chat-1", "en-US", "ring at ten", FRAME, "train"),
        Utterance("s1", "en-GB", "ring at ten please", FRAME, "dev", out / "audio" / "wavs-kim-1.wav", "kim", 0.5),
    ]


def test_factory_rows_are_read_from_a_json_list_with_a_mark(tmp_path: Path) -> None:
    turns = [
        {"from": "human", "value": "<audio>"},
        {"from": "gpt", "value": "ring at [time : ten] [intent : bell_ring]"},
    ]
    text = [{"from": "human", "value": "Parse this: ring"}, {"from": "gpt", "value": '{"intent": "ring"}'}]
    rows = [{"conversations": turns, "audios": ["wavs/kim/1.wav"]}, {"conversations": text, "system": "You help."}]
    file = tmp_path / "own" / "test.json"
    file.write_bytes(b"\xef\xbb\xbf" + json.dumps(rows, indent=1).replace("\n", "\r\n").encode())
    for source in (file, file.parent):
        read = read_manifest(prepare("chat", source, tmp_path / "out", instruction="Parse this: "))
        assert [(row.id, row.transcript, row.frame, row.split) for row in read] == [
            ("test-1", "ring at ten", FRAME, "test"),
            ("test-2", "ring", Frame("command", "ring"), "test"),
        ]
    assert "has no train, dev or test file" in fault_of("chat", tmp_path, tmp_path / "out")


@pytest.mark.parametrize(
    ("answer", "keys"),
    [
        ('{"scenario": "bell", "action": "ring", "entities": [{"time": "ten"}], "transcript": "ring at ten"}', {}),
        ('{"intent": "bell_ring", "entities": [{"type": "time", "filler": "ten"}], "transcript": "ring at ten"}', {}),
        ('{"intent": "bell_ring", "slots": {"time": "ten"}}', {"transcript": "ring at ten"}),
        ("[intent : bell_ring] ring at [time : ten]", {}),
        ("ring at [time : ten]", {"intent": "bell_ring"}),
        ("ring at [time : ten]", {"scenario": "bell", "action": "ring"}),
    ],
)
def test_answers_are_read_in_every_form(tmp_path: Path, answer: str, keys: dict[str, str]) -> None:
    file = jsonl(tmp_path / "own" / "chat.jsonl", _heard(answer, **keys))
    (row,) = read_manifest(prepare("chat", file, tmp_path / "out"))
    assert (row.frame, row.transcript) == (FRAME, "ring at ten")


def test_recordings_without_words_are_refused_or_filled_in(tmp_path: Path) -> None:
    file = jsonl(tmp_path / "own" / "chat.jsonl", _heard(answer_of(FRAME)))
    message = fault_of("chat", file, tmp_path / "out")
    assert message.startswith(f"{file}:1: the recording has no transcript")
    (row,) = read_manifest(prepare("chat", file, tmp_path / "out", unsaid="fill"))
    assert row.transcript == "" and row.split == "train"
    (row,) = read_manifest(prepare("chat", file, tmp_path / "tested", unsaid="fill", split="test"))
    assert row.transcript == "bell ring ten"
    assert "did you mean 'fill'?" in fault_of("chat", file, tmp_path / "out", unsaid="fil")


@pytest.mark.parametrize(
    ("row", "fault"),
    [
        ({"messages": []}, "must be one question and one answer"),
        ({"messages": "hello"}, "'messages' must be a list"),
        ({"text": "hello"}, "the key 'messages' is missing"),
        ({"messages": [{"role": "user"}]}, "is not {role, content} with text"),
        ({"conversations": [{"role": "user", "content": "x"}]}, "is not {from, value} with text"),
        ({"messages": _row("a", "b")["messages"] * 2}, "must be one question and one answer"),
        (_row("<audio>", answer_of(FRAME)), "1 <audio> in the user's text, but 0 recordings"),
        (_row("<audio><audio>", answer_of(FRAME), audios=["wavs/kim/1.wav"]), "2 <audio> in the user's text"),
        (_row("x", answer_of(FRAME), audios=["wavs/kim/1.wav"]), "0 <audio> in the user's text, but 1 recordings"),
        (_row("<audio><audio>", answer_of(FRAME), audios=["a.wav", "b.wav"]), "a list of one path or none"),
        (_row("<audio>", answer_of(FRAME), audios=[3]), "a list of one path or none"),
        (_row("<audio>", answer_of(FRAME), audios=["none.wav"], transcript="x"), "no such recording"),
        (_row("<audio>", answer_of(FRAME), audios=["../secret.wav"], transcript="x"), "is outside"),
        (_row("<audio>", answer_of(FRAME), audios=["https://x.org/a.wav"], transcript="x"), "no such recording"),
        (_row("ring", "{oops"), "the answer is not JSON"),
        (_row("ring", '{"action": "ring"}'), "the key 'scenario' is missing"),
        (_row("ring", '{"scenario": 1.5, "action": "ring"}'), "'scenario' must be non-empty text"),
        (_row("ring", '{"intent": "a_b", "entities": [3]}'), "the entity 3 is not an object"),
        (_row("ring", "ring at [time : ten"), "a bracket that is not closed"),
        (_row("ring", "ring at [time : ten]"), "the key 'intent' is missing"),
        (_row("ring", "[intent : a_b] [intent : c_d]"), "more than one [intent : ...]"),
        (_row(SLU_INSTRUCTION, answer_of(FRAME)), "no transcript next to the instruction"),
        (_row("ring", answer_of(FRAME), split="rest"), "'split' is 'rest'"),
        (_row("ring", answer_of(FRAME), id="chat-1"), "id 'chat-1' is already in"),
    ],
)
def test_bad_rows_are_refused(tmp_path: Path, row: dict[str, Any], fault: str) -> None:
    clip(tmp_path / "secret.wav")
    file = jsonl(tmp_path / "own" / "chat.jsonl", _row("ring", answer_of(FRAME)), row)
    message = fault_of("chat", file, tmp_path / "out")
    assert message.startswith(f"{file}:2: ")
    assert fault in message


def test_recordings_outside_are_taken_where_that_is_permitted(tmp_path: Path) -> None:
    outside = clip(tmp_path / "far" / "away.wav")
    file = jsonl(
        tmp_path / "own" / "chat.jsonl", _row("<audio>", answer_of(FRAME), audios=[str(outside)], transcript="x")
    )
    assert "is outside" in fault_of("chat", file, tmp_path / "out")
    (row,) = read_manifest(prepare("chat", file, tmp_path / "out", allow_outside="true"))
    assert row.audio == tmp_path / "out" / "audio" / "away.wav"


def test_files_that_hold_no_rows_are_refused(tmp_path: Path) -> None:
    lines, listed, out = tmp_path / "chat.jsonl", tmp_path / "chat.json", tmp_path / "out"
    for content, fault in (
        (b"", "no rows"),
        (b"{\n", ":1: not JSON"),
        (b"\xff", ":1: not UTF-8"),
        (b"[]", ":1: not a"),
    ):
        lines.write_bytes(content)
        assert fault in fault_of("chat", lines, out)
    for content, fault in (
        (b"", "not JSON"),
        (b"\xff", "not JSON in UTF-8"),
        (b"{}", "not a list"),
        (b"[]", "no rows"),
    ):
        listed.write_bytes(content)
        assert fault in fault_of("chat", listed, out)
    listed.write_bytes(b"[3]")
    assert f"{listed}: entry 1 is not a JSON object" in fault_of("chat", listed, out)
    listed.write_bytes(b"[" * 100_000)
    assert "not JSON" in fault_of("chat", listed, out)
    assert "split is 'tset'" in fault_of("chat", listed, out, split="tset")


def test_the_examples_of_the_documentation_are_read(tmp_path: Path) -> None:
    page = (Path(__file__).resolve().parents[2] / "docs" / "data-formats.md").read_text(encoding="utf-8")
    lines = page.partition("### Chat files")[2].partition("```json\n")[2].partition("```")[0]
    (tmp_path / "own" / "chat.jsonl").write_text(lines, encoding="utf-8")
    clip(tmp_path / "own" / "wavs" / "1.wav")
    rows = read_manifest(prepare("chat", tmp_path / "own" / "chat.jsonl", tmp_path / "out"))
    assert [(row.transcript, row.frame.intent, row.frame.entities) for row in rows] == [
        ("wake me at noon", "alarm_set", (Entity("time", "noon"),))
    ] * 2
    sheet = page.partition("```csv\n")[2].partition("```")[0]
    (tmp_path / "own" / "rows.csv").write_text(sheet, encoding="utf-8")
    clip(tmp_path / "own" / "wavs" / "anna" / "1.wav")
    assert len(read_manifest(prepare("table", tmp_path / "own" / "rows.csv", tmp_path / "out"))) == 2
