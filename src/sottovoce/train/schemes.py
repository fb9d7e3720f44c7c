"""The fine-tuning schemes. A scheme is just a list of stages.

======================  =================================================================================
zero_shot               no stage: the untrained model
text_only               the transcript in place of the audio, for every training utterance
cascade                 text_only's stages; at test time it reads a recogniser's transcripts instead of the audio
direct_mixing           all text and the budget's speech, shuffled together from the start
curriculum              first text only, then text and speech together, from the first stage's weights
speech_only             the budget's speech and no text
ramp                    text only, then text with a third, two thirds and all of the budget's speech
curriculum_replay       as curriculum, but the last stage repeats only a quarter of the text
synthetic_curriculum    text only, then text and synthetic speech, then text and the budget's speech
reverse_curriculum      text and speech first, then text only: a control
source_first            a source language's text and speech, then the target's
source_then_curriculum  a source language's text and speech, then the target's text, then all together
text_only_noisy         text with a recogniser's errors outside the fillers
curriculum_noisy        first such text, then unchanged text and speech together
======================  =================================================================================

A study's mixture may add source languages: their text is added to the target's text and their speech to the budget's
speech, unless the scheme says otherwise. zero_shot, text_only, direct_mixing and curriculum are from Choi et al., 2025.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from functools import cached_property
from typing import Literal

from sottovoce.core.errors import UserError, nearest
from sottovoce.core.recipe import StageSettings, Train
from sottovoce.data.mixture import SYNTHETIC, TARGET, Mixture, Part

Sources = tuple[str, ...]
"""The corpora of source languages that a mixture adds, by their names in the recipe."""
REPLAYED_SHARE = 0.25  # share of the text repeated in the last stage of curriculum_replay
RAMP = (1 / 3, 2 / 3, 1.0)  # shares of the budget, one per stage


@dataclass(frozen=True)
class Stage:
    """One stage: its data and its training settings. It starts from the weights of the stage before it."""

    name: str
    mixture: Mixture
    settings: StageSettings


@dataclass(frozen=True)
class Scheme:
    """A scheme: its display name, and its stages for a recipe's training settings and a mixture's sources.

    ``reads`` is the input for a test recording: the audio itself, or a recogniser's transcript of it.
    ``without_speech`` is the scheme that it equals at budget 0 without sources, None if there is none. Figures draw it
    in ``colour`` ("": the text colour) with ``marker``.
    """

    label: str
    stages: Callable[[Train, Sources], list[Stage]]
    needs_sources: bool = False
    reads: Literal["speech", "transcripts"] = "speech"
    without_speech: str | None = "text_only"
    colour: str = ""
    marker: str = "*"

    @cached_property
    def uses_speech(self) -> bool:
        """Whether it is trained on the budget's speech; the others have one cell for all budgets."""
        return uses_speech(self.stages(Train(), ()))

    @cached_property
    def is_trained(self) -> bool:
        """Whether it trains at all."""
        return bool(self.stages(Train(), ()))


def _text(corpora: Sources, share: float = 1.0) -> Mixture:
    return tuple(Part("text", of="all", share=share, corpus=corpus) for corpus in corpora)


def _speech(corpora: Sources, settings: StageSettings, share: float = 1.0) -> Mixture:
    budget = Part(
        "speech",
        of="budget",
        repeats=settings.speech_repeats,
        perturbed=settings.perturb_repeats,
        share=share,
        max_rows_share=settings.max_speech_share if settings.max_speech_share < 1 else None,
    )
    # A source has plenty of speech: it is neither repeated nor limited.
    return tuple(budget if corpus == TARGET else Part("speech", of="budget", corpus=corpus) for corpus in corpora)


def _noisy_stage(corpora: Sources, train: Train, settings: StageSettings) -> Stage:
    """Text with recognition noise. Epochs become repeats within one epoch, since each repeat has its own noise."""
    repeats = settings.num_train_epochs
    parts = tuple(Part("text", of="all", repeats=repeats, corpus=corpus, noise=train.noise) for corpus in corpora)
    return Stage("noisy-text", parts, settings.model_copy(update={"num_train_epochs": 1}))


def _text_stage(corpora: Sources, settings: StageSettings) -> Stage:
    return Stage("text", _text(corpora), settings)


def _mixed_stage(corpora: Sources, settings: StageSettings, share: float = 1.0) -> Stage:
    return Stage("text+speech", _text(corpora) + _speech(corpora, settings, share), settings)


def zero_shot(train: Train, sources: Sources) -> list[Stage]:
    return []


def text_only(train: Train, sources: Sources) -> list[Stage]:
    return [_text_stage((TARGET, *sources), train.stage)]


def direct_mixing(train: Train, sources: Sources) -> list[Stage]:
    return [_mixed_stage((TARGET, *sources), train.stage)]


