"""Laws that the metrics hold for any gold and any predictions, tried by hypothesis."""

from __future__ import annotations

import random
from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from score_rows import answer, frame, matched, write_rows

from sottovoce.core.types import REJECTIONS, Entity, Frame
from sottovoce.score.counts import counts_table, counts_tables
from sottovoce.score.evaluate import score, score_answers
from sottovoce.score.files import Gold, GoldItem, PredictionRow, read_gold
from sottovoce.score.matching import VIEWS, Answer, match_answers
from sottovoce.score.metrics import registry
from sottovoce.score.metrics.massive import slot_counts
from sottovoce.score.metrics.metric import Counts
from sottovoce.score.metrics.registry import metric_named
from sottovoce.score.metrics.slurp import entity_counts

laws = settings(deadline=None, max_examples=150, derandomize=True, database=None)

labels = st.sampled_from(["set", "on", "on_off"])
rejections = st.builds(Frame, st.sampled_from(REJECTIONS), st.just(""))
# Few words, so that some agree; capitals, an empty filler and half a surrogate pair are among them.
fillers = st.lists(st.sampled_from(["five", "Five", "am", "été", "x\u2028y", "\ud83d"]), max_size=3).map(" ".join)
entities = st.lists(st.builds(Entity, st.sampled_from(["time", "date"]), fillers), max_size=4).map(tuple)
frames = st.one_of(st.builds(Frame, labels, labels, entities), rejections)
statuses = st.sampled_from(["ok", "ok", "unreadable"])
# Of each gold item: its frame, the transcript, and the rows that answer it (none, one, or a duplicate).
items = st.lists(
    st.tuples(frames, fillers, st.lists(st.tuples(frames, statuses), max_size=2)), min_size=1, max_size=8
)  # fmt: skip
pairs = st.lists(st.tuples(frames, st.one_of(st.none(), frames)), min_size=1, max_size=8)


def read(drawn: list[tuple[Frame, str, list[tuple[Frame, str]]]]) -> tuple[Gold, list[PredictionRow]]:
    gold = {str(n): GoldItem(str(n), right, said or "x") for n, (right, said, _) in enumerate(drawn)}
    rows = [
        PredictionRow("id", str(n), predicted, None, status)  # type: ignore[arg-type]
        for n, (_, _, answers) in enumerate(drawn)
        for predicted, status in answers
    ]
    return Gold(Path("gold.jsonl"), gold, {}), rows


def answers_to(drawn: list[tuple[Frame, Frame | None]]) -> list[Answer]:
    return [answer(right, predicted, str(n)) for n, (right, predicted) in enumerate(drawn)]


@laws
@given(items)
def test_every_share_is_between_0_and_1_and_every_count_between_0_and_all(drawn: list[object]) -> None:
    gold, rows = read(drawn)  # type: ignore[arg-type]
    for figures in score(gold, rows).values():
        for name, value in figures.items():
            assert 0 <= value <= (len(drawn) if name.startswith("num_") else 1), name


@laws
@given(st.lists(frames, min_size=1, max_size=8))
def test_gold_answered_by_itself_is_perfect(gold: list[Frame]) -> None:
    answers = matched(gold, [*gold])
    for figures in score_answers(answers, counts_tables(answers.all)).values():
        for name, value in figures.items():
            # Where gold has no entities at all there is nothing to find, and F1 is 0 by definition.
            perfect = 1.0 if "accuracy" in name or "exact" in name or any(each.entities for each in gold) else 0.0
            best = perfect if name.startswith("num_") or metric_named(name).higher_is_better else 0.0
            assert name.startswith("num_") or value == best, name


@laws
@given(items, st.randoms(use_true_random=False))
def test_the_order_of_rows_does_not_matter(drawn: list[object], chance: random.Random) -> None:
    gold, rows = read(drawn)  # type: ignore[arg-type]
    once = [row for n, row in enumerate(rows) if row.key not in {earlier.key for earlier in rows[:n]}]
    shuffled = chance.sample(once, len(once))
    assert score(gold, shuffled) == score(gold, once)


