"""Finds a study's data again after its folder moved."""

from __future__ import annotations

import os
from dataclasses import replace
from pathlib import Path

from sottovoce.core.downloads import sha256_of
from sottovoce.core.errors import UserError
from sottovoce.core.recipe import Corpus
from sottovoce.core.recipe_file import load_recipe
from sottovoce.core.types import Utterance
from sottovoce.data.load import manifest_of
from sottovoce.data.manifest import read_manifest
from sottovoce.study.layout import StudyFolder


def manifest_name(corpus: Corpus, folder: Path) -> str:
    """How a study's files name its manifest: corpus and locale if built in, else a path relative to the folder."""
    if corpus.builtin:
        return f"{corpus.builtin} {corpus.locale}"
    return Path(os.path.relpath(manifest_of(corpus), folder)).as_posix()


def find_manifest(folder: Path, called: str = "", sha256: str = "") -> Path | None:
    """A study's manifest: where its files say it is, or else where its recipe says; None if it is in neither place.

    Args:
        called: see :func:`manifest_name`; studies of earlier versions give an absolute path.
        sha256: the manifest's, if known: after the folder moved, another file may be at that path.
    """
    named = folder / called
    if called and named.is_file() and sha256 in ("", sha256_of(named)):
        return named
    recipe = StudyFolder(folder).recipe
    if not recipe.is_file():
        return None
    try:
        path = manifest_of(load_recipe(recipe).corpus)
    except UserError:  # a recipe or a built-in corpus of another version
        return None
    return path if path.is_file() else None


def gold_utterances(folder: Path) -> list[Utterance]:
    """A study's test utterances; their recordings may be outside its folder.

    If a recording is gone because the folder moved, the same utterance's recording in the study's manifest is used,
    if the manifest can be read and has it.
    """
    utterances = read_manifest(StudyFolder(folder).gold, allow_outside=True)
    lost = {u.id: u.transcript for u in utterances if u.audio is not None and not u.audio.is_file()}
    manifest = find_manifest(folder) if lost else None
    if manifest is None:
        return utterances
    try:
        listed = read_manifest(manifest, allow_outside=True)
    except UserError:  # damaged; callers that need no recordings should not fail
        return utterances
    there = {u.id: u.audio for u in listed if lost.get(u.id) == u.transcript}
    return [replace(u, audio=there.get(u.id) or u.audio) for u in utterances]
