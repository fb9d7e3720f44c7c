import json
import math
import sys
from collections.abc import Callable, Sequence
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
from grid_folder import NUM_TRAIN, learning_rights, write_grid
from study_folder import write_study

from sottovoce.cli.main import main
from sottovoce.core.errors import UserError
from sottovoce.plan.learning_curve import Interval, LearningCurve
from sottovoce.plan.planner import CurvePlan, Plan, Target, _refusal, gains_by_intent, make_plan, parse_target
from sottovoce.plan.text import plan_json, plan_sentences, plan_tables

HALF = Target("intent_accuracy", 0.5)
BUDGETS = (1, 2, 4, 8)  # percent: 20 to 160 recordings


def rising(num_recordings: float) -> float:
    """A score that rises from 0.3 without recordings to 0.61 with 160."""
    return 0.8 - 0.5 * (1 + num_recordings / 40) ** -0.6


def level(num_recordings: float) -> float:
    return 0.3


def write_curves(
    folder: Path,
    curves: dict[str, Callable[[float], float]],
    budgets: Sequence[float] = BUDGETS,
    num_seeds: int = 3,
    num_test: int = 120,
) -> Path:
    """A study of text_only and of schemes whose scores are those of curves, one point apart from seed to seed."""
    speech = {
        f"{scheme}-{budget}pct": curve(NUM_TRAIN * budget / 100)
        for scheme, curve in curves.items()
        for budget in budgets
    }
    return write_grid(folder, learning_rights(speech, 0.3, num_seeds), num_test=num_test)


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    curves = {"curriculum": rising, "direct_mixing": level}
    return write_curves(tmp_path_factory.mktemp("study"), curves, num_test=300)


@pytest.fixture(scope="module")
def plan(folder: Path) -> Plan:
    return make_plan(folder, [HALF, Target("intent_accuracy", 0.9), Target("slu_f1", 0.1)], cost_per_hour=60)


def curve(plan: Plan, scheme: str = "curriculum", score: float = 0.5) -> CurvePlan:
    return next(each for each in plan.curves if each.scheme == scheme and each.target.score == score)


def needed(share: Callable[[int], float], score: float) -> int:
    return next(number for number in range(1000) if share(number) >= score)


def test_the_interval_holds_the_number_that_the_answers_were_drawn_from(plan: Plan) -> None:
    recordings = curve(plan).recordings
    assert recordings is not None
    assert recordings.low <= needed(rising, 0.5) <= recordings.high < 160
    assert [point.num_recordings for point in curve(plan).points] == [0, 20, 40, 80, 160]
    assert {point.num_seeds for point in curve(plan).points} == {3}
    gain = curve(plan).gain
    assert gain is not None and gain.low <= rising(260) - rising(160) <= gain.high
    assert curve(plan).num_next == 100


def test_speech_and_cost_follow_from_the_recordings(plan: Plan) -> None:
    made = curve(plan)
    assert made.recordings and made.hours and made.cost
    assert made.hours.value == pytest.approx(made.recordings.value * 2.5 / 3600)
    assert made.cost.high == pytest.approx(60 * made.hours.high)


def test_what_the_curve_does_not_support_is_refused(plan: Plan) -> None:
    far = curve(plan, score=0.9)
    assert far.refusal.startswith("not within 320 recordings: with 320, the most that a curve measured up to 160")
    assert curve(plan, "direct_mixing").refusal.startswith("not within 320 recordings")


def test_a_target_that_text_alone_reaches(plan: Plan) -> None:
    reached = curve(plan, score=0.1)
    assert reached.recordings is not None and reached.recordings.high == 0
    assert "Curriculum, SLU-F1 10.0 %: reached without recordings." in plan_sentences(plan)


def test_intents_of_the_best_scheme_are_ranked(plan: Plan) -> None:
    assert (plan.best, plan.num_recordings, len(plan.intents)) == ("Curriculum", 160, 8)
    assert sum(each.num_test for each in plan.intents) == 300
    gains = [each.gain for each in plan.intents]
    assert gains == sorted(gains, reverse=True)
    assert sum(gains) == pytest.approx(0.916 - rising(160), abs=0.005)  # together they are the gap to gold text
    assert plan.intents[0].num_recordings is None  # its manifest does not exist
    assert any("manifest was not found" in sentence for sentence in plan_sentences(plan))


def test_a_curve_whose_form_is_not_clear_is_said_to_be_so(plan: Plan) -> None:
    made = curve(plan)
    assert made.forms is not None and sum(made.forms.values()) == pytest.approx(1)
    for forms, unclear in (({"power": 0.5, "logistic": 0.5}, True), ({"power": 0.9, "logistic": 0.1}, False)):
        told = plan_sentences(replace(plan, curves=(replace(made, forms=forms),)))
        assert any("The form of the curve is not clear (power 50 %" in line for line in told) == unclear


