import csv
import json
import re
from pathlib import Path

import pytest
from study_folder import gold_rows, write_lines, write_study

from sottovoce.core.types import Entity, Frame
from sottovoce.report.examples import MAX_AUDIO_CHARACTERS, Piece, audio_uri, frame_pieces
from sottovoce.report.figures.figure import figure_svg
from sottovoce.report.html import read_report, report_html, write_report

SCRIPT = "<script>alert('heard')</script>"


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = write_study(tmp_path_factory.mktemp("study"))
    write_report(read_report(folder))
    return folder


@pytest.fixture(scope="module")
def page(folder: Path) -> str:
    return (folder / "report.html").read_text(encoding="utf-8")


def test_the_page_answers_in_its_heading(page: str) -> None:
    heading = re.search(r"<h1>(.*?)</h1>", page)
    assert heading and "from text-only’s 60.0\u00a0% to 81.0\u00a0%, closing 70\u00a0% of the gap" in heading[1]
    assert "Curriculum and direct mixing cannot be told apart (+3.0 points, −" in page


def test_the_page_needs_nothing_from_outside(page: str) -> None:
    assert not re.search(r"https?://", page)
    assert all(target.startswith(("data:", "#")) for target in re.findall(r'(?:src|href)="([^"]*)"', page))


def test_recordings_are_embedded_within_the_limit(page: str, tmp_path: Path) -> None:
    assert page.count('src="data:audio/flac;base64,') == 16
    # 30 s of tone a clip: the page's room is spent before the sixteenth.
    uris = re.findall(r'src="(data:audio[^"]*)"', report_html(read_report(write_study(tmp_path, seconds=30))))
    assert 0 < len(uris) < 16
    assert sum(map(len, uris)) <= MAX_AUDIO_CHARACTERS


def test_only_recordings_are_embedded(tmp_path: Path) -> None:
    secret, damaged = tmp_path / "id_ed25519", tmp_path / "a.wav"
    secret.write_text("key")
    damaged.write_text("no wave")
    assert [audio_uri(path, 1000) for path in (secret, damaged, tmp_path / "absent.wav", None)] == [None] * 4


def test_hostile_text_is_escaped(tmp_path: Path) -> None:
    folder = write_study(tmp_path, audio=False)
    rows = [row | {"transcript": f"{SCRIPT} {row['id']}"} for row in gold_rows(audio=False)]
    write_lines(folder / "gold.jsonl", rows)
    study = json.loads((folder / "study.json").read_text())
    (folder / "study.json").write_text(json.dumps(study | {"title": SCRIPT, "corpus": f"home {SCRIPT} $x^2$ $"}))
    page = write_report(read_report(folder)).read_text(encoding="utf-8")
    assert "<script" not in page
    assert "<script" not in (folder / "figure.svg").read_text(encoding="utf-8")
    assert "&lt;script&gt;" in page


def test_an_unreadable_answer_is_shown_as_it_came(tmp_path: Path) -> None:
    folder = write_study(tmp_path, audio=False)
    for path in folder.glob("cells/*/predictions-speech.jsonl"):
        # Half a surrogate pair, which no UTF-8 file can hold.
        path.write_text(path.read_text().replace('\\"light\\", \\"act"', '\\"\\ud83d<b>"'))
    page = write_report(read_report(folder)).read_text(encoding="utf-8")
    assert "Unreadable answer" in page
    assert "\\ud83d&lt;b&gt;" in page


def test_official_scores_stand_beside_strict_ones_where_they_differ(tmp_path: Path, page: str) -> None:
    assert "Strict and official scores" not in page
    folder = write_study(tmp_path, audio=False)
    path = folder / "cells/text_only/scores.json"
    scores = json.loads(path.read_text())
    scores["speech"]["official"] |= {"intent_accuracy": 0.625, "num_scored": 96}
    path.write_text(json.dumps(scores))
    page = report_html(read_report(folder))
    assert "Strict and official scores" in page
    assert "62.5" in page and "96 of 100" in page


def test_an_unfinished_study_has_a_page_too(tmp_path: Path) -> None:
    folder = write_study(tmp_path, audio=False)
    for name in ("direct_mixing-5pct", "curriculum-5pct"):
        (folder / f"cells/{name}/scores.json").unlink()
    page = write_report(read_report(folder)).read_text(encoding="utf-8")
    assert "No answer yet: 2 of 4 cells have scores." in page
    assert "Unfinished: Direct mixing, Curriculum." in page


def test_csv_has_a_row_per_cell_and_input(folder: Path) -> None:
    rows = list(csv.DictReader((folder / "report.csv").open(encoding="utf-8")))
    assert [(row["cell"], row["input"]) for row in rows][2:4] == [("text_only", "speech"), ("text_only", "text")]
    curriculum = rows[6]
    assert float(curriculum["strict_intent_accuracy"]) == 0.81
    assert float(curriculum["intent_accuracy_gap_closed"]) == pytest.approx(0.7)
    assert len(rows) == 8


def test_the_figure_takes_its_ink_from_the_page(folder: Path) -> None:
    svg = (folder / "figure.svg").read_text(encoding="utf-8")
    assert "currentColor" in svg and "prefers-color-scheme" in svg
    assert "home en-US, 100 test utterances from unseen speakers, 5 % speech = 20 clips" in svg
    assert svg == figure_svg(read_report(folder).curves)
    assert (folder / "figure.png").read_bytes().startswith(b"\x89PNG")


def test_differing_parts_are_marked() -> None:
    gold = Frame("light", "on", (Entity("room", "hall"), Entity("time", "six")))
    answer = Frame("light", "off", (Entity("time", "Six"), Entity("room", "hallway"), Entity("item", "lamp")))
    assert frame_pieces(answer, gold) == [
        Piece("scenario", "light", ""),
        Piece("action", "off", "value"),
        Piece("time", "Six", ""),
        Piece("room", "hallway", "value"),
        Piece("item", "lamp", "all"),
    ]
    assert [piece.fault for piece in frame_pieces(gold, None)] == [""] * 4
