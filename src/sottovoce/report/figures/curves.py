"""The learning curves: the headline metrics on test speech against the speech budget, one line per scheme.

The budget axis is logarithmic with a zero: at the left the scheme without speech, then the budgets by number of
recordings. Colour and marker show the scheme, dashes the mixture of languages; bands are 95 % intervals.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import Any

from matplotlib.figure import Figure
from matplotlib.lines import Line2D
from matplotlib.patches import Patch

from sottovoce.core.svg import BAND, INK
from sottovoce.report.curves import Curves, Line, Point
from sottovoce.report.published import Published
from sottovoce.report.wording import line_label, model_tail
from sottovoce.score.metrics.registry import headline, headline_keys
from sottovoce.train.schemes import SCHEMES

_DASHES: tuple[Any, ...] = ("-", (0, (5, 1.6)), (0, (1.2, 1.4)), (0, (6, 1.5, 1.2, 1.5)), (0, (3, 1, 1, 1, 1, 1)))
_PUBLISHED: Any = (0, (9, 4))
_ZERO = 0.6  # how far 0 is left of the smallest budget, in decades


def curve_figure(curves: Curves, published: Sequence[Published], title: str, narrow: bool) -> Any:
    """The figure: a panel for each model and metric, side by side or, if narrow, stacked."""
    # All lengths in inches, from the top left; matplotlib itself takes shares from the bottom left.
    margin, left, panel_height, below = 0.1, 0.42, 2.9, 1.0
    width = 4.7 if narrow else 9.4
    handles = _handles(curves, published)
    columns = 1 if narrow else 2 if any(len(handle.get_label()) > 34 for handle in handles) else 3
    head = 0.62 + (0.2 if narrow else 0) + 0.21 * math.ceil(len(handles) / columns)
    metrics = headline()
    across = 1 if narrow else len(metrics)
    down = len(curves.models) * len(metrics) // across
    height = head + down * (panel_height + below) - 0.35
    panel_width = (width - margin) / across - left - 0.12
    figure = Figure(figsize=(width, height))
    limits = [_limits(curves, published, place) for place in range(len(metrics))]
    for number in range(len(curves.models) * len(metrics)):
        model, place = curves.models[number // len(metrics)], number % len(metrics)
        start = margin + left + (number % across) * (panel_width + left + 0.12)
        top = head + (number // across) * (panel_height + below)
        box = (start / width, 1 - (top + panel_height) / height, panel_width / width, panel_height / height)
        axes = figure.add_axes(box)
        _panel(axes, curves, model, place, published, panel_width)
        axes.set_ylim(*limits[place])
        name = f"{metrics[place].title} on speech, %" + (f", {model_tail(model)}" if len(curves.models) > 1 else "")
        at = ((start - left + margin) / width, 1 - (top - 0.12) / height)
        figure.text(*at, name, va="bottom", fontsize=10, color=INK, weight="bold", parse_math=False)
    figure.text(
        margin / width, 1 - 0.1 / height, title, va="top", fontsize=9.5, color=INK, linespacing=1.4, parse_math=False
    )
    legend = figure.legend(
        handles=handles, loc="upper left", bbox_to_anchor=(margin / width, 1 - (0.55 if narrow else 0.36) / height),
        ncols=columns, frameon=False, fontsize=8.5, handlelength=3.8, handletextpad=0.6, columnspacing=1.8,
        labelspacing=0.45, borderpad=0, borderaxespad=0,
    )  # fmt: skip
    for text in legend.get_texts():
        text.set_color(INK)
        text.set_parse_math(False)
    return figure


def _panel(axes: Any, curves: Curves, model: str, place: int, published: Sequence[Published], width: float) -> None:
    axes.set_facecolor("none")
    for side in axes.spines.values():
        side.set_visible(False)
    axes.tick_params(axis="both", length=0, labelsize=8.5, labelcolor=INK)
    axes.grid(axis="y", color=INK, alpha=0.12, linewidth=0.7)
    axes.set_axisbelow(True)
    lines = [line for line in curves.budgeted if line.model == model]
    smallest = min((p.num_clips for line in lines for p in line.points if p.speech and p.num_clips), default=1)
    for number, sources in enumerate(curves.mixtures):
        _text_only(axes, curves.text_only(sources, model), place, number)
    for line in curves.cascades:
        if line.model == model and line.last:
            level = 100 * line.last.speech[place].mean
            colour = SCHEMES[line.scheme].colour or INK  # no marker: it does not depend on the budget
            axes.axhline(level, color=colour, linewidth=1.8, linestyle=_dashes(curves, line.sources), zorder=3)
    for line in lines:
        colour, marker = SCHEMES[line.scheme].colour or INK, SCHEMES[line.scheme].marker
        at = [_position(point.num_clips, smallest) for point in line.drawn]
        estimates = [point.speech[place] for point in line.drawn]
        if not at:
            continue
        low, high = ([100 * getattr(each, end) for each in estimates] for end in ("low", "high"))
        axes.fill_between(at, low, high, color=colour, alpha=0.16, linewidth=0, zorder=2)
        axes.plot(
            at, [100 * each.mean for each in estimates], color=colour, marker=marker, markersize=5.5, linewidth=1.8,
            linestyle=_dashes(curves, line.sources), zorder=4, clip_on=False,
        )  # fmt: skip
    for each in published:
        value = each.figures.get(headline_keys()[place])
        if value is not None and each.drawn:
            axes.axhline(100 * value, color=INK, alpha=0.55, linewidth=1.0, linestyle=_PUBLISHED, zorder=3)
            axes.annotate(
                f"published, {each.model}", (1, 100 * value), xycoords=("axes fraction", "data"), xytext=(0, 2),
                textcoords="offset points",
                ha="right", va="bottom", fontsize=7.5, color=INK, alpha=0.8, parse_math=False,
            )  # fmt: skip
    _budget_axis(axes, lines, smallest, width)


def _text_only(axes: Any, point: Point | None, place: int, number: int) -> None:
    """Text-only's score on speech; for the first mixture also on gold text, with the gap between them shaded."""
    if point is None:
        return
    floor, ceiling = (100 * point.on(modality)[place].mean for modality in ("speech", "text"))
    axes.axhline(floor, color=BAND, linewidth=1.3, linestyle=_DASHES[number % len(_DASHES)], zorder=1)
    if number:
        return
    axes.axhline(ceiling, color=BAND, linewidth=1.3, zorder=1)
    if ceiling > floor:
        axes.axhspan(floor, ceiling, color=BAND, alpha=0.10, linewidth=0, zorder=0)
    looks = {"xycoords": ("axes fraction", "data"), "textcoords": "offset points", "fontsize": 8, "color": INK}
    # Curves start low at the left, so there is room for the ceiling's name there, and for the floor's at the right.
    axes.annotate("text-only, speech", (1, floor), xytext=(0, -3), ha="right", va="top", alpha=0.8, **looks)
    axes.annotate("text-only, gold text", (0, ceiling), xytext=(0, 2.5), ha="left", va="bottom", alpha=0.8, **looks)


