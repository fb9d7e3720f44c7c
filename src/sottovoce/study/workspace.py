"""Opens a study's folder: writes the study's facts, and refuses to continue with results of other settings."""

from __future__ import annotations

import hashlib
import json
import platform
import shutil
from collections import Counter
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import torch
import yaml

from sottovoce.core.errors import UserError
from sottovoce.core.machine import num_cores
from sottovoce.core.progress import Say
from sottovoce.core.recipe import Recipe
from sottovoce.core.storage import alone_in, json_lines, write_whole
from sottovoce.core.types import Utterance
from sottovoce.data.audio import audio_header
from sottovoce.data.load import Data
from sottovoce.data.manifest import row_of
from sottovoce.decode.ontology import ontology_of
from sottovoce.models.audio_states import AudioStore
from sottovoce.models.load import LoadedModel
from sottovoce.models.lower_states import LowerStates
from sottovoce.models.precision import precision_named
from sottovoce.study.card import write_card
from sottovoce.study.cells import Cell, recording_sha256
from sottovoce.study.layout import StudyFolder
from sottovoce.study.runs import load_for
from sottovoce.study.work import ExampleKeys, Work, cell_work
from sottovoce.train.parts import reencodes_audio
from sottovoce.train.processes import processes
from sottovoce.train.stage_files import DONE

AXES = {
    "schemes",
    "asr",
    "budgets",
    "seeds",
    "sources",
    "mixtures",
    "synthetic_speech",
    "model",
    "models",
    "start_from",
}


@dataclass
class Study:
    """A running study: its recipe, folder and data, and what has been computed so far.

    ``stores`` holds each model's encoded recordings, ``lower`` the states of rows below the trained layers, ``work``
    the stages of the cells looked at so far, by cell name.
    """

    recipe: Recipe
    recipe_path: Path
    data: Data
    folder: Path
    say: Say
    stores: dict[str, AudioStore] = field(default_factory=dict)
    lower: dict[str, LowerStates] = field(default_factory=dict)
    work: dict[str, list[Work]] = field(default_factory=dict)
    example_keys: ExampleKeys = field(default_factory=ExampleKeys)

    @property
    def layout(self) -> StudyFolder:
        return StudyFolder(self.folder)

    def work_of(self, cells: Sequence[Cell]) -> list[Work]:
        """Every stage of every cell with one epoch's examples; a stage that cells share occurs once for each of them.

        A cell's stages are assembled only once: its examples are many, and keying them reads their recordings.

        Raises:
            UserError: as :func:`cell_work`.
        """
        for cell in cells:
            if cell.name not in self.work:
                self.work[cell.name] = cell_work(self.recipe, cell, self.data, self.example_keys)
        return [item for cell in cells for item in self.work[cell.name]]

    def stages_to_do(self, cells: Sequence[Cell]) -> dict[str, Work]:
        """The stages still to be trained, by key, each once."""
        work = self.work_of(cells)
        return {item.plan.key: item for item in work if not (self.layout.stages / item.plan.key / DONE).exists()}

    def load(self, model: str) -> LoadedModel:
        """A fresh copy of one of the recipe's models."""
        return load_for(self.recipe.of_model(model), self.say)

    def store(self, model: str) -> AudioStore:
        """The model's encoded recordings; its cells share them; other studies do too if its audio part is frozen."""
        if model not in self.stores:
            loaded = self.load(model)
            trained = reencodes_audio(loaded.family, self.recipe.train)
            self.stores[model] = AudioStore(loaded, True) if trained else AudioStore.shared(loaded, self.say)
        return self.stores[model]


@contextmanager
def only_study(folder: Path) -> Iterator[None]:
    """Locks a study's folder against other processes.

    Raises:
        UserError: another process is using it.
    """
    with alone_in(folder, "wait for it or stop it, or give this study another name"):
        yield


def open_study(recipe: Recipe, recipe_path: Path, data: Data, cells: list[Cell], say: Say) -> Study:
    """Creates the study's folder, or reopens it.

    Raises:
        UserError: the folder holds results of other settings, data or recordings.
    """
    study, earlier = Study(recipe, recipe_path, data, recipe.folder, say), summary_of(recipe.folder)
    fingerprint = _fingerprint(recipe, data)
    if earlier and earlier.get("fingerprint") != fingerprint:
        _clear(study.layout, recipe.name)
    recipe.folder.mkdir(parents=True, exist_ok=True)
    _write_inputs(study, cells)
    _write_summary(recipe.folder, _summary(study, cells, earlier) | {"fingerprint": fingerprint})
    if data.dev_line:
        say(data.dev_line)
    for model in recipe.all_models:
        for line in cut_clips_lines(data, cells, study.store(model).window_seconds):
            say(line if len(recipe.all_models) == 1 else f"{model}: {line}")
    return study


def _clear(layout: StudyFolder, name: str) -> None:
    """Removes unfinished work of other settings; stages stay, as their keys identify them.

    Raises:
        UserError: a cell is finished.
    """
    if layout.has_scores():
        raise UserError(
            f"{layout.path} holds results of other settings, data or recordings",
            f"give this study another name (name={name}-2), or delete the folder",
        )
    shutil.rmtree(layout.cells, ignore_errors=True)
    for transcripts in layout.all_transcripts():  # may be of other recordings
        transcripts.unlink()


