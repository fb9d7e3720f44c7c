"""From a recipe to its utterances: reads, limits and joins the corpora; draws speech budgets."""

from __future__ import annotations

import random
from collections import defaultdict
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path

from sottovoce.core.downloads import sha256_of
from sottovoce.core.errors import UserError
from sottovoce.core.recipe import (
    Corpus,
    Recipe,
    Size,
    Source,
    SpeechHours,
    SpeechSeconds,
    SpeechSpeakers,
    SpeechUtterances,
)
from sottovoce.core.types import Labels, Modality, Utterance
from sottovoce.data.audio import SUFFIXES
from sottovoce.data.budget import Budget, choose_speech
from sottovoce.data.corpora.home import home_manifest
from sottovoce.data.dev_split import split_off_dev
from sottovoce.data.manifest import read_manifest
from sottovoce.data.mixture import SYNTHETIC, SharedExamples
from sottovoce.data.prompts import instruction_of


@dataclass(frozen=True)
class Data:
    """A recipe's utterances.

    Args:
        manifest: the target's, with its sha256.
        train: the target's training utterances.
        test: the target's test utterances, all with speech.
        dev: what training is evaluated on, empty if it is not: those with speech if any with an intent
            have it, else all as text.
        dev_line: where ``dev`` comes from, for the user.
        others: training utterances of the sources, by their names in the recipe; under ``SYNTHETIC`` those with
            synthetic speech.
        shared: examples that cells share, and the instruction of all prompts.
        heard: by model, its transcripts of the speech budgets' recordings, by their sha256, if recognition noise is
            estimated from them.
    """

    manifest: Path
    sha256: str
    train: list[Utterance]
    test: list[Utterance]
    others: Mapping[str, list[Utterance]] = field(default_factory=dict)
    shared: SharedExamples = field(default_factory=SharedExamples, compare=False, repr=False)
    heard: Mapping[str, Mapping[str, str]] = field(default_factory=dict)
    dev: list[Utterance] = field(default_factory=list)
    dev_line: str = ""

    @property
    def dev_modality(self) -> Modality:
        """What training is evaluated on: the dev recordings, or dev text if there are none."""
        return "speech" if self.dev and self.dev[0].audio is not None else "text"

    @property
    def instruction(self) -> str:
        """What every prompt asks for, in training and testing."""
        return self.shared.instruction

    @property
    def num_spoken(self) -> int:
        """Training utterances that have a recording."""
        return sum(utterance.audio is not None for utterance in self.train)


def manifest_of(corpus: Corpus) -> Path:
    """The manifest of a recipe's corpus."""
    return home_manifest(corpus.locale or "") if corpus.builtin else corpus.manifest or Path()


def load_data(recipe: Recipe) -> Data:
    """Reads the corpora and limits them as the recipe says.

    Raises:
        UserError: an unreadable manifest, an empty split, no test utterance with speech, a test intent that no training
            utterance has, or a folder of synthetic speech without any training utterance.
    """
    path = manifest_of(recipe.corpus)
    utterances = read_manifest(path, recipe.corpus.allow_outside)
    train = _training_split(utterances, path, recipe.corpus)
    test = [u for u in utterances if u.split == "test" and u.audio is not None]
    if not test:
        raise UserError(f"{path}: no utterance of split test has a recording", "record some test utterances")
    dev, dev_line = [u for u in utterances if u.split == "dev"], ""
    if recipe.train.eval_strategy == "no":
        dev = []
    elif not dev:
        train, dev, dev_line = split_off_dev(train, recipe.seed)
    train = limited(train, recipe.num_train_utterances, recipe.seed)
    test = limited(test, recipe.num_test_utterances, recipe.seed)
    if dev:
        dev = limited(_evaluated(dev), recipe.num_dev_utterances, recipe.seed)
        kind = "recordings" if dev[0].audio is not None else "texts, as none with an intent has a recording"
        dev_line = "; ".join(filter(None, (dev_line, f"training is evaluated on {len(dev)} dev {kind}")))
    unseen = {u.frame.intent for u in test if not u.frame.is_rejection} - {u.frame.intent for u in train}
    if unseen:
        advice = "add training utterances for them, raise num_train_utterances, or remove them from test"
        raise UserError(f"{path}: intents in test but not in train: {', '.join(sorted(unseen))}", advice)
    others = {name: _source_utterances(source, recipe.seed) for name, source in recipe.sources.items()}
    if recipe.synthetic_speech:
        others[SYNTHETIC] = spoken_by_folder(train, recipe.synthetic_speech)
    instruction = instruction_of(recipe.prompt, Labels.of(utterance.frame for utterance in train))
    shared = SharedExamples(instruction)
    return Data(path, sha256_of(path), train, test, others, shared, dev=dev, dev_line=dev_line)


