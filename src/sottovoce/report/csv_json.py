"""A study's figures for other programs: CSV with one row per cell and input, JSON with everything on the page."""

from __future__ import annotations

import csv
import io
import json
from collections.abc import Sequence
from dataclasses import asdict
from typing import Any

from sottovoce.core.types import MODALITIES
from sottovoce.report.cost import study_cost
from sottovoce.report.curves import Curves, Line, Point
from sottovoce.report.differences import Comparison
from sottovoce.report.estimates import Calibrations, Estimate
from sottovoce.report.findings import Finding
from sottovoce.report.measures import share_unreadable, standard_error
from sottovoce.report.published import Published
from sottovoce.report.results import CellResult, StudyResults
from sottovoce.report.table import covered, gaps_closed, point_gaps_closed
from sottovoce.report.wording import display_models, display_path, state_of
from sottovoce.score.metrics import registry
from sottovoce.score.statistics import LEVEL, NUM_RESAMPLES

_COUNTS = ("num_scored", "num_missing", "num_unreadable")
_TRUST = ("ece", "ece_if_calibrated", "adaptive_ece", "brier", "risk_coverage_area", "mean_confidence")
_COST = ("asr", "word_error_rate", "seconds_per_utterance", "num_parameters")  # only where a cell has any of them
_ESTIMATE = ("mean", "low", "high", "standard_error", "num_seeds")
_PLAIN = (
    *("cell", "scheme", "budget_share", "num_clips", "speech_seconds", "num_speech_rows", "num_text_rows"),
    *("seed", "sources", "model_name", "seconds", "failed"),
)


def csv_table(results: StudyResults, calibrations: Calibrations) -> str:
    """The study in CSV: one row per cell and input, shares from 0 to 1, figures of unfinished cells empty; figures of
    confidences have columns only if there are any."""
    headline = registry.headline()
    keys = {
        "strict": [*(each.key for each in registry.METRICS), *_COUNTS],
        "official": [*(each.key for each in registry.METRICS if each.official), *_COUNTS],
    }
    scored = [f"{view}_{key}" for view in keys for key in keys[view]]
    errors = {f"{each.key}_standard_error": each for each in headline if each.of == "items"}
    closed = [f"{each.key}_gap_closed" for each in headline]
    trust, plain = _TRUST if calibrations else (), (*_PLAIN, *_costs(results))
    out = io.StringIO()
    derived = (*errors, "share_unreadable", *closed)
    writer = csv.DictWriter(out, [*plain, "input", "finished", *scored, *derived, *trust], lineterminator="\n")
    writer.writeheader()
    for cell in results.cells:
        facts = _facts(cell)
        facts |= {"sources": "+".join(cell.sources), "finished": str(cell.finished).lower()}
        for modality in MODALITIES:
            row: dict[str, object] = {key: facts[key] for key in (*plain, "finished")} | {"input": modality}
            scores = cell.speech if modality == "speech" else cell.text
            if scores is not None:
                for view, figures in asdict(scores).items():
                    row |= {f"{view}_{key}": figures.get(key) for key in keys[view]}
                row |= {name: standard_error(scores.strict, each) for name, each in errors.items()}
                row["share_unreadable"] = share_unreadable(scores.strict)
            if (trusted := calibrations.get((cell.name, modality))) is not None:
                row |= {name: getattr(trusted, name) for name in trust}
            if modality == "speech":
                row |= zip(closed, gaps_closed(results, cell), strict=True)
            writer.writerow(row)
    return out.getvalue()


