"""The charts of a check as SVG: clip lengths as histograms, everything with a name as bars."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from statistics import median
from typing import Any

from matplotlib.figure import Figure
from matplotlib.ticker import MaxNLocator
from rich.cells import cell_len, set_cell_size

from sottovoce.check.distributions import ClipLengths
from sottovoce.core.svg import BAND, INK, SPEECH, svg_of, without_prolog
from sottovoce.core.types import Split

MAX_BARS = 60
MAX_NAME_CELLS = 24  # a cell is the width of a Latin letter, half that of a Chinese one
# In inches; so narrow that text is 11 pixels high on a phone.
_WIDTH, _MARGIN, _ROW = 3.5, 0.05, 0.21
_SIZE = 8.5  # of text, in points
_CELL = 0.07  # width of a letter of that size, in inches


@dataclass(frozen=True, slots=True)
class Bar:
    """A bar of length ``total`` of which ``part`` is filled, and the ``value`` written after it."""

    name: str
    total: float
    part: float
    value: str


def bars_svg(bars: Sequence[Bar], alt: str, salt: str) -> str:
    """Horizontal bars in the given order; of more than 60 only the first 30 and the last 30.

    Args:
        bars: at least one.
        alt: the text alternative.
        salt: unique among the charts of a page.
    """
    half = MAX_BARS // 2
    shown: list[Bar | None] = [*bars] if len(bars) <= MAX_BARS else [*bars[:half], None, *bars[-half:]]
    names, values = (
        _CELL * max(map(cell_len, texts)) + 0.1
        for texts in ([_shortened(bar.name) for bar in bars], [bar.value for bar in bars])
    )
    width = _WIDTH - names - values
    height = _ROW * len(shown) + 2 * _MARGIN
    figure = Figure(figsize=(_WIDTH, height))
    axes = _axes(figure, names / _WIDTH, _MARGIN / height, width / _WIDTH, _ROW * len(shown) / height)
    axes.set_xlim(0, max(bar.total for bar in bars) or 1)
    axes.set_ylim(len(shown) - 0.5, -0.5)
    axes.set_xticks([])
    axes.set_yticks([])
    for row, bar in enumerate(shown):
        y = 1 - (_MARGIN + (row + 0.5) * _ROW) / height
        if bar is None:
            _text(figure, names / _WIDTH, y, f"… {len(bars) - MAX_BARS} more …", ha="left", alpha=0.7)
            continue
        axes.barh(row, bar.total, height=0.62, color=INK, alpha=0.2, linewidth=0)
        axes.barh(row, bar.part, height=0.62, color=SPEECH, linewidth=0)
        _text(figure, (names - 0.08) / _WIDTH, y, _shortened(bar.name), ha="right")
        _text(figure, (names + width + 0.08) / _WIDTH, y, bar.value, ha="left", alpha=0.75)
    return without_prolog(svg_of(figure, alt, salt))


def lengths_svg(seconds: Mapping[Split, Sequence[float]], lengths: ClipLengths, window_seconds: float | None) -> str:
    """Clip lengths of each split, stacked on one axis of seconds.

    Args:
        seconds: the lengths by split, at least one length in all.
        lengths: the same, counted.
        window_seconds: where to draw a line, if anywhere.
    """
    head, panel, between, foot = 0.28, 0.75, 0.4, 0.45
    num_panels = len(lengths.counts)
    height = num_panels * (head + panel) + (num_panels - 1) * between + foot
    figure = Figure(figsize=(_WIDTH, height))
    left = 0.45
    for number, (split, counts) in enumerate(lengths.counts.items()):
        top = number * (head + panel + between)
        bottom = 1 - (top + head + panel) / height
        axes = _axes(figure, left / _WIDTH, bottom, (_WIDTH - left - 0.15) / _WIDTH, panel / height)
        edges = [place * lengths.bin_seconds for place in range(len(counts))]
        axes.bar(edges, counts, width=0.92 * lengths.bin_seconds, align="edge", color=SPEECH, linewidth=0)
        axes.set_xlim(0, lengths.end_seconds)
        axes.set_ylim(0, 1.05 * max(counts))
        axes.xaxis.set_major_locator(MaxNLocator(6))
        axes.yaxis.set_major_locator(MaxNLocator(2, integer=True))
        axes.grid(axis="y", color=INK, alpha=0.12, linewidth=0.7)
        axes.axhline(0, color=INK, alpha=0.5, linewidth=0.8)
        if window_seconds is not None:
            axes.axvline(window_seconds, color=BAND, linewidth=1.3, linestyle=(0, (3, 2)))
        own = seconds[split]
        extent = f"{min(own):.2f} to {max(own):.2f} s, median {median(own):.2f} s"
        _text(figure, _MARGIN / _WIDTH, 1 - (top + 0.1) / height, f"{split}: {extent}", ha="left")
    _text(figure, (_WIDTH - 0.15) / _WIDTH, 0.1 / height, "seconds", ha="right", alpha=0.75)
    return without_prolog(svg_of(figure, "Histograms of clip lengths in seconds, by split", "lengths"))


def _axes(figure: Any, left: float, bottom: float, width: float, height: float) -> Any:
    axes = figure.add_axes((left, bottom, width, height))
    axes.set_facecolor("none")
    axes.set_axisbelow(True)
    for side in ("top", "right", "left", "bottom"):
        axes.spines[side].set_visible(False)
    axes.tick_params(axis="both", length=0, labelsize=_SIZE, labelcolor=INK)
    return axes


def _text(figure: Any, x: float, y: float, text: str, **style: Any) -> None:
    # parse_math=False: a $ in a name is only a $.
    figure.text(x, y, text, va="center_baseline", fontsize=_SIZE, color=INK, parse_math=False, **style)


def _shortened(name: str) -> str:
    """A name on one line; a long one without its middle, since similar names differ at the ends."""
    name = " ".join(name.split())
    if cell_len(name) <= MAX_NAME_CELLS:
        return name
    half = (MAX_NAME_CELLS - 1) // 2
    return f"{set_cell_size(name, half).strip()}…{set_cell_size(name[::-1], half)[::-1].strip()}"
