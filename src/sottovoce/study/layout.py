"""Where everything is in a study's folder; these names are defined nowhere else.

The exceptions: train/stage_files.py names the inside of a trained stage's folder, report/html.py report.html and the
files next to it.
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
        self.recipe = path / "recipe.yaml"  # as last run
        self.summary = path / "study.json"  # the study's facts, its cells' names, how long it took
        self.gold = path / "gold.jsonl"  # the test utterances, a manifest
        self.dev = path / "dev.jsonl"  # the dev utterances, if training is evaluated
        self.ontology = path / "ontology.lark"  # the grammar of the training labels
        self.instruction = path / "instruction.txt"  # of all prompts
        self.preflight = path / "preflight.json"  # what was proven and measured before the first step
        self.output = path / "processes.txt"  # output of parallel cell processes, such as warnings
        self.jobs = path / "slurm"  # the SLURM jobs' scripts and output
        self.stages = path / "stages"  # a folder for each trained stage; cells share them
        self.cells = path / "cells"

    def cell(self, name: str) -> CellFolder:
        """The files of one cell."""
        return CellFolder(self.cells / name)

    def transcripts(self, recogniser: str) -> Path:
        """A recogniser's transcripts of the test recordings, by the recogniser's identity."""
        return self.path / f"transcripts-{_slug(recogniser)}.jsonl"

    def all_transcripts(self) -> list[Path]:
        return list(self.path.glob("transcripts-*"))

    def heard(self, model: str) -> Path:
        """A model's transcripts of the speech budgets' recordings, by the model's identity."""
        return self.path / f"heard-{_slug(model)}.jsonl"

    def has_scores(self) -> bool:
        """Whether any cell is finished."""
        return any(self.cells.glob("*/scores.json"))

    def reported(self) -> list[Path]:
        """The existing files that a report is made from and that change while the study runs."""
        own = [path for path in (self.summary, self.gold) if path.exists()]
        return own + [path for name in ("cell", "scores", "failed") for path in self.cells.glob(f"*/{name}.json")]


class CellFolder:
    """The files of a cell, STUDY/cells/CELL/..., also called a run once it is trained."""

    def __init__(self, path: Path) -> None:
        self.path = path
        self.card = path / "cell.json"  # what the cell is, see card.py
        self.weights = path / "weights"  # of its last stage
        self.log = path / "log.txt"
        self.failed = path / "failed.json"  # why the last attempt failed

    @property
    def name(self) -> str:
        return self.path.resolve().name

    @property
    def study(self) -> StudyFolder:
        """The cell's study."""
        return StudyFolder(self.path.resolve().parent.parent)

    def is_in_study(self) -> bool:
        """Whether the folder exists and is a cell of a study."""
        return self.path.is_dir() and self.study.recipe.exists() and self.path.resolve().parent == self.study.cells

    def predictions(self, modality: Modality, other: Grammar | None = None) -> Path:
        """Its answers for one modality; ``other`` is the grammar if it is not the recipe's."""
        return self.path / f"predictions-{modality}{_ending(other)}.jsonl"

    def scores(self, other: Grammar | None = None) -> Path:
        """The scores of :meth:`predictions`."""
        return self.path / f"scores{_ending(other)}.json"

    def answers_from(self, recogniser: str) -> Path:
        """Its answers from a recogniser's transcripts of the test recordings, by the recogniser's identity."""
        return self.path / f"predictions-cascade-{_slug(recogniser)}.jsonl"

    def all_results(self) -> list[Path]:
        """All its predictions and scores, except the scores.json that marks it as finished."""
        return [*self.path.glob("predictions-*"), *self.path.glob("scores-*")]


def _ending(other: Grammar | None) -> str:
    return f"-{other}" if other else ""


def _slug(identity: str) -> str:
    return re.sub(r"[^A-Za-z0-9.]+", "-", identity).strip("-")
