"""The study's report: one self-contained HTML page, with CSV and figure files beside it. Loads no model."""

from __future__ import annotations

import base64
import io
from collections import Counter, defaultdict
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from itertools import zip_longest
from pathlib import Path
from typing import Any

import soundfile
from markupsafe import Markup

from sottovoce.study.figure import figure_png, figure_svg, figure_title
from sottovoce.study.page import page_environment
from sottovoce.study.results import (
    CellResult,
    StudyResults,
    gap_closed,
    intent_difference,
    intent_right,
    read_gold,
    read_predictions,
    read_study,
)
from sottovoce.study.table import (
    comparison,
    csv_table,
    headline,
    label,
    markdown_table,
    percent,
    signed_points,
    table_rows,
)
from sottovoce.types import MODALITIES, Entity, Frame, Prediction, Utterance

MAX_EXAMPLES = 8
MAX_AUDIO_CHARACTERS = 1_000_000
MAX_RAW_CHARACTERS = 400
# Only these are embedded, so that a manifest cannot carry another file of the disk into a page that is passed on.
_AUDIO_TYPES = {".wav": "audio/wav", ".flac": "audio/flac", ".ogg": "audio/ogg", ".mp3": "audio/mpeg"}

Answers = Mapping[str, Prediction]


@dataclass(frozen=True)
class Piece:
    """One part of a frame; ``fault`` tells what of it differs from the other frame: nothing, the value, or all."""

    name: str
    value: str
    fault: str


@dataclass(frozen=True)
class Example:
    """One utterance of the report: gold frame, answered frame (None if there is none to read) and its recording."""

    utterance: Utterance
    gold: list[Piece]
    answer: list[Piece] | None
    raw: str
    audio: str | None


def write_report(folder: Path) -> Path:
    """Writes ``report.html``, ``report.csv``, ``report.md``, ``figure.svg`` and ``figure.png`` into a study folder.

    Returns:
        The path of the HTML page.

    Raises:
        UserError: the folder holds no study, or one of its files is damaged.
    """
    results = read_study(folder)
    page = folder / "report.html"
    # A model can spell half a surrogate pair, which UTF-8 has no bytes for.
    page.write_text(report_html(results), encoding="utf-8", errors="backslashreplace")
    (folder / "report.csv").write_text(csv_table(results), encoding="utf-8")
    (folder / "report.md").write_text(markdown_table(results), encoding="utf-8")
    (folder / "figure.svg").write_text(figure_svg(results), encoding="utf-8")
    figure_png(results, folder / "figure.png")
    return page


def report_html(results: StudyResults) -> str:
    """The report page; everything that comes from the study's files is escaped."""
    environment = page_environment()
    environment.filters |= {"percent": percent, "duration": duration}
    context: dict[str, Any] = {
        "results": results,
        "subject": figure_title(results),
        "recipe": Path(results.recipe).name if Path(results.recipe).is_absolute() else results.recipe,
        "headline": headline(results, None),
        "rows": list(zip(results.cells, table_rows(results)[1], strict=True)),
        "labels": {cell.name: label(results, cell) for cell in results.cells},
        "figure": Markup(figure_svg(results, inline=True)),
        "figure_narrow": Markup(figure_svg(results, inline=True, narrow=True)),
        "two_scorers": _two_scorers(results),
        "versions": sorted({f"{name} {version}" for cell in results.cells for name, version in cell.versions.items()}),
        # The file's name alone: its folder is the machine's own business.
        "data": sorted({(Path(c.data.get("manifest", "")).name, c.data.get("sha256", "")) for c in results.cells}),
        "answer": None,
    }
    best = results.best
    text_only = results.text_only_for(best) if best else None
    if best is not None and text_only is not None:
        context |= _answer(results, best, text_only)
    return environment.get_template("report.html.j2").render(context)


def duration(seconds: float | None) -> str:
    """A wall time in words."""
    if seconds is None:
        return "not measured"
    minutes, rest = divmod(round(seconds), 60)
    hours, minutes = divmod(minutes, 60)
    return f"{hours} h {minutes} min" if hours else f"{minutes} min {rest} s" if minutes else f"{rest} s"


def frame_pieces(frame: Frame, other: Frame | None) -> list[Piece]:
    """A frame's parts, each marked with how it differs from another frame; entities match in any order."""
    other = frame if other is None else other
    pieces = [
        Piece("scenario", frame.scenario, "" if frame.scenario == other.scenario else "value"),
        Piece("action", frame.action, "" if frame.action == other.action else "value"),
    ]
    unmatched, types = Counter(map(_key, other.entities)), {entity.type for entity in other.entities}
    for entity in frame.entities:
        fault = "value" if entity.type in types else "all"
        if unmatched[_key(entity)]:
            unmatched[_key(entity)] -= 1
            fault = ""
        pieces.append(Piece(entity.type, entity.filler, fault))
    return pieces