def _evaluated(dev: Sequence[Utterance]) -> list[Utterance]:
    """The recordings, or the texts if at most rows without an intent are recorded: those alone would select nothing."""
    spoken = [utterance for utterance in dev if utterance.audio is not None]
    if any(not utterance.frame.is_rejection for utterance in spoken):
        return spoken
    return [replace(utterance, audio=None) for utterance in dev if utterance.transcript] or spoken


def _training_split(utterances: Sequence[Utterance], path: Path, corpus: Corpus) -> list[Utterance]:
    train = [utterance for utterance in utterances if utterance.split == "train"]
    if not train:
        raise UserError(f"{path}: no utterance has split train", "mark the training utterances with split train")
    if not corpus.only_spoken:
        return train
    spoken = [utterance for utterance in train if utterance.audio is not None]
    if not spoken:
        raise UserError(f"{path}: no training utterance has a recording", "add recordings, or leave out only_spoken")
    return spoken


def _source_utterances(source: Source, seed: int) -> list[Utterance]:
    """A source's training utterances; those outside its speech budget without their recordings."""
    path = manifest_of(source)
    train = _training_split(read_manifest(path, source.allow_outside), path, source)
    train = limited(train, source.num_train_utterances, seed)
    kept = set(speech_of(source.speech, train, seed)[1].ids)
    return [utterance if utterance.id in kept else replace(utterance, audio=None) for utterance in train]


def spoken_by_folder(utterances: Sequence[Utterance], folder: Path) -> list[Utterance]:
    """The utterances that have a recording in a folder, with that recording.

    Args:
        folder: holds recordings named by utterance id, such as ``42.ogg``, or by locale and id, such as
            ``en-US-42.ogg``.

    Raises:
        UserError: there is no such folder, or it has no recording of any of the utterances.
    """
    if not folder.is_dir():
        raise UserError(f"no such folder: {folder}", "correct synthetic_speech, or make it with `sottovoce speak`")
    found = {path.stem: path for path in sorted(folder.iterdir()) if path.suffix in SUFFIXES}
    named = [(u, found.get(u.id) or found.get(f"{u.locale}-{u.id}")) for u in utterances]
    spoken = [replace(u, audio=path, seconds=None, speaker="synthetic") for u, path in named if path]
    if not spoken:
        advice = f"name the files after the ids, such as {utterances[0].id}.ogg"
        raise UserError(f"{folder} holds no recording of any training utterance", advice)
    return spoken


def limited(utterances: Sequence[Utterance], limit: int | None, seed: int) -> list[Utterance]:
    """At most ``limit`` utterances, in their order: at least one of each intent, the rest proportional to intents and,
    within an intent, to those with and without speech."""
    if limit is None or limit >= len(utterances):
        return list(utterances)
    groups: defaultdict[tuple[str, bool], list[str]] = defaultdict(list)
    for utterance in utterances:
        groups[utterance.frame.intent, utterance.audio is not None].append(utterance.id)
    rng, seen = random.Random(seed), set[str]()
    ranked = []
    for (intent, _), ids in sorted(groups.items(), reverse=True):  # within an intent, those with speech come first
        rng.shuffle(ids)
        ranked += [((rank + rng.random()) / len(ids), identity) for rank, identity in enumerate(ids)]
        if intent not in seen:
            ranked[-len(ids)] = (-1.0, ids[0])
            seen.add(intent)
    kept = {identity for _, identity in sorted(ranked)[:limit]}
    return [utterance for utterance in utterances if utterance.id in kept]


def speech_of(size: Size, utterances: Sequence[Utterance], seed: int) -> tuple[str, Budget]:
    """The budget's name in cell names, and the budget."""
    if size == "all":
        spoken = sum(utterance.audio is not None for utterance in utterances)
        return "all", choose_speech(utterances, num_utterances=spoken, seed=seed)
    if isinstance(size, SpeechUtterances):
        return f"{size.utterances}utterances", choose_speech(utterances, num_utterances=size.utterances, seed=seed)
    if isinstance(size, SpeechSeconds):
        return f"{size.seconds:g}seconds", choose_speech(utterances, seconds=size.seconds, seed=seed)
    if isinstance(size, SpeechHours):
        return f"{size.hours:g}hours", choose_speech(utterances, seconds=3600 * size.hours, seed=seed)
    if isinstance(size, SpeechSpeakers):
        return f"{size.speakers}speakers", choose_speech(utterances, num_speakers=size.speakers, seed=seed)
    budget = choose_speech(utterances, share=size, seed=seed)
    return f"{size * 100:g}pct", replace(budget, share=size)  # the given share, not the rounded one
