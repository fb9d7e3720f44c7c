"""From a recipe and its utterances to the cells: their stages and recordings. Nothing here trains or decodes."""

from __future__ import annotations

import hashlib
import itertools
import json
import re
from collections import Counter
from dataclasses import dataclass
from pathlib import Path

from sottovoce.core.errors import UserError
from sottovoce.core.recipe import Recipe
from sottovoce.core.types import Example, Utterance
from sottovoce.data.audio import audio_sha256
from sottovoce.data.budget import Budget
from sottovoce.data.load import Data, speech_of
from sottovoce.data.mixture import SYNTHETIC, TARGET, examples_of
from sottovoce.models.embedded import EMBEDDED
from sottovoce.study.card import CellCard
from sottovoce.study.noise_sources import noisy_text_for
from sottovoce.train.schemes import Scheme, Stage, scheme_named, uses_speech


@dataclass(frozen=True)
class Cell:
    """One scheme at one speech budget, seed, mixture and model; ``budget`` is None if the scheme has none.

    ``size`` is the budget as the recipe gives it ("5pct"). ``asr`` is the recogniser whose transcripts it is tested
    on; "" if it takes the recordings themselves.
    """

    name: str
    scheme: str
    stages: list[Stage]
    budget: Budget | None
    share: float
    seed: int
    sources: tuple[str, ...]
    model: str
    size: str = ""
    asr: str = ""

    def card(self) -> CellCard:
        """Its card, as far as it is known before training."""
        return CellCard(
            name=self.name, scheme=self.scheme, uses_speech=uses_speech(self.stages), size=self.size,
            budget_share=self.share, seed=self.seed, sources=self.sources, model_name=self.model, seconds=None,
            speech_ids=self.budget.ids if self.budget else (),
            speech_seconds=self.budget.seconds if self.budget else 0.0, **({"asr": self.asr} if self.asr else {}),
        )  # fmt: skip

    def examples(self, data: Data) -> list[list[Example]]:
        """One epoch's examples of each stage."""
        kept = {name: [u.id for u in utterances if u.audio] for name, utterances in data.others.items()}
        kept[TARGET] = list(self.budget.ids) if self.budget else []
        corpora = {**data.others, TARGET: data.train}
        noisy_text = noisy_text_for(corpora, kept, data.heard.get(self.model, {}))
        return [examples_of(stage.mixture, corpora, kept, data.shared, noisy_text) for stage in self.stages]


def plan_cells(recipe: Recipe, data: Data) -> list[Cell]:
    """The recipe's cells, model after model, scheme after scheme.

    An axis that makes no difference to a scheme is not expanded: zero_shot has one cell, text_only one for all budgets,
    and schemes that start from a source language none without one. A cell without any speech, as at budget 0 without
    sources, equals text_only's and is left out; so is a cascade that :func:`is_the_model_itself`.

    Raises:
        UserError: an unknown scheme, a scheme without the speech or sources that it needs, a recogniser that no scheme
            uses, two cells with the same name, or no cell at all.
    """
    if recipe.asr and not _uses_recogniser(recipe):
        raise UserError("asr is given, but no scheme reads transcripts", "add cascade to schemes, or leave asr out")
    cells: list[Cell] = []
    for model, name in itertools.product(recipe.all_models, recipe.schemes):
        scheme, before = scheme_named(name), len(cells)
        asr = recogniser_of(recipe) if scheme.reads == "transcripts" else ""
        if is_the_model_itself(asr, model):
            continue
        if not scheme.stages(recipe.train, ()):
            cells.append(Cell(_name(name, (), "", 0, recipe, model), name, [], None, 0.0, 0, (), model))
            continue
        for sources, seed in itertools.product(recipe.all_mixtures, recipe.all_seeds):
            if scheme.needs_sources and not sources:
                continue
            stages = scheme.stages(recipe.train, sources)
            for size in recipe.budgets if uses_speech(stages) else (None,):
                called, budget = speech_of(size, data.train, seed) if size is not None else ("", None)
                share = budget.share if budget else 0.0
                full = _name(name, sources, called, seed, recipe, model)
                cell = Cell(full, name, stages, budget, share, seed, sources, model, called, asr)
                if budget is None or _has_speech(cell, data):
                    cells.append(cell)
        if len(cells) == before:
            raise UserError(f"the scheme {name} has nothing to train on", _needed(scheme, recipe))
    if not cells:
        raise UserError(_LEFT_OUT, "list text_only, or name another recogniser under asr")
    names = Counter(cell.name for cell in cells)
    if twice := [name for name, number in names.items() if number > 1]:
        raise UserError(f"two cells would be named {twice[0]}", "use models whose last path parts differ")
    return cells


def recogniser_of(recipe: Recipe) -> str:
    """The recogniser that makes a cascade's transcripts."""
    return recipe.asr or EMBEDDED


def is_the_model_itself(asr: str, model: str) -> bool:
    """Whether the cascade is what the model does with speech anyway: the embedded model reads its own recogniser's
    likeliest transcript as text, and text_only leaves that recogniser untrained, so text_only tested on speech is the
    same cascade."""
    return asr == model == EMBEDDED


def left_out_lines(recipe: Recipe) -> list[str]:
    """A line about the cascades that a study leaves out, if any."""
    left_out = any(is_the_model_itself(recogniser_of(recipe), model) for model in recipe.all_models)
    return [f"left out: {_LEFT_OUT}"] if left_out and _uses_recogniser(recipe) else []


_LEFT_OUT = "the embedded model's cascade with its own recogniser is the same as text_only tested on speech"


def _uses_recogniser(recipe: Recipe) -> bool:
    return any(scheme_named(name).reads == "transcripts" for name in recipe.schemes)


def _needed(scheme: Scheme, recipe: Recipe) -> str:
    if scheme.needs_sources and not any(recipe.all_mixtures):
        return "name a source language under sources"
    return "give budgets above 0"


def _has_speech(cell: Cell, data: Data) -> bool:
    parts = [part for stage in cell.stages for part in stage.mixture]
    if SYNTHETIC not in data.others and any(part.corpus == SYNTHETIC for part in parts):
        advice = "name a folder of recordings in synthetic_speech; `sottovoce speak` makes one"
        raise UserError(f"the scheme {cell.scheme} needs synthetic speech", advice)
    return any(example.modality == "speech" for stage in cell.examples(data) for example in stage)


def _name(scheme: str, sources: tuple[str, ...], size: str, seed: int, recipe: Recipe, model: str) -> str:
    """A cell's name, made of all its axes; seed 0 and the first model are omitted."""
    parts = [scheme, f"from-{'+'.join(sources)}" if sources else "", size, f"seed{seed}" if seed else ""]
    if model != recipe.all_models[0]:
        parts.append(re.sub(r"[^A-Za-z0-9._]+", "_", model.rstrip("/").rpartition("/")[2]))
    return "-".join(part for part in parts if part)


def example_key(example: Example) -> str:
    """Identifies an example's content: modality, prompt, answer and, for speech, the recording's bytes and copy."""
    utterance = example.utterance
    heard = utterance.transcript if example.modality == "text" else recording_sha256(utterance)
    content = json.dumps([example.modality, heard, example.instruction, example.answer, example.copy])
    return hashlib.sha256(content.encode()).hexdigest()


def recording_sha256(utterance: Utterance) -> str:
    """The sha256 of an utterance's recording. Raises UserError with file:line if it has none."""
    return audio_sha256(utterance.audio or Path(), utterance.where)
