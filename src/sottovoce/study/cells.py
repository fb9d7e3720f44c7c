"""From a recipe to its cells: which utterances, which stages, which clips; nothing here trains or decodes."""

from __future__ import annotations

import hashlib
import json
import random
from collections import defaultdict
from collections.abc import Sequence
from dataclasses import dataclass, replace
from functools import cache
from pathlib import Path

from sottovoce.data.budget import Budget, choose_speech
from sottovoce.data.corpora.home import home_manifest
from sottovoce.data.manifest import read_manifest
from sottovoce.data.mixture import examples_of
from sottovoce.errors import UserError
from sottovoce.recipe import Corpus, Recipe, Size, SpeechSeconds, SpeechUtterances
from sottovoce.registry_files import sha256_of
from sottovoce.train.schemes import SCHEMES, Stage, uses_speech
from sottovoce.types import Example, Utterance


@dataclass(frozen=True)
class Data:
    """A recipe's utterances: for training, and for testing (all with speech)."""

    manifest: Path
    sha256: str
    train: list[Utterance]
    test: list[Utterance]

    @property
    def num_spoken(self) -> int:
        """Training utterances that have a recording."""
        return sum(utterance.audio is not None for utterance in self.train)


@dataclass(frozen=True)
class Cell:
    """One scheme at one speech budget; ``budget`` is None where the scheme hears no speech."""

    name: str
    scheme: str
    stages: list[Stage]
    budget: Budget | None
    share: float

    def examples(self, data: Data) -> list[list[Example]]:
        """One epoch's examples of each stage."""
        kept = {"main": self.budget.ids if self.budget else ()}
        return [examples_of(stage.mixture, {"main": data.train}, kept) for stage in self.stages]


def manifest_of(corpus: Corpus) -> Path:
    """The manifest that a recipe's corpus names."""
    return home_manifest(corpus.locale or "") if corpus.builtin else corpus.manifest or Path()


def load_data(recipe: Recipe) -> Data:
    """Reads the corpus and limits it as the recipe says.

    Raises:
        UserError: an unreadable manifest, an empty split, test utterances without speech, or a test intent that no
            training utterance has.
    """
    path = manifest_of(recipe.corpus)
    utterances = read_manifest(path, recipe.corpus.allow_outside)
    train = [u for u in utterances if u.split == "train"]
    test = [u for u in utterances if u.split == "test" and u.audio is not None]
    if not train:
        raise UserError(f"{path}: no utterance has split train", "mark the training utterances with split train")
    if not test:
        raise UserError(f"{path}: no utterance of split test has a recording", "record test utterances, or mark them")
    train = limited(train, recipe.num_train_utterances, recipe.seed)
    test = limited(test, recipe.num_test_utterances, recipe.seed)
    unseen = {u.frame.intent for u in test} - {u.frame.intent for u in train}
    if unseen:
        advice = "add training utterances for them, raise num_train_utterances, or leave them out of test"
        raise UserError(f"{path}: intents in test but not in train: {', '.join(sorted(unseen))}", advice)
    return Data(path, sha256_of(path), train, test)


def limited(utterances: Sequence[Utterance], limit: int | None, seed: int) -> list[Utterance]:
    """At most ``limit`` utterances, in their order: one of each intent first, then each intent in proportion, and
    within an intent those with and without speech in proportion."""
    if limit is None or limit >= len(utterances):
        return list(utterances)
    groups: defaultdict[tuple[str, bool], list[str]] = defaultdict(list)
    for utterance in utterances:
        groups[utterance.frame.intent, utterance.audio is not None].append(utterance.id)
    rng, seen = random.Random(seed), set[str]()
    ranked = []
    for (intent, _), ids in sorted(groups.items(), reverse=True):  # of each intent, those with speech come first
        rng.shuffle(ids)
        ranked += [((rank + rng.random()) / len(ids), identity) for rank, identity in enumerate(ids)]
        if intent not in seen:
            ranked[-len(ids)] = (-1.0, ids[0])
            seen.add(intent)
    kept = {identity for _, identity in sorted(ranked)[:limit]}
    return [utterance for utterance in utterances if utterance.id in kept]


def plan_cells(recipe: Recipe, data: Data) -> list[Cell]:
    """The recipe's cells; schemes that hear no speech come once, the others once a budget."""
    cells = []
    for scheme in recipe.schemes:
        stages = SCHEMES[scheme](recipe.train)
        if not uses_speech(stages):
            cells.append(Cell(scheme, scheme, stages, None, 0.0))
            continue
        for size in recipe.budgets:
            name, budget = _budget(size, data, recipe.seed)
            cells.append(Cell(f"{scheme}-{name}", scheme, stages, budget, budget.share))
    return cells


def _budget(size: Size, data: Data, seed: int) -> tuple[str, Budget]:
    """A speech budget and what its cells are called."""
    if size == "all":
        return "all", choose_speech(data.train, num_utterances=data.num_spoken, seed=seed)
    if isinstance(size, SpeechUtterances):
        number = size.utterances
        return f"{number}utterances", choose_speech(data.train, num_utterances=number, seed=seed)
    if isinstance(size, SpeechSeconds):
        return f"{size.seconds:g}seconds", choose_speech(data.train, seconds=size.seconds, seed=seed)
    budget = choose_speech(data.train, share=size, seed=seed)
    return f"{size * 100:g}pct", replace(budget, share=size)  # what was asked for, not what it was rounded to


def example_key(example: Example) -> str:
    """What identifies an example's content: modality, prompt and answer, for speech the recording's bytes and copy."""
    utterance = example.utterance
    heard = utterance.transcript if example.modality == "text" else recording_sha256(utterance)
    content = json.dumps([example.modality, heard, example.instruction, example.answer, example.copy])
    return hashlib.sha256(content.encode()).hexdigest()


def recording_sha256(utterance: Utterance) -> str:
    """The sha256 of an utterance's recording. Raises UserError with file:line where there is none."""
    path = utterance.audio
    if path is None or not path.is_file():
        raise UserError(f"{utterance.where}: no such recording: {path}", "correct the manifest, or add the file")
    state = path.stat()
    return _sha256(path, state.st_mtime_ns, state.st_size)


@cache  # every stage of every cell asks again
def _sha256(path: Path, mtime_ns: int, num_bytes: int) -> str:
    return sha256_of(path)
