"""Mixtures: which training utterances a stage is trained on, in which modality, and how often.

A mixture gives its examples deterministically; nothing is drawn at run time.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Literal

from sottovoce.core.recipe import Noise
from sottovoce.core.types import Example, Modality, Utterance
from sottovoce.data.prompts import SLU_INSTRUCTION, slu_example

TARGET = "main"
"""The corpus whose speech is tested, and whose training speech is budgeted."""
SYNTHETIC = "synthetic"
"""The target's training utterances with synthetic recordings."""


@dataclass(frozen=True)
class Part:
    """One part of a mixture.

    Args:
        modality: ``text`` uses transcripts, and skips utterances without one; ``speech`` uses recordings.
        of: ``all`` training utterances, or only those of the speech ``budget``.
        share: share of these, 0..1: the first ones of the budget, or evenly spread over all.
        repeats: how often each of them occurs in one epoch.
        perturbed: whether repeats of a recording after the first are perturbed, each differently.
        max_rows_share: repeat the utterances less often, but at least once, if they would exceed this share (below 1)
            of an epoch's rows; None: no limit.
        corpus: the recipe's corpus that the utterances come from.
        noise: recognition noise for text, different in each repeat; None: unchanged transcripts.
    """

    modality: Modality
    of: Literal["all", "budget"]
    repeats: int = 1
    perturbed: bool = False
    corpus: str = TARGET
    share: float = 1.0
    max_rows_share: float | None = None
    noise: Noise | None = None

    def __post_init__(self) -> None:
        if self.noise and self.modality != "text":
            raise ValueError("recognition noise is for text; recordings are perturbed")


Mixture = tuple[Part, ...]
NoisyText = Callable[[Part, Utterance, int], str]
"""The transcript that a recogniser might write for an utterance of a part; the number selects one of many draws."""


def _no_noise(part: Part, utterance: Utterance, copy: int) -> str:
    raise ValueError("a part of the mixture has noise, but noisy_text was not given")


class SharedExamples:
    """Examples that mixtures of the same utterances share, each made only once for all stages and cells.

    Args:
        instruction: of all their prompts.
    """

    def __init__(self, instruction: str = SLU_INSTRUCTION) -> None:
        self.instruction = instruction
        self._made: dict[tuple[int, Modality, int, str | None], tuple[Utterance, Example]] = {}

    def example(self, utterance: Utterance, modality: Modality, copy: int, transcript: str | None) -> Example:
        """The example of an utterance, see :class:`Example`; ``transcript`` is shown in place of its own."""
        key = id(utterance), modality, copy, transcript
        if key not in self._made:
            shown = utterance if transcript is None else replace(utterance, transcript=transcript)
            # The utterance is kept too, so that no other one gets its id.
            self._made[key] = utterance, slu_example(shown, modality, copy, self.instruction)
        return self._made[key][1]


def examples_of(
    mixture: Mixture, corpora: Mapping[str, Sequence[Utterance]], budget_ids: Mapping[str, Sequence[str]],
    shared: SharedExamples | None = None, noisy_text: NoisyText = _no_noise,
) -> list[Example]:  # fmt: skip
    """One epoch's examples, part after part, in the corpora's order.

    Args:
        corpora: training utterances by the corpus name that the parts use.
        budget_ids: by corpus name, the ids of the utterances that keep their speech, in priority order.
        shared: examples already made for other mixtures.
        noisy_text: for parts with noise.
    """
    shared = shared or SharedExamples()
    chosen = [_chosen(part, corpora[part.corpus], budget_ids.get(part.corpus, ())) for part in mixture]
    num_unlimited = sum(
        part.repeats * len(utterances)
        for part, utterances in zip(mixture, chosen, strict=True)
        if part.max_rows_share is None
    )
    examples = []
    for part, utterances in zip(mixture, chosen, strict=True):
        for number in range(_num_repeats(part, len(utterances), num_unlimited)):
            copy = number if part.perturbed else 0
            for utterance in utterances:
                heard = noisy_text(part, utterance, number) if part.noise else utterance.transcript
                shown = None if heard == utterance.transcript else heard
                examples.append(shared.example(utterance, part.modality, copy, shown))
    return examples


def _chosen(part: Part, utterances: Sequence[Utterance], kept: Sequence[str]) -> list[Utterance]:
    if part.modality == "text":
        utterances = [utterance for utterance in utterances if utterance.transcript]
    if part.of == "budget":
        ids = set(kept[: math.ceil(part.share * len(kept))])
        return [utterance for utterance in utterances if utterance.id in ids]
    if part.share < 1.0:
        return [u for n, u in enumerate(utterances) if int((n + 1) * part.share) > int(n * part.share)]
    return list(utterances)


def _num_repeats(part: Part, num_utterances: int, num_others: int) -> int:
    if part.max_rows_share is None or not num_utterances:
        return part.repeats
    most = part.max_rows_share / (1 - part.max_rows_share) * num_others
    return max(1, min(part.repeats, math.floor(most / num_utterances + 1e-9)))
