"""A study's table, one row per cell, or per point if schemes have several cells; for terminal, Markdown and LaTeX."""

from __future__ import annotations

from dataclasses import dataclass, replace
from statistics import mean

from rich import box
from rich.table import Table

from sottovoce.core.types import MODALITIES
from sottovoce.report.curves import Curves, Line, Point
from sottovoce.report.measures import gap_closed, share_closed, share_unreadable, standard_error
from sottovoce.report.results import CellResult, StudyResults
from sottovoce.report.wording import (
    NONE,
    label,
    line_label,
    millions,
    percent,
    seconds_of_answer,
    speech_used,
    speech_words,
    state_of,
)
from sottovoce.score.metrics.registry import headline
from sottovoce.train.schemes import SCHEMES

_START = ("Scheme", "Training speech")
_COST = ("Seconds per answer", "Parameters, M")  # only if a cell has them; the terminal has no room for them
# Headers in the terminal; a group's name is above its first metric.
_SHORT = {"Training speech": "Training\nspeech", "Unreadable %": "Unread-\nable %"}
_GROUPS = {"Speech": "Speech\n{}", "Gold text": "Text\n{}", "Gap closed": "Gap %\nclosed\n{}"}
_TEX = {
    "\\": r"\textbackslash{}", "{": r"\{", "}": r"\}", "%": r"\%", "&": r"\&", "#": r"\#", "_": r"\_", "$": r"\$",
    "~": r"\textasciitilde{}", "^": r"\textasciicircum{}", "±": r"$\pm$", "−": "$-$", "–": "--", "’": "'",
}  # fmt: skip


@dataclass(frozen=True)
class Row:
    """One row: its columns, the cells behind it, and whether they are finished, unfinished or failed."""

    columns: tuple[str, ...]
    cells: tuple[CellResult, ...]
    state: str


def table_rows(curves: Curves) -> tuple[tuple[str, ...], list[Row]]:
    """The headers and the rows of the study's table, strict figures."""
    results = curves.results
    if results.is_grid:
        headers = (*_START, "Seeds", *_figure_headers("Speech", "Gold text", "Gap closed"))
        rows = [_point_row(curves, line, point) for line in curves.lines for point in line.points]
    else:
        scores, closed = _figure_headers("Speech", "Gold text"), _figure_headers("Gap closed")
        headers = (*_START, *scores, "Unreadable %", *closed)
        rows = [Row(_cell_columns(results, cell), (cell,), state_of(cell)) for cell in results.cells]
    rows = [replace(row, columns=row.columns + (NONE,) * (len(headers) - len(row.columns))) for row in rows]
    if not results.has_costs:
        return headers, rows
    return (*headers, *_COST), [replace(row, columns=(*row.columns, *_costs(row.cells))) for row in rows]


def terminal_table(curves: Curves) -> Table:
    """The study's table for a terminal of 80 columns: no spaces around ±; points have it only for the first metric."""
    grid = curves.results.is_grid
    headers, rows = table_rows(curves)
    headers = tuple(header for header in headers if header not in _COST)
    table = Table(title=curves.results.title, box=box.SIMPLE_HEAD, caption=_caption(curves), padding=0)
    for number, header in enumerate(headers):
        short = "Speech\n(clips)" if grid and number == 1 else _short(header)
        wraps = number == (0 if grid else 1)  # points can have long names, cells of small studies a long budget
        table.add_column(short, justify="left" if number < 2 else "right", vertical="bottom", no_wrap=not wraps)
    for row in rows:
        texts = [text.replace(" ± ", "±") for text in row.columns[: len(headers)]]
        texts[0] = texts[0].replace(" (", "\n(")  # a cascade's recogniser
        if grid:
            texts[1] = texts[1].replace(" clips)", ")")
            firsts = _figure_headers("Speech", "Gold text", first=True)
            texts = [t if h in firsts else t.partition("±")[0] for h, t in zip(headers, texts, strict=True)]
        table.add_row(*texts, style=None if row.state == "finished" else "dim")
    return table


def markdown_table(curves: Curves) -> str:
    """The study's table in Markdown, for the documentation."""
    headers, rows = table_rows(curves)
    ruler = ["---" if number < 2 else "---:" for number in range(len(headers))]
    lines = (headers, ruler, *(row.columns for row in rows))
    return "\n".join("| " + " | ".join(columns) + " |" for columns in lines) + "\n"


