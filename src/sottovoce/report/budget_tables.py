"""The page's tables with one row per budget: differences between schemes, and each one's loss from text to speech."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from sottovoce.report.curves import Curves
from sottovoce.report.differences import Comparison
from sottovoce.report.results import StudyResults
from sottovoce.report.wording import line_label, speech_words


@dataclass(frozen=True)
class Entry:
    """A difference (a share), its interval and p-value, both corrected, and whether it is real by them; the last two
    are None if nothing is tested."""

    mean: float
    low: float
    high: float
    p_value: float | None = None
    real: bool | None = None


@dataclass(frozen=True)
class Matrix:
    """``rows``: a budget in words, and an entry (or None) for each of the ``columns``."""

    columns: tuple[str, ...]
    rows: tuple[tuple[str, tuple[Entry | None, ...]], ...]


def difference_matrix(results: StudyResults, comparisons: Sequence[Comparison], place: int) -> Matrix:
    """The comparisons in the headline metric at that place, a column for each pair of schemes."""
    entries: dict[tuple[float, str, str], Entry] = {}
    for each in comparisons:
        first, second = (line_label(results, name, each.sources, each.model) for name in (each.first, each.second))
        row = speech_words(each.share, 0, each.first, each.size)
        mean = each.figures[place].mean
        entry = Entry(mean, *each.bounds(place), each.p_values[place], each.better(place) is not None)
        entries[each.share, row, f"{first} − {second.lower()}"] = entry
    return _matrix(entries)


def gap_matrix(curves: Curves, place: int) -> Matrix:
    """How much higher each line is on gold text than on speech, in the headline metric at that place."""
    entries: dict[tuple[float, str, str], Entry] = {}
    for line in curves.budgeted:
        column = line_label(curves.results, line.scheme, line.sources, line.model)
        for point in line.drawn:
            budget = speech_words(point.share, 0, point.scheme, point.size)
            gap = point.gap[place]
            entries[point.share, budget, column] = Entry(gap.mean, gap.low, gap.high)
    return _matrix(entries)


def _matrix(entries: dict[tuple[float, str, str], Entry]) -> Matrix:
    rows = tuple(dict.fromkeys(key[:2] for key in sorted(entries, key=lambda key: key[0])))
    columns = tuple(dict.fromkeys(column for *_, column in entries))
    return Matrix(columns, tuple((row[1], tuple(entries.get((*row, column)) for column in columns)) for row in rows))
