"""The study's report: one self-contained HTML page, and data and figure files. Loads no model."""

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
from sottovoce.report.figures.training import training_svg
from sottovoce.report.findings import Finding, findings
from sottovoce.report.headline import Answer, study_answer
from sottovoce.report.published import Published, published_for
from sottovoce.report.reliability import reliability
from sottovoce.report.results import StudyResults, read_study
from sottovoce.report.selection import chosen_on_dev, dev_metric, trained_stages
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
    """Everything in a study's report."""

    curves: Curves
    comparisons: tuple[Comparison, ...]
    findings: tuple[Finding, ...]
    published: tuple[Published, ...]
    answer: Answer | None
    calibrations: Calibrations
    chosen_on_dev: str = ""

    @property
    def page(self) -> Path:
        return self.curves.results.folder / "report.html"

    @property
    def headline(self) -> str:
        if self.answer:
            return self.answer.headline
        results = self.curves.results
        if len(results.finished) < len(results.cells):
            return no_answer(results)
        # A study without training speech can still compare a cascade with text-only.
        return " ".join(difference_sentences(results, self.comparisons)) or no_answer(results)


def read_report(folder: Path, published: Path | None = None) -> Report:
    """Reads a study, finished or not.

    Args:
        folder: the study's.
        published: the user's own file of published figures, see :func:`published_for`.

    Raises:
        UserError: the folder is not a study, or one of its files or ``published`` is damaged.
    """
    results = read_study(folder)
    curves = study_curves(results, study_samples(results))
    comparisons = scheme_differences(curves)
    found = tuple(findings(curves))
    shown, answer = published_for(results, published), study_answer(curves, comparisons)
    calibrations, chosen = study_calibrations(results), chosen_on_dev(curves)
    return Report(curves, comparisons, found, shown, answer, calibrations, chosen)


def write_report(report: Report, refresh_seconds: int | None = None) -> Path:
    """Writes report.html, .csv, .json, .md and .tex and figure.svg and .png into the study's folder.

    Args:
        report: as read from the folder.
        refresh_seconds: how often an open page reloads itself; None: never.

    Returns:
        The path of the HTML page.
    """
    curves = report.curves
    files = {
        "report.csv": csv_table(curves.results, report.calibrations),
        "report.json": json_report(
            curves,
            report.comparisons,
            report.findings,
            report.published,
            report.headline,
            report.chosen_on_dev,
            report.calibrations,
        ),
        "report.md": markdown_table(curves),
        "report.tex": latex_table(curves),
        "figure.svg": figure_svg(curves, report.published),
        "report.html": report_html(report, refresh_seconds),
    }
    for name, text in files.items():
        # A model can answer with half a surrogate pair, which UTF-8 cannot encode.
        write_whole(report.page.with_name(name), text.encode("utf-8", "backslashreplace").decode("utf-8"))
    figure_png(curves, report.published, report.page.with_name("figure.png"))
    return report.page


def report_html(report: Report, refresh_seconds: int | None = None) -> str:
    """The report page; everything from the study's files is escaped."""
    curves, results = report.curves, report.curves.results
    environment = page_environment("sottovoce.report")
    environment.filters |= {"percent": percent, "duration": duration, "points": signed_points, "p": p_words}
    environment.filters["tight"] = lambda text: text.replace(" %", "\u00a0%")  # keeps % on the line of its number
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
        "training": _training(results),
        "two_scorers": _two_scorers(results),
        "cost": study_cost(results),
        "versions": sorted({f"{name} {version}" for cell in results.cells for name, version in cell.versions.items()}),
        # Only the file's name: its folder is private.
        "data": sorted({(Path(c.data.get("manifest", "")).name, c.data.get("sha256", "")) for c in results.cells}),
    }
    return environment.get_template("report.html.j2").render(context)


def _training(results: StudyResults) -> dict[str, Any] | None:
    """The figure of the stages' training with its caption; None if no stage kept its log."""
    stages = [stage for stage in trained_stages(results) if stage.losses]
    if not stages:
        return None
    metric = dev_metric(results)
    caption = "The training loss of every stage, each stage once, in its scheme’s colour."
    if any(stage.dev for stage in stages):
        caption += " Below it the score on the dev utterances, which chooses the weights if the recipe says so."
    narrow = Markup(training_svg(stages, metric, narrow=True))
    return {"figure": Markup(training_svg(stages, metric)), "figure_narrow": narrow, "caption": caption}


def _two_scorers(results: StudyResults) -> list[dict[str, Any]]:
    """The cells and inputs on which the official and the strict scorer disagree."""
    lines = []
    for cell in results.finished:
        for modality in MODALITIES:
            scores = cell.speech if modality == "speech" else cell.text
            if scores is not None and any(scores.strict[key] != each for key, each in scores.official.items()):
                lines.append({"cell": cell, "input": modality, "official": scores.official, "strict": scores.strict})
    return lines
