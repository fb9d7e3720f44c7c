"""A metric that a test registers appears in `score`, `compare` and the report's data without any other change."""

from __future__ import annotations

import csv
import io
import sys
from pathlib import Path

import pytest
from grid_folder import write_grid
from score_rows import manifest_row, prediction_row, write_rows

from sottovoce.cli import main as cli
from sottovoce.report.csv_json import csv_table
from sottovoce.report.results import read_study
from sottovoce.score.compare import compare_systems
from sottovoce.score.files import read_gold
from sottovoce.score.metrics import registry
from sottovoce.score.metrics.metric import ITEMS, Metric, f1, ratio
from sottovoce.score.metrics.slurp import exact_counts

MADE_UP = Metric(
    "made_up_entities", "made-up entities an item", "entities", exact_counts,
    lambda sums: ratio(sums["entity_fp"], sums[ITEMS]), "tables", unit="", higher_is_better=False, official=False,
)  # fmt: skip
NUM_ITEMS = 30


@pytest.fixture(autouse=True)
def registered(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(registry, "METRICS", (*registry.METRICS, MADE_UP))


@pytest.fixture
def files(tmp_path: Path) -> tuple[str, ...]:
    """Two prediction files and their gold: the first answers all rightly, the second makes up an entity in each."""
    extra = [{"type": "room", "filler": "hall"}]
    right = [prediction_row(number) for number in range(NUM_ITEMS)]
    more = [row | {"entities": row["entities"] + extra} for row in right]
    gold = write_rows(tmp_path / "gold.jsonl", *map(manifest_row, range(NUM_ITEMS)))
    return str(write_rows(tmp_path / "right.jsonl", *right)), str(write_rows(tmp_path / "more.jsonl", *more)), str(gold)


def printed(monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str], *arguments: str) -> list[list[str]]:
    """The cells of what a verb prints."""
    monkeypatch.setenv("COLUMNS", "200")
    monkeypatch.setattr(sys, "argv", ["sottovoce", *arguments])
    cli.main()
    return [[cell.strip() for cell in line.strip("│").split("│")] for line in capsys.readouterr().out.splitlines()]


def test_score_shows_it_as_a_plain_number_and_in_breakdowns(
    files: tuple[str, ...], monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    rows = printed(monkeypatch, capsys, "score", files[1], "--gold", files[2], "--by", "slot", "--intervals")
    assert ["made-up entities an item", "–", "1.00 [1.0, 1.0]"] in rows
    (room,) = [row for row in rows if row[0] == "room"]
    assert room[-1] == "1.00"


def test_compare_knows_that_less_of_it_is_better(
    files: tuple[str, ...], monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    figures = compare_systems(files[:2], read_gold(Path(files[2])), str)["pairs"][0]["figures"]
    assert (figures[MADE_UP.key]["difference"], figures[MADE_UP.key]["better"]) == (-1.0, "first")
    rows = printed(monkeypatch, capsys, "compare", *files[:2], "--gold", files[2])
    assert [row[2] for row in rows if row[1:2] == [MADE_UP.label]] == ["-1.00"]
    assert any("right is better than more in" in row[0] and MADE_UP.label in row[0] for row in rows)


def test_a_studys_csv_has_a_column_for_it(tmp_path: Path) -> None:
    folder = write_grid(tmp_path, {"text_only": (0.5, 0.9)}, num_test=20)
    rows = list(csv.DictReader(io.StringIO(csv_table(read_study(folder), {}))))
    assert all(0 <= float(row["strict_made_up_entities"]) <= 1 for row in rows)
    assert any(float(row["strict_made_up_entities"]) for row in rows)
    assert "official_made_up_entities" not in rows[0]
    scores = folder / "cells/text_only/scores.json"  # of a study that ran before there was the metric
    scores.write_text(scores.read_text().replace('"made_up_entities"', '"another"'))
    assert next(csv.DictReader(io.StringIO(csv_table(read_study(folder), {}))))["strict_made_up_entities"] == ""


@pytest.mark.parametrize("wrong", [{"unit": ""}, {"higher_is_better": False}])
def test_a_headline_metric_must_be_a_share_that_is_better_the_higher(wrong: dict[str, object]) -> None:
    with pytest.raises(ValueError, match="new cannot be a headline metric"):
        Metric("new", "new", "entities", exact_counts, f1("entity"), "headline", **wrong)  # type: ignore[arg-type]
