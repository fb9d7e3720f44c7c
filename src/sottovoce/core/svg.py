"""Shared by all pages: the template environment, and matplotlib figures as SVG in the colours of the page."""

from __future__ import annotations

import io
import re
import warnings
from typing import Any

import jinja2
from markupsafe import escape
from matplotlib import rc_context
from matplotlib.backends.backend_svg import FigureCanvasSVG

# Okabe and Ito's blue and orange: distinct for colour-blind readers, and legible on light and dark backgrounds.
SPEECH = "#2f86c6"
BAND = "#e69f00"
# The ink of PNGs, which an SVG replaces by currentColor; no chart uses it for anything else.
INK = "#1d2329"

_FONTS = "ui-sans-serif, system-ui, 'Segoe UI', Roboto, 'Helvetica Neue', Arial, 'DejaVu Sans', sans-serif"


def page_environment(package: str) -> jinja2.Environment:
    """The environment of a package's templates and the shared ones; all values are escaped."""
    return jinja2.Environment(
        loader=jinja2.ChoiceLoader([jinja2.PackageLoader(package), jinja2.PackageLoader("sottovoce.core")]),
        autoescape=True,
        undefined=jinja2.StrictUndefined,
        trim_blocks=True,
        lstrip_blocks=True,
    )


def svg_of(figure: Any, alt: str, salt: str) -> str:
    """A figure as SVG on a transparent background, in the colour of the surrounding text.

    Args:
        figure: a matplotlib figure, its texts and lines in ``INK`` or in colours for both backgrounds.
        alt: the text alternative.
        salt: makes the ids in the SVG unique on a page.
    """
    out = io.StringIO()
    nothing = dict.fromkeys(("Creator", "Date", "Format", "Type"))
    with rc_context({"svg.fonttype": "none", "svg.hashsalt": salt}), warnings.catch_warnings():
        # The browser has fonts for characters that matplotlib's font lacks.
        warnings.filterwarnings("ignore", message="Glyph |Matplotlib currently does not support")
        FigureCanvasSVG(figure)
        figure.savefig(out, format="svg", transparent=True, metadata=nothing)
    svg = re.sub(r"<metadata>.*?</metadata>\s*", "", out.getvalue(), flags=re.DOTALL)
    svg = svg.replace(INK, "currentColor").replace("xlink:href", "href").replace("'DejaVu Sans'", _FONTS)
    svg = svg.replace("<svg ", f'<svg class="sottovoce-figure" role="img" aria-label="{escape(alt)}" ', 1)
    return re.sub(r' xmlns:xlink="[^"]*"', "", svg).replace(">*{stroke", ">.sottovoce-figure *{stroke")


def without_prolog(svg: str) -> str:
    """An SVG for use inside an HTML page."""
    return re.sub(r' xmlns="[^"]*"', "", svg[svg.index("<svg ") :])