def json_report(
    curves: Curves,
    comparisons: Sequence[Comparison],
    findings: Sequence[Finding],
    published: Sequence[Published],
    headline: str,
    chosen_on_dev: str,
    calibrations: Calibrations,
) -> str:
    """The study as one JSON object; shares and differences of shares from 0 to 1, times in seconds.

    ``cells`` has every cell with its scores, its calibration if there are confidences, and its provenance;
    ``lines`` the points with mean, interval, standard error and number of seeds on each input; ``differences``,
    ``findings``, ``published`` and ``cost`` what the page has.
    """
    results = curves.results
    own = ("name", "title", "recipe", "created", "machine", "model", "corpus", "num_train", "num_test", "seconds")
    shown = {"recipe": display_path(results.recipe), "model": display_models(results)}
    report = {
        "study": {key: getattr(results, key) for key in (*own, "majority_intent_accuracy", "unheard_voices")} | shown,
        "headline": headline,
        "chosen_on_dev": chosen_on_dev,
        "intervals": {"level": LEVEL, "num_resamples": NUM_RESAMPLES, "cover": covered(curves)},
        "lines": [_line(curves, line) for line in curves.lines],
        "differences": [_comparison(each) for each in comparisons],
        "findings": [asdict(each) for each in findings],
        "published": [asdict(each) for each in published],
        "cost": asdict(study_cost(results)),
        "cells": [_cell(cell, _costs(results)) | _calibration(cell, calibrations) for cell in results.cells],
    }
    return json.dumps(report, indent=1, ensure_ascii=False) + "\n"


def _facts(cell: CellResult) -> dict[str, Any]:
    shown = {"model_name": display_path(cell.model_name), "asr": display_path(cell.asr)}
    return cell.model_dump() | shown | {"cell": cell.name, "num_clips": cell.num_clips}


def _costs(results: StudyResults) -> tuple[str, ...]:
    return _COST if results.has_costs or any(cell.asr for cell in results.cells) else ()


def _cell(cell: CellResult, costs: tuple[str, ...]) -> dict[str, Any]:
    facts = _facts(cell)
    keys = (*_PLAIN, *costs, "versions", "data", *MODALITIES)
    row = {key: facts[key] for key in keys} | {"state": state_of(cell), "folder": f"cells/{cell.name}"}
    if "manifest" in cell.data:  # an absolute path in earlier versions
        row["data"] = {**cell.data, "manifest": display_path(cell.data["manifest"])}
    return row


def _calibration(cell: CellResult, calibrations: Calibrations) -> dict[str, Any]:
    found = {each: asdict(calibrations[cell.name, each]) for each in MODALITIES if (cell.name, each) in calibrations}
    return {"calibration": found} if found else {}


def _line(curves: Curves, line: Line) -> dict[str, Any]:
    points = [{**_point(point), **_closed(curves, line, point)} for point in line.points]
    return {"scheme": line.scheme, "sources": line.sources, "model": display_path(line.model), "points": points}


def _point(point: Point) -> dict[str, Any]:
    return {
        "budget": point.size,
        "share": point.share,
        "num_clips": point.num_clips,
        "speech_seconds": point.speech_seconds,
        "cells": [f"cells/{cell.name}" for cell in point.cells],
        "speech": _estimates(point.speech),
        "text": _estimates(point.text),
        "text_minus_speech": _estimates(point.gap),
    }


def _closed(curves: Curves, line: Line, point: Point) -> dict[str, Any]:
    closed = zip(registry.headline_keys(), point_gaps_closed(curves, line, point), strict=True)
    return {"gap_closed": dict(closed)}


def _estimates(estimates: Sequence[Estimate]) -> dict[str, Any]:
    """Without the p-value, which is meaningless for a score."""
    named = zip(registry.headline_keys(), estimates, strict=True) if estimates else ()
    return {name: {key: getattr(each, key) for key in _ESTIMATE} for name, each in named}


def _comparison(each: Comparison) -> dict[str, Any]:
    figures = {
        name: {key: getattr(figure, key) for key in (*_ESTIMATE, "p_value")}
        | dict(zip(("corrected_low", "corrected_high"), each.bounds(place), strict=True))
        | {"corrected_p_value": corrected, "better": each.better(place)}
        for place, (name, figure, corrected) in enumerate(
            zip(registry.headline_keys(), each.figures, each.p_values, strict=True)
        )
    }
    return {
        "first": each.first, "second": each.second, "sources": each.sources, "model": display_path(each.model),
        "budget": each.size, "share": each.share, "first_minus_second": figures,
    }  # fmt: skip
