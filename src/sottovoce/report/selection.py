"""Which cell dev chooses, and how each stage's training went."""

from __future__ import annotations

import json
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

from sottovoce.core.errors import UserError
from sottovoce.core.recipe import DevMetric
from sottovoce.report.curves import Curves, Point
from sottovoce.report.results import StudyResults
from sottovoce.report.wording import line_label, percent, speech_words
from sottovoce.score.metrics.registry import headline
from sottovoce.study.card import DAMAGED
from sottovoce.train.stage_files import HISTORY


@dataclass(frozen=True)
class TrainedStage:
    """A stage's training log: ``losses`` in nats a token and ``dev`` in the metric that selects, as (step, value)."""

    label: str
    scheme: str
    losses: tuple[tuple[float, float], ...]
    dev: tuple[tuple[float, float], ...]


def chosen_on_dev(curves: Curves) -> str:
    """The winner by dev with its test scores, in a sentence; "" if fewer than two points were scored on dev.

    Of several seeds the mean counts. The test set takes no part in the choice, so the score is not flattered by it.
    """
    metric = dev_metric(curves.results)
    sign = -1 if metric == "loss" else 1

    def score(point: Point) -> float:
        return sum(float(getattr(cell.dev, metric)) for cell in point.finished) / len(point.finished)

    lines = [(line, point) for line in curves.lines for point in line.points]
    found = [(line, point) for line, point in lines if point.finished and all(cell.dev for cell in point.finished)]
    if len(found) < 2:
        return ""
    line, best = max(found, key=lambda each: sign * score(each[1]))
    dev = best.finished[0].dev
    assert dev
    name = line_label(curves.results, line.scheme, line.sources, line.model)
    if line.uses_speech:
        name = f"{name} at {speech_words(best.share, 0, best.scheme, best.size)}"
    value = f"{score(best):.3f} nats a token" if metric == "loss" else f"{percent(score(best))} %"
    kind = "recordings" if dev.modality == "speech" else "texts"
    figures = " and ".join(
        f"{each.title.lower()} {percent(estimate.mean)} %"
        for each, estimate in zip(headline(), best.speech, strict=True)
    )
    reason = f"the best {metric.replace('_', ' ')} ({value}) on {dev.num_utterances} dev {kind}"
    return f"Chosen on dev: {name}, with {reason}. On the test recordings it has {figures}."


def dev_metric(results: StudyResults) -> DevMetric:
    """What is best on dev by the study's recipe."""
    return next((cell.dev.metric for cell in results.cells if cell.dev), "intent_accuracy")


def trained_stages(results: StudyResults) -> list[TrainedStage]:
    """The training of the stages whose history was kept, each once, in the order of the cells.

    Raises:
        UserError: a history is damaged.
    """
    metric, seen, found = dev_metric(results), set[str](), list[TrainedStage]()
    for cell in results.cells:
        for key in cell.stages or ():
            path = results.layout.stages / key / HISTORY
            if key in seen or not path.exists():
                continue
            seen.add(key)
            label = f"{cell.name}: {key.rpartition('-')[0]}"
            found.append(TrainedStage(label, cell.scheme, *map(tuple, _curves(path, metric))))
    return found


def _curves(path: Path, metric: str) -> Iterator[list[tuple[float, float]]]:
    try:
        rows = json.loads(path.read_text(encoding="utf-8"))
        for name in ("loss", f"eval_{metric}"):
            yield [(float(row["step"]), float(row[name])) for row in rows if name in row]
    except (ValueError, KeyError, TypeError) as error:
        raise UserError(f"{path}: not a training history ({error!r})", DAMAGED) from error
