"""A run's decodings side by side: free, and held to the ontology."""

from __future__ import annotations

import json
from pathlib import Path

from sottovoce.core.recipe import GRAMMARS
from sottovoce.core.types import MODALITIES
from sottovoce.study.cell import other_grammar
from sottovoce.study.layout import CellFolder
from sottovoce.study.runs import recipe_of_run

FIGURES = ("intent_accuracy", "slu_f1", "frame_accuracy")


def decodings_table(run: Path) -> list[list[str]]:
    """The strict figures of each way in which a run was decoded, header first; shares in percent.

    Raises:
        UserError: the folder is no run.
    """
    recipe = recipe_of_run(run)
    table = [["grammar", "answered from", *(name.replace("_", " ") for name in FIGURES), "unreadable"]]
    for grammar in GRAMMARS:
        path = CellFolder(run).scores(other_grammar(recipe, grammar))
        scores = json.loads(path.read_text(encoding="utf-8")) if path.exists() else {}
        for modality in MODALITIES:
            if modality in scores:
                strict = scores[modality]["strict"]
                shares = [f"{strict[name]:.1%}" for name in FIGURES]
                table.append([grammar, modality, *shares, str(strict["num_unreadable"])])
    return table
