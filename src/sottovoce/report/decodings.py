"""A run's decodings side by side, without and with the ontology grammar."""

from __future__ import annotations

import json
from pathlib import Path

from sottovoce.core.recipe import GRAMMARS
from sottovoce.core.types import MODALITIES
from sottovoce.report.wording import NONE
from sottovoce.score.metrics import registry
from sottovoce.study.cell import other_grammar
from sottovoce.study.layout import CellFolder
from sottovoce.study.runs import recipe_of_run


def decodings_table(run: Path) -> list[list[str]]:
    """The strict figures of each grammar a run was decoded with, header first; NONE for a metric newer than the scores.

    Raises:
        UserError: the folder is not a run.
    """
    recipe = recipe_of_run(run)
    metrics = registry.in_tables()
    table = [["grammar", "answered from", *(metric.heading for metric in metrics), "unreadable"]]
    for grammar in GRAMMARS:
        path = CellFolder(run).scores(other_grammar(recipe, grammar))
        scores = json.loads(path.read_text(encoding="utf-8")) if path.exists() else {}
        for modality in MODALITIES:
            if modality in scores:
                strict = scores[modality]["strict"]
                cells = [metric.text(strict[metric.key]) if metric.key in strict else NONE for metric in metrics]
                table.append([grammar, modality, *cells, str(strict["num_unreadable"])])
    return table
