"""`sottovoce predict`: what is asked, rows for many inputs, and going on; with a stand-in for the model."""

from __future__ import annotations

import io
import json
import subprocess
import sys
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import soundfile
from rich.console import Console
from rich.progress import Progress

from sottovoce.core.errors import UserError
from sottovoce.core.types import Entity, Frame
from sottovoce.data.audio import Samples
from sottovoce.inference import files as predict
from sottovoce.inference.files import Asking, asked_of, kept_rows, predict_all
from sottovoce.inference.understanding import Understanding
from sottovoce.score.files import read_gold, read_predictions
from sottovoce.score.matching import match_answers

WORDS = b"turn it on\n\n dim the hall\r\nturn it off\n"


class Parrot:
    """Answers with what it was given; refuses texts with <audio>; notes its batches."""

    window_seconds = 1.0

    def __init__(self, confidence: float | None = 0.7) -> None:
        self.confidence = confidence
        self.batches: list[int] = []

    def understand_all(self, inputs: Sequence[Samples | str]) -> list[Understanding]:
        self.batches.append(len(inputs))
        if any("<audio>" in each for each in inputs if isinstance(each, str)):
            raise UserError("a text holds <audio>", "leave it out")
        return [self._answer(each) for each in inputs]

    def _answer(self, given: Samples | str) -> Understanding:
        said = given if isinstance(given, str) else str(len(given))
        frame = Frame("light", "on", (Entity("said", said),))
        made = Understanding(frame, "ok", self.confidence, (), f"raw {said}", transcript=said)
        return made if isinstance(given, str) else replace(made, seconds=len(given) / 16_000)


class Lines:
    """What the user is told."""

    def __init__(self) -> None:
        self.all: list[str] = []

    def __call__(self, line: str) -> None:
        self.all.append(line)


def write_clips(folder: Path, *names: str) -> Path:
    """Clips of 1, 2, 3 ... tenths of a second."""
    for number, name in enumerate(names, 1):
        path = folder / name
        path.parent.mkdir(parents=True, exist_ok=True)
        soundfile.write(path, np.full(1600 * number, 0.1), 16_000)
    return folder


def asked(source: Path | str | None = None, text: str | None = None, lines: bytes = b"") -> Asking:
    return asked_of(None if source is None else str(source), text, io.BytesIO(lines))


def run(asking: Asking, out: Path, model: Parrot | None = None, **options: Any) -> tuple[int, list[Any], list[str]]:
    """How many could not be read, the rows, what was said."""
    said = Lines()
    number = predict_all(model or Parrot(), asking, 2, out, kept_rows(out, asking, said), said, **options)
    return number, [json.loads(line) for line in out.read_text(encoding="utf-8").splitlines()], said.all


def test_a_folder_means_its_recordings_and_those_of_folders_in_it(tmp_path: Path) -> None:
    write_clips(tmp_path, "b.wav", "a/2.FLAC", "a/1.ogg", "._b.wav", ".cache/c.wav", "notes.wav")
    (tmp_path / "labels.txt").write_text("not a recording")
    asking = asked(tmp_path)
    assert [each.names["path"] for each in asking.all] == [
        str(tmp_path / name) for name in ("a/1.ogg", "a/2.FLAC", "b.wav", "notes.wav")
    ]
    assert asking.all[0].names["file"] == "1.ogg"
    assert not asking.alone and not asked(write_clips(tmp_path / "one", "x.wav")).alone


def test_paths_and_texts_come_from_standard_input_one_a_line() -> None:
    paths = asked("-", lines=b"a/1.wav\n\nb c.wav\r\na/1.wav\n\xff.wav")
    assert [str(each.given) for each in paths.all] == ["a/1.wav", "b c.wav", "\udcff.wav"]
    texts = asked(text="-", lines=WORDS)
    assert [each.names for each in texts.all] == [
        {"id": "1", "transcript": "turn it on"},
        {"id": "3", "transcript": "dim the hall"},
        {"id": "4", "transcript": "turn it off"},
    ]
    one = asked(text="turn it on")
    assert one.alone and one.all[0].given == "turn it on"


@pytest.mark.parametrize(
    ("arguments", "fault"),
    [
        ({}, "give either a recording, a folder or -, or a --text; one of them, not both"),
        ({"source": "a.wav", "text": "on"}, "one of them, not both"),
        ({"source": "nowhere.wav"}, "no such recording: nowhere.wav"),
        ({"source": "-"}, "standard input names no recordings"),
        ({"text": "-", "lines": b" \n"}, "standard input has no text"),
        ({"text": " "}, "the --text is empty"),
        ({"text": "-", "lines": b"\xff\n"}, "standard input:1: not UTF-8 text"),
    ],
)
def test_what_asks_for_nothing_is_refused(arguments: Any, fault: str) -> None:
    with pytest.raises(UserError) as caught:
        asked(**arguments)
    assert fault in str(caught.value)


