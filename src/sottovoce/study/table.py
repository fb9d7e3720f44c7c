"""A study in words and figures: the answer in a sentence, and its table for the terminal, Markdown and CSV."""

from __future__ import annotations

import csv
import io
import math
from dataclasses import asdict

from rich import box
from rich.table import Table

from sottovoce.study.results import (
    CellResult,
    Difference,
    Scores,
    StudyResults,
    gap_closed,
    share_unreadable,
    standard_error,
)
from sottovoce.train.schemes import scheme_named
from sottovoce.types import MODALITIES

UNFINISHED = "unfinished"
NONE = "–"

_HEADERS = (
    "Scheme",
    "Training speech",
    "Speech: intent %",
    "Speech: SLU-F1 %",
    "Gold text: intent %",
    "Gold text: SLU-F1 %",
    "Unreadable %",
    "Gap closed: intent %",
    "Gap closed: SLU-F1 %",
)
_SHORT_HEADERS = (
    "Scheme",
    "Training\nspeech",
    "Speech\nintent %",
    "\nF1 %",
    "Text\nintent %",
    "\nF1 %",
    "Unread-\nable %",
    "Gap %\nintent",
    "closed\nF1",
)
_CSV_SCORES = tuple(name for name in Scores.__dataclass_fields__ if not name.startswith("num_"))


def percent(share: float | None) -> str:
    """A share as a percentage with one decimal and no % sign, or a dash."""
    return NONE if share is None or math.isnan(share) else f"{100 * share:.1f}".replace("-", "−")


def signed_points(share: float) -> str:
    """A difference of shares in percentage points, with a sign and one decimal."""
    return f"{100 * share:+.1f}".replace("-", "−")


def clips(number: int) -> str:
    """A number of recordings in words."""
    return f"{number} clip" if number == 1 else f"{number} clips"


def label(results: StudyResults, cell: CellResult) -> str:
    """A cell's name for people; budget and seed stand in it only where the study has several of them."""
    alike = [other for other in results.cells if other.scheme == cell.scheme]
    text = scheme_named(cell.scheme).label
    if len({other.sources for other in alike}) > 1:
        text += f" from {'+'.join(cell.sources)}" if cell.sources else " alone"
    if len({other.budget_share for other in alike}) > 1:
        text += f" {100 * cell.budget_share:g} %"
    if len({other.seed for other in alike}) > 1:
        text += f", seed {cell.seed}"
    return text


def speech_used(cell: CellResult) -> str:
    """How much labelled speech a cell was trained on, e.g. ``5 % (20 clips)``."""
    if not cell.budget_share and not cell.num_clips:
        return "none" if cell.scheme in ("zero_shot", "text_only") else NONE
    share = f"{100 * cell.budget_share:g} %"
    return f"{share} ({clips(cell.num_clips)})" if cell.num_clips else share


def table_rows(results: StudyResults) -> tuple[tuple[str, ...], list[tuple[str, ...]]]:
    """The headers and the rows of the study's table, one row a cell, strict figures."""
    return _HEADERS, [_row(results, cell) for cell in results.cells]


def terminal_table(results: StudyResults) -> Table:
    """The study's table for the terminal."""
    _, rows = table_rows(results)
    # Eighty columns are enough: the headers are shorter here, and ± stands close.
    table = Table(title=results.title, box=box.SIMPLE_HEAD, caption=_caption(results), padding=0)
    for number, header in enumerate(_SHORT_HEADERS):
        table.add_column(header, justify="left" if number < 2 else "right", vertical="bottom", no_wrap=number != 1)
    for cells in rows:
        table.add_row(*(cell.replace(" ± ", "±") for cell in cells), style="dim" if UNFINISHED in cells else None)
    return table


def markdown_table(results: StudyResults) -> str:
    """The study's table in Markdown, for the documentation."""
    headers, rows = table_rows(results)
    ruler = ["---" if number < 2 else "---:" for number in range(len(headers))]
    return "\n".join("| " + " | ".join(cells) + " |" for cells in (headers, ruler, *rows)) + "\n"


