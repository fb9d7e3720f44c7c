"""Every finished cell's figures on the test set and on resamples of it, from which all intervals are made.

The test utterances of a resample are drawn once for all cells, so that any two cells can be compared on it. Seeds are
drawn by :func:`over_seeds`, the same ones for the same number of seeds.

Method: utterances and training seeds are two crossed sources of randomness, each resampled with replacement (Owen, "The
pigeonhole bootstrap", Annals of Applied Statistics 1, 2007). A mean over few drawn seeds varies too little, by the
factor sqrt((n - 1) / n), so the deviations of drawn seeds are stretched by its inverse (Hesterberg, "What teachers
should know about the bootstrap", The American Statistician 69, 2015).
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from functools import lru_cache
from pathlib import Path

import numpy as np

from sottovoce.core.types import MODALITIES, Modality
from sottovoce.report.results import StudyResults, prediction_file
from sottovoce.score.calibration import Calibration, calibration
from sottovoce.score.confidences import judged_answers
from sottovoce.score.counts import counts_table, figures_of
from sottovoce.score.evaluate import read_answers
from sottovoce.score.files import Gold, read_gold
from sottovoce.score.metrics.metric import Metric, Sums
from sottovoce.score.metrics.registry import headline
from sottovoce.score.statistics import Floats, bootstrap, interval

_MOST_FILES = 500  # kept in memory while a study is watched; 0.5 MB each at SLURP's size


@dataclass(frozen=True)
class Sampled:
    """A cell's headline metrics on one input, or a difference of two: ``seen`` (metrics,), ``drawn`` (resamples,
    metrics)."""

    seen: Floats
    drawn: Floats

    def __sub__(self, other: Sampled) -> Sampled:
        return Sampled(self.seen - other.seen, self.drawn - other.drawn)


Samples = Mapping[tuple[str, Modality], Sampled]
"""By a finished cell's name and input."""
Calibrations = Mapping[tuple[str, Modality], Calibration]
"""By a finished cell's name and input, if its answers have confidences."""


@dataclass(frozen=True)
class Estimate:
    """A figure or a difference (a share, 0..1): its mean over seeds, its 95 % interval and its standard error.

    ``p_value`` is two-sided, for the hypothesis that it is 0: the smallest 1 - level whose interval excludes 0.
    """

    mean: float
    low: float
    high: float
    standard_error: float
    p_value: float
    num_seeds: int


def study_samples(results: StudyResults) -> Samples:
    """The figures of all finished cells.

    Raises:
        UserError: gold or predictions are damaged; the message names the file.
    """
    keys = [(cell, modality) for cell in results.finished for modality in MODALITIES]
    if not keys:
        return {}
    gold = results.layout.gold
    sums = [_counted(prediction_file(results, *key), gold)[0] for key in keys]
    metrics, columns = headline(), sums[0].columns  # the same for all answers to one gold file

    def figures(joined: Floats) -> Floats:
        apart = joined.reshape(len(joined), len(keys), len(columns))
        return figures_of(metrics, Sums(columns, apart)).reshape(len(joined), -1)

    joined = np.hstack([each.values for each in sums])
    seen = figures(joined.sum(axis=0)[None]).reshape(len(keys), len(metrics))
    drawn = bootstrap(joined, figures).reshape(-1, len(keys), len(metrics))
    return {(cell.name, each): Sampled(seen[place], drawn[:, place]) for place, (cell, each) in enumerate(keys)}


def study_calibrations(results: StudyResults) -> Calibrations:
    """How well calibrated the confidences of the finished cells are; empty if no answer has one.

    Raises:
        UserError: as :func:`study_samples`.
    """
    gold = results.layout.gold
    found = {
        (cell.name, modality): _counted(prediction_file(results, cell, modality), gold)[1]
        for cell in results.finished
        for modality in MODALITIES
    }
    return {key: each for key, each in found.items() if each is not None}


def over_seeds(of_each_seed: Sequence[Sampled]) -> tuple[Estimate, ...]:
    """The mean over seeds of each metric, with an interval that covers the choice of test utterances and of seeds.

    A resample is the mean of all seeds' figures on the drawn utterances, plus the deviation of the mean over as many
    drawn seeds (stretched, see above). With one seed it covers the utterances only.

    Raises:
        ValueError: no seeds.
    """
    if not of_each_seed:
        raise ValueError("no seeds")
    number = len(of_each_seed)
    seen = np.stack([each.seen for each in of_each_seed])
    drawn = np.mean([each.drawn for each in of_each_seed], axis=0)
    if number > 1:
        chosen = np.random.default_rng(number).integers(0, number, (len(drawn), number))
        drawn = drawn + np.sqrt(number / (number - 1)) * (seen[chosen].mean(axis=1) - seen.mean(axis=0))
    return tuple(
        Estimate(float(mean), float(low), float(high), float(column.std(ddof=1)), _p_value(column), number)
        for mean, (low, high), column in zip(seen.mean(axis=0), interval(drawn), drawn.T, strict=True)
    )


def _p_value(column: Floats) -> float:
    """By inverting the percentile interval (Efron and Tibshirani, 1993, chapters 13 and 15); never 0."""
    beyond = min((column <= 0).sum(), (column >= 0).sum())
    return min(1.0, 2 * float(beyond + 1) / (len(column) + 1))


def _counted(predictions: Path, gold: Path) -> tuple[Sums, Calibration | None]:
    """The counts of each utterance (utterances, columns), and the calibration if there are confidences; an unchanged
    file is not read again."""
    return _read_counted(predictions, _state(predictions), gold, _state(gold), headline())


def _state(path: Path) -> tuple[int, int]:
    if not path.is_file():
        return 0, 0  # the reader reports what is missing
    state = path.stat()
    return state.st_mtime_ns, state.st_size


@lru_cache(maxsize=_MOST_FILES)
def _read_counted(
    predictions: Path, _: tuple[int, int], gold: Path, gold_state: tuple[int, int], metrics: tuple[Metric, ...]
) -> tuple[Sums, Calibration | None]:
    answers = read_answers(predictions, _read_gold(gold, gold_state), lambda line: None)
    judged = judged_answers(answers.all)
    table = counts_table(answers.all, "strict", metrics)
    return Sums(table.columns, table.per_utterance()), None if judged is None else calibration(judged)


@lru_cache(maxsize=2)
def _read_gold(gold: Path, _: tuple[int, int]) -> Gold:
    return read_gold(gold)