def curriculum(train: Train, sources: Sources) -> list[Stage]:
    corpora = (TARGET, *sources)
    return [_text_stage(corpora, train.first_stage), _mixed_stage(corpora, train.last_stage)]


def speech_only(train: Train, sources: Sources) -> list[Stage]:
    return [Stage("speech", _speech((TARGET, *sources), train.stage), train.stage)]


def ramp(train: Train, sources: Sources) -> list[Stage]:
    corpora = (TARGET, *sources)
    mixed = [_mixed_stage(corpora, train.last_stage, share) for share in RAMP]
    return [_text_stage(corpora, train.first_stage), *mixed]


def curriculum_replay(train: Train, sources: Sources) -> list[Stage]:
    corpora = (TARGET, *sources)
    seen = _text(corpora, REPLAYED_SHARE) + _speech(corpora, train.last_stage)
    return [_text_stage(corpora, train.first_stage), Stage("replay+speech", seen, train.last_stage)]


def synthetic_curriculum(train: Train, sources: Sources) -> list[Stage]:
    corpora = (TARGET, *sources)
    spoken = Stage("text+synthetic", (*_text(corpora), Part("speech", of="all", corpus=SYNTHETIC)), train.last_stage)
    return [_text_stage(corpora, train.first_stage), spoken, _mixed_stage(corpora, train.last_stage)]


def reverse_curriculum(train: Train, sources: Sources) -> list[Stage]:
    corpora = (TARGET, *sources)
    return [_mixed_stage(corpora, train.first_stage), _text_stage(corpora, train.last_stage)]


def source_first(train: Train, sources: Sources) -> list[Stage]:
    source = Stage("source", _text(sources) + _speech(sources, train.first_stage), train.first_stage)
    return [source, _mixed_stage((TARGET,), train.stage)]


def source_then_curriculum(train: Train, sources: Sources) -> list[Stage]:
    source = Stage("source", _text(sources) + _speech(sources, train.first_stage), train.first_stage)
    both = _mixed_stage((TARGET, *sources), train.last_stage)
    return [source, _text_stage((TARGET,), train.first_stage), both]


def text_only_noisy(train: Train, sources: Sources) -> list[Stage]:
    if train.noise.source == "budget":
        advice = "set train.noise.source to shipped or spelling, or use curriculum_noisy"
        raise UserError("text_only_noisy has no speech, so its noise cannot come from the speech budget", advice)
    return [_noisy_stage((TARGET, *sources), train, train.stage)]


def curriculum_noisy(train: Train, sources: Sources) -> list[Stage]:
    corpora = (TARGET, *sources)
    return [_noisy_stage(corpora, train, train.first_stage), _mixed_stage(corpora, train.last_stage)]


# After Okabe and Ito's palette for colour-blind readers; the marker alone identifies the scheme, too.
SCHEMES: dict[str, Scheme] = {
    "zero_shot": Scheme("Zero-shot", zero_shot),
    "text_only": Scheme("Text-only", text_only),
    "direct_mixing": Scheme("Direct mixing", direct_mixing, colour="#d1600f", marker="s"),
    "curriculum": Scheme("Curriculum", curriculum, colour="#2f86c6", marker="o"),
    "cascade": Scheme("Cascade", text_only, reads="transcripts", colour="#3f6b35"),
    "speech_only": Scheme("Speech only", speech_only, without_speech="zero_shot", colour="#c46d9e", marker="v"),
    "ramp": Scheme("Ramp", ramp, colour="#149a74", marker="^"),
    "curriculum_replay": Scheme("Curriculum with replay", curriculum_replay, colour="#6a7fd0", marker="P"),
    "synthetic_curriculum": Scheme(
        "Synthetic speech first", synthetic_curriculum, without_speech=None, colour="#b58900", marker="X"
    ),
    "reverse_curriculum": Scheme("Reverse curriculum", reverse_curriculum, colour="#8a8f94", marker="<"),
    "source_first": Scheme("Source first", source_first, needs_sources=True, colour="#a05a2c", marker="D"),
    "source_then_curriculum": Scheme(
        "Source, then curriculum", source_then_curriculum, needs_sources=True, colour="#7d54b5", marker="p"
    ),
    "text_only_noisy": Scheme("Noisy text-only", text_only_noisy),
    "curriculum_noisy": Scheme(
        "Noisy curriculum", curriculum_noisy, without_speech="text_only_noisy", colour="#3b6e22", marker="h"
    ),
}


def scheme_named(name: str) -> Scheme:
    """The scheme of that name. Raises UserError, suggesting the nearest name, if there is none."""
    if name not in SCHEMES:
        raise UserError(f"there is no scheme {name!r}", nearest(name, SCHEMES))
    return SCHEMES[name]


def uses_speech(stages: list[Stage]) -> bool:
    """Whether any stage uses the budget's speech, so that the budget makes a difference."""
    return any(part.of == "budget" and part.corpus == TARGET for stage in stages for part in stage.mixture)
