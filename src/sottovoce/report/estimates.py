"""Every finished cell's figures with their intervals, and those of differences between cells.

They are computed from what each test utterance contributes to each cell (:mod:`sottovoce.score.intervals`); the test
utterances are the same for all cells, so any two of them can be compared utterance by utterance.
"""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from functools import lru_cache
from pathlib import Path

from sottovoce.core.types import MODALITIES, Modality
from sottovoce.report.results import StudyResults, prediction_file
from sottovoce.score import intervals
from sottovoce.score.calibration import Calibration, calibration
from sottovoce.score.confidences import judged_answers
from sottovoce.score.counts import counts_table
from sottovoce.score.evaluate import read_answers
from sottovoce.score.files import Gold, read_gold
from sottovoce.score.intervals import Difference, Figure, Scored
from sottovoce.score.metrics.metric import Metric
from sottovoce.score.metrics.registry import headline
from sottovoce.score.statistics import LEVEL

_MOST_FILES = 500  # kept in memory while a study is watched; 0.5 MB each at SLURP's size


Samples = Mapping[tuple[str, Modality], Scored]
"""The headline metrics by a finished cell's name and input, all of the same test utterances."""
Calibrations = Mapping[tuple[str, Modality], Calibration]
"""By a finished cell's name and input, where its answers have confidences."""


@dataclass(frozen=True)
class Estimate:
    """A figure or a difference (a share, 0..1): its mean over seeds, its 95 % interval and its standard error.

    ``p_value`` is a difference's, two-sided, of the hypothesis that it is 0, and not a number of a figure. ``source``
    gives the interval at any other level.
    """

    mean: float
    low: float
    high: float
    standard_error: float
    p_value: float
    num_seeds: int
    source: Figure | Difference


def study_samples(results: StudyResults) -> Samples:
    """The figures of all finished cells.

    Raises:
        UserError: gold or predictions are damaged; the message names the file.
    """
    keys = [(cell, modality) for cell in results.finished for modality in MODALITIES]
    gold = results.layout.gold
    return {(cell.name, each): _counted(prediction_file(results, cell, each), gold)[0] for cell, each in keys}


def study_calibrations(results: StudyResults) -> Calibrations:
    """How far the confidences of the finished cells can be trusted; empty if no answer has one.

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


def shares(of_each_seed: Sequence[Scored]) -> tuple[Estimate, ...]:
    """The mean over seeds of each metric, with an interval that covers the choice of test utterances and of seeds.

    Of one seed it covers the utterances only.

    Raises:
        ValueError: no seeds.
    """
    return tuple(_estimate(figure, len(of_each_seed)) for figure in intervals.figures(of_each_seed))


def differences(of_each_seed: Sequence[Scored]) -> tuple[Estimate, ...]:
    """The same of differences, whose p-values are below 0.05 exactly if 0 is outside their interval."""
    return tuple(_estimate(gain, len(of_each_seed)) for gain in intervals.differences(of_each_seed))


def _estimate(found: Figure | Difference, num_seeds: int) -> Estimate:
    p_value = found.p_value if isinstance(found, Difference) else math.nan
    return Estimate(found.value, *found.bounds(LEVEL), found.standard_error, p_value, num_seeds, found)


def _counted(predictions: Path, gold: Path) -> tuple[Scored, Calibration | None]:
    """The headline metrics, and the calibration if there are confidences; a file that was
    read before and has not changed is not read again."""
    return _read_counted(predictions, _state(predictions), gold, _state(gold), headline())


def _state(path: Path) -> tuple[int, int]:
    if not path.is_file():
        return 0, 0  # the reader says what is missing
    state = path.stat()
    return state.st_mtime_ns, state.st_size


@lru_cache(maxsize=_MOST_FILES)
def _read_counted(
    predictions: Path, _: tuple[int, int], gold: Path, gold_state: tuple[int, int], metrics: tuple[Metric, ...]
) -> tuple[Scored, Calibration | None]:
    answers = read_answers(predictions, _read_gold(gold, gold_state), lambda line: None)
    judged = judged_answers(answers.all)
    table = counts_table(answers.all, "strict", metrics)
    return table.scored(), None if judged is None else calibration(judged)


@lru_cache(maxsize=2)
def _read_gold(gold: Path, _: tuple[int, int]) -> Gold:
    return read_gold(gold)