def _write_inputs(study: Study, cells: list[Cell]) -> None:
    """Writes the study's inputs and the cards of cells that have not started."""
    layout, data = study.layout, study.data
    write_whole(layout.recipe, yaml.safe_dump(json.loads(study.recipe.model_dump_json()), sort_keys=False))
    write_whole(layout.gold, json_lines([row_of(utterance, layout.path) for utterance in data.test]))
    if data.dev:
        write_whole(layout.dev, json_lines([row_of(utterance, layout.path) for utterance in data.dev]))
    write_whole(layout.ontology, ontology_of(utterance.frame for utterance in data.train))
    write_whole(layout.instruction, data.instruction)
    for files, cell in ((layout.cell(cell.name), cell) for cell in cells):
        if not files.card.exists():
            files.path.mkdir(parents=True, exist_ok=True)
            write_card(files, cell.card())


def _summary(study: Study, cells: list[Cell], earlier: dict[str, Any]) -> dict[str, Any]:
    """The facts about the study that reports show; ``earlier`` is the summary of an earlier run."""
    recipe, data, path = study.recipe, study.data, study.recipe_path
    # Commands that reopen a study read its own copy of the recipe; keep the original path.
    fresh = "recipe" not in earlier or path.resolve() != study.layout.recipe.resolve()
    majority = Counter(u.frame.intent for u in data.train).most_common(1)[0][0]
    return {
        "name": recipe.name,
        "title": recipe.title or recipe.name,
        "recipe": str(path) if fresh else earlier["recipe"],
        "created": earlier.get("created") or datetime.now(UTC).isoformat(timespec="seconds"),
        "machine": machine(recipe.train.bf16),
        "model": ", ".join(recipe.all_models),
        "corpus": f"{recipe.corpus.builtin or (recipe.corpus.manifest or Path()).parent.name} {data.test[0].locale}",
        "unheard_voices": not {u.speaker for u in data.test} & {u.speaker for u in data.train if u.audio}
        and all(u.speaker for u in data.test),
        "num_train": len(data.train),
        "num_test": len(data.test),
        "budget_share": max((cell.share for cell in cells), default=0.0),
        "num_speech": max((cell.budget.num_utterances for cell in cells if cell.budget), default=0),
        "majority_intent_accuracy": sum(u.frame.intent == majority for u in data.test) / len(data.test),
        "seconds": earlier.get("seconds", 0.0),
        "cells": [cell.name for cell in cells],
    }


def check_recordings(data: Data, cells: list[Cell]) -> None:
    """Raises UserError if a recording that the study needs is missing or unreadable. Checked now, not hours later."""
    for clip in _training_clips(data, cells) + data.test + [row for row in data.dev if row.audio is not None]:
        audio_header(clip.audio or Path(), clip.where)


def cut_clips_lines(data: Data, cells: list[Cell], window_seconds: float) -> list[str]:
    """A warning each if the study's training or test recordings are longer than the model's window."""
    lines = []
    for use, clips in (("training", _training_clips(data, cells)), ("test", data.test)):
        num_cut = sum(_seconds(clip) > window_seconds for clip in clips)
        if num_cut:
            lines.append(f"warning: {num_cut} of {len(clips)} {use} recordings are cut to {window_seconds:g} s")
    return lines


def _training_clips(data: Data, cells: list[Cell]) -> list[Utterance]:
    spoken = (e.utterance for cell in cells for stage in cell.examples(data) for e in stage if e.modality == "speech")
    return list({utterance.audio: utterance for utterance in spoken}.values())


def _seconds(clip: Utterance) -> float:
    return clip.seconds if clip.seconds is not None else audio_header(clip.audio or Path(), clip.where).seconds


def machine(bf16: bool) -> str:
    """What the study runs on: the cores it may use, the precision, and the GPUs it uses, one per process.

    Args:
        bf16: whether the recipe has bfloat16.
    """
    gpus = f", {processes().num_processes} GPU ({torch.cuda.get_device_name(0)})" if torch.cuda.is_available() else ""
    return f"{num_cores()} CPU cores, {platform.machine()}, {platform.system()}, {precision_named(bf16)}{gpus}"


def _fingerprint(recipe: Recipe, data: Data) -> str:
    """A hash of everything that all results depend on. What only one cell depends on is in its name or files: schemes,
    budgets, seeds, mixtures and models may be added, and the recogniser of unfinished cascades may change."""
    recordings = [recording_sha256(utterance) for utterance in data.test]
    content = json.dumps([deciding_settings(recipe), data.sha256, recordings], sort_keys=True)
    return hashlib.sha256(content.encode()).hexdigest()[:16]


def deciding_settings(recipe: Recipe) -> dict[str, Any]:
    """The settings that all of a study's results depend on."""
    settings = recipe.model_dump(mode="json", exclude=AXES | {"name", "title", "out", "corpus", "start_from"})
    for key in ("logging_steps", "save_steps", "gradient_checkpointing", "noise"):  # noise: in its stages' keys
        del settings["train"][key]
    settings["train"].pop("report_to", None)  # written only if set
    del settings["decode"]["confidence"]  # does not change answers (in bfloat16, except near ties)
    if recipe.decode.grammar == "none":  # so that studies older than grammars can be resumed
        del settings["decode"]["grammar"]
    return settings


def summary_of(folder: Path) -> dict[str, Any]:
    """A study folder's study.json, empty if there is none."""
    path = StudyFolder(folder).summary
    return json.loads(path.read_text(encoding="utf-8")) if path.exists() else {}


def note_seconds(folder: Path, seconds: float) -> None:
    """Records how long the study has taken so far, over all its runs."""
    _write_summary(folder, {**summary_of(folder), "seconds": round(seconds, 1)})


def _write_summary(folder: Path, summary: dict[str, Any]) -> None:
    write_whole(StudyFolder(folder).summary, json.dumps(summary, indent=1, ensure_ascii=False))