def _budget_axis(axes: Any, lines: Sequence[Line], smallest: int, width: float) -> None:
    """A tick for 0 and each budget: its share, and below it the number of recordings, if there is room."""
    shares = {point.num_clips: point.share for line in lines for point in line.drawn}
    places = {number: _position(number, smallest) for number in sorted({0, *shares})}
    last = max(places.values())
    axes.set_xlim(-0.04 * max(last, 1), max(last, 1) * 1.03)
    axes.set_xticks(list(places.values()))
    inch = width / (max(last, 1) * 1.07)
    labels, free = [], -math.inf
    for number, at in places.items():
        share = f"{100 * shares[number]:.3g} %" if number else "0"
        half = 0.035 * max(len(share), len(f"{number:,}") if number else 0)
        if at * inch - half < free:
            labels.append("")
            continue
        free = at * inch + half
        labels.append(f"{share}\n{number:,}" if number else share)
    axes.set_xticklabels(labels, linespacing=1.35)
    axes.set_xlabel("speech budget, and its number of recordings", fontsize=8.5, color=INK, alpha=0.8, labelpad=4)
    for at in places.values():
        axes.axvline(at, color=INK, alpha=0.06, linewidth=0.7, zorder=0)


def _position(num_clips: int, smallest: int) -> float:
    return _ZERO + math.log10(num_clips / smallest) if num_clips else 0.0


def _limits(curves: Curves, published: Sequence[Published], place: int) -> tuple[float, float]:
    """The limits of what is drawn for all models, with some room, rounded to tens."""
    key = headline_keys()[place]
    values = [100 * each.figures[key] for each in published if each.drawn and key in each.figures]
    for line in curves.budgeted:
        for point in line.drawn:
            values += [100 * point.speech[place].low, 100 * point.speech[place].high]
        if text_only := curves.text_only(line.sources, line.model):
            values += [100 * text_only.on(modality)[place].mean for modality in ("speech", "text")]
    values += [100 * line.last.speech[place].mean for line in curves.cascades if line.last]
    if not values:
        return 0, 100
    return max(0.0, 10 * math.floor((min(values) - 2) / 10)), min(101.0, 10 * math.ceil((max(values) + 3) / 10))


def _dashes(curves: Curves, sources: tuple[str, ...]) -> Any:
    return _DASHES[curves.mixtures.index(sources) % len(_DASHES)]


def _handles(curves: Curves, published: Sequence[Published]) -> list[Any]:
    handles: list[Any] = []
    for line in curves.budgeted:
        if line.model != curves.models[0]:
            continue
        colour, marker = SCHEMES[line.scheme].colour or INK, SCHEMES[line.scheme].marker
        name = line_label(curves.results, line.scheme, line.sources, "")
        looks: dict[str, Any] = {"color": colour, "marker": marker, "markersize": 5.5, "linewidth": 1.8}
        handles.append(Line2D([], [], **looks, linestyle=_dashes(curves, line.sources), label=name))
    for line in curves.cascades:
        if line.model == curves.models[0]:
            name = line_label(curves.results, line.scheme, line.sources, "")
            looks = {"color": SCHEMES[line.scheme].colour or INK, "linestyle": _dashes(curves, line.sources)}
            handles.append(Line2D([], [], **looks, linewidth=1.8, label=name))
    handles.append(Patch(facecolor=BAND, alpha=0.3, label="text-only’s gap"))
    for each in published:
        if each.drawn:
            name = f"published, {each.model}, {each.source}"
            handles.append(Line2D([], [], color=INK, alpha=0.6, linewidth=1.0, linestyle=_PUBLISHED, label=name))
    return handles