def test_a_folder_without_recordings_and_a_file_that_is_none_are_refused(tmp_path: Path) -> None:
    with pytest.raises(UserError, match=r"has no recordings \(\.wav, \.flac"):
        asked(tmp_path)
    (tmp_path / "a.wav").write_text("no wave")
    with pytest.raises(UserError, match=r"cannot read .*a\.wav"):
        asked(tmp_path / "a.wav")


def test_rows_can_be_scored(tmp_path: Path) -> None:
    folder = write_clips(tmp_path / "clips", "1.wav", "2.wav", "3.wav")
    model = Parrot()
    number, rows, said = run(asked(folder), tmp_path / "out" / "rows.jsonl", model)
    assert (number, said, model.batches) == (0, [], [2, 1])
    assert rows[1] == {
        "file": "2.wav", "path": str(folder / "2.wav"), "scenario": "light", "action": "on", "intent": "light_on",
        "entities": [{"type": "said", "filler": "3200"}], "status": "ok", "confidence": 0.7, "intents": [],
        "text": "raw 3200", "seconds": 0.2, "cut": False, "transcript": "3200",
    }  # fmt: skip
    gold = {"locale": "en-US", "split": "test", "scenario": "light", "action": "on", "entities": []}
    lines = [json.dumps(gold | {"id": name, "transcript": name, "audio": f"clips/{name}.wav"}) for name in "123"]
    (tmp_path / "gold.jsonl").write_text("\n".join(lines))
    answers = match_answers(read_gold(tmp_path / "gold.jsonl"), read_predictions(tmp_path / "out" / "rows.jsonl"))
    assert [(each.status, each.confidence) for each in answers.all] == [("ok", 0.7)] * 3


def test_bad_recordings_are_told_marked_and_passed_over(tmp_path: Path) -> None:
    folder = write_clips(tmp_path / "clips", "1.wav", "2.wav", "3.wav", "4.wav", "5.wav")
    (folder / "2.wav").write_text("no wave")
    (folder / "3.wav").write_bytes(b"")
    lines = "".join(f"{folder}/{name}.wav\n" for name in ("1", "2", "3", "4", "nowhere", "5", "x" * 300))
    model = Parrot()
    number, rows, said = run(asked("-", lines=lines.encode()), tmp_path / "rows.jsonl", model)
    assert number == 4
    assert [row["status"] == "ok" for row in rows] == [True, False, False, True, False, True, False]
    assert {row["status"] for row in rows} == {"ok", "unreadable_input"}
    assert (rows[1]["scenario"], rows[1]["entities"], rows[1]["confidence"]) == ("", [], None)
    assert rows[1]["fault"] in said[0] and said[0].startswith("warning: cannot read ")
    assert "no such recording" in rows[4]["fault"]
    assert len(said) == 5 and "\n" not in "".join(said)
    assert said[-1] == "4 of 7 could not be read; their rows have the status unreadable_input"
    assert model.batches == [1, 1, 1]
    assert len(read_predictions(tmp_path / "rows.jsonl")) == 7  # as `score` reads them


def test_one_recording_or_text_alone_is_an_error(tmp_path: Path) -> None:
    folder = write_clips(tmp_path, "1.wav")
    asking = asked(folder / "1.wav")
    (folder / "1.wav").write_text("no wave by now")
    for each in (asking, asked(text="what <audio> is")):
        with pytest.raises(UserError, match=r"cannot read|holds <audio>"):
            predict_all(Parrot(), each, 2, None, set(), Lines())


def test_a_text_that_the_model_refuses_does_not_stop_its_neighbours(tmp_path: Path) -> None:
    number, rows, said = run(asked(text="-", lines=b"on\nthe <audio>\noff\n"), tmp_path / "rows.jsonl")
    assert (number, [row["status"] for row in rows]) == (1, ["ok", "unreadable_input", "ok"])
    assert said[0] == "warning: 2: a text holds <audio>; leave it out"
    assert [row["text"] for row in rows] == ["raw on", "", "raw off"]


def test_a_stopped_start_goes_on_with_the_same_batches(tmp_path: Path) -> None:
    folder, out, whole = tmp_path / "clips", tmp_path / "rows.jsonl", tmp_path / "whole.jsonl"
    write_clips(folder, "1.wav", "2.wav", "3.wav", "4.wav", "5.wav")
    run(asked(folder), whole)
    text = whole.read_text()
    out.write_text(text[: text.index("4.wav") + 3])  # killed within the fourth row
    model = Parrot()
    _, rows, said = run(asked(folder), out, model)
    assert out.read_text() == text
    assert model.batches == [2, 1]  # the third and fourth together, as before
    assert said == [f"{out}: already has 3 of 5 answers"]
    again = Parrot()
    assert run(asked(folder), out, again)[1] == rows
    assert again.batches == []


