"""The study's figure as SVG and PNG: learning curves if schemes have several cells, else a row of dots per scheme."""

from __future__ import annotations

import re
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from matplotlib.backends.backend_agg import FigureCanvasAgg

from sottovoce.core.svg import svg_of, without_prolog
from sottovoce.report.curves import Curves
from sottovoce.report.figures.curves import curve_figure
from sottovoce.report.figures.dots import dots_figure
from sottovoce.report.published import Published
from sottovoce.report.results import StudyResults
from sottovoce.report.wording import clips
from sottovoce.score.compare import listed
from sottovoce.score.metrics.registry import headline

_ALT = {
    True: "Learning curves of {} on speech against the speech budget, a line for each scheme",
    False: "Dot plot of {} by scheme, on speech and on gold text",
}
# A standalone SVG has no page to inherit its text colour from.
_STYLE = (
    "<style>.sottovoce-figure{color:#1d2329}"
    "@media (prefers-color-scheme:dark){.sottovoce-figure{color:#e7e4dd}}"
    "@media print{.sottovoce-figure{color:#1d2329}}</style>"
)


def figure_title(results: StudyResults) -> str:
    """What was tested, in one line."""
    return ", ".join(_title_parts(results))


def figure_svg(
    curves: Curves, published: Sequence[Published] = (), *, narrow: bool = False, inline: bool = False
) -> str:
    """The figure as SVG on a transparent background, in the colour of the surrounding text.

    Args:
        curves: the study's.
        published: figures to draw as well.
        narrow: panels stacked, for a phone.
        inline: for use inside an HTML page: without XML prolog and style.
    """
    figure = _figure(curves, published, narrow)
    shown = listed([metric.label for metric in headline()])
    svg = svg_of(figure, _ALT[curves.results.is_grid].format(shown), salt=f"sottovoce{narrow}")
    if inline:
        return without_prolog(svg)
    return re.sub(r"(<svg [^>]*>)", lambda match: match[1] + _STYLE, svg, count=1)


def figure_png(curves: Curves, published: Sequence[Published], path: Path) -> None:
    """Writes the figure as PNG on white."""
    figure = _figure(curves, published, narrow=False)
    FigureCanvasAgg(figure)
    figure.savefig(path, format="png", dpi=200, facecolor="white")


def _figure(curves: Curves, published: Sequence[Published], narrow: bool) -> Any:
    corpus, utterances, budget = _title_parts(curves.results)
    title = f"{corpus}, {budget}\n{utterances}" if narrow else figure_title(curves.results)
    if curves.results.is_grid:
        return curve_figure(curves, published, title, narrow)
    return dots_figure(curves.results, title, narrow)


def _title_parts(results: StudyResults) -> tuple[str, str, str]:
    voices = " from unseen speakers" if results.unheard_voices else ""
    up_to = "up to " if len({cell.budget_share for cell in results.cells if cell.budget_share}) > 1 else ""
    budget = f"{up_to}{100 * results.budget_share:.3g} % speech = {clips(results.num_speech)}"
    return results.corpus, f"{results.num_test} test utterances{voices}", budget
