import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest
from shared_data import SHARED, needs_shared

from sottovoce.core.errors import UserError
from sottovoce.core.types import Entity, Frame
from sottovoce.score.evaluate import score
from sottovoce.score.files import Gold, GoldItem, PredictionRow, read_gold, read_predictions
from sottovoce.score.metrics.metric import Counts
from sottovoce.score.metrics.slurp import char_distance, distance_counts, entity_counts, word_distance

SLURP = SHARED / "slurp"

# The official scorer's own figures for the published outputs, from the data folder's README.
OFFICIAL = {
    "gold_hermit": (2974, 2974, 0.90148, 0.86987, 0.84835, 0.78191, 0.82448, 0.80343, 0.81382),
    "google_sfid": (12393, 13078, 0.78867, 0.74308, 0.72065, 0.56544, 0.71661, 0.57856, 0.64023),
    "multi_hermit": (13077, 13078, 0.83735, 0.79705, 0.76677, 0.62695, 0.70100, 0.68971, 0.69531),
    "multi_slurp_hermit": (13071, 13078, 0.85686, 0.81417, 0.78334, 0.64157, 0.74133, 0.67817, 0.70835),
}
ACCURACIES = ("scenario_accuracy", "action_accuracy", "intent_accuracy")
FIGURES = (*ACCURACIES, "entity_f1", "slu_precision", "slu_recall", "slu_f1")
COUNTS = {"num_missing": 0, "num_unreadable": 0, "num_duplicates": 0, "num_unknown": 0}


def frame(intent: str, *entities: str) -> Frame:
    """``frame("alarm set", "time:five am")``."""
    scenario, action = intent.split() if intent else ("", "")
    return Frame(scenario, action, tuple(Entity(*entity.split(":")) for entity in entities))


def gold_of(*frames: Frame) -> Gold:
    items = {key: GoldItem(key, gold, f"words of {key}") for key, gold in zip("abcdefgh", frames, strict=False)}
    return Gold(Path("gold.jsonl"), items, {})


def row(key: str, predicted: Frame, status: Any = "ok") -> PredictionRow:
    return PredictionRow("id", key, predicted, None, status)


def distances(gold: Frame, predicted: Frame | None) -> tuple[Counts, Counts]:
    return distance_counts(gold, predicted, word_distance), distance_counts(gold, predicted, char_distance)


def test_accuracies_count_each_label_and_the_pair() -> None:
    predicted = (frame("alarm set"), frame("alarm query"), frame("play set"))
    figures = score(gold_of(*[frame("alarm set")] * 4), map(row, "abc", predicted))["strict"]
    assert [figures[name] for name in ACCURACIES] == [2 / 4, 2 / 4, 1 / 4]


def test_the_intent_is_the_pair_not_the_joined_name() -> None:
    assert score(gold_of(frame("iot hue_on")), [row("a", frame("iot_hue on"))])["strict"]["intent_accuracy"] == 0.0


def test_entities_need_type_and_filler_and_are_found_once() -> None:
    gold = frame("a b", "time:five", "time:five", "date:today", "place:here")
    predicted = frame("a b", "time:five", "time:five", "time:five", "date:Today", "here:place")
    assert entity_counts(gold, predicted) == Counts(2, 3, 2)
    assert entity_counts(gold, None) + entity_counts(predicted, gold) == Counts(2, 2, 7)


def test_precision_recall_and_f1_are_of_the_sums_over_items() -> None:
    gold = gold_of(frame("a b", "t:x", "t:y", "t:z"), frame("a b", "t:x"))
    predicted = [row("a", frame("a b", "t:x", "t:q", "t:r")), row("b", frame("a b", "t:x", "t:s"))]
    figures = score(gold, predicted)["strict"]  # tp 2, fp 3, fn 2
    assert [figures[f"entity_{name}"] for name in ("precision", "recall")] == [2 / 5, 2 / 4]
    assert figures["entity_f1"] == pytest.approx(2 * 2 / (2 * 2 + 3 + 2))
    assert Counts(2, 3, 2) + Counts(1, 0.5, 0.25) == Counts(3, 3.5, 2.25)


