"""Which intents to record first: those that lose most from gold text to speech, weighted by frequency."""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from sottovoce.core.types import MODALITIES, Modality
from sottovoce.data.manifest import read_manifest
from sottovoce.plan.curve_families import Floats
from sottovoce.plan.learning_curve import LEVEL
from sottovoce.report.results import CellResult
from sottovoce.score.counts import counts_table
from sottovoce.score.intervals import Scored, corrected_level, differences
from sottovoce.score.matching import Answers
from sottovoce.score.metrics import registry
from sottovoce.score.metrics.metric import ratio
from sottovoce.score.statistics import holm


@dataclass(frozen=True, slots=True)
class IntentGain:
    """One intent: how much overall intent accuracy would rise if its speech were understood as well as its text.

    ``gain`` is its share of the test items times (accuracy from gold text - accuracy from speech); ``low`` and ``high``
    are its LEVEL interval over test utterances, corrected by Holm for the number of intents: where no intent loses
    anything, one study in ten at most has an interval above 0. Accuracies are 0..1, means over seeds.
    ``num_recordings`` is the number of its training recordings, a mean over seeds; None if the training data is not
    available.
    """

    intent: str
    num_test: int
    speech_accuracy: float
    text_accuracy: float
    gain: float
    low: float
    high: float
    num_recordings: float | None


def first_intents(
    answers: Sequence[Mapping[Modality, Answers]], recordings: Mapping[str, float] | None
) -> list[IntentGain]:
    """Every intent of the test data by expected gain; ties go to the one with fewer recordings.

    Args:
        answers: each seed's answers to the same gold items, from speech and from text.
        recordings: the number for each intent, see ``recordings_of``.
    """
    intents = [answer.item.frame.intent for answer in answers[0]["speech"].all]
    names = sorted(set(intents))
    of_intent = np.equal.outer(np.array(intents), np.array(names)).astype(np.float64)  # items x intents
    right: dict[Modality, Floats] = {}
    for modality in MODALITIES:
        tables = [counts_table(each[modality].all, "strict", registry.headline()) for each in answers]
        right[modality] = np.mean([table.counted("intent") for table in tables], axis=0)
    lost = of_intent * (right["text"] - right["speech"])[:, None]
    sums = tables[0].summed(np.column_stack([of_intent, lost]))
    losses = differences([Scored.of(sums, _mean_losses, [True] * len(names))])  # in accuracy, of each intent's own
    corrected = holm([each.p_value for each in losses])
    gains = []
    for column, name in enumerate(names):
        mine = of_intent[:, column] > 0
        speech, text = (float(right[modality][mine].mean()) for modality in MODALITIES)
        level = corrected_level(LEVEL, losses[column].p_value, corrected[column])
        low, high = (float(mine.mean()) * end for end in losses[column].bounds(level))
        recorded = None if recordings is None else recordings.get(name, 0.0)
        gain = float(lost[:, column].mean())
        gains.append(IntentGain(name, int(mine.sum()), speech, text, gain, low, high, recorded))
    return sorted(gains, key=lambda each: (-each.gain, each.num_recordings or 0.0, each.intent))


def recordings_of(cells: Sequence[CellResult], manifest: Path | None) -> dict[str, float] | None:
    """How many recordings of each intent the cells were trained on, a mean over cells; None if their manifest is not
    available or lacks some of them.
    """
    if manifest is None:
        return None
    intents = {utterance.id: utterance.frame.intent for utterance in read_manifest(manifest, allow_outside=True)}
    trained = [identity for cell in cells for identity in cell.speech_ids]
    if not trained or not intents.keys() >= set(trained):
        return None
    return {intent: number / len(cells) for intent, number in Counter(intents[each] for each in trained).items()}


def _mean_losses(sums: Floats) -> Floats:
    """From each intent's number of items, then what each loses: (..., 2 x intents) to (..., intents)."""
    numbers, lost = np.split(sums, 2, axis=-1)
    return ratio(lost, numbers)
