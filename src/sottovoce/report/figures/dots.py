"""A small study's figure: for each scheme a solid dot for speech and a ring for gold text, with the gap between them.

The shaded band runs from text-only's score on speech to its score on gold text: how far a scheme's solid dot is into
the band is the share of the gap that it closes.
"""

from __future__ import annotations

import math
from typing import Any

from matplotlib.figure import Figure
from matplotlib.lines import Line2D
from matplotlib.ticker import FuncFormatter

from sottovoce.core.svg import BAND, INK, SPEECH
from sottovoce.report.measures import standard_error
from sottovoce.report.results import CellResult, StudyResults
from sottovoce.report.wording import clips, label, percent, speech_used, state_of
from sottovoce.score.metrics.metric import Metric
from sottovoce.score.metrics.registry import headline


def dots_figure(results: StudyResults, title: str, narrow: bool) -> Any:
    """The figure: a panel for each headline metric with a row for each cell, side by side or, if narrow, stacked."""
    # All lengths in inches, from the top left; matplotlib itself takes shares from the bottom left.
    longest = max((len(label(results, cell)) for cell in results.cells), default=0)
    margin, row, between = 0.1, 0.62, 0.85
    names = min(max(1.3, margin + 0.073 * longest), 2.2)  # fits a cascade's name with its recogniser
    head, foot = (1.1, 0.4) if narrow else (0.98, 0.4)
    panel_height = row * len(results.cells)
    width = 4.7 if narrow else 9.4
    metrics = headline()
    across = 1 if narrow else len(metrics)
    panel_width = (width - names - margin - 0.4 * (across - 1)) / across
    height = head + panel_height + foot + ((len(metrics) - 1) * (panel_height + between) if narrow else 0)
    figure = Figure(figsize=(width, height))
    for number, metric in enumerate(metrics):
        left = names if narrow else names + number * (panel_width + 0.4)
        top = head + (number * (panel_height + between) if narrow else 0)
        axes = figure.add_axes(
            (left / width, 1 - (top + panel_height) / height, panel_width / width, panel_height / height)
        )
        _panel(axes, results, metric, panel_width)
        start = margin if narrow else left + 4 / 108 * panel_width
        name = f"{metric.title}, %"
        figure.text(start / width, 1 - (top - 0.1) / height, name, va="bottom", fontsize=10, color=INK, weight="bold")
        for place, cell in enumerate(results.cells if left == names else ()):
            y = 1 - (top + (place + 0.5) * row) / height
            heard = clips(cell.num_clips) if cell.num_clips else speech_used(cell).replace("none", "no speech")
            figure.text(margin / width, y, label(results, cell), va="bottom", fontsize=9.5, color=INK, parse_math=False)
            figure.text(margin / width, y - 0.03 / height, heard, va="top", fontsize=8.5, color=INK, alpha=0.7)
    figure.text(
        margin / width, 1 - 0.1 / height, title, va="top", fontsize=9.5, color=INK, linespacing=1.4, parse_math=False
    )
    _legend(figure, margin / width, 1 - (0.52 if narrow else 0.36) / height)
    return figure


def _legend(figure: Any, x: float, y: float) -> None:
    handles = [
        Line2D([], [], marker="o", color=SPEECH, markersize=7, linestyle="", label="speech"),
        Line2D([], [], marker="o", color=INK, markerfacecolor="none", markersize=7, linestyle="", label="gold text"),
        Line2D([], [], marker="s", color=BAND, alpha=0.35, markersize=9, linestyle="", label="text-only’s gap"),
    ]
    legend = figure.legend(
        handles=handles, loc="upper left", bbox_to_anchor=(x, y), ncols=3, frameon=False, fontsize=8.5,
        handletextpad=0.3, columnspacing=1.4, borderpad=0, borderaxespad=0, handlelength=1.2,
    )  # fmt: skip
    for text in legend.get_texts():
        text.set_color(INK)


def _panel(axes: Any, results: StudyResults, metric: Metric, width: float) -> None:
    cells = results.cells
    axes.set_xlim(-4, 104)
    axes.set_ylim(len(cells) - 0.5, -0.5)
    axes.set_facecolor("none")
    for side in ("top", "right", "left", "bottom"):
        axes.spines[side].set_visible(False)
    axes.set_xticks(range(0, 101, 25))
    axes.xaxis.set_major_formatter(FuncFormatter(lambda value, _: f"{value:g}"))
    axes.tick_params(axis="both", length=0, labelsize=8.5, labelcolor=INK)
    axes.grid(axis="x", color=INK, alpha=0.12, linewidth=0.7)
    axes.set_axisbelow(True)
    axes.set_yticks([])
    text_only = next((cell for cell in results.finished if cell.scheme == "text_only"), None)
    if text_only is not None:
        floor, ceiling = (100 * text_only.strict(modality)[metric.key] for modality in ("speech", "text"))
        if ceiling > floor:
            axes.axvspan(floor, ceiling, color=BAND, alpha=0.16, linewidth=0, zorder=0)
    # Markers are sized in points: the line between two must stop at the edge of the ring, which is not filled.
    radius = 4.0 / 72 / width * 108
    for row, cell in enumerate(cells):
        if cell.finished:
            _dots(axes, row, cell, metric, radius)
        else:
            axes.text(2, row, state_of(cell), fontsize=8.5, color=INK, alpha=0.6, style="italic", va="center")


def _dots(axes: Any, row: int, cell: CellResult, metric: Metric, radius: float) -> None:
    speech, text = (100 * cell.strict(modality)[metric.key] for modality in ("speech", "text"))
    way = 1 if text > speech else -1
    if abs(text - speech) > 2 * radius:
        axes.plot([speech, text - way * radius], [row, row], color=INK, alpha=0.35, linewidth=1.4, zorder=2)
    for value, colour, modality in ((text, INK, "text"), (speech, SPEECH, "speech")):
        error = 100 * (standard_error(cell.strict("speech" if modality == "speech" else "text"), metric) or 0.0)
        # In two pieces, from the marker's edge outwards, to keep the ring empty.
        for end in (value - error, value + error) if error > radius else ():
            edge = value + math.copysign(radius, end - value)
            axes.plot([edge, end], [row, row], color=colour, linewidth=1.8, zorder=3, solid_capstyle="butt")
            axes.plot([end, end], [row - 0.07, row + 0.07], color=colour, linewidth=1.4, zorder=3)
        filled = SPEECH if modality == "speech" else "none"
        axes.plot(
            value, row, marker="o", markersize=8, markeredgewidth=1.5, color=colour, markerfacecolor=filled, zorder=4
        )
        # Speech below, gold text above, so that the two values never overlap.
        axes.annotate(
            percent(value / 100), (value, row), xytext=(0, -9 if modality == "speech" else 9),
            textcoords="offset points", ha="center", va="top" if modality == "speech" else "bottom", fontsize=8.5,
            color=colour, weight="bold" if modality == "speech" else "normal", zorder=5,
        )  # fmt: skip
