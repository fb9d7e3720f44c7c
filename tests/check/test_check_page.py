import html
import os
import re
import sys
import warnings
from pathlib import Path
from typing import Any

import pytest
from manifest_rows import row, save_rows, sound, spoken
from markupsafe import escape

from sottovoce.check.charts import MAX_BARS, MAX_NAME_CELLS
from sottovoce.check.manifest import MAX_LISTED, check_manifest
from sottovoce.check.page import check_html, write_check_page
from sottovoce.cli import main as cli
from sottovoce.core.errors import UserError

SCRIPT = "<script>alert('heard')</script>"


def page_of(path: Path, window_seconds: float = 8.0) -> str:
    return check_html(check_manifest(path, window_seconds), str(path))


def texts(page: str) -> list[str]:
    """What the pictures say, word for word."""
    return [html.unescape(text) for text in re.findall(r"<text[^>]*>(.*?)</text>", page, re.DOTALL)]


def check(monkeypatch: pytest.MonkeyPatch, *arguments: str | Path) -> int:
    monkeypatch.setattr(sys, "argv", ["sottovoce", "check", *map(str, arguments)])
    try:
        cli.main()
    except SystemExit as stop:
        return int(stop.code or 0)
    return 0


def every_kind(folder: Path) -> list[dict[str, Any]]:
    """A row for each kind of fault and warning that rows can give together."""
    return [
        *sound(folder),
        row(20, audio="gone.wav"),
        row(21, "test", action="explode"),
        row(22, "test", entities=[{"type": "room", "filler": "attic"}]),
        row(23, "test", transcript="train lamp 0 on", entities=[]),
        spoken(folder, 24, seconds=9.0),
        spoken(folder, 25, seconds=0.05),
        spoken(folder, 26) | {"seconds": 3.0},
    ]


def test_a_sound_manifest_is_said_to_be_fit(tmp_path: Path) -> None:
    page = page_of(save_rows(tmp_path, *sound(tmp_path)))
    assert "<h1>Fit to train</h1>" in page
    assert "No faults and no warnings." in page
    assert '<td class="left" data-label="split">train</td><td data-label="utterances">3</td>' in page


def test_an_unfit_manifest_is_said_to_be_unfit_and_why(tmp_path: Path) -> None:
    path = save_rows(tmp_path, *every_kind(tmp_path))
    page = page_of(path)
    assert '<h1 class="unfit">Not fit to train</h1>' in page
    assert "2 faults (recordings 1, intents 1) to fix before training." in page
    assert f"<li>{path}:6: no such recording: {tmp_path / 'gone.wav'}</li>" in page
    assert f"{path}:7: the intent &#39;lamp_explode&#39; is in test" in page


def test_each_line_of_the_check_is_on_the_page(tmp_path: Path) -> None:
    path = save_rows(tmp_path, *every_kind(tmp_path), spoken(tmp_path, 27, rate=8_000))
    report, page = check_manifest(path, 8.0), html.unescape(page_of(path))
    assert set(report.warnings_by_kind) == {
        "slot types", "transcripts", "long clips", "short clips", "lengths that differ", "fillers"
    }  # fmt: skip
    for line in (*report.faults, *report.warnings, *report.notes):
        assert f"<li>{line}</li>" in page


@pytest.mark.parametrize("split", ["train", "test"])
def test_a_manifest_without_a_split_or_without_speech_has_a_page_too(tmp_path: Path, split: str) -> None:
    path = save_rows(tmp_path, row(1, split))
    page = page_of(path)
    assert "Not fit to train" in page
    assert f"the split {'test' if split == 'train' else 'train'} is empty" in page
    assert "so there are no budgets to show" in page
    assert "Clip lengths" not in page


