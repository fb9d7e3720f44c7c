"""The page's section on confidences: the best cell's reliability diagram, and the figures of every cell."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

from markupsafe import Markup

from sottovoce.core.types import MODALITIES, Modality
from sottovoce.report.estimates import Calibrations
from sottovoce.report.figures.reliability import NAMES, reliability_svg
from sottovoce.report.results import CellResult, StudyResults
from sottovoce.report.wording import label, percent
from sottovoce.score.calibration import Calibration


@dataclass(frozen=True)
class Line:
    """A row of the table: a cell's confidences on one input; ``best``: the figure shows this cell."""

    label: str
    input: str
    calibration: Calibration
    best: bool


@dataclass(frozen=True)
class Reliability:
    """The section: which cell is drawn, its calibration errors, the figures, and a line per cell and input."""

    label: str
    caption: str
    figure: Markup
    figure_narrow: Markup
    lines: tuple[Line, ...]


def reliability(results: StudyResults, calibrations: Calibrations) -> Reliability | None:
    """The section on confidences, None if no answer has one.

    It draws the study's best cell (:attr:`StudyResults.best`) or, if that has no confidences, the best on speech among
    those that do.
    """
    known = [cell for cell in results.finished if any((cell.name, each) in calibrations for each in MODALITIES)]
    if not known:
        return None
    highest = max(known, key=CellResult.headline_on_speech)
    drawn = results.best if results.best in known else highest
    own = _of_cell(drawn, calibrations)
    inputs = {"speech": "speech", "text": "gold text"}
    errors = [f"{percent(found.ece)} % on {inputs[each]}" for each, found in own.items()]
    lines = [
        Line(label(results, cell), NAMES[modality], found, cell is drawn)
        for cell in sorted(known, key=lambda cell: cell is not drawn)
        for modality, found in _of_cell(cell, calibrations).items()
    ]
    wide, narrow = (Markup(reliability_svg(own, narrow)) for narrow in (False, True))
    return Reliability(label(results, drawn), " and ".join(errors), wide, narrow, tuple(lines))


def _of_cell(cell: CellResult, calibrations: Calibrations) -> Mapping[Modality, Calibration]:
    return {each: calibrations[cell.name, each] for each in MODALITIES if (cell.name, each) in calibrations}
