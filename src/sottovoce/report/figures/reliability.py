"""The reliability diagram: how often intents of a given confidence are right, on speech and on gold text.

A dot for each tenth of confidence, at its mean confidence and its share of right intents, with its 95 % interval.
The shaded bar from the diagonal to the dot is what the model is too sure or too unsure by; columns below count answers.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from matplotlib.figure import Figure
from matplotlib.ticker import FuncFormatter, MaxNLocator

from sottovoce.core.svg import BAND, INK, SPEECH, svg_of, without_prolog
from sottovoce.core.types import MODALITIES, Modality
from sottovoce.report.wording import percent
from sottovoce.score.calibration import NUM_BINS, Calibration

NAMES: Mapping[Modality, str] = {"speech": "Speech", "text": "Gold text"}
_LOOKS = {"speech": (SPEECH, SPEECH), "text": (INK, "none")}  # colour of the dot, and what it is filled with
_ALT = "Reliability diagram: share of right intents against confidence, on speech and on gold text"


def reliability_svg(calibrations: Mapping[Modality, Calibration], narrow: bool = False) -> str:
    """The figure for use inside the page: a panel for each input, side by side or, if narrow, stacked.

    Args:
        calibrations: of one cell, by input; at least one.
        narrow: for a phone.
    """
    # All lengths in inches, from the top left; matplotlib itself takes shares from the bottom left.
    margin, left, head, side, counts, foot = 0.1, 0.5, 0.42, 2.9, 0.55, 0.55
    shown = [modality for modality in MODALITIES if modality in calibrations]
    across = 1 if narrow else len(MODALITIES)  # one input alone takes half the width
    down = len(shown) if narrow else 1
    width, block = 4.7 if narrow else 9.4, head + side + 0.08 + counts + foot
    height = down * block
    panel_width = (width - margin) / across - left - 0.12
    figure = Figure(figsize=(width, height))
    for number, modality in enumerate(shown):
        start = margin + left + (number % across) * (panel_width + left + 0.12)
        top = head + (number // across) * block

        def box(above: float, panel: float, start: float = start) -> tuple[float, float, float, float]:
            return start / width, 1 - (above + panel) / height, panel_width / width, panel / height

        found = calibrations[modality]
        _dots(figure.add_axes(box(top, side)), found, modality)
        _counts(figure.add_axes(box(top + side + 0.08, counts)), found)
        at = (start - left + margin) / width
        name = f"{NAMES[modality]}: ECE {percent(found.ece)} %"
        figure.text(at, 1 - (top - 0.14) / height, name, va="bottom", fontsize=10, color=INK, weight="bold")
    return without_prolog(svg_of(figure, _ALT, salt=f"reliability{narrow}"))


def _dots(axes: Any, found: Calibration, modality: Modality) -> None:
    _plain(axes)
    axes.set_ylim(-3, 103)
    axes.set_yticks(range(0, 101, 25))
    axes.yaxis.set_major_formatter(FuncFormatter(lambda value, _: f"{value:g}"))
    axes.set_ylabel("right intents, %", fontsize=8.5, color=INK, labelpad=2)
    axes.tick_params(axis="x", labelbottom=False)
    axes.grid(color=INK, alpha=0.12, linewidth=0.7)
    axes.plot([0, 100], [0, 100], color=INK, alpha=0.45, linewidth=1, linestyle=(0, (4, 3)), zorder=1)
    colour, filled = _LOOKS[modality]
    for each in found.bins:
        x, y = 100 * each.mean_confidence, 100 * each.accuracy
        axes.plot([x, x], [x, y], color=BAND, alpha=0.4, linewidth=7, solid_capstyle="butt", zorder=2)
        low, high = (100 * end for end in each.accuracy_interval)
        axes.plot([x, x], [low, high], color=colour, alpha=0.65, linewidth=1.2, zorder=3)
    axes.plot(
        [100 * each.mean_confidence for each in found.bins], [100 * each.accuracy for each in found.bins], marker="o",
        markersize=7, markeredgewidth=1.5, linestyle="", color=colour, markerfacecolor=filled, zorder=4,
    )  # fmt: skip


def _counts(axes: Any, found: Calibration) -> None:
    _plain(axes)
    places, numbers = [100 * each.low for each in found.bins], [each.number for each in found.bins]
    axes.bar(places, numbers, width=0.92 * 100 / NUM_BINS, align="edge", color=INK, alpha=0.3, linewidth=0)
    axes.yaxis.set_major_locator(MaxNLocator(2, integer=True))
    axes.set_ylabel("answers", fontsize=8.5, color=INK, labelpad=2)
    axes.set_xlabel("confidence, %", fontsize=8.5, color=INK, labelpad=3)
    axes.axhline(0, color=INK, alpha=0.5, linewidth=0.8)


def _plain(axes: Any) -> None:
    axes.set_facecolor("none")
    axes.set_axisbelow(True)
    for side in ("top", "right", "left", "bottom"):
        axes.spines[side].set_visible(False)
    axes.set_xlim(-2, 102)
    axes.set_xticks(range(0, 101, 20))
    axes.tick_params(axis="both", length=0, labelsize=8.5, labelcolor=INK)
