"""Where everything lies in a study's folder; no other file writes these names down.

Of a trained stage's folder train/stage.py knows what is in it, of report.html and its companions report/html.py.
"""

from __future__ import annotations

import re
from pathlib import Path

from sottovoce.core.recipe import Grammar
from sottovoce.core.types import Modality


class StudyFolder:
    """The files of a study, STUDY/..."""

    def __init__(self, path: Path) -> None:
        self.path = path
        self.recipe = path / "recipe.yaml"  # as the study was run last
        self.summary = path / "study.json"  # what the study is about, its cells' names, how long it took
        self.gold = path / "gold.jsonl"  # the test utterances, a manifest
        self.ontology = path / "ontology.lark"  # the grammar of the training labels
        self.preflight = path / "preflight.json"  # what was proven and measured before the first step
        self.output = path / "processes.txt"  # what processes print that run cells at once, such as warnings
        self.jobs = path / "slurm"  # the SLURM jobs' scripts and output
        self.stages = path / "stages"  # a folder for each trained stage, which cells share
        self.cells = path / "cells"

    def cell(self, name: str) -> CellFolder:
        """The files of one of its cells."""
        return CellFolder(self.cells / name)

    def transcripts(self, recogniser: str) -> Path:
        """What a recogniser, by its identity, wrote of the test recordings."""
        return self.path / f"transcripts-{_slug(recogniser)}.jsonl"

    def all_transcripts(self) -> list[Path]:
        return list(self.path.glob("transcripts-*"))

    def heard(self, model: str) -> Path:
        """What a model, by its identity, wrote of the speech budgets' recordings."""
        return self.path / f"heard-{_slug(model)}.jsonl"

    def has_scores(self) -> bool:
        """Whether any cell is finished."""
        return any(self.cells.glob("*/scores.json"))

    def reported(self) -> list[Path]:
        """Of the files that a report is made from, those that are there and change while the study runs."""
        own = [path for path in (self.summary, self.gold) if path.exists()]
        return own + [path for name in ("cell", "scores", "failed") for path in self.cells.glob(f"*/{name}.json")]


class CellFolder:
    """The files of a cell, STUDY/cells/CELL/..., also called a run once it is trained."""

    def __init__(self, path: Path) -> None:
        self.path = path
        self.card = path / "cell.json"  # what the cell is, see card.py
        self.weights = path / "weights"  # of its last stage
        self.log = path / "log.txt"
        self.failed = path / "failed.json"  # why the last try failed

    @property
    def name(self) -> str:
        return self.path.resolve().name

    @property
    def study(self) -> StudyFolder:
        """The study that the cell is of."""
        return StudyFolder(self.path.resolve().parent.parent)

    def is_in_study(self) -> bool:
        """Whether the folder is there, as a cell of a study."""
        return self.path.is_dir() and self.study.recipe.exists() and self.path.resolve().parent == self.study.cells

    def predictions(self, modality: Modality, other: Grammar | None = None) -> Path:
        """Its answers on an input; ``other`` is the grammar if it is not the recipe's."""
        return self.path / f"predictions-{modality}{_ending(other)}.jsonl"

    def scores(self, other: Grammar | None = None) -> Path:
        """The scores of :meth:`predictions`."""
        return self.path / f"scores{_ending(other)}.json"

    def answers_from(self, recogniser: str) -> Path:
        """Its answers from what a recogniser, by its identity, wrote of the test recordings."""
        return self.path / f"predictions-cascade-{_slug(recogniser)}.jsonl"

    def all_results(self) -> list[Path]:
        """Everything that its weights answered, and how that was scored; but for the scores that say it is finished."""
        return [*self.path.glob("predictions-*"), *self.path.glob("scores-*")]


def _ending(other: Grammar | None) -> str:
    return f"-{other}" if other else ""


def _slug(identity: str) -> str:
    return re.sub(r"[^A-Za-z0-9.]+", "-", identity).strip("-")