def latex_table(curves: Curves) -> str:
    """The study's table in LaTeX, for a document that loads the package booktabs."""
    headers, rows = table_rows(curves)
    lines = [
        "% needs \\usepackage{booktabs}",
        "\\begin{table}",
        "\\centering",
        f"\\begin{{tabular}}{{ll{'r' * (len(headers) - 2)}}}",
        "\\toprule",
        f"{' & '.join(map(_tex, headers))} \\\\",
        "\\midrule",
        *(f"{' & '.join(map(_tex, row.columns))} \\\\" for row in rows),
        "\\bottomrule",
        "\\end{tabular}",
        f"\\caption{{{_tex(curves.results.title)}. {_tex(_caption(curves))}.}}",
        "\\end{table}",
    ]
    return "\n".join(lines) + "\n"


def gaps_closed(results: StudyResults, cell: CellResult) -> tuple[float | None, ...]:
    """A cell's gap closed in each headline metric; None for schemes without training speech, but for cascades."""
    text_only = results.text_only_for(cell)
    if text_only is None or not cell.finished or not (cell.uses_speech or SCHEMES[cell.scheme].reads == "transcripts"):
        return (None,) * len(headline())
    return tuple(gap_closed(cell, text_only, metric.key) for metric in headline())


def point_gaps_closed(curves: Curves, line: Line, point: Point) -> tuple[float | None, ...]:
    """The same for a point, from the means over its seeds."""
    text_only = curves.text_only(line.sources, line.model)
    if text_only is None or not point.speech or line not in (*curves.budgeted, *curves.cascades):
        return (None,) * len(headline())
    return tuple(
        share_closed(reached.mean, floor.mean, ceiling.mean)
        for reached, floor, ceiling in zip(point.speech, text_only.speech, text_only.text, strict=True)
    )


def covered(curves: Curves) -> str:
    """What the standard errors and intervals of a study with several cells per scheme cover."""
    if max((len(point.cells) for line in curves.lines for point in line.points), default=1) > 1:
        return "the choice of test utterances and of training seeds"
    return "the choice of test utterances, not of the one training seed"


def _cell_columns(results: StudyResults, cell: CellResult) -> tuple[str, ...]:
    start = (label(results, cell), speech_used(cell))
    if not cell.finished:
        return (*start, state_of(cell))
    figures: list[str] = []
    for modality in MODALITIES:
        scores = cell.strict(modality)
        for metric in headline():
            error = standard_error(scores, metric)
            figures.append(percent(scores[metric.key]) + (f" ± {percent(error)}" if error is not None else ""))
    unreadable = percent(share_unreadable(cell.strict("speech")))
    return (*start, *figures, unreadable, *map(percent, gaps_closed(results, cell)))


def _point_row(curves: Curves, line: Line, point: Point) -> Row:
    done, planned = len(point.finished), len(point.cells)
    failed = any(cell.failed and not cell.finished for cell in point.cells)
    start = (
        line_label(curves.results, line.scheme, line.sources, line.model),
        speech_words(point.share, point.num_clips, line.scheme, point.size),
        f"{done}" if done == planned else f"{done} of {planned}",
    )
    state = "finished" if done == planned else "failed" if failed else "unfinished"
    if not done:
        return Row((*start, state), point.cells, state)
    figures = [f"{percent(e.mean)} ± {percent(e.standard_error)}" for m in MODALITIES for e in point.on(m)]
    return Row((*start, *figures, *map(percent, point_gaps_closed(curves, line, point))), point.cells, state)


def _figure_headers(*groups: str, first: bool = False) -> tuple[str, ...]:
    """A header for each headline metric, or only the first, in each group."""
    metrics = headline()[:1] if first else headline()
    return tuple(f"{group}: {metric.column} %" for group in groups for metric in metrics)


def _short(header: str) -> str:
    """A header for the terminal, where metric names break at hyphens."""
    group, _, metric = header.partition(": ")
    if group not in _GROUPS:
        return _SHORT.get(header, header)
    shown = metric.removesuffix(" %" if group == "Gap closed" else "").replace("-", "-\n")
    return _GROUPS[group].format(shown) if header in _figure_headers(group, first=True) else shown


def _costs(cells: tuple[CellResult, ...]) -> tuple[str, str]:
    """Means over the cells of a row."""
    seconds = [cell.seconds_per_utterance for cell in cells if cell.seconds_per_utterance is not None]
    sizes = [cell.num_parameters for cell in cells if cell.num_parameters is not None]
    return seconds_of_answer(mean(seconds)) if seconds else NONE, millions(mean(sizes)) if sizes else NONE


def _caption(curves: Curves) -> str:
    results = curves.results
    mean = "mean over seeds ± one standard error" if results.is_grid else "± one standard error"
    unknown = f"; {count} answers to speech name unknown labels" if (count := results.num_unknown_labels) else ""
    return f"{results.corpus}, {results.num_test} test utterances; strict scores; {mean}{unknown}"


def _tex(text: str) -> str:
    return "".join(_TEX.get(letter, letter) for letter in text)
