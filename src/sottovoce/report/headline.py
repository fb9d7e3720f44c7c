"""The report's answer: the best cells with training speech against text-only, in a sentence, intents and examples."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Sequence
from dataclasses import dataclass

from sottovoce.core.power import num_independent, power_sentence
from sottovoce.core.types import Utterance
from sottovoce.report.curves import Curves, Point
from sottovoce.report.differences import Comparison, difference_sentences
from sottovoce.report.examples import Answers, Example, fixed_and_remaining
from sottovoce.report.findings import SCARCE_SHARE
from sottovoce.report.measures import disagreement, intent_differences, intent_right
from sottovoce.report.results import CellResult, StudyResults, read_predictions
from sottovoce.report.table import point_gaps_closed
from sottovoce.report.wording import (
    clips,
    comparison,
    headline,
    label,
    line_label,
    percent,
    signed_points,
    speech_words,
)
from sottovoce.study.locate import gold_utterances
from sottovoce.train.schemes import SCHEMES


@dataclass(frozen=True)
class IntentChange:
    """An intent's accuracy on speech (shares, means over seeds) and its number of test utterances."""

    intent: str
    number: int
    before: float
    after: float

    @property
    def change(self) -> str:
        return signed_points(self.after - self.before)


@dataclass(frozen=True)
class Answer:
    """What the page says about the best point and text-only.

    Args:
        best, text_only: the points; examples are of the first seed of each.
        label: the name of the best.
        headline: the answer in one sentence.
        gap_closed: the share of text-only's gap that it closes, in intent accuracy.
        notes: differences between schemes, a sentence each.
        power: which difference so many test utterances can show, a sentence.
        intents: every intent, lowest accuracy first.
        fixed, remaining: examples.
    """

    best: Point
    text_only: Point
    label: str
    headline: str
    gap_closed: float | None
    notes: list[str]
    power: str
    intents: list[IntentChange]
    fixed: list[Example]
    remaining: list[Example]

    @property
    def by_gain(self) -> list[IntentChange]:
        """The intents, largest gain first."""
        return sorted(self.intents, key=lambda line: (line.before - line.after, line.intent))


def study_answer(curves: Curves, comparisons: Sequence[Comparison]) -> Answer | None:
    """The answer, None until a scheme with speech and a text-only cell to compare it with are finished.

    Raises:
        UserError: gold or predictions are damaged.
    """
    results, best = curves.results, curves.best
    line = next((line for line in curves.budgeted if best in line.points), None)
    text_only = curves.text_only(line.sources, line.model) if line else None
    if best is None or line is None or text_only is None:
        return None
    gold = gold_utterances(results.folder)
    before, after = ([read_predictions(results, cell, "speech") for cell in p.finished] for p in (text_only, best))
    fixed, remaining = fixed_and_remaining(gold, before[0], after[0])
    name = line_label(results, line.scheme, line.sources, line.model)
    if results.is_grid:
        sentence = _grid_headline(curves, comparisons, best, text_only, name)
        notes = difference_sentences(results, comparisons)
        name = f"{name} at {speech_words(best.share, 0, best.scheme, best.size)}"
    else:
        cell = best.finished[0]
        sentence, notes = _of_cells(results, gold, cell, text_only.finished[0], before[0], after[0])
        name = label(results, cell)
    closed = point_gaps_closed(curves, line, best)[0]
    intents = intent_changes(gold, before, after)
    power = power_sentence(num_independent(gold), disagreement(gold, before[0], after[0]))
    return Answer(best, text_only, name, sentence, closed, notes, power, intents, fixed, remaining)


def intent_changes(
    gold: Sequence[Utterance], before: Sequence[Answers], after: Sequence[Answers]
) -> list[IntentChange]:
    """Accuracy on speech of each intent, means over the seeds' answers, lowest accuracy afterwards first."""
    rows = defaultdict[str, list[Utterance]](list)
    for row in gold:
        rows[row.frame.intent].append(row)

    def share(group: list[Utterance], seeds: Sequence[Answers]) -> float:
        right = sum(intent_right(answers.get(row.id), row) for answers in seeds for row in group)
        return right / (len(group) * len(seeds))

    lines = [IntentChange(name, len(group), share(group, before), share(group, after)) for name, group in rows.items()]
    return sorted(lines, key=lambda line: (line.after, line.before, line.intent))


def _of_cells(
    results: StudyResults,
    gold: Sequence[Utterance],
    best: CellResult,
    text_only: CellResult,
    before: Answers,
    after: Answers,
) -> tuple[str, list[str]]:
    """Heading and notes of a study with a cell a scheme."""
    others = [
        cell
        for cell in results.finished
        if (cell.uses_speech or SCHEMES[cell.scheme].reads == "transcripts") and cell.name != best.name
    ]
    befores = [before, *(read_predictions(results, cell, "speech") for cell in others)]
    gains = intent_differences(gold, befores, after)
    cells = [text_only, *others]
    notes = [comparison(label(results, c), label(results, best), gain) for c, gain in zip(cells, gains, strict=True)]
    return headline(results, gains[0]), notes


def _grid_headline(curves: Curves, comparisons: Sequence[Comparison], best: Point, text_only: Point, name: str) -> str:
    """Heading of a study with learning curves: what all of the speech brings, and what the first of it brings."""
    budget = f"{speech_words(best.share, 0, best.scheme, best.size)} speech ({clips(best.num_clips)})"
    before, after = (f"{percent(point.speech[0].mean)}\u00a0%" for point in (text_only, best))
    line = next(line for line in curves.budgeted if best in line.points)
    of_line = (line.sources, line.model, best.size, best.scheme, text_only.scheme)
    tests = [each for each in comparisons if (each.sources, each.model, each.size, each.first, each.second) == of_line]
    if not tests or tests[0].better() is None:
        return (
            f"{name} with {budget} and text-only cannot be told apart on speech: intent accuracy {after} and {before}."
        )
    gain = tests[0].figures[0]
    if gain.mean < 0:
        return f"{name} with {budget} is worse than text-only on speech: intent accuracy {after} instead of {before}."
    text = f"With {budget}, {name.lower()} raises intent accuracy on speech from text-only’s {before} to {after}"
    small = [p for p in line.points if p.speech and 0 < p.share <= SCARCE_SHARE and p is not best]
    if not small:
        return f"{text}."
    won = small[-1].speech[0].mean - text_only.speech[0].mean
    if not 0 < won < gain.mean:
        return f"{text}."
    share = speech_words(small[-1].share, 0, best.scheme, small[-1].size)
    return f"{text}; {percent(won)} of the {percent(gain.mean)} points come from the first {share}."
