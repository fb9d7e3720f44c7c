"""The study's report: one self-contained HTML page, with data and figure files beside it. Loads no model."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import Any

from markupsafe import Markup

from sottovoce.core.storage import write_whole
from sottovoce.core.svg import page_environment
from sottovoce.core.types import MODALITIES
from sottovoce.report.budget_tables import difference_matrix, gap_matrix
from sottovoce.report.cost import study_cost
from sottovoce.report.csv_json import csv_table, json_report
from sottovoce.report.curves import Curves, study_curves
from sottovoce.report.differences import Comparison, difference_sentences, scheme_differences
from sottovoce.report.estimates import Calibrations, study_calibrations, study_samples
from sottovoce.report.figures.figure import figure_png, figure_svg, figure_title
from sottovoce.report.findings import Finding, findings
from sottovoce.report.headline import Answer, study_answer
from sottovoce.report.published import Published, published_for
from sottovoce.report.reliability import reliability
from sottovoce.report.results import StudyResults, read_study
from sottovoce.report.table import covered, latex_table, markdown_table, table_rows
from sottovoce.report.wording import (
    display_models,
    display_path,
    duration,
    label,
    no_answer,
    percent,
    signed_points,
    state_of,
)
from sottovoce.score.compare import p_words
from sottovoce.score.metrics.registry import headline


@dataclass(frozen=True)
class Report:
    """Everything that a study's report says."""

    curves: Curves
    comparisons: tuple[Comparison, ...]
    findings: tuple[Finding, ...]
    published: tuple[Published, ...]
    answer: Answer | None
    calibrations: Calibrations

    @property
    def headline(self) -> str:
        if self.answer:
            return self.answer.headline
        results = self.curves.results
        if len(results.finished) < len(results.cells):
            return no_answer(results)
        # A study without training speech can still set a cascade beside text-only.
        return " ".join(difference_sentences(results, self.comparisons)) or no_answer(results)


def read_report(folder: Path, published: Path | None = None) -> Report:
    """Reads a study, finished or not.

    Args:
        folder: the study's.
        published: published figures of the user's own, see :func:`published_for`.

    Raises:
        UserError: the folder holds no study, or one of its files or ``published`` is damaged.
    """
    results = read_study(folder)
    curves = study_curves(results, study_samples(results))
    comparisons = scheme_differences(curves)
    found = tuple(findings(curves))
    shown, answer = published_for(results, published), study_answer(curves, comparisons)
    return Report(curves, comparisons, found, shown, answer, study_calibrations(results))


def write_report(report: Report, refresh_seconds: int | None = None) -> Path:
    """Writes report.html, .csv, .json, .md and .tex and figure.svg and .png into the study's folder.

    Args:
        report: as read from the folder.
        refresh_seconds: how often an open page loads itself anew; None if it does not.

    Returns:
        The path of the HTML page.
    """
    curves = report.curves
    folder = curves.results.folder
    files = {
        "report.csv": csv_table(curves.results, report.calibrations),
        "report.json": json_report(
            curves, report.comparisons, report.findings, report.published, report.headline, report.calibrations
        ),
        "report.md": markdown_table(curves),
        "report.tex": latex_table(curves),
        "figure.svg": figure_svg(curves, report.published),
        "report.html": report_html(report, refresh_seconds),
    }
    for name, text in files.items():
        # A model can spell half a surrogate pair, which UTF-8 has no bytes for.
        write_whole(folder / name, text.encode("utf-8", "backslashreplace").decode("utf-8"))
    figure_png(curves, report.published, folder / "figure.png")
    return folder / "report.html"


def report_html(report: Report, refresh_seconds: int | None = None) -> str:
    """The report page; everything that comes from the study's files is escaped."""
    curves, results = report.curves, report.curves.results
    environment = page_environment("sottovoce.report")
    environment.filters |= {"percent": percent, "duration": duration, "points": signed_points, "p": p_words}
    environment.filters["tight"] = lambda text: text.replace(" %", "\u00a0%")  # no line begins with a % sign
    headers, rows = table_rows(curves)
    places = range(len(headline()))
    context: dict[str, Any] = {
        "report": report,
        "results": results,
        "curves": curves,
        "answer": report.answer,
        "headline": report.headline,
        "refresh_seconds": refresh_seconds,
        "subject": figure_title(results),
        "recipe": display_path(results.recipe),
        "models": display_models(results),
        "headers": headers,
        "rows": rows,
        "covered": covered(curves),
        "labels": {cell.name: label(results, cell) for cell in results.cells},
        "state_of": state_of,
        "metrics": headline(),
        "differences": [difference_matrix(results, report.comparisons, place) for place in places],
        "difference_notes": [difference_sentences(results, report.comparisons, place) for place in places],
        "gaps": [gap_matrix(curves, place) for place in places],
        "failed": [cell for cell in results.cells if cell.failed and not cell.finished],
        "figure": Markup(figure_svg(curves, report.published, inline=True)),
        "figure_narrow": Markup(figure_svg(curves, report.published, inline=True, narrow=True)),
        "reliability": reliability(results, report.calibrations),
        "two_scorers": _two_scorers(results),
        "cost": study_cost(results),
        "versions": sorted({f"{name} {version}" for cell in results.cells for name, version in cell.versions.items()}),
        # The file's name alone: its folder is the machine's own business.
        "data": sorted({(Path(c.data.get("manifest", "")).name, c.data.get("sha256", "")) for c in results.cells}),
    }
    return environment.get_template("report.html.j2").render(context)


def _two_scorers(results: StudyResults) -> list[dict[str, Any]]:
    """The cells and inputs on which the official scorer and the strict one do not agree."""
    lines = []
    for cell in results.finished:
        for modality in MODALITIES:
            scores = cell.speech if modality == "speech" else cell.text
            if scores is not None and any(scores.strict[key] != each for key, each in scores.official.items()):
                lines.append({"cell": cell, "input": modality, "official": scores.official, "strict": scores.strict})
    return lines
