"""The work behind `sottovoce score`: a prediction file's figures, with breakdowns and intervals where asked for."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import asdict
from pathlib import Path
from typing import Any

from sottovoce.core.errors import UserError
from sottovoce.score.abstention import abstain_threshold
from sottovoce.score.breakdown import breakdown, confusions
from sottovoce.score.calibration import calibration
from sottovoce.score.confidences import judged_answers
from sottovoce.score.counts import FIGURES, CountsTable, counts_tables, figures_of
from sottovoce.score.files import Gold, stream_predictions
from sottovoce.score.matching import Answers, match_answers
from sottovoce.score.metrics.slurp import score_answers
from sottovoce.score.statistics import bootstrap, interval

PER_UTTERANCE = ("intent_accuracy", "frame_accuracy", "entity_f1", "slu_f1")


def read_answers(predictions: Path, gold: Gold, say: Callable[[str], None]) -> Answers:
    """Reads predictions and finds the gold item of each; what counts for nothing or as wrong is said in a line each.

    Raises:
        UserError: the file cannot be read, or not one of its rows answers an item of the gold file.
    """
    answers = match_answers(gold, stream_predictions(predictions))
    if answers.num_unknown == answers.num_rows:
        raise UserError(
            f"{answers.first_unknown}, and neither is any other of the {answers.num_rows} rows",
            "give the gold file that these predictions were made for",
        )
    if answers.num_unknown:
        say(f"note: {answers.first_unknown}; {answers.num_unknown} such rows count for nothing")
    if answers.first_duplicate:
        number = sum(answer.status == "duplicate" for answer in answers.all)
        say(f"note: {answers.first_duplicate}; official takes the last answer, strict counts {number} items as wrong")
    if missing := sum(answer.status == "missing" for answer in answers.all):
        line = f"note: {missing} of {len(answers.all)} gold items have no prediction; official skips them, strict"
        advice = "" if missing < len(answers.all) / 2 else "; if fewer were asked for, name their --split"
        say(f"{line} counts them as wrong{advice}")
    return answers


def score_report(
    answers: Answers, by: Sequence[str] = (), with_intervals: bool = False, target_accuracy: float | None = None
) -> dict[str, Any]:
    """What `sottovoce score --json` prints.

    Returns:
        ``official`` and ``strict`` as ``score`` has them and, where utterances have several recordings, with the
        figures PER_UTTERANCE once more as ``NAME_per_utterance``, each utterance counting as one; with ``by``, under
        that key the breakdowns; with a breakdown by intent, ``confusions``; with intervals, ``intervals``: of each
        view and figure the 95 % interval [low, high]; where answers have a confidence, ``calibration``; with a target
        of intent accuracy (0..1), ``abstain``: the lowest threshold at which what is answered reaches it.

    Raises:
        UserError: there is no such breakdown, or the gold file does not say what it needs; or a target is given and no
            answer has a confidence, or no threshold reaches it.
    """
    report: dict[str, Any] = {**score_answers(answers)}
    several = len({answer.item.utterance or answer.item.key for answer in answers.all}) < len(answers.all)
    tables = counts_tables(answers.all) if several or with_intervals else {}
    if several:
        for view, table in tables.items():
            figures = table.figures_per_utterance()
            report[view] |= {f"{name}_per_utterance": figures[name] for name in PER_UTTERANCE}
    if with_intervals:
        report["intervals"] = {view: intervals_of(table) for view, table in tables.items()}
    if by:
        report["by"] = {name: breakdown(answers.all, name) for name in by}
    if "intent" in by:
        report["confusions"] = confusions(answers.all)
    judged = judged_answers(answers.all)
    if judged is None and target_accuracy is not None:
        raise UserError("the predictions have no confidences", "make them with `sottovoce decode RUN --confidence`")
    if judged is not None:
        report["calibration"] = asdict(calibration(judged))
        if target_accuracy is not None:
            report["abstain"] = {
                "target_accuracy": target_accuracy,
                **asdict(abstain_threshold(judged, target_accuracy)),
            }
    return report


def intervals_of(table: CountsTable) -> dict[str, list[float]]:
    """The 95 % interval (0..1) of each figure, utterances drawn."""
    bounds = interval(bootstrap(table.per_utterance(), figures_of))
    return dict(zip(FIGURES, bounds.tolist(), strict=True))
