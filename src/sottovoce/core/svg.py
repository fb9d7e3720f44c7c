"""What the pages share: the templates' environment, and matplotlib figures as SVG in the colours of the page."""

from __future__ import annotations

import io
import re
import warnings
from typing import Any

import jinja2
from markupsafe import escape
from matplotlib import rc_context
from matplotlib.backends.backend_svg import FigureCanvasSVG

# Okabe and Ito's blue and orange: apart for colour-blind readers, and each dark and light enough for both backgrounds.
SPEECH = "#2f86c6"
BAND = "#e69f00"
# A colour no chart uses: the SVG turns it into currentColor, the PNG's ink.
INK = "#1d2329"

_FONTS = "ui-sans-serif, system-ui, 'Segoe UI', Roboto, 'Helvetica Neue', Arial, 'DejaVu Sans', sans-serif"


def page_environment(package: str) -> jinja2.Environment:
    """The environment of a package's templates and of those that all share; what they are given is escaped."""
    return jinja2.Environment(
        loader=jinja2.ChoiceLoader([jinja2.PackageLoader(package), jinja2.PackageLoader("sottovoce.core")]),
        autoescape=True,
        undefined=jinja2.StrictUndefined,
        trim_blocks=True,
        lstrip_blocks=True,
    )


def svg_of(figure: Any, alt: str, salt: str) -> str:
    """A figure as SVG on a transparent background, its ink the text colour around it.

    Args:
        figure: a matplotlib figure, its texts and lines in ``INK`` or in colours for both backgrounds.
        alt: what it shows, for those who do not see it.
        salt: of the ids in the SVG; two figures of one page need two.
    """
    out = io.StringIO()
    nothing = dict.fromkeys(("Creator", "Date", "Format", "Type"))
    with rc_context({"svg.fonttype": "none", "svg.hashsalt": salt}), warnings.catch_warnings():
        # Letters that matplotlib's own font lacks: the browser sets the text in fonts that have them.
        warnings.filterwarnings("ignore", message="Glyph |Matplotlib currently does not support")
        FigureCanvasSVG(figure)
        figure.savefig(out, format="svg", transparent=True, metadata=nothing)
    svg = re.sub(r"<metadata>.*?</metadata>\s*", "", out.getvalue(), flags=re.DOTALL)
    svg = svg.replace(INK, "currentColor").replace("xlink:href", "href").replace("'DejaVu Sans'", _FONTS)
    svg = svg.replace("<svg ", f'<svg class="sottovoce-figure" role="img" aria-label="{escape(alt)}" ', 1)
    return re.sub(r' xmlns:xlink="[^"]*"', "", svg).replace(">*{stroke", ">.sottovoce-figure *{stroke")


def without_prolog(svg: str) -> str:
    """An SVG as it stands inside an HTML page."""
    return re.sub(r' xmlns="[^"]*"', "", svg[svg.index("<svg ") :])
