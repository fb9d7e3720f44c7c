"""`sottovoce score` and `sottovoce compare` as a user types them."""

from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path
from typing import NamedTuple

import pytest
from score_rows import manifest_row, prediction_row, write_rows

from sottovoce.cli import main as cli


class Outcome(NamedTuple):
    code: int
    out: str
    err: str


class Folder:
    """Gold of four rows, predictions ``a`` (all right) and ``b`` (one intent wrong, one answer missing)."""

    def __init__(self, path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> None:
        self.monkeypatch, self.capsys = monkeypatch, capsys
        self.gold = write_rows(path / "gold.jsonl", *map(manifest_row, range(4)))
        self.a = write_rows(path / "a.jsonl", *map(prediction_row, range(4)))
        self.b = write_rows(path / "b.jsonl", prediction_row(0), prediction_row(1, action="cancel"), prediction_row(2))

    def run(self, *arguments: str | Path) -> Outcome:
        self.monkeypatch.setattr(sys, "argv", ["sottovoce", *map(str, arguments), "--gold", str(self.gold)])
        try:
            cli.main()
            code = 0
        except SystemExit as stop:
            code = int(stop.code or 0)
        return Outcome(code, *self.capsys.readouterr())


@pytest.fixture
def folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> Folder:
    monkeypatch.setenv("COLUMNS", "120")
    return Folder(tmp_path, monkeypatch, capsys)


def cells(table: str, name: str) -> list[str]:
    """The cells of the row of a printed table that begins with the name."""
    (line,) = [line for line in table.splitlines() if line.startswith(f"│ {name} ")]
    return [cell.strip() for cell in line.strip("│").split("│")]


def test_official_and_strict_stand_side_by_side(folder: Folder) -> None:
    outcome = folder.run("score", folder.b)
    assert outcome.code == 0
    assert cells(outcome.out, "intent accuracy") == ["intent accuracy", "66.67%", "50.00%"]
    assert cells(outcome.out, "num scored") == ["num scored", "3", "4"]
    assert outcome.err.startswith("note: 1 of 4 gold items have no prediction")


def test_breakdown_and_confusions_are_printed(folder: Folder) -> None:
    out = folder.run("score", folder.b, "--by", "intent", "--by", "slot").out
    assert "│ alarm_set │ 4     │ 50.00% (66.67%) │" in out
    assert cells(out, "time")[:2] == ["time", "4"]
    assert "│ alarm_set   │ alarm_cancel │ 1     │ 25.0%          │" in out
    assert "of 2 wrong intents" in out


def test_json_has_what_was_asked_for(folder: Folder) -> None:
    assert list(json.loads(folder.run("score", folder.b, "--json").out)) == ["official", "strict"]
    report = json.loads(folder.run("score", folder.b, "--json", "--by", "length", "--intervals").out)
    assert list(report) == ["official", "strict", "intervals", "by"]
    assert report["by"]["length"]["over 3 to 6 words"]["num_items"] == 4
    outcome = folder.run("score", folder.b, "--by", "colour")
    assert (outcome.code, outcome.out) == (2, "")
    assert "error: there is no breakdown by 'colour'; it is one of intent" in outcome.err


def test_intervals_are_printed_beside_the_figures(folder: Folder) -> None:
    out = folder.run("score", folder.b, "--intervals").out
    assert cells(out, "intent accuracy")[2] == "50.00% [9.4, 90.6]"


def test_confidences_have_tables_of_their_own(folder: Folder) -> None:
    rows = [prediction_row(n, confidence=0.9 - n / 5, action="cancel" if n == 3 else "set") for n in range(4)]
    write_rows(folder.a, *rows)
    outcome = folder.run("score", folder.a, "--target-accuracy", "1")
    assert outcome.code == 0
    assert cells(outcome.out, "calibration error (ECE)")[1].startswith("30.00% [")  # (0.1 + 0.3 + 0.5 + 0.3) / 4
    assert "abstain below 0.5 for an intent accuracy of 100.0%" in outcome.out
    assert cells(outcome.out, "0.5")[:3] == ["0.5", "75.00%", "3"]
    assert cells(outcome.out, "0.99")[1:] == ["0.00%", "0", "–"]
    assert list(json.loads(folder.run("score", folder.a, "--json").out)) == ["official", "strict", "calibration"]
    write_rows(folder.a, *[row | {"confidence": 1 - row["confidence"]} for row in rows])
    refused = folder.run("score", folder.a, "--target-accuracy", "1")
    assert (refused.code, refused.out) == (2, "")
    assert refused.err == (
        "error: no threshold reaches an intent accuracy of 100.0%; the best is 75.0%, with 100.0% answered; "
        "lower the target\n"
    )
    assert "calibration" not in folder.run("score", folder.b).out


def test_compare_prints_tables_and_says_in_words_who_is_better(folder: Folder) -> None:
    outcome = folder.run("compare", folder.a, folder.b)
    assert outcome.code == 0
    assert cells(outcome.out, "a - b")[1:4] == ["intent accuracy", "+50.00", "[-26.31, 92.97]"]
    expected = "a and b cannot be told apart in intent accuracy, frame accuracy, entity F1, SLU-F1 and entity recall"
    assert expected in outcome.out  # four utterances say very little
    comparison = json.loads(folder.run("compare", folder.a, folder.b, "--json").out)
    assert comparison["pairs"][0]["mcnemar_intent"]["num_first_better"] == 2


def test_faults_are_one_line(folder: Folder) -> None:
    folder.b.write_text('{"id": \n', encoding="utf-8")
    for arguments in (("score", folder.b), ("compare", folder.a, folder.b)):
        outcome = folder.run(*arguments)
        assert (outcome.code, outcome.out) == (2, "")
        assert outcome.err.startswith(f"error: {folder.b}:1: not JSON")
        assert outcome.err.count("\n") == 1
    assert "nothing to compare with" in folder.run("compare", folder.a).err


@pytest.mark.parametrize("verb", ["score", "compare"])
def test_help_names_the_options_and_no_model_library_is_loaded(folder: Folder, verb: str) -> None:
    files = [str(folder.a), str(folder.b)][: 1 if verb == "score" else 2]
    arguments = ["sottovoce", verb, *files, "--gold", str(folder.gold), "--json"]
    code = f"""
import sys
sys.argv = {arguments!r}
from sottovoce.cli.main import main
main()
print(*sorted({{"torch", "transformers", "scipy", "matplotlib", "soundfile"}} & set(sys.modules)), file=sys.stderr)
"""
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stderr.splitlines()[-1] == ""
    assert "--gold" in folder.run(verb, "--help").out
