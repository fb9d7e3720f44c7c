"""The inputs that a cell answers the test utterances from, and its card."""

from __future__ import annotations

from dataclasses import replace

from sottovoce.core.types import Example, Modality
from sottovoce.data.prompts import slu_example
from sottovoce.study.card import CellCard, add_facts, read_card
from sottovoce.study.cells import Cell
from sottovoce.study.transcripts import error_rate, recogniser_identity, transcripts_of
from sottovoce.study.workspace import Study


def card_of(study: Study, cell: Cell) -> CellCard | None:
    """The cell's card, None if there is none."""
    files = study.layout.cell(cell.name)
    return read_card(files) if files.card.exists() else None


def recogniser_of_cell(study: Study, cell: Cell) -> str:
    """Identifies the transcripts that a cascade reads; "" for a cell that takes the recordings themselves."""
    return recogniser_identity(cell.asr, study.data.test, study.say) if cell.asr else ""


def read_by(study: Study, cell: Cell) -> dict[str, str]:
    """A cascade's transcripts, by id; their word error rate goes into its cell.json. Other cells have none.

    Raises:
        UserError: as :func:`transcripts_of`.
    """
    if not cell.asr:
        return {}
    heard = transcripts_of(study.data.test, cell.asr, study.folder, study.say)
    rate = round(error_rate(study.data.test, heard), 4)
    add_facts(study.layout.cell(cell.name), word_error_rate=rate)
    if not rate:
        study.say(f"warning: {cell.name}: the transcripts of {cell.asr} match the gold ones word for word")
    return heard


def examples_to_answer(study: Study, cell: Cell, modality: Modality, heard: dict[str, str]) -> list[Example]:
    """The test utterances as prompts for the cell; ``heard`` as :func:`read_by` returns it."""
    if modality == "speech" and cell.asr:
        read = [replace(u, transcript=heard[u.id], where=f"{cell.asr}, {u.id}") for u in study.data.test]
        return [slu_example(utterance, "text", instruction=study.data.instruction) for utterance in read]
    return [slu_example(utterance, modality, instruction=study.data.instruction) for utterance in study.data.test]
