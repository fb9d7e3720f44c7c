"""The work behind `sottovoce score`: a prediction file's figures, optionally with breakdowns and intervals."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import asdict, replace
from pathlib import Path
from typing import Any

from sottovoce.core.errors import UserError
from sottovoce.core.types import ANSWERED
from sottovoce.score.abstention import abstain_threshold, answered_above
from sottovoce.score.breakdown import breakdown, confusions
from sottovoce.score.calibration import calibration
from sottovoce.score.confidences import Judged, judged_answers
from sottovoce.score.counts import CountsTable, counts_table, counts_tables
from sottovoce.score.files import Gold, PredictionRow, stream_predictions
from sottovoce.score.intervals import figures
from sottovoce.score.matching import Answers, View, match_answers
from sottovoce.score.metrics import registry, rejection
from sottovoce.score.metrics.metric import ITEMS
from sottovoce.score.statistics import LEVEL

Scores = dict[str, dict[str, float | int]]
_RARE = ("unknown_label", "abstained", "out_of_scope", "no_speech", "unreadable_input")


def score(gold: Gold, predictions: Iterable[PredictionRow]) -> Scores:
    """Every metric in the views ``official`` and ``strict``.

    ``official`` follows SLURP's scorer: items without a prediction are skipped. ``strict`` counts every gold item:
    an answer that is missing, unreadable or duplicated is wrong, and all its entities are missed.

    Args:
        gold: the right answers.
        predictions: rows with the same kind of key, in the file's order. In ``official`` the last row of a key counts,
            with its scenario, action and entities, whatever its status.

    Returns:
        for each view the metrics of :mod:`sottovoce.score.metrics.registry` by key, and the counts num_scored
        (gold items behind the figures), num_missing, num_unreadable, num_duplicates (gold items; each in at most one of
        the three, duplicates first), num_unknown (rows for items that gold lacks, otherwise ignored) and, if not 0,
        num_unknown_label (answers with an intent or slot type that training did not have, which is wrong, while the
        others count), num_out_of_scope and num_no_speech (answers that there is no intent: right where gold says so)
        and num_abstained and num_unreadable_input (the recording could not be read), which strict counts as wrong.

    Raises:
        UserError: the rows have several kinds of keys, or gold has no items, or duplicate ones, of that kind.
    """
    answers = match_answers(gold, predictions)
    return score_answers(answers, counts_tables(answers.all))


def score_answers(answers: Answers, tables: Mapping[View, CountsTable]) -> Scores:
    """As ``score``, from matched answers and their counts."""
    statuses = [answer.status for answer in answers.all]
    counts = {
        "num_missing": statuses.count("missing"),
        "num_unreadable": statuses.count("unreadable"),
        "num_duplicates": statuses.count("duplicate"),
        "num_unknown": answers.num_unknown,
        **{f"num_{name}": statuses.count(name) for name in _RARE if name in statuses},
    }
    return {
        view: {**table.figures(), "num_scored": int(table.counted(ITEMS).sum()), **counts}
        for view, table in tables.items()
    }


def read_answers(predictions: Path, gold: Gold, say: Callable[[str], None]) -> Answers:
    """Reads predictions and matches them to gold items; ``say`` receives a note on rows ignored or counted as wrong.

    Raises:
        UserError: the file cannot be read, or none of its rows answers a gold item.
    """
    answers = match_answers(gold, stream_predictions(predictions))
    if answers.num_unknown == answers.num_rows:
        raise UserError(
            f"{answers.first_unknown}, nor is any other of the {answers.num_rows} rows",
            "give the gold file that these predictions were made for",
        )
    if answers.num_unknown:
        say(f"note: {answers.first_unknown}; {answers.num_unknown} such rows are ignored")
    if answers.first_duplicate:
        number = sum(answer.status == "duplicate" for answer in answers.all)
        say(f"note: {answers.first_duplicate}; official takes the last answer, strict counts {number} items as wrong")
    if missing := sum(answer.status == "missing" for answer in answers.all):
        line = f"note: {missing} of {len(answers.all)} gold items have no prediction; official skips them, strict"
        advice = "" if missing < len(answers.all) / 2 else "; if only one split was decoded, give --split"
        say(f"{line} counts them as wrong{advice}")
    return answers


def score_report(
    answers: Answers, by: Sequence[str] = (), with_intervals: bool = False, target_accuracy: float | None = None,
    dev: Answers | None = None,
) -> dict[str, Any]:  # fmt: skip
    """What `sottovoce score --json` prints.

    Args:
        target_accuracy: of intents, 0..1, for ``abstain``.
        dev: other answers of the same model, on which the threshold is chosen, so that ``answers`` only test it.

    Returns:
        ``official`` and ``strict`` as in ``score``; if utterances have several recordings, also the metrics of tables
        as ``KEY_per_utterance``, where each utterance counts once; ``by``: the breakdowns; ``confusions``, with a
        breakdown by intent; ``intervals``: for each view and figure the 95 % interval [low, high]; ``calibration``, if
        answers have confidences; ``abstain``: the lowest threshold that reaches the target, what it leaves of
        ``answers``, their false accepts and false rejects then, and as ``dev`` what it leaves of those.

    Raises:
        UserError: there is no such breakdown, or the gold file lacks what it needs; or a target is given and no answer
            has a confidence, or no threshold reaches it; or ``dev`` without a target.
    """
    tables = counts_tables(answers.all)
    report: dict[str, Any] = {**score_answers(answers, tables)}
    for view, table in tables.items():
        if table.num_utterances < len(answers.all):
            figures = table.figures_per_utterance()
            shown = [metric.key for metric in registry.in_tables() if metric.key in figures]
            report[view] |= {f"{key}_per_utterance": figures[key] for key in shown}
    if with_intervals:
        report["intervals"] = {view: intervals_of(table) for view, table in tables.items()}
    if by:
        report["by"] = {name: breakdown(answers.all, name) for name in by}
    if "intent" in by:
        report["confusions"] = confusions(answers.all)
    if (judged := judged_answers(answers.all)) is not None:
        report["calibration"] = asdict(calibration(judged))
    if target_accuracy is not None:
        report["abstain"] = _abstention(answers, target_accuracy, dev)
    elif dev is not None:
        raise UserError("dev predictions are given, but no target accuracy", "give both or neither")
    return report


def _abstention(answers: Answers, target_accuracy: float, dev: Answers | None) -> dict[str, Any]:
    judged = _judged(answers, "the predictions")
    chosen = abstain_threshold(judged if dev is None else _judged(dev, "the dev predictions"), target_accuracy)
    withheld = [
        replace(answer, status="abstained")
        if answer.status in ANSWERED and answer.confidence is not None and answer.confidence < chosen.threshold
        else answer
        for answer in answers.all
    ]
    return {
        "target_accuracy": target_accuracy,
        **asdict(answered_above(judged, chosen.threshold)),
        **counts_table(withheld, "strict", rejection.METRICS).figures(),
        **({} if dev is None else {"dev": asdict(chosen)}),
    }


def _judged(answers: Answers, name: str) -> Judged:
    if (judged := judged_answers(answers.all)) is None:
        raise UserError(f"{name} have no confidences", "make them with `sottovoce decode RUN --confidence`")
    return judged


def intervals_of(table: CountsTable) -> dict[str, list[float]]:
    """The 95 % interval of each figure, over the choice of test utterances."""
    return table.named(list(figure.bounds(LEVEL)) for figure in figures([table.scored()]))
