"""Learning curves: a study's cells grouped into lines and points, each point with its figures over the seeds.

A line is a scheme with a mixture of source languages and a model. A point is a speech budget on it; its cells differ
only in the seed. At budget 0 a line has its own point if the study has such cells; else it starts at the point of the
scheme that sees the same data without speech.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass

from sottovoce.core.types import MODALITIES, Modality
from sottovoce.report.estimates import Estimate, Samples, differences, shares
from sottovoce.report.results import CellResult, StudyResults
from sottovoce.train.schemes import SCHEMES


@dataclass(frozen=True)
class Point:
    """One budget of a line.

    Args:
        cells: its cells, finished or not, one per seed.
        speech, text: the headline metrics on each input over the finished seeds; empty if there is none.
        gap: how much higher they are on gold text than on speech.
    """

    cells: tuple[CellResult, ...]
    speech: tuple[Estimate, ...] = ()
    text: tuple[Estimate, ...] = ()
    gap: tuple[Estimate, ...] = ()

    @property
    def finished(self) -> tuple[CellResult, ...]:
        return tuple(cell for cell in self.cells if cell.finished)

    @property
    def scheme(self) -> str:
        return self.cells[0].scheme

    @property
    def size(self) -> str:
        return self.cells[0].size

    @property
    def share(self) -> float:
        """The budget as a share of the training utterances, the mean over seeds, which differ if it counts time."""
        return _mean([cell.budget_share for cell in self._known])

    @property
    def num_clips(self) -> int:
        return round(_mean([cell.num_clips for cell in self._known]))

    @property
    def speech_seconds(self) -> float:
        return _mean([cell.speech_seconds for cell in self._known])

    @property
    def _known(self) -> list[CellResult]:
        return [cell for cell in self.cells if cell.num_clips] or list(self.cells)

    def on(self, modality: Modality) -> tuple[Estimate, ...]:
        """The figures on an input."""
        return self.speech if modality == "speech" else self.text


@dataclass(frozen=True)
class Line:
    """A scheme with a mixture and a model, its points by growing budget; ``start`` is the point without speech."""

    scheme: str
    sources: tuple[str, ...]
    model: str
    points: tuple[Point, ...]
    start: Point | None = None

    @property
    def uses_speech(self) -> bool:
        return any(cell.uses_speech for point in self.points for cell in point.cells)

    @property
    def drawn(self) -> tuple[Point, ...]:
        """The start and the finished points."""
        start = (self.start,) if self.start else ()
        return tuple(point for point in (*start, *self.points) if point.speech)

    @property
    def last(self) -> Point | None:
        """The finished point with the largest budget."""
        return next((point for point in reversed(self.points) if point.speech), None)

    def at(self, size: str) -> Point | None:
        """The finished point of a budget."""
        return next((point for point in self.points if point.size == size and point.speech), None)


@dataclass(frozen=True)
class Curves:
    """A study's lines in its order; those without training speech have one point."""

    results: StudyResults
    samples: Samples
    lines: tuple[Line, ...]

    @property
    def budgeted(self) -> tuple[Line, ...]:
        """The lines with training speech."""
        return tuple(line for line in self.lines if line.uses_speech)

    @property
    def cascades(self) -> tuple[Line, ...]:
        """The lines that read a recogniser's transcripts."""
        return tuple(line for line in self.lines if SCHEMES[line.scheme].reads == "transcripts")

    @property
    def models(self) -> tuple[str, ...]:
        return tuple(dict.fromkeys(line.model for line in self.lines))

    @property
    def mixtures(self) -> tuple[tuple[str, ...], ...]:
        """Source languages of each mixture, the target alone first."""
        found = {line.sources for line in self.lines if SCHEMES[line.scheme].is_trained}
        return tuple(sorted(found, key=lambda sources: (len(sources), sources)))

    def line(self, scheme: str, sources: tuple[str, ...], model: str) -> Line | None:
        """A line, None if the study does not have it."""
        wanted = (scheme, sources, model)
        return next((line for line in self.lines if (line.scheme, line.sources, line.model) == wanted), None)

    def text_only(self, sources: tuple[str, ...], model: str) -> Point | None:
        """The finished text-only point of a mixture and model."""
        found = self.line("text_only", sources, model)
        return found.last if found else None

    @property
    def best(self) -> Point | None:
        """The best point on speech, by the headline metrics in turn, among each line's largest finished budget."""
        ends = [line.last for line in self.budgeted if line.last]
        return max(ends, key=lambda point: [estimate.mean for estimate in point.speech], default=None)


def study_curves(results: StudyResults, samples: Samples) -> Curves:
    """Groups a study's cells; what is not finished is a point without figures."""
    groups: dict[tuple[str, tuple[str, ...], str], dict[str, list[CellResult]]] = {}
    for cell in results.cells:
        line = groups.setdefault((cell.scheme, cell.sources, cell.model_name), {})
        line.setdefault(cell.size or f"{cell.budget_share:g}", []).append(cell)
    points = {key: _sorted([_point(cells, samples) for cells in sizes.values()]) for key, sizes in groups.items()}
    lines = tuple(Line(*key, of_line, _start(key, points)) for key, of_line in points.items())
    return Curves(results, samples, lines)


def _start(
    key: tuple[str, tuple[str, ...], str], points: dict[tuple[str, tuple[str, ...], str], tuple[Point, ...]]
) -> Point | None:
    scheme, sources, model = key
    spoken = any(cell.uses_speech for point in points[key] for cell in point.cells)
    without = SCHEMES[scheme].without_speech if spoken and not sources else None
    if without is None or any(point.size == "0pct" and point.speech for point in points[key]):
        return None
    return next(iter(points.get((without, (), model), ())), None)


def _point(cells: Sequence[CellResult], samples: Samples) -> Point:
    names = [cell.name for cell in cells if cell.finished]
    if not names:
        return Point(tuple(cells))
    on = {modality: [samples[name, modality] for name in names] for modality in MODALITIES}
    gaps = [text - speech for text, speech in zip(on["text"], on["speech"], strict=True)]
    return Point(tuple(cells), shares(on["speech"]), shares(on["text"]), differences(gaps))


def _sorted(points: list[Point]) -> tuple[Point, ...]:
    """By growing budget; budgets in hours and the like come last until they run, since their share is not known."""
    unknown = [not point.share and point.size not in ("", "0pct") for point in points]
    order = sorted(range(len(points)), key=lambda place: (unknown[place], points[place].share))
    return tuple(points[place] for place in order)


def _mean(values: Sequence[float]) -> float:
    return round(math.fsum(values) / len(values), 12) if values else 0.0