def audio_uri(path: Path | None, room: int) -> str | None:
    """A recording as a data URI of at most ``room`` characters; None if there is none, or it does not fit.

    WAV is packed as FLAC, which is lossless and half as long.
    """
    if path is None or path.suffix.lower() not in _AUDIO_TYPES or not path.is_file() or path.stat().st_size > 8 * room:
        return None
    kind, data = _AUDIO_TYPES[path.suffix.lower()], path.read_bytes()
    if kind == "audio/wav":
        packed = io.BytesIO()
        try:
            samples, rate = soundfile.read(io.BytesIO(data), dtype="int16")
            soundfile.write(packed, samples, rate, format="FLAC", subtype="PCM_16")
        except soundfile.LibsndfileError:
            return None  # a damaged recording is shown as none: the report is about the answers
        kind, data = "audio/flac", packed.getvalue()
    uri = f"data:{kind};base64,{base64.b64encode(data).decode('ascii')}"
    return uri if len(uri) <= room else None


def _answer(results: StudyResults, best: CellResult, text_only: CellResult) -> dict[str, Any]:
    gold = read_gold(results)
    baseline, answers = (read_predictions(results, cell, "speech") for cell in (text_only, best))
    gain = intent_difference(gold, baseline, answers)
    notes = [comparison(label(results, text_only), label(results, best), gain)]
    for cell in results.finished:
        if cell.scheme in ("direct_mixing", "curriculum") and cell.name != best.name:
            other = intent_difference(gold, read_predictions(results, cell, "speech"), answers)
            notes.append(comparison(label(results, cell), label(results, best), other))
    mended = [row for row in gold if not _right(baseline.get(row.id), row) and _right(answers.get(row.id), row)]
    remaining = [row for row in gold if not _right(answers.get(row.id), row)]
    audio = _audio(mended := _various(mended, baseline), remaining := _various(remaining, answers))
    return {
        "headline": headline(results, gain),
        "answer": {
            "best": best,
            "text_only": text_only,
            "gap_closed": gap_closed(best, text_only, "intent_accuracy"),
            "notes": notes,
            "intents": _intents(gold, baseline, answers),
            "mended": [_example(row, baseline.get(row.id), audio) for row in mended],
            "remaining": [_example(row, answers.get(row.id), audio) for row in remaining],
        },
    }


def _key(entity: Entity) -> tuple[str, str]:
    return entity.type, " ".join(entity.filler.casefold().split())


def _right(prediction: Prediction | None, gold: Utterance) -> bool:
    return intent_right(prediction, gold) and _entities(prediction) == Counter(map(_key, gold.frame.entities))


def _entities(prediction: Prediction | None) -> Counter[tuple[str, str]]:
    return Counter(map(_key, prediction.frame.entities if prediction and prediction.frame else ()))


def _various(rows: Iterable[Utterance], answers: Answers) -> list[Utterance]:
    """The rows to show: wrong intents before wrong entities, and every intent once before any intent twice."""
    seen: Counter[str] = Counter()
    ranked = []
    for place, row in enumerate(rows):
        ranked.append((seen[row.frame.intent], intent_right(answers.get(row.id), row), place, row))
        seen[row.frame.intent] += 1
    return [row for *_, row in sorted(ranked, key=lambda rank: rank[:3])[:MAX_EXAMPLES]]


def _audio(*lists: Sequence[Utterance]) -> dict[str, str]:
    """The recordings that fit into the page, the lists taking turns so that each gets its share."""
    room, uris = MAX_AUDIO_CHARACTERS, dict[str, str]()
    for row in (row for turn in zip_longest(*lists) for row in turn if row is not None):
        uri = audio_uri(row.audio, room)
        if uri is not None and row.id not in uris:
            uris[row.id] = uri
            room -= len(uri)
    return uris


def _example(row: Utterance, prediction: Prediction | None, audio: Mapping[str, str]) -> Example:
    frame, raw = (prediction.frame, prediction.raw) if prediction else (None, "")
    shown = raw if len(raw) <= MAX_RAW_CHARACTERS else raw[:MAX_RAW_CHARACTERS] + " …"
    answer = frame_pieces(frame, row.frame) if frame else None
    return Example(row, frame_pieces(row.frame, frame), answer, shown, audio.get(row.id))


def _intents(gold: Sequence[Utterance], before: Answers, after: Answers) -> list[dict[str, Any]]:
    """Accuracy per intent on speech, the best cell's worst first."""
    rows = defaultdict[str, list[Utterance]](list)
    for row in gold:
        rows[row.frame.intent].append(row)

    def share(group: list[Utterance], answers: Answers) -> float:
        return sum(intent_right(answers.get(row.id), row) for row in group) / len(group)

    lines: list[dict[str, Any]] = [
        {"intent": intent, "number": len(group), "before": share(group, before), "after": share(group, after)}
        for intent, group in rows.items()
    ]
    lines.sort(key=lambda line: (line["after"], line["before"], line["intent"]))
    return [{**line, "change": signed_points(line["after"] - line["before"])} for line in lines]


def _two_scorers(results: StudyResults) -> list[dict[str, Any]]:
    """The cells and inputs on which the official scorer and the strict one do not agree."""
    lines = []
    for cell in results.finished:
        for modality in MODALITIES:
            scores = cell.speech if modality == "speech" else cell.text
            if scores is not None and scores.official != scores.strict:
                lines.append({"cell": cell, "input": modality, "official": scores.official, "strict": scores.strict})
    return lines