@laws
@given(items, st.randoms(use_true_random=False))
def test_the_order_of_gold_items_does_not_matter(drawn: list[object], chance: random.Random) -> None:
    gold, rows = read(drawn)  # type: ignore[arg-type]
    keys = chance.sample(list(gold.utterances), len(gold.utterances))
    shuffled = Gold(gold.path, {key: gold.utterances[key] for key in keys}, {})
    for view, figures in score(shuffled, rows).items():
        assert figures == pytest.approx(score(gold, rows)[view], abs=1e-12)


@laws
@given(items)
def test_strict_accuracies_and_entity_recall_never_exceed_the_official(drawn: list[object]) -> None:
    gold, rows = read(drawn)  # type: ignore[arg-type]
    both = score(gold, rows)
    for name in ("scenario_accuracy", "action_accuracy", "intent_accuracy", "frame_accuracy", "entity_recall"):
        assert both["strict"][name] <= both["official"][name] + 1e-12, name


@laws
@given(pairs)
def test_where_answers_are_only_missing_no_strict_figure_exceeds_the_official(
    drawn: list[tuple[Frame, Frame | None]],
) -> None:
    answers = answers_to(drawn)
    official, strict = (counts_table(answers, view).figures() for view in VIEWS)
    assert all(strict[name] <= official[name] + 1e-12 for name in official)


def test_an_unreadable_answer_with_a_wrong_entity_can_raise_strict_precision() -> None:
    """Why the law above is about missing answers: strict takes the false entity of an unreadable answer away."""
    right, wrong = frame("a b", "t:x"), frame("a b", "t:y")
    answers = [answer(right, right, "1"), answer(right, wrong, "2", status="unreadable")]
    official, strict = (counts_table(answers, view).figures() for view in VIEWS)
    assert (official["entity_precision"], strict["entity_precision"]) == (1 / 2, 1.0)
    assert strict["entity_recall"] == official["entity_recall"] == 1 / 2


@laws
@given(frames, st.one_of(st.none(), frames), fillers)
def test_what_an_item_adds_has_the_same_names_whatever_is_predicted(
    gold: Frame, predicted: Frame | None, said: str
) -> None:
    """Else the counts of two systems could not be set beside each other, column by column."""
    item = answer(gold, predicted, said or "x").item
    for metric in registry.METRICS:
        assert list(metric.counts(item, predicted)) == list(metric.counts(item, None)), metric.key


def swapped(counts: Counts) -> Counts:
    return Counts(counts.tp, counts.fn, counts.fp)


@laws
@given(st.lists(st.tuples(frames, frames), max_size=6))
def test_swapping_gold_and_prediction_swaps_precision_and_recall_of_entities(drawn: list[tuple[Frame, Frame]]) -> None:
    for first, second in drawn:
        assert entity_counts(second, first) == swapped(entity_counts(first, second))


@laws
@given(frames, frames, fillers)
def test_swapping_swaps_massives_slots_too(first: Frame, second: Frame, said: str) -> None:
    assert slot_counts(second, first, said) == swapped(slot_counts(first, second, said))


def test_lower_casing_gold_alone_breaks_the_swap(tmp_path: Path) -> None:
    """The official scorer lower-cases gold fillers only: what is right one way round is wrong the other."""

    def release(word: str) -> Gold:
        row = {
            "slurp_id": 1,
            "sentence": word,
            "scenario": "a",
            "action": "b",
            "entities": [{"span": [0], "type": "t"}],
        }
        return read_gold(write_rows(tmp_path / "gold.jsonl", row | {"tokens": [{"surface": word}]}))

    upper, lower = frame("a b", "t:Anna"), frame("a b", "t:anna")
    one_way = match_answers(release("Anna"), [PredictionRow("slurp_id", "1", lower)])
    other_way = match_answers(release("anna"), [PredictionRow("slurp_id", "1", upper)])
    assert entity_counts(*one_way.all[0].pair("official")) == Counts(1, 0, 0)  # type: ignore[misc]
    assert entity_counts(*other_way.all[0].pair("official")) == Counts(0, 1, 1)  # type: ignore[misc]
