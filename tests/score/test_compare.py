from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest
from rich.console import Console
from score_rows import manifest_row, prediction_row, write_rows

from sottovoce.core.errors import UserError
from sottovoce.score.compare import compare_systems, comparison_tables, listed, p_words
from sottovoce.score.files import read_gold
from sottovoce.score.metrics.registry import in_tables

NUM_UTTERANCES = 60


@pytest.fixture
def gold(tmp_path: Path) -> Path:
    return write_rows(tmp_path / "gold.jsonl", *map(manifest_row, range(NUM_UTTERANCES)))


def system(gold: Path, name: str, num_right: int, start: int = 0, **changes: Any) -> str:
    """Predictions of which ``num_right`` from ``start`` on have the right intent, the others another."""
    right = [(number - start) % NUM_UTTERANCES < num_right for number in range(NUM_UTTERANCES)]
    rows = [
        prediction_row(number, **({} if good else {"action": "cancel"}), **changes) for number, good in enumerate(right)
    ]
    return str(write_rows(gold.parent / f"{name}.jsonl", *rows))


def compared(gold: Path, *systems: str) -> dict[str, Any]:
    return compare_systems(systems, read_gold(gold), lambda _: None)


def shown(comparison: dict[str, Any]) -> str:
    console = Console(width=120, record=True, file=None, quiet=False)
    with console.capture() as captured:
        for table in comparison_tables(comparison):
            console.print(table)
    return captured.get()


def test_a_clear_difference_is_found_and_equal_figures_cannot_be_told_apart(gold: Path) -> None:
    comparison = compared(gold, system(gold, "good", 50), system(gold, "poor", 20))
    (pair,) = comparison["pairs"]
    intent = pair["figures"]["intent_accuracy"]
    assert intent["difference"] == pytest.approx(0.5)
    assert intent["interval"][0] < 0.5 < intent["interval"][1]
    assert intent["interval"][0] > 0.35
    assert intent["p_value"] == intent["corrected_p_value"] < 1e-9
    assert intent["better"] == "first"
    entities = pair["figures"]["entity_f1"]
    assert (entities["difference"], entities["p_value"], entities["better"]) == (0.0, 1.0, None)
    assert pair["mcnemar_intent"] | {"p_value": 0} == {
        "num_first_better": 30, "num_second_better": 0, "p_value": 0, "corrected_p_value": pytest.approx(2 / 2**30),
    }  # fmt: skip
    assert comparison["sentences"] == [
        "good is better than poor in intent accuracy and frame accuracy.",
        "good and poor cannot be told apart in entity F1, SLU-F1 and entity recall by slot.",
        "good has more intents right in 30 utterances, poor in 0 (McNemar's exact test: p < 0.0001).",
    ]
    assert comparison["correction"] is None
    good = comparison["systems"][0]
    low, high = (f"{100 * end:.2f}" for end in good["intervals"]["strict"]["intent_accuracy"])
    assert " 83.33 " in shown(comparison) and f"[{low}, {high}]" in shown(comparison)


def test_the_better_one_is_named_whichever_comes_first(gold: Path) -> None:
    comparison = compared(gold, system(gold, "poor", 20), system(gold, "good", 50))
    assert comparison["pairs"][0]["figures"]["intent_accuracy"]["better"] == "second"
    assert comparison["sentences"][0] == "good is better than poor in intent accuracy and frame accuracy."


def test_a_small_difference_cannot_be_told_apart(gold: Path) -> None:
    pair = compared(gold, system(gold, "a", 41), system(gold, "b", 40, start=20))["pairs"][0]
    intent = pair["figures"]["intent_accuracy"]
    assert intent["difference"] == pytest.approx(1 / 60)
    assert intent["interval"][0] < 0 < intent["interval"][1]
    assert intent["p_value"] > 0.5
    assert intent["better"] is None


def test_p_values_of_several_pairs_are_corrected_and_that_is_said(gold: Path) -> None:
    # a and b differ in six utterances: p is about 0.03 alone, and no longer below 0.05 as one of three pairs.
    a, b, c = system(gold, "a", 36), system(gold, "b", 30), system(gold, "c", 33)
    assert compared(gold, a, b)["pairs"][0]["figures"]["intent_accuracy"]["better"] == "first"
    comparison = compared(gold, a, b, c)
    assert [(pair["first"], pair["second"]) for pair in comparison["pairs"]] == [("a", "b"), ("a", "c"), ("b", "c")]
    row = comparison["pairs"][0]["figures"]["intent_accuracy"]
    assert row["p_value"] < 0.05
    assert row["corrected_p_value"] == pytest.approx(3 * row["p_value"])
    assert row["better"] is None
    assert comparison["correction"] == "holm"
    assert row["interval"][0] > 0 > row["corrected_interval"][0]
    assert comparison["sentences"][-1] == (
        "The p-values and intervals of differences are corrected for 3 pairs (Holm)."
    )
    assert "p, Holm" in shown(comparison)
    assert "p, Holm" not in shown(compared(gold, a, b))


def test_differences_are_strict_and_both_views_are_shown_only_if_they_differ(gold: Path) -> None:
    whole, part = system(gold, "whole", 60), gold.parent / "part.jsonl"
    part.write_text("".join(Path(whole).read_text().splitlines(keepends=True)[:30]))
    comparison = compared(gold, whole, str(part))
    assert comparison["systems"][1]["official"]["intent_accuracy"] == 1.0
    assert comparison["systems"][1]["strict"]["intent_accuracy"] == 0.5
    assert comparison["pairs"][0]["figures"]["intent_accuracy"]["difference"] == 0.5
    views = [line.split("│")[2].strip() for line in shown(comparison).splitlines() if line.startswith("│ whole  │")]
    assert views == ["both"]
    views = [line.split("│")[2].strip() for line in shown(comparison).splitlines() if line.startswith("│ part   │")]
    assert views == ["official", "strict"]


