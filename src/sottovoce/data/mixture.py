"""A mixture says which modality and which share of the training utterances a stage sees, and how often.

It is a deterministic map from positions to examples; nothing is drawn at run time.
"""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Literal

from sottovoce.data.prompts import slu_example
from sottovoce.types import Example, Modality, Utterance

TARGET = "main"
"""The corpus whose speech is tested, and whose training speech is budgeted."""
SYNTHETIC = "synthetic"
"""The target's training utterances with synthetic recordings in place of their own."""


@dataclass(frozen=True)
class Part:
    """One part of a mixture.

    Args:
        modality: ``text`` shows the transcript in place of the audio, ``speech`` the recording.
        of: ``all`` training utterances, or only those of the speech ``budget``.
        share: of these, 0..1: the first ones of the budget, or utterances evenly spread over all.
        repeats: how often each of them occurs in one epoch.
        perturbed: whether each repeat of a recording after the first is a perturbed copy of its own.
        corpus: which corpus of the recipe the utterances come from.
    """

    modality: Modality
    of: Literal["all", "budget"]
    repeats: int = 1
    perturbed: bool = False
    corpus: str = TARGET
    share: float = 1.0


Mixture = tuple[Part, ...]


def examples_of(
    mixture: Mixture, corpora: Mapping[str, Sequence[Utterance]], budget_ids: Mapping[str, Sequence[str]]
) -> list[Example]:
    """One epoch's examples, part after part, in the corpora's order.

    Args:
        corpora: training utterances by the corpus name that the parts use.
        budget_ids: by corpus name, the ids of the utterances that keep their speech, in priority order.
    """
    examples = []
    for part in mixture:
        utterances = corpora[part.corpus]
        if part.of == "budget":
            kept = budget_ids.get(part.corpus, ())
            chosen = set(kept[: math.ceil(part.share * len(kept))])
            utterances = [utterance for utterance in utterances if utterance.id in chosen]
        elif part.share < 1.0:
            utterances = [u for n, u in enumerate(utterances) if int((n + 1) * part.share) > int(n * part.share)]
        once = [slu_example(utterance, part.modality) for utterance in utterances]
        for number in range(part.repeats):
            examples += [replace(example, copy=number) for example in once] if part.perturbed else once
    return examples
