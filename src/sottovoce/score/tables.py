"""Score tables for the terminal: shares as percentages, official and strict side by side."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from typing import Any

from rich.table import Table
from rich.text import Text

from sottovoce.score.matching import VIEWS
from sottovoce.score.metrics import registry
from sottovoce.score.metrics.metric import Metric

NONE = "–"
_MOST_CONFUSIONS = 15
_CALIBRATION = {
    "accuracy": "intent accuracy",
    "mean_confidence": "mean confidence",
    "ece": "calibration error (ECE)",
    "ece_if_calibrated": "ECE if calibrated",
    "adaptive_ece": "ECE, equally filled bins",
    "brier": "Brier score",
    "risk_coverage_area": "area under risk-coverage",
}


def score_table(
    scores: Mapping[str, Mapping[str, float | int]],
    intervals: Mapping[str, Mapping[str, Sequence[float]]] | None = None,
) -> Table:
    """Official and strict figures side by side, with their intervals if given."""
    table = Table("", *scores)
    for metric in registry.METRICS:
        for ending in ("", "_per_utterance"):
            name = metric.key + ending
            if any(name in figures for figures in scores.values()):
                bounds = {view: each.get(name) for view, each in (intervals or {}).items()}
                cells = [_figure(metric, figures.get(name), bounds.get(view)) for view, figures in scores.items()]
                table.add_row(metric.label + ending.replace("_", " "), *cells)
    for name in next(iter(scores.values())):
        if name.startswith("num_"):
            table.add_row(name.replace("_", " "), *(str(figures[name]) for figures in scores.values()))
    return table


def report_tables(report: Mapping[str, Any]) -> Iterator[Table]:
    """The tables of a ``score_report``: scores, breakdowns, the most frequent confusions, calibration."""
    yield score_table({view: report[view] for view in VIEWS}, report.get("intervals"))
    for by, groups in report.get("by", {}).items():
        yield _breakdown_table(by, groups)
    if "confusions" in report:
        yield _confusions_table(report["confusions"])
    if "calibration" in report:
        yield _calibration_table(report["calibration"])
        yield _abstention_table(report["calibration"]["answered"], report.get("abstain"))


UNWRAPPED_WIDTH = 12  # of a name in the first column, in characters


def table_of(rows: Sequence[Sequence[str]]) -> Table:
    """Rows of text as a table; the first row is the header. Wide cells are wrapped, except short names in the first
    column."""
    table = Table()
    longest = max((len(row[0]) for row in rows[1:]), default=0)
    for place, header in enumerate(rows[0]):
        table.add_column(header, overflow="fold", min_width=0 if place else min(longest, UNWRAPPED_WIDTH))
    for row in rows[1:]:
        table.add_row(*row)
    return table


def printable(name: str) -> Text:
    """A name from a file: brackets are not markup, and half a surrogate pair is shown as its escape."""
    return Text(name.encode("utf-8", "backslashreplace").decode(), overflow="fold")


def _breakdown_table(by: str, groups: Mapping[str, Mapping[str, Any]]) -> Table:
    first = next(iter(groups.values()))
    number = next(key for key in first if key.startswith("num_"))
    metrics = [metric for metric in registry.in_tables() if metric.key in first["strict"]]
    table = Table(by, number.removeprefix("num_"), *(metric.label for metric in metrics))
    table.title, table.title_justify = "strict (official in brackets where it differs)", "left"
    for group, scores in groups.items():
        cells = [_both(metric, scores["strict"][metric.key], scores["official"].get(metric.key)) for metric in metrics]
        table.add_row(printable(group), str(scores[number]), *cells)
    return table


def _both(metric: Metric, strict: float, official: float | None) -> Text:
    shown = _figure(metric, strict)
    return shown if official in (None, strict) else shown.append(f" ({_figure(metric, official)})")


def _figure(metric: Metric, value: float | None, interval: Sequence[float] | None = None) -> Text:
    """A figure with its interval; a dash if the view lacks the metric."""
    if value is None:
        return Text(NONE)
    bounds = "" if interval is None else f" {metric.bounds(interval)}"
    return Text(f"{metric.text(value, 2)}{metric.unit}{bounds}")


def _confusions_table(rows: Sequence[Mapping[str, Any]]) -> Table:
    table = Table("gold intent", "predicted", "items", "of that intent")
    table.title = f"most frequent confusions (of {sum(row['count'] for row in rows)} wrong intents, strict)"
    table.title_justify = "left"
    for row in rows[:_MOST_CONFUSIONS]:
        cells = printable(row["gold"]), printable(row["predicted"])
        table.add_row(*cells, str(row["count"]), f"{row['share_of_gold']:.1%}")
    return table


def _calibration_table(figures: Mapping[str, Any]) -> Table:
    without = figures["num_without_confidence"]
    table = Table("", f"{figures['number']} items with a confidence" + (f", {without} without" if without else ""))
    for key, name in _CALIBRATION.items():
        shown = f"{figures[key]:.4f}" if key == "brier" else f"{figures[key]:.2%}"
        if f"{key}_interval" in figures:
            low, high = figures[f"{key}_interval"]
            shown += f" [{low:.1%}, {high:.1%}]"
        table.add_row(name, Text(shown))
    return table


def _abstention_table(rows: Sequence[Mapping[str, Any]], chosen: Mapping[str, Any] | None) -> Table:
    table = Table("abstain below", "answered", "items", "their intent accuracy")
    if chosen is not None:
        where = "" if "dev" not in chosen else f" on dev (where it is {chosen['dev']['accuracy']:.1%})"
        rates = f"{chosen['false_accept_rate']:.1%} false accepts, {chosen['false_reject_rate']:.1%} false rejects"
        target = f"an intent accuracy of {chosen['target_accuracy']:.1%}"
        table.title = f"abstain below {chosen['threshold']} for {target}{where}; then {rates}"
        table.title_justify = "left"
    shown_rows = {row["threshold"]: row for row in (*rows, *([chosen] if chosen else []))}
    for _, row in sorted(shown_rows.items()):
        shown = NONE
        if row["accuracy"] is not None:
            low, high = row["accuracy_interval"]
            shown = f"{row['accuracy']:.2%} [{low:.1%}, {high:.1%}]"
        style = "bold" if row is chosen else None
        table.add_row(str(row["threshold"]), f"{row['share']:.2%}", str(row["number"]), Text(shown), style=style)
    return table