def test_seeds_of_a_system_are_averaged_with_their_spread(gold: Path) -> None:
    seeds = ",".join(system(gold, f"s{right}", right) for right in (30, 36, 42))
    comparison = compared(gold, seeds, system(gold, "other", 36))
    first, second = comparison["systems"]
    assert [Path(path).name for path in first["files"]] == ["s30.jsonl", "s36.jsonl", "s42.jsonl"]
    assert first["strict"]["intent_accuracy"] == pytest.approx(0.6)
    spread = first["seeds"]["intent_accuracy"]
    assert spread == {
        "mean": pytest.approx(0.6), "deviation": pytest.approx(0.1), "lowest": 0.5, "highest": 0.7, "num_seeds": 3,
    }  # fmt: skip
    assert "seeds" not in second
    assert comparison["pairs"][0]["figures"]["intent_accuracy"]["difference"] == pytest.approx(0.0)
    assert "60.00 ± 10.00" in shown(comparison)


def test_a_comparison_is_json_and_few_utterances_are_named(gold: Path) -> None:
    files = system(gold, "a", 41), system(gold, "b", 30, start=20)
    comparison = compared(gold, *files)
    assert json.loads(json.dumps(comparison)) == comparison
    assert (comparison["num_items"], comparison["num_utterances"]) == (60, 60)
    assert "are few" not in " ".join(comparison["sentences"])
    short = write_rows(gold.parent / "short.jsonl", *map(manifest_row, range(49)))
    assert compared(short, *files)["sentences"][-1].startswith("49 test utterances are few: below 50, ")


def test_no_verdict_contradicts_its_interval(gold: Path) -> None:
    """Of many pairs, with and without Holm's correction, at every figure."""
    found = set()
    for number in range(22, 60, 3):
        files = [system(gold, name, right) for name, right in (("a", 20), ("b", number), ("c", 40))]
        for systems in (files[:2], files):
            for row in (row for pair in compared(gold, *systems)["pairs"] for row in pair["figures"].values()):
                for ends, p_value in (("interval", "p_value"), ("corrected_interval", "corrected_p_value")):
                    low, high = row[ends]
                    assert (not low <= 0 <= high) == (row[p_value] < 0.05)
                low, high = row["corrected_interval"]
                assert row["better"] == ("first" if low > 0 else "second" if high < 0 else None)
                found.add(row["better"])
    assert found == {"first", "second", None}


def test_systems_are_named_by_their_files_or_by_the_path_if_that_says_more(gold: Path) -> None:
    def names(*files: str) -> list[str]:
        return [each["name"] for each in compared(gold, *files)["systems"]]

    (gold.parent / "other").mkdir()
    a, b, c = system(gold, "a_predictions", 9), system(gold, "other/a_predictions", 9), system(gold, "predictions", 9)
    assert names(a, c) == ["a", "predictions"]
    assert names(a, b) == ["a_predictions.jsonl", "other/a_predictions.jsonl"]
    (gold.parent / "cells/x").mkdir(parents=True)
    (gold.parent / "cells/y").mkdir()
    x, y = (system(gold, f"cells/{cell}/predictions-speech", 9) for cell in "xy")
    assert names(x, y) == ["x", "y"]
    assert names(a, system(gold, "b,c", 9)) == ["a", "b,c"]  # one file, not two seeds


def test_every_figure_is_compared_and_those_of_tables_are_shown(gold: Path) -> None:
    comparison = compared(gold, system(gold, "a", 41), system(gold, "b", 30))
    assert {metric.key for metric in in_tables()} < set(comparison["pairs"][0]["figures"])
    assert comparison["pairs"][0]["figures"].keys() == comparison["systems"][0]["strict"].keys()
    assert all(f"│ {metric.label} " in shown(comparison) for metric in in_tables())


def test_names_and_p_values_in_a_sentence() -> None:
    assert [listed(names) for names in (["a"], ["a", "b"], ["a", "b", "c"])] == ["a", "a and b", "a, b and c"]
    assert [p_words(value) for value in (1.0, 0.04567, 0.0001, 0.00009)] == [
        "= 1.0000", "= 0.0457", "= 0.0001", "< 0.0001",
    ]  # fmt: skip


def test_what_cannot_be_compared_is_refused(gold: Path) -> None:
    a = system(gold, "a", 41)
    with pytest.raises(UserError, match="nothing to compare with"):
        compared(gold, a)
    with pytest.raises(UserError, match="no such prediction file: nowhere"):
        compared(gold, a, "nowhere")
    spoken = write_rows(gold.parent / "s.jsonl", *(manifest_row(n, audio=f"{n}.wav") for n in range(NUM_UTTERANCES)))
    by_file = write_rows(gold.parent / "f.jsonl", prediction_row(0, id=None, file="0.wav"))
    with pytest.raises(UserError, match=r"f\.jsonl is keyed by file, .*a\.jsonl by id"):
        compared(spoken, a, str(by_file))
    with pytest.raises(UserError, match=r"f\.jsonl is keyed by file, .*a\.jsonl by id"):
        compared(spoken, f"{a},{by_file}", a)