def test_what_could_not_be_read_is_tried_again(tmp_path: Path) -> None:
    folder, out = write_clips(tmp_path / "clips", "1.wav", "2.wav", "3.wav"), tmp_path / "rows.jsonl"
    good = (folder / "2.wav").read_bytes()
    (folder / "2.wav").write_bytes(good[:20])
    assert run(asked(folder), out)[0] == 1
    model = Parrot()
    assert run(asked(folder), out, model)[0] == 1  # not a row more, and no neighbour answered anew for nothing
    assert model.batches == []
    (folder / "2.wav").write_bytes(good)
    number, rows, _ = run(asked(folder), out)
    assert number == 0
    assert sorted((row["file"], row["status"]) for row in rows) == [(f"{n}.wav", "ok") for n in (1, 2, 3)]


@pytest.mark.parametrize("name", ["", "a" * 300])
def test_no_name_or_none_that_a_file_can_have_is_one_clear_error(name: str) -> None:
    with pytest.raises(UserError, match=r"is empty|cannot read aaa.*name a recording, a folder or -"):
        asked_of(name, None, io.BytesIO())


def test_a_file_that_is_not_ours_is_left_as_it_is(tmp_path: Path) -> None:
    asking, out = asked(write_clips(tmp_path / "clips", "1.wav", "2.wav")), tmp_path / "rows.jsonl"
    other = ("my notes\nwithout an end", '{"id": "1", "status": "ok"}\n', '{"file": "1.wav"}\n', '{"file": "a"\n')
    for content in other:
        out.write_text(content)
        with pytest.raises(UserError, match=r"rows\.jsonl(:1)? (does not hold rows|is damaged).*give another --out"):
            kept_rows(out, asking, Lines())
        assert out.read_text() == content
    with pytest.raises(UserError, match="is a folder"):
        kept_rows(tmp_path, asking, Lines())


def test_texts_that_have_changed_do_not_get_the_old_answers(tmp_path: Path) -> None:
    out = tmp_path / "rows.jsonl"
    run(asked(text="-", lines=b"on\noff\n"), out)
    with pytest.raises(UserError, match=r"has another text as number 1: 'on'; give another --out"):
        kept_rows(out, asked(text="-", lines=b"dim\non\noff\n"), Lines())


def test_without_confidences_there_is_nothing_to_abstain_by(tmp_path: Path) -> None:
    asking = asked(text="on")
    with pytest.raises(UserError, match="omit --abstain-below"):
        predict_all(Parrot(confidence=None), asking, 2, None, set(), Lines(), abstain_below=0.5)
    assert run(asking, tmp_path / "rows.jsonl", abstain_below=0.5)[1][0]["status"] == "ok"  # as the model says


def test_what_holds_no_words_needs_no_confidence_to_abstain(tmp_path: Path) -> None:
    class Deaf(Parrot):
        def understand_all(self, inputs: Sequence[Any]) -> list[Understanding]:
            return [Understanding(None, "no_speech", None, (), "") for _ in inputs]

    out = tmp_path / "rows.jsonl"
    assert not predict_all(Deaf(), asked(text="on"), 2, out, set(), Lines(), abstain_below=0.5)
    assert json.loads(out.read_text())["status"] == "no_speech"


def test_rows_go_to_standard_output_while_a_bar_is_shown(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    """Rich turns standard output to the bar's console, if that is a terminal."""
    bar = Progress(console=Console(stderr=True, force_terminal=True))
    monkeypatch.setattr(predict, "progress_bar", lambda disable: bar)
    predict_all(Parrot(), asked(write_clips(tmp_path, "1.wav", "\u2028é.wav")), 1, None, set(), Lines())
    outcome = capsys.readouterr()
    rows = [json.loads(line) for line in outcome.out.split("\n")[:-1]]
    assert [row["file"] for row in rows] == ["1.wav", "\u2028é.wav"]
    assert "understanding" in outcome.err


def test_half_a_letter_becomes_its_escape(tmp_path: Path) -> None:
    out = tmp_path / "rows.jsonl"
    asking = asked(text="say \ud83d")
    assert run(asking, out)[1][0]["text"] == "raw say \ud83d"
    assert kept_rows(out, asking, Lines()) == {("1", "say \ud83d")}


def test_no_model_library_is_loaded_for_what_is_asked() -> None:
    code = "import sys, sottovoce.inference.files, sottovoce.cli.serve; print({'torch', 'peft'} & set(sys.modules))"
    assert subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True).stdout == "set()\n"