def test_word_distance_is_edits_over_gold_words_and_is_not_clipped() -> None:
    assert word_distance("five am", "five am") == 0.0
    assert word_distance("five am", "five pm") == 1 / 2
    assert word_distance("five am", "") == 1.0
    assert word_distance("five", "at five in the morning") == 4.0
    assert word_distance("at five in the morning", "five") == 4 / 5
    assert word_distance("five  am ", "five am") == 0.0
    assert word_distance("", "five am") == 2.0
    assert word_distance("", "") == 0.0


def test_char_distance_is_edits_over_the_longer_filler() -> None:
    assert char_distance("five", "five") == 0.0
    assert char_distance("five", "fife") == 1 / 4
    assert char_distance("five", "fives") == char_distance("fives", "five") == 1 / 5
    assert char_distance("am", "five") == 1.0
    assert char_distance("", "") == 0.0


def test_a_filler_of_the_right_type_costs_its_distance_twice() -> None:
    word, char = distances(frame("a b", "time:five am"), frame("a b", "time:five pm"))
    assert word == Counts(1, 1 / 2, 1 / 2)
    assert char == Counts(1, 1 / 7, 1 / 7)


def test_another_type_costs_one_each_however_near_the_filler() -> None:
    assert distances(frame("a b", "time:five"), frame("a b", "date:five")) == (Counts(0, 1, 1), Counts(0, 1, 1))


def test_left_over_entities_and_no_answer() -> None:
    gold = frame("a b", "time:five", "date:today")
    assert distances(gold, frame("a b", "time:five", "time:six"))[0] == Counts(1, 1, 1)
    assert distances(gold, None) == (Counts(0, 0, 2), Counts(0, 0, 2))


def test_a_prediction_takes_the_nearest_gold_entity_and_the_first_of_equals() -> None:
    gold = frame("a b", "p:one two", "p:one three")
    assert distances(gold, frame("a b", "p:one three"))[0] == Counts(1, 0, 1)
    # "one" is as near to both; it takes "one two", so that "one three" is left for the second.
    assert distances(gold, frame("a b", "p:one", "p:one three"))[0] == Counts(2, 1 / 2, 1 / 2)
    assert distances(gold, frame("a b", "p:one", "p:one two"))[0] == Counts(2, 1, 1)


def test_predictions_choose_in_their_order_and_an_early_poor_one_takes_the_gold_of_a_later_good_one() -> None:
    gold = frame("a b", "p:x y")
    assert distances(gold, frame("a b", "p:x", "p:x y"))[0] == Counts(1, 1 + 1 / 2, 1 / 2)


def test_slu_f1_sums_the_two_confusion_counts() -> None:
    gold = gold_of(frame("a b", "time:five am"))
    figures = score(gold, [row("a", frame("a b", "time:five pm"))])["official"]
    wrong = 1 / 2 + 1 / 7
    assert figures["word_f1"] == pytest.approx(2 / 3)
    assert figures["char_f1"] == pytest.approx(7 / 8)
    assert figures["slu_precision"] == figures["slu_recall"] == pytest.approx(2 / (2 + wrong))
    assert figures["slu_f1"] == pytest.approx(2 / (2 + wrong))
    assert figures["entity_f1"] == 0.0


def test_empty_denominators_give_zero() -> None:
    figures = score(gold_of(frame("a b")), [])["official"]
    assert not any(figures[name] for name in FIGURES)
    assert figures["num_scored"] == 0


def test_predicted_fillers_are_taken_as_they_are() -> None:
    figures = score(gold_of(frame("a b", "time:am")), [row("a", frame("a b", "time:AM"))])
    assert figures["official"]["entity_f1"] == figures["strict"]["entity_f1"] == 0.0


def test_a_missing_prediction_is_skipped_by_official_and_wrong_in_strict() -> None:
    gold = gold_of(frame("a b", "t:x"), frame("a b", "t:x"))
    both = score(gold, [row("a", frame("a b", "t:x"))])
    official, strict = both["official"], both["strict"]
    assert official == {**official, **COUNTS, "num_missing": 1, "num_scored": 1}
    assert strict == {**strict, **COUNTS, "num_missing": 1, "num_scored": 2}
    for name in FIGURES:
        assert official[name] == 1.0
    assert [strict[name] for name in ACCURACIES] == [1 / 2] * 3
    assert (strict["entity_precision"], strict["entity_recall"]) == (1.0, 1 / 2)
    assert (strict["slu_precision"], strict["slu_recall"]) == (1.0, 1 / 2)