def test_few_test_utterances_make_no_curve(tmp_path: Path) -> None:
    made = make_plan(write_curves(tmp_path, {"curriculum": rising}, num_test=48), [HALF])
    assert made.curves[0].refusal == "measured on 48 test utterances; a curve needs 50"
    assert made.curves[0].recordings is None


def test_two_budgets_make_no_curve(tmp_path: Path) -> None:
    made = make_plan(write_study(tmp_path / "study", audio=False), [HALF])
    assert {each.refusal for each in made.curves} == {
        "measured with 0, 20 recordings; a curve needs 3 budgets, one of them 0"
    }
    assert all(each.recordings is None and each.gain is None for each in made.curves)
    list(plan_tables(made))


def test_a_mixture_with_speech_does_not_start_at_text_only(tmp_path: Path) -> None:
    made = make_plan(write_curves(tmp_path, {"curriculum-from-en": rising}), [HALF])
    assert made.curves[0].refusal.startswith("measured with 20, 40, 80, 160 recordings")


def test_one_seed_is_said_to_be_one(tmp_path: Path) -> None:
    made = make_plan(write_curves(tmp_path, {"curriculum": rising}, num_seeds=1), [HALF])
    assert any("trained with one seed" in sentence for sentence in plan_sentences(made))


def test_fewer_than_the_next_hundred(tmp_path: Path) -> None:
    made = make_plan(write_curves(tmp_path, {"curriculum": rising}, budgets=(0.25, 0.5, 1)), [HALF])
    assert (made.curves[0].num_next, made.curves[0].limit) == (20, 40)
    assert any("the next 20 recordings, as many as its curve supports" in line for line in plan_sentences(made))


def test_json_has_no_infinity(folder: Path) -> None:
    made = make_plan(folder, [Target("intent_accuracy", 0.68)], cost_per_hour=0.5)
    text = json.dumps(plan_json(made), allow_nan=False)
    assert json.loads(text)["curves"][0]["target"] == {"metric": "intent_accuracy", "score": 0.68}


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("slu_f1", "write for example slu_f1=0.75"),
        ("slu_f=0.75", "did you mean 'slu_f1'"),
        ("slu_f1=75", "between 0 and 1"),
        ("slu_f1=nan", "between 0 and 1"),
        ("slu_f1=much", "between 0 and 1"),
        ("slu_f1=0", "between 0 and 1"),
        ("slu_f1=1", "between 0 and 1"),
        ("slu_f1=-0.5", "between 0 and 1"),
    ],
)
def test_targets_that_are_none(text: str, message: str) -> None:
    with pytest.raises(UserError, match=message):
        parse_target(text)


def test_why_a_number_of_recordings_is_not_known() -> None:
    drawn = (np.array([number]) for number in (0.4, 0.3, 0, 0.6, 60.0))
    fitted = LearningCurve(*drawn, largest=200)

    def why(low: float, high: float) -> str:
        return _refusal(fitted, Interval(low, low, high), fitted.score(400))

    assert why(0, math.inf) == "unknown: anything from none to more than 400 recordings may be needed"
    assert why(math.inf, math.inf).startswith("not within 400 recordings: with 400, ")
    assert [why(0, 50), why(1, math.inf), why(20, 50)] == [""] * 3


def test_faults_of_the_request(folder: Path) -> None:
    with pytest.raises(UserError, match="did you mean 'curriculum'"):
        make_plan(folder, [HALF], scheme="curiculum")
    with pytest.raises(UserError, match="cannot cost 0"):
        make_plan(folder, [HALF], cost_per_hour=0)


def test_the_verb(folder: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> None:
    arguments = [
        "plan",
        str(folder),
        "--target",
        "intent_accuracy=0.5",
        "--scheme",
        "curriculum",
        "--cost-per-hour",
        "60",
    ]
    monkeypatch.setattr(sys, "argv", ["sottovoce", *arguments])
    main()
    shown = capsys.readouterr().out
    assert "Record first: " in shown and "Direct mixing" not in shown
    monkeypatch.setattr(sys, "argv", ["sottovoce", *arguments, "--json"])
    main()
    assert json.loads(capsys.readouterr().out)["curves"][0]["limit"] == 320


def test_the_gains_are_those_of_the_plan_and_one_budget_is_enough_for_them(folder: Path, tmp_path: Path) -> None:
    plan = make_plan(folder, [HALF])
    assert gains_by_intent(folder) == {each.intent: each.gain for each in plan.intents}
    one = write_curves(tmp_path, {"curriculum": rising}, budgets=[2], num_seeds=1)
    assert gains_by_intent(one)["light_on"] > 0
    with pytest.raises(UserError, match="no finished cell was trained on speech"):
        gains_by_intent(write_curves(tmp_path / "none", {}))