def csv_table(results: StudyResults) -> str:
    """The study in CSV: one row a cell and input, shares from 0 to 1, an unfinished cell's figures left empty."""
    plain = ["cell", "scheme", "budget_share", "num_speech_rows", "num_text_rows", "seed", "seconds"]
    derived = ["intent_standard_error", "share_unreadable", "intent_gap_closed", "slu_f1_gap_closed"]
    counts = ["num_scored", "num_missing", "num_unreadable"]
    scored = [f"{kind}_{name}" for kind in ("strict", "official") for name in (*_CSV_SCORES, *counts)]
    out = io.StringIO()
    writer = csv.DictWriter(out, [*plain, "input", "finished", *scored, *derived], lineterminator="\n")
    writer.writeheader()
    for cell in results.cells:
        facts = {**asdict(cell), "cell": cell.name, "finished": str(cell.finished).lower()}
        for modality in MODALITIES:
            row: dict[str, object] = {key: facts[key] for key in (*plain, "finished")} | {"input": modality}
            scores = cell.speech if modality == "speech" else cell.text
            if scores is not None:
                for kind, figures in asdict(scores).items():
                    row |= {f"{kind}_{name}": value for name, value in figures.items()}
                row["intent_standard_error"] = standard_error(scores.strict.intent_accuracy, scores.strict.num_scored)
                row["share_unreadable"] = share_unreadable(scores.strict)
            if modality == "speech":
                row["intent_gap_closed"], row["slu_f1_gap_closed"] = gaps_closed(results, cell)
            writer.writerow(row)
    return out.getvalue()


def gaps_closed(results: StudyResults, cell: CellResult) -> tuple[float | None, float | None]:
    """A cell's gap closed in intent accuracy and SLU-F1; None for the cells that saw no speech in training."""
    text_only = results.text_only_for(cell)
    if text_only is None or not cell.finished or cell.scheme in ("zero_shot", "text_only"):
        return None, None
    return gap_closed(cell, text_only, "intent_accuracy"), gap_closed(cell, text_only, "slu_f1")


def headline(results: StudyResults, gain: Difference | None) -> str:
    """The study's answer in one sentence.

    Args:
        results: the study.
        gain: how much the best cell's intent accuracy on speech lies above text-only's, None if one is unfinished.
    """
    best = results.best
    text_only = results.text_only_for(best) if best else None
    if best is None or text_only is None or gain is None:
        return f"No answer yet: {len(results.finished)} of {len(results.cells)} cells have scores."
    name = label(results, best).lower()
    examples = "example" if best.num_clips == 1 else "examples"
    start = f"With {best.num_clips} spoken training {examples}, {name}"
    before, after = (percent(cell.strict("speech").intent_accuracy) for cell in (text_only, best))
    if not gain.distinguishable:
        return (
            f"{start} gets the intent of {after} % of the spoken test utterances right and text-only fine-tuning "
            f"{before} %: not distinguishable on {best.strict('speech').num_scored} utterances."
        )
    if gain.value < 0:
        return f"{start} is worse than text-only: intent accuracy on speech falls from {before} % to {after} %."
    closed = gap_closed(best, text_only, "intent_accuracy")
    gap = "" if closed is None else f", closing {100 * closed:.0f} % of the gap to gold text"
    return f"{start} raises intent accuracy on speech from text-only’s {before} % to {after} %{gap}."


def comparison(before: str, after: str, difference: Difference) -> str:
    """One difference of intent accuracy on speech in words; below two standard errors it is called none."""
    size = f"{signed_points(difference.value)} ± {percent(difference.standard_error)} points"
    if not difference.distinguishable:
        return f"{after} and {before.lower()} are not distinguishable ({size})."
    return f"{after} is {'better' if difference.value > 0 else 'worse'} than {before.lower()} ({size})."


def _row(results: StudyResults, cell: CellResult) -> tuple[str, ...]:
    start = (label(results, cell), speech_used(cell))
    if not cell.finished:
        return (*start, UNFINISHED, *[NONE] * (len(_HEADERS) - 3))
    figures: list[str] = []
    for modality in MODALITIES:
        scores = cell.strict(modality)
        error = standard_error(scores.intent_accuracy, scores.num_scored)
        figures += [f"{percent(scores.intent_accuracy)} ± {percent(error)}", percent(scores.slu_f1)]
    return (
        *start,
        *figures,
        percent(share_unreadable(cell.strict("speech"))),
        *map(percent, gaps_closed(results, cell)),
    )


def _caption(results: StudyResults) -> str:
    return f"{results.corpus}, {results.num_test} test utterances; strict scores; ± one standard error"
