"""What a user can get wrong in the files given to `sottovoce score`: one clear line each."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from score_rows import manifest_row, prediction_row, write_rows

from sottovoce.core.errors import UserError
from sottovoce.score.evaluate import read_answers, score_report
from sottovoce.score.files import read_gold
from sottovoce.score.jsonl import json_rows
from sottovoce.score.tables import report_tables


class Files:
    """A gold manifest of three rows, predictions beside it, and what was said about them."""

    def __init__(self, folder: Path) -> None:
        self.gold = write_rows(folder / "gold.jsonl", *map(manifest_row, range(3)))
        self.predictions = folder / "p.jsonl"
        self.notes: list[str] = []

    def report(self, *rows: dict[str, Any] | str, **options: Any) -> dict[str, Any]:
        if rows:
            write_rows(self.predictions, *rows)
        return score_report(read_answers(self.predictions, read_gold(self.gold), self.notes.append), **options)

    def refused(self, *rows: dict[str, Any] | str) -> str:
        with pytest.raises(UserError) as caught:
            self.report(*rows)
        assert len(str(caught.value).splitlines()) == 1
        return str(caught.value)


@pytest.fixture
def files(tmp_path: Path) -> Files:
    return Files(tmp_path)


ALL = [prediction_row(number) for number in range(3)]


@pytest.mark.parametrize(
    ("line", "fault"),
    [
        ('{"id": "u1", "scenario": "alarm"', "not JSON"),
        ("[1, 2]", "not a JSON object"),
        ('{"id": "u1"}', "the key 'scenario' is missing"),
        ('{"scenario": "alarm"}', "no key among file, slurp_id, id"),
        ('{"file": "a.wav", "scenario": "a", "action": "b", "entities": []}', "keyed by file, the rows above by id"),
    ],
)
def test_a_malformed_line_is_named(files: Files, line: str, fault: str) -> None:
    message = files.refused(ALL[0], line, ALL[2])
    assert message.startswith(f"{files.predictions}:2: ")
    assert fault in message


def test_an_empty_file_is_refused(files: Files) -> None:
    assert files.refused("", "  ") == f"{files.predictions}: the prediction file is empty; add at least one row"
    files.predictions.write_bytes(b"")
    assert "is empty" in files.refused()


@pytest.mark.parametrize("content", [b"\xff\xfe{\x00}\x00", b'{"id": "\xe9t\xe9"}', b'{"id": "\xed\xa0\xbd"}'])
def test_bytes_that_are_not_utf_8_are_named_by_line(files: Files, content: bytes) -> None:
    files.predictions.write_bytes(json.dumps(ALL[0]).encode() + b"\n\n" + content + b"\n")
    assert files.refused().startswith(f"{files.predictions}:3: not UTF-8 text")


def test_carriage_returns_and_a_byte_order_mark_change_nothing(files: Files) -> None:
    clean = files.report(*ALL)
    lines = "\r\n".join(json.dumps(row) for row in ALL)
    files.predictions.write_bytes(b"\xef\xbb\xbf" + lines.encode() + b"\r\n\r\n")
    assert files.report() == clean
    assert clean["strict"]["frame_accuracy"] == 1.0


def test_a_line_separator_inside_a_text_is_a_letter(files: Files) -> None:
    rows = [json.dumps(row | {"text": "a\u2028b\u0085c"}, ensure_ascii=False) for row in ALL]
    assert files.report(*rows)["strict"]["num_scored"] == 3


def test_half_a_surrogate_pair_is_a_wrong_answer_and_can_be_printed(files: Files) -> None:
    halves = {"scenario": "\ud83d", "entities": [{"type": "t\ud83d", "filler": "\ud83d"}]}
    report = files.report(ALL[0], ALL[1] | halves, prediction_row(9, id="\ud83d"), by=["intent", "slot"])
    assert report["strict"]["intent_accuracy"] == pytest.approx(1 / 3)
    assert confused(report) == {"\ud83d_set": 1, "(missing)": 1}
    assert json.loads(json.dumps(report)) == report
    for table in report_tables(report):
        for column in table.columns:
            "".join(str(cell) for cell in column.cells).encode()  # what a terminal does
    assert "\\ud83d" in files.notes[0]
    files.notes[0].encode()


def confused(report: dict[str, Any]) -> dict[str, int]:
    return {row["predicted"]: row["count"] for row in report["confusions"]}


def test_rows_that_gold_does_not_know_are_said_with_their_line(files: Files) -> None:
    report = files.report(*ALL, prediction_row(8), prediction_row(9))
    note = f"note: {files.predictions}:4: id 'u8' is not in {files.gold}; 2 such rows are ignored"
    assert files.notes == [note]
    assert (report["strict"]["intent_accuracy"], report["strict"]["num_unknown"]) == (1.0, 2)


def test_a_second_answer_is_said_with_its_line(files: Files) -> None:
    report = files.report(*ALL, ALL[0], ALL[0], ALL[1])
    place = f"{files.predictions}:4: id 'u0' is answered a second time"
    assert files.notes == [f"note: {place}; official takes the last answer, strict counts 2 items as wrong"]
    assert report["strict"]["intent_accuracy"] == pytest.approx(1 / 3)
    assert report["official"]["intent_accuracy"] == 1.0


def test_missing_answers_are_said(files: Files) -> None:
    files.report(ALL[0], ALL[1])
    line = "note: 1 of 3 gold items have no prediction; official skips them, strict counts them as wrong"
    assert files.notes == [line]
    files.notes.clear()
    files.report(ALL[0])
    assert files.notes == [line.replace("1 of", "2 of") + "; if only one split was decoded, give --split"]


def test_the_wrong_gold_is_refused_and_not_scored_as_0(files: Files) -> None:
    message = files.refused(*(prediction_row(number) for number in (7, 8)))
    expected = f"{files.predictions}:1: id 'u7' is not in {files.gold}, nor is any other of the 2 rows; "
    assert message == expected + "give the gold file that these predictions were made for"
    assert "no row names a recording" in files.refused({**ALL[0], "file": "u0.wav"})


def test_predictions_are_streamed(tmp_path: Path) -> None:
    """The first rows are there before the fault behind them is met, so a file is not read as a whole."""
    path = write_rows(tmp_path / "p.jsonl", ALL[0], ALL[1], "{")
    rows = json_rows(path, "prediction file")
    assert [next(rows)[0], next(rows)[0]] == [f"{path}:1", f"{path}:2"]
    with pytest.raises(UserError, match=r"p\.jsonl:3: not JSON"):
        next(rows)


def test_answers_do_not_keep_the_rows(files: Files) -> None:
    """A file of a gigabyte is mostly raw text and repeated rows; neither may stay in memory."""
    rows = [row | {"text": f"raw {number}"} for number, row in enumerate(ALL * 50)]
    answers = read_answers(write_rows(files.predictions, *rows), read_gold(files.gold), files.notes.append)
    assert answers.num_rows == 150
    assert len(answers.all) == 3
    assert "raw" not in repr(answers.all)


@pytest.fixture
def spoken(tmp_path: Path) -> Callable[..., dict[str, Any]]:
    """A manifest with three recordings of one utterance and one of another."""

    def report(*names: str, **options: Any) -> dict[str, Any]:
        rows = [manifest_row(1, id=f"r{n}", audio=f"audio/r{n}.wav", speaker=f"s{n}") for n in range(3)]
        gold = write_rows(tmp_path / "gold.jsonl", *rows, manifest_row(2, id="r3", audio="audio/r3.wav", speaker="s3"))
        predictions = [prediction_row(1 if name != "r3" else 9, id=None, file=f"{name}.wav") for name in names]
        path = write_rows(tmp_path / "p.jsonl", *predictions)
        return score_report(read_answers(path, read_gold(gold), str), **options)

    return report


def test_recordings_of_one_utterance_of_a_manifest_are_grouped(spoken: Callable[..., dict[str, Any]]) -> None:
    report = spoken("r0", "r1", "r2", "r3")
    assert report["strict"]["frame_accuracy"] == 3 / 4
    assert report["strict"]["frame_accuracy_per_utterance"] == 1 / 2
    assert report["official"]["intent_accuracy_per_utterance"] == 1.0


def test_asked_for_breakdowns_and_intervals_come_under_keys_of_their_own(
    spoken: Callable[..., dict[str, Any]],
) -> None:
    assert list(spoken("r0", "r1", "r2", "r3")) == ["official", "strict"]
    report = spoken("r0", "r1", "r2", "r3", by=["speaker", "intent"], with_intervals=True)
    assert list(report) == ["official", "strict", "intervals", "by", "confusions"]
    assert list(report["by"]) == ["speaker", "intent"]
    low, high = report["intervals"]["strict"]["frame_accuracy"]
    assert 0 < low < 0.2 and high == 1.0  # two utterances, both right: next to nothing is known
    titles = [str(table.columns[0].header) for table in report_tables(report)]
    assert titles == ["", "speaker", "intent", "gold intent"]