def test_faults_are_listed_in_full_and_the_terminal_has_the_first(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    gone = [row(20 + number, audio=f"gone{number}.wav") for number in range(MAX_LISTED + 5)]
    path, page = save_rows(tmp_path, *sound(tmp_path), *gone), tmp_path / "page.html"
    assert check(monkeypatch, path, "--html", page) == 2
    err = capsys.readouterr().err
    assert err.count("no such recording") == MAX_LISTED
    assert f"page: {page}\n" in err
    assert err.splitlines()[-1] == f"error: {path} is not fit to train; fix the faults above"
    written = page.read_text(encoding="utf-8")
    assert written.count("no such recording") == MAX_LISTED + 5
    assert f"{path}:{5 + MAX_LISTED + 5}: no such recording" in written
    assert "<summary>5 more</summary>" in written


def test_a_fit_manifest_exits_0_and_no_page_is_written_unasked(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    path = save_rows(tmp_path, *sound(tmp_path))
    before = set(tmp_path.iterdir())
    assert check(monkeypatch, path) == 0
    assert set(tmp_path.iterdir()) == before
    assert check(monkeypatch, path, "--html", tmp_path / "page.html") == 0
    assert set(tmp_path.iterdir()) - before == {tmp_path / "page.html"}


def test_text_of_the_manifest_is_escaped(tmp_path: Path) -> None:
    hostile = {"transcript": SCRIPT, "scenario": f"{SCRIPT}--><b", "entities": [{"type": "<i>", "filler": SCRIPT}]}
    rows = [spoken(tmp_path, 10) | hostile | {"speaker": "<u>$x^2$"}, row(11, "test", **hostile)]
    page = page_of(save_rows(tmp_path, *sound(tmp_path), *rows))
    assert not re.search(r"<(script|b|i|u)\b", page)
    assert f"the transcript {escape(repr(SCRIPT))} of test" in page
    assert "<i>" in texts(page) and "<u>$x^2$" in texts(page)


def test_the_page_needs_nothing_from_outside(tmp_path: Path) -> None:
    page = page_of(save_rows(tmp_path, *every_kind(tmp_path)))
    assert "<svg" in page
    assert not re.search(r"https?://|@import|<link|<script|<img", page)
    assert all(target.startswith("#") for target in re.findall(r'(?:src|href)="([^"]*)"', page))
    assert all(target.startswith("#") for target in re.findall(r"url\(([^)]*)\)", page))


def test_ids_of_the_pictures_are_unique(tmp_path: Path) -> None:
    # Intents and slot types make two pictures of the same measures.
    twin = {"entities": [{"type": "lamp_in", "filler": "lamp"}]}
    rows = [spoken(tmp_path, 1, **twin), spoken(tmp_path, 2, rate=8_000, **twin), row(3, "test")]
    page = page_of(save_rows(tmp_path, *rows))
    assert page.count("<svg") == 5
    clips = re.findall(r'<clipPath id="([^"]*)"', page)
    assert clips and len(clips) == len(set(clips))


def test_the_pictures_show_the_numbers_of_the_data(tmp_path: Path) -> None:
    rows = [spoken(tmp_path, n, seconds=30.0) | {"speaker": "anna"} for n in (10, 11, 12)]
    page = page_of(save_rows(tmp_path, *sound(tmp_path), *rows, spoken(tmp_path, 13, rate=8_000)))
    said = texts(page)
    assert said[said.index("lamp_on") + 1] == "6 of 6"
    assert said[said.index("lamp_off") + 1] == "0 of 1"
    assert said[said.index("device") + 1] == "6 of 7"
    assert said[said.index("anna") + 1] == "1.5"
    assert (said[said.index("8000 Hz") + 1], said[said.index("16000 Hz") + 1]) == ("1", "6")
    assert "15" in said and "30" not in said, "the axis of seconds ends at twice the window"
    assert "train: 1.00 to 30.00 s, median 15.50 s" in said
    assert "The model hears the first 8\u00a0s (dashed line). The last bar counts all longer clips too." in page


def test_of_many_names_the_largest_and_the_smallest_are_drawn(tmp_path: Path) -> None:
    rows = [row(100 + n, action=f"a{n:03}") for n in range(MAX_BARS + 8)]
    page = page_of(save_rows(tmp_path, *sound(tmp_path), *rows))
    said = texts(page)
    assert sum(text.startswith("lamp_") for text in said) == MAX_BARS
    # lamp_off and lamp_on are two more; only lamp_on comes first, being in two utterances.
    assert "… 10 more …" in said
    assert "lamp_a028" in said and "lamp_a029" not in said
    assert f"smallest {MAX_BARS // 2} of {MAX_BARS + 10}." in page


def test_names_of_any_script_and_length_fit_without_a_complaint(tmp_path: Path) -> None:
    odd = ["照明" * 20, "a" * 50 + "z", "रोशनी", "two\nlines\0"]
    rows = [row(10 + place, scenario=name) for place, name in enumerate(odd)]
    path = save_rows(tmp_path, *sound(tmp_path), *rows)
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        said = texts(page_of(path))
    assert "a" * 11 + "…" + "a" * 7 + "z_on" in said
    assert "照明照明照…照明照明_on" in said
    assert all(len(text) <= MAX_NAME_CELLS for text in said if text.endswith("_on"))


def test_intents_that_a_budget_leaves_without_speech_are_named(tmp_path: Path) -> None:
    page = page_of(save_rows(tmp_path, *sound(tmp_path)))
    assert "<summary>1 %: 1 intent without speech</summary>\n    <p>lamp_off</p>" in page
    assert "Train has too few recordings for larger shares." in page


@pytest.mark.parametrize("where", ["missing/page.html", ".", "file/page.html"])
def test_a_page_that_cannot_be_written_is_one_line(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str], where: str
) -> None:
    (tmp_path / "file").touch()
    path = save_rows(tmp_path, *sound(tmp_path))
    assert check(monkeypatch, path, "--html", tmp_path / where) == 2
    listening, note, *errors = capsys.readouterr().err.splitlines()
    assert listening.startswith("listening") and note.startswith("note: ") and len(errors) == 1
    assert errors[0].startswith(f"error: cannot write the page {tmp_path / where}: ")


def test_a_page_does_not_replace_its_manifest(tmp_path: Path) -> None:
    path = save_rows(tmp_path, *sound(tmp_path))
    before = path.read_text()
    with pytest.raises(UserError, match="would replace the manifest"):
        write_check_page(check_manifest(path), path, tmp_path / "." / "manifest.jsonl")
    assert path.read_text() == before


def test_a_path_that_is_no_utf8_is_shown_with_escapes(tmp_path: Path) -> None:
    path = save_rows(tmp_path, *sound(tmp_path), row(9, audio="gone.wav"))
    try:
        odd = path.rename(tmp_path / os.fsdecode(b"\xff.jsonl"))
    except OSError:
        pytest.skip("this file system takes UTF-8 names only")
    page = write_check_page(check_manifest(odd), odd, tmp_path / "page.html")
    assert "\\udcff.jsonl:6: no such recording" in page.read_text(encoding="utf-8")
