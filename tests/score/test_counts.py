from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest
from score_rows import answer, frame

from sottovoce.score.counts import counts_table
from sottovoce.score.metrics.metric import ITEMS
from sottovoce.score.metrics.registry import METRICS, metric_named

GOLD = frame("a b", "t:five am", "d:today")
ANSWERS = [
    answer(GOLD, GOLD, "1"),
    answer(GOLD, frame("a b", "t:five pm"), "2"),
    answer(GOLD, frame("a c", "t:five am", "p:here"), "3"),
    answer(GOLD, GOLD, "4", status="unreadable"),
    answer(GOLD, GOLD, "5", status="duplicate"),
    answer(GOLD, None, "6"),
]


def test_official_skips_what_is_missing_and_strict_counts_every_item() -> None:
    assert counts_table(ANSWERS, "official").counted(ITEMS).tolist() == [1, 1, 1, 1, 1, 0]
    assert counts_table(ANSWERS, "strict").counted(ITEMS).tolist() == [1] * 6
    assert not counts_table(ANSWERS, "official").rows[-1].any()
    assert counts_table(ANSWERS, "official").figures()["intent_accuracy"] == 4 / 5
    assert counts_table(ANSWERS, "strict").figures()["intent_accuracy"] == 2 / 6


def test_recordings_are_summed_by_utterance_and_utterances_weigh_the_same() -> None:
    wrong = frame("a c")
    answers = [
        answer(GOLD, GOLD, "1", utterance="u"),
        answer(GOLD, wrong, "2", utterance="v"),
        answer(GOLD, GOLD, "3", utterance="u"),
        answer(GOLD, GOLD, "4", utterance="u"),
    ]
    table = counts_table(answers, "strict")
    assert table.num_utterances == 2
    assert table.per_utterance()[:, table.columns[ITEMS]].tolist() == [3, 1]
    assert table.per_utterance()[:, table.columns["entity_tp"]].tolist() == [6, 0]
    assert table.figures()["intent_accuracy"] == 3 / 4
    assert table.figures_per_utterance()["intent_accuracy"] == 1 / 2
    assert table.figures_per_utterance()["entity_recall"] == pytest.approx(2 / 4)


def test_an_utterance_counts_by_the_share_of_its_recordings_that_are_right() -> None:
    said = [("1", "u", GOLD), ("2", "u", frame("a c")), ("3", "v", GOLD)]
    table = counts_table([answer(GOLD, predicted, key, utterance=name) for key, name, predicted in said], "strict")
    assert table.figures()["intent_accuracy"] == 2 / 3
    assert table.figures_per_utterance()["intent_accuracy"] == (1 / 2 + 1) / 2


def test_an_utterance_that_official_skips_altogether_does_not_weigh() -> None:
    answers = [answer(GOLD, GOLD, "1"), answer(GOLD, None, "2")]
    assert counts_table(answers, "official").figures_per_utterance()["intent_accuracy"] == 1.0
    assert counts_table(answers, "strict").figures_per_utterance()["intent_accuracy"] == 0.5


def test_figures_of_many_sums_at_once_are_those_of_each_and_empty_ones_are_0() -> None:
    table = counts_table(ANSWERS, "strict")
    sums = np.random.default_rng(0).random((3, 4, len(table.columns)))
    together = table.figures_of(sums)
    assert together.shape == (3, 4, len(METRICS))
    assert together[1, 2].tolist() == pytest.approx(table.figures_of(sums[1, 2]).tolist())
    assert not table.figures_of(np.zeros(len(table.columns))).any()


def test_how_a_metric_is_written() -> None:
    accuracy = metric_named("intent_accuracy")
    assert (accuracy.heading, accuracy.column, accuracy.title) == ("intent accuracy, %", "intent", "Intent accuracy")
    assert (accuracy.text(0.1236), accuracy.text(0.1236, 2, "+")) == ("12.4", "+12.36")
    assert (accuracy.bounds([0.1, 0.25]), accuracy.bounds([0.1, 0.25], 2, "+")) == ("[10.0, 25.0]", "[+10.00, +25.00]")
    plain = replace(accuracy, unit="", short="", shown="data")
    assert (plain.heading, plain.column, plain.text(1.5)) == ("intent accuracy", "intent accuracy", "1.5")


def test_counts_of_some_metrics_hold_their_columns_alone() -> None:
    wanted = [metric for metric in METRICS if metric.key == "intent_accuracy"]
    table = counts_table(ANSWERS, "strict", wanted)
    assert list(table.columns) == [ITEMS, "scenario", "action", "intent"]
    assert table.figures() == {"intent_accuracy": 2 / 6}
