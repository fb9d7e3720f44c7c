"""What a cell's test recordings are answered from, and what its cell.json has said of it so far."""

from __future__ import annotations

import json
from dataclasses import replace
from pathlib import Path
from typing import Any

from sottovoce.core.storage import write_whole
from sottovoce.core.types import Example, Modality
from sottovoce.data.prompts import slu_example
from sottovoce.study.cells import Cell
from sottovoce.study.layout import CellFolder
from sottovoce.study.transcripts import error_rate, recogniser_identity, transcripts_of
from sottovoce.study.workspace import Study


def card_of(study: Study, cell: Cell) -> dict[str, Any]:
    """The cell's cell.json, empty if there is none."""
    path = study.layout.cell(cell.name).card
    card: dict[str, Any] = json.loads(path.read_text(encoding="utf-8")) if path.exists() else {}
    return card


def recogniser_of_cell(study: Study, cell: Cell) -> str:
    """What decides the transcripts that a cascade reads; "" of a cell that hears the recordings."""
    return recogniser_identity(cell.asr, study.data.test, study.say) if cell.asr else ""


def read_by(study: Study, cell: Cell) -> dict[str, str]:
    """The transcripts that a cascade reads, by id, whose word error rate goes into its cell.json; else none.

    Raises:
        UserError: as :func:`transcripts_of`.
    """
    if not cell.asr:
        return {}
    heard = transcripts_of(study.data.test, cell.asr, study.folder, study.say)
    card = card_of(study, cell) | {"word_error_rate": round(error_rate(study.data.test, heard), 4)}
    write_whole(study.layout.cell(cell.name).card, json.dumps(card, indent=1))
    if not card["word_error_rate"]:
        study.say(f"warning: {cell.name}: the transcripts of {cell.asr} are the gold ones, word for word")
    return heard


def examples_to_answer(study: Study, cell: Cell, modality: Modality, heard: dict[str, str]) -> list[Example]:
    """The test utterances as the cell is asked about them; ``heard`` as :func:`read_by` returns it."""
    if modality == "speech" and cell.asr:
        read = [replace(u, transcript=heard[u.id], where=f"{cell.asr}, {u.id}") for u in study.data.test]
        return [slu_example(utterance, "text") for utterance in read]
    return [slu_example(utterance, modality) for utterance in study.data.test]


def answered_with_same_weights(study: Study, cell: Cell, name: str) -> Path | None:
    """A prediction file of that name in the folder of another cell that was trained by the same stages."""
    stages = card_of(study, cell).get("stages")
    for path in sorted(study.layout.cells.glob(f"*/{name}")) if stages else ():
        card = CellFolder(path.parent).card
        other = json.loads(card.read_text(encoding="utf-8")) if card.exists() else {}
        if path.parent.name != cell.name and other.get("stages") == stages:
            return path
    return None
