"""A run's answer to a recording."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

from rich.progress import Progress

from sottovoce.data.collate import tokenize
from sottovoce.data.prompts import slu_example
from sottovoce.evaluate.decode import generate
from sottovoce.evaluate.parse import parse_answer
from sottovoce.models.audio_store import AudioStore
from sottovoce.study.trained import answer_form, load_run
from sottovoce.types import Frame, Utterance


def predict_clip(run: Path, clip: Path, say: Callable[[str], None]) -> dict[str, Any]:
    """The frame of one recording, with the raw answer and whether it could be read.

    Raises:
        UserError: no such run, or the recording is missing or unreadable.
    """
    loaded, model, recipe = load_run(run, say)
    utterance = Utterance("clip", "", "", Frame("", ""), "test", audio=clip)
    store = AudioStore(loaded)
    with Progress(disable=True) as progress:
        store.encode([(utterance, 0)], progress)
    example = slu_example(utterance, "speech")
    row = tokenize(example, loaded.processor, store.states_of(example))
    form = answer_form(recipe.folder, recipe.decode.grammar, loaded)
    answer = parse_answer("clip", generate(loaded, model, [row], recipe.decode.max_new_tokens, form)[0])
    frame = answer.frame or Frame("", "")
    entities = [{"type": entity.type, "filler": entity.filler} for entity in frame.entities]
    return {
        "scenario": frame.scenario,
        "action": frame.action,
        "entities": entities,
        "status": answer.status,
        "text": answer.raw,
    }