def test_an_unreadable_prediction_is_scored_by_official_as_it_stands_and_wrong_in_strict() -> None:
    gold = gold_of(frame("a b", "t:x"), frame("a b", "t:x"))
    both = score(gold, [row("a", frame("a b", "t:x", "t:y"), "unreadable"), row("b", frame(""), "unreadable")])
    official, strict = both["official"], both["strict"]
    assert official == {**official, **COUNTS, "num_unreadable": 2, "num_scored": 2}
    assert strict == {**strict, **COUNTS, "num_unreadable": 2, "num_scored": 2}
    assert official["intent_accuracy"] == 1 / 2
    assert (official["entity_precision"], official["entity_recall"]) == (1 / 2, 1 / 2)
    assert strict["intent_accuracy"] == strict["entity_recall"] == strict["slu_recall"] == 0.0


@pytest.mark.parametrize(("last", "right"), [("a b", 1.0), ("a c", 0.0)])
def test_of_duplicates_official_takes_the_last_and_strict_none(last: str, right: float) -> None:
    gold = gold_of(frame("a b", "t:x"))
    both = score(gold, [row("a", frame("a b", "t:x")), row("a", frame(last, "t:x"))])
    for view in both.values():
        assert view == {**view, **COUNTS, "num_duplicates": 1, "num_scored": 1}
    assert both["official"]["intent_accuracy"] == right
    assert both["official"]["entity_f1"] == 1.0
    assert not any(both["strict"][name] for name in (*ACCURACIES, "entity_recall", "slu_recall"))


def test_unknown_keys_are_counted_and_change_nothing_else() -> None:
    gold, known = gold_of(frame("a b", "t:x")), row("a", frame("a b", "t:x"))
    extra = [row("z", frame("a c", "t:y")), row("z", frame("a c", "t:y"))]
    without, with_extra = score(gold, [known]), score(gold, [extra[0], known, extra[1]])
    for view, figures in without.items():
        assert with_extra[view] == {**figures, "num_unknown": 2}


def test_each_recording_is_an_item_when_keyed_by_file() -> None:
    items = {name: GoldItem(name, frame("a b"), "") for name in ("1.flac", "2.flac", "3.flac")}
    gold = Gold(Path("gold.jsonl"), {"u": GoldItem("u", frame("a b"), "")}, items)
    by_file = score(gold, [PredictionRow("file", "2.flac", frame("a b"))])
    assert by_file["strict"]["intent_accuracy"] == pytest.approx(1 / 3)
    by_id = score(gold, [PredictionRow("slurp_id", "u", frame("a b"))])
    assert by_id["strict"]["num_scored"] == 1


def test_keys_of_two_kinds_are_refused() -> None:
    rows = [row("a", frame("a b")), PredictionRow("file", "a", frame("a b"), where="p.jsonl:2")]
    with pytest.raises(UserError, match=r"p\.jsonl:2: keyed by file, the rows above by id"):
        score(gold_of(frame("a b")), rows)


@needs_shared
@pytest.mark.parametrize("name", OFFICIAL)
def test_the_published_outputs_get_the_official_scorers_figures(name: str) -> None:
    scored, items, *figures = OFFICIAL[name]
    gold = read_gold(SLURP / "test.jsonl")
    both = score(gold, read_predictions(SLURP / "predictions" / f"{name}_predictions.jsonl"))
    official, strict = both["official"], both["strict"]
    assert [round(official[key], 5) for key in FIGURES] == figures
    assert (official["num_scored"], official["num_missing"]) == (scored, items - scored)
    assert strict["num_scored"] == items
    assert strict["intent_accuracy"] == pytest.approx(official["intent_accuracy"] * scored / items)


def test_no_model_library_is_loaded() -> None:
    code = "import sys, sottovoce.score.evaluate; sys.exit('torch' in sys.modules)"
    assert subprocess.run([sys.executable, "-c", code], check=False).returncode == 0
