"""Which schemes really differ on test speech, budget by budget: paired intervals, Holm's p-values, and sentences.

Two schemes are compared utterance by utterance and seed by seed, on the same recordings. The correction is over all
comparisons of a figure within a mixture and a model.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass

from sottovoce.report.curves import Curves, Line, Point
from sottovoce.report.estimates import Estimate, Samples, differences
from sottovoce.report.results import StudyResults
from sottovoce.report.wording import line_label, size_words
from sottovoce.score.compare import listed
from sottovoce.score.intervals import Scored, corrected_level
from sottovoce.score.metrics.registry import headline
from sottovoce.score.statistics import LEVEL, holm

PAPER = ("curriculum", "direct_mixing")  # the schemes with speech of Choi et al., 2025


@dataclass(frozen=True)
class Comparison:
    """How much higher ``first`` (a scheme) is than ``second`` on speech, at one budget.

    ``figures`` and the corrected ``p_values`` are in the order of the headline metrics.
    """

    sources: tuple[str, ...]
    model: str
    size: str
    share: float
    first: str
    second: str
    figures: tuple[Estimate, ...]
    p_values: tuple[float, ...]

    def better(self, place: int = 0) -> str | None:
        """The scheme that is better in the headline metric at that place, None if they cannot be told apart."""
        if self.p_values[place] >= 1 - LEVEL:
            return None
        return self.first if self.figures[place].mean > 0 else self.second

    def bounds(self, place: int = 0) -> tuple[float, float]:
        """The interval that is corrected as the p-value is: 0 is outside exactly if one of the two is better."""
        figure, corrected = self.figures[place], self.p_values[place]
        return figure.source.bounds(corrected_level(LEVEL, figure.p_value, corrected))


def paired(first: Point, second: Point, samples: Samples) -> dict[int, Scored]:
    """By each seed that both points have finished: how much higher ``first`` is on speech than ``second``."""
    others = {cell.seed: cell for cell in second.finished}
    return {
        cell.seed: samples[cell.name, "speech"] - samples[others[cell.seed].name, "speech"]
        for cell in first.finished
        if cell.seed in others
    }


def scheme_differences(curves: Curves) -> tuple[Comparison, ...]:
    """Curriculum against direct mixing, and each scheme with speech against text-only and against the cascade, at every
    budget they share; the cascade against text-only."""
    found: list[Comparison] = []
    for model in curves.models:
        for sources in curves.mixtures:
            family = list(_family(curves, sources, model))
            corrected = [holm([figures[place].p_value for *_, figures in family]) for place in range(len(headline()))]
            for number, (point, second, figures) in enumerate(family):
                p_values = tuple(column[number] for column in corrected)
                budget = (point.size, point.share)
                found.append(Comparison(sources, model, *budget, point.scheme, second, figures, p_values))
    return tuple(found)


def difference_sentences(results: StudyResults, comparisons: Sequence[Comparison], place: int = 0) -> list[str]:
    """The result in the headline metric at that place, a sentence for each pair of schemes."""
    pairs: dict[tuple[str, ...], list[Comparison]] = {}
    for each in comparisons:
        first, second = (line_label(results, name, each.sources, each.model) for name in (each.first, each.second))
        pairs.setdefault((first, second), []).append(each)
    return [_sentence(first, second, group, place) for (first, second), group in pairs.items()]


def _family(curves: Curves, sources: tuple[str, ...], model: str) -> Iterator[tuple[Point, str, tuple[Estimate, ...]]]:
    lines = [line for line in curves.budgeted if (line.sources, line.model) == (sources, model)]
    text_only = curves.text_only(sources, model)
    cascades = [line for line in curves.cascades if (line.sources, line.model) == (sources, model)]
    for line in (*sorted(lines, key=lambda line: line.scheme != PAPER[0]), *cascades):
        direct = curves.line(PAPER[1], sources, model) if line.scheme == PAPER[0] else None
        for second in (direct, text_only, *(each.last for each in cascades if each is not line)):
            for point in line.points if second else ():
                other = second.at(point.size) if isinstance(second, Line) else second
                if other and (pairs := paired(point, other, curves.samples)):
                    yield point, other.scheme, differences(list(pairs.values()))


def _sentence(first: str, second: str, group: list[Comparison], place: int) -> str:
    budgets: dict[str, list[str]] = {"better": [], "worse": [], "": []}
    if not group[0].size:  # of schemes without a budget
        better = group[0].better(place)
        if better is None:
            return f"{first} and {second.lower()} cannot be told apart."
        return f"{first} is {'better' if better == group[0].first else 'worse'} than {second.lower()}."
    first_size, last_size = (size_words(group[end].size, group[end].share) for end in (0, -1))
    every = f"every budget from {first_size} to {last_size}"
    for each in group:
        better = each.better(place)
        verdict = "" if better is None else "better" if better == each.first else "worse"
        budgets[verdict].append(size_words(each.size, each.share))
    said = {verdict: every if len(at) == len(group) > 2 else listed(at) for verdict, at in budgets.items() if at}
    parts = [f"{verdict} than {second.lower()} at {at}" for verdict, at in said.items() if verdict]
    undecided = f"at {said['']} they cannot be told apart" if "" in said else ""
    if not parts:
        return f"{first} and {second.lower()} cannot be told apart at {said[''].replace('every', 'any')} speech."
    text = f"{first} is {', '.join(parts)} speech"
    return f"{text}; {undecided}." if undecided else f"{text}."
