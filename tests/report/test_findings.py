import pytest
from made_curves import made_curves, with_seeds

from sottovoce.report.curves import Curves
from sottovoce.report.differences import difference_sentences, scheme_differences
from sottovoce.report.findings import findings

PAPER = {
    "text_only": 0.80, "direct_mixing-2pct": 0.82, "direct_mixing-5pct": 0.83, "direct_mixing-100pct": 0.87,
    "curriculum-2pct": 0.845, "curriculum-5pct": 0.855, "curriculum-100pct": 0.87,
}  # fmt: skip


def verdicts(curves: Curves) -> list[str]:
    return [finding.verdict for finding in findings(curves)]


def test_a_study_with_the_papers_shape_shows_all_its_findings() -> None:
    curves = made_curves(with_seeds(PAPER))
    assert verdicts(curves) == ["seen", "seen", "seen"]
    assert all(finding.rule and "points (" in finding.reason for finding in findings(curves))


@pytest.mark.parametrize(
    ("changes", "place", "verdict"),
    [
        ({"text_only": 0.6}, 0, "not seen"),
        ({"text_only": 0.77}, 0, "not decidable"),  # 10 points below, on the threshold
        ({"curriculum-5pct": 0.805, "direct_mixing-5pct": 0.805}, 1, "not seen"),
        ({"curriculum-5pct": 0.82}, 1, "not decidable"),
        ({"curriculum-2pct": 0.82, "curriculum-5pct": 0.83}, 2, "not seen"),  # as direct mixing when scarce
        ({"curriculum-100pct": 0.93}, 2, "not seen"),  # they do not meet
        ({"curriculum-100pct": 0.89}, 2, "not decidable"),
    ],
)
def test_each_finding_can_be_refuted_and_left_open(changes: dict[str, float], place: int, verdict: str) -> None:
    assert verdicts(made_curves(with_seeds(PAPER | changes)))[place] == verdict


def test_a_study_without_the_cells_decides_nothing() -> None:
    small = {"text_only": (0.8, 0.9), "curriculum-5pct": (0.85, 0.9), "direct_mixing-5pct": (0.8, 0.9)}
    assert verdicts(made_curves(small)) == ["not decidable", "seen", "not decidable"]
    reason = findings(made_curves(small))[0].reason
    assert reason.endswith("The study has no budget of 50 % or more.")
    assert verdicts(made_curves({"zero_shot": (0.1, 0.1)})) == ["not decidable"] * 3
    assert verdicts(made_curves(dict.fromkeys(small))) == ["not decidable"] * 3


@pytest.mark.parametrize(("right", "verdict"), [(0.7, "seen"), (0.6, "not seen"), (0.62, "not decidable")])
def test_sources_adapt_if_they_beat_text_only_of_the_target(right: float, verdict: str) -> None:
    rights = {
        "text_only": 0.6,
        "text_only-from-en": 0.69,
        "curriculum-from-en-0pct": right,
        "curriculum-from-en-20pct": 0.9,
    }
    cross = findings(made_curves(with_seeds(rights)))[3]
    assert (cross.verdict, cross.where) == (verdict, "from en")
    assert cross.reason.startswith("Curriculum at 0 % speech minus text-only: ")


def test_differences_are_paired_and_corrected() -> None:
    curves = made_curves(with_seeds(PAPER))
    comparisons = scheme_differences(curves)
    assert len(comparisons) == 3 + 3 + 3
    small = comparisons[0]
    assert (small.first, small.second, small.size) == ("curriculum", "direct_mixing", "2pct")
    assert small.figures[0].mean == pytest.approx(0.025)
    # What all cells share in a resample is no part of a difference: without pairing it would be 0.028.
    assert small.figures[0].standard_error < 0.01
    least = min(comparisons, key=lambda each: each.figures[0].p_value)
    assert least.p_values[0] == pytest.approx(9 * least.figures[0].p_value)
    for each in comparisons:
        low, high = each.bounds()
        assert (each.better() is None) == (low <= 0 <= high)
    assert difference_sentences(curves.results, comparisons) == [
        "Curriculum is better than direct mixing at 2 % and 5 % speech; at 100 % they cannot be told apart.",
        "Curriculum is better than text-only at every budget from 2 % to 100 % speech.",
        "Direct mixing is better than text-only at every budget from 2 % to 100 % speech.",
    ]


def test_seeds_are_compared_with_themselves() -> None:
    seeds = {"text_only": 0.5, "curriculum-5pct": 0.6}
    apart = made_curves(with_seeds(seeds, spread=0.1))
    [comparison] = scheme_differences(apart)
    assert comparison.figures[0].num_seeds == 3
    assert comparison.figures[0].standard_error < 0.01  # both move with the seed
    rights = {name: right for name, right in with_seeds(seeds).items() if name != "text_only-seed1"}
    [comparison] = scheme_differences(made_curves(rights))
    assert comparison.figures[0].num_seeds == 2
