"""What an answer costs: the time from a recording's samples to the answer, and the number of parameters to load."""

from __future__ import annotations

import time
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path
from statistics import median
from typing import Any

from sottovoce.core.errors import UserError
from sottovoce.core.progress import Say
from sottovoce.core.types import Example
from sottovoce.data.audio import load_audio
from sottovoce.data.collate import tokenize
from sottovoce.decode.batches import generate
from sottovoce.decode.constraints import Form
from sottovoce.decode.transcribe import load_recogniser
from sottovoce.models.features import encode_clips
from sottovoce.models.injection import bare
from sottovoce.models.load import LoadedModel
from sottovoce.study.card import add_facts, read_card
from sottovoce.study.layout import CellFolder
from sottovoce.study.transcripts import is_file_of_transcripts

NUM_TIMED = 2  # recordings; few, so that a cell of a few minutes does not wait long


def note_cost(
    files: CellFolder, asr: str, loaded: LoadedModel, model: Any, examples: Sequence[Example], max_new_tokens: int,
    form: Form, say: Say,
) -> None:  # fmt: skip
    """Adds ``seconds_per_utterance`` and ``num_parameters`` to a cell's card, unless it has them already.

    If they cannot be measured, for example for lack of memory, it reports why and leaves them out.

    Args:
        asr: the cell's recogniser; for a file of transcripts both figures are None.
        model: ``loaded.model`` with the cell's weights.
        examples: with recordings; the first NUM_TIMED are answered.
        form: constrains the answers.
    """
    if "num_parameters" in read_card(files).model_fields_set:
        return
    seconds, size = None, None
    if not (asr and is_file_of_transcripts(asr)):
        try:
            seconds, size = answer_cost(asr, loaded, model, examples[:NUM_TIMED], max_new_tokens, form, say)
        except (UserError, OSError, MemoryError, RuntimeError, ValueError) as error:
            say(f"the cost of an answer was not measured: {' '.join(str(error).split()) or type(error).__name__}")
            return
    add_facts(files, seconds_per_utterance=seconds, num_parameters=size)


def answer_cost(
    asr: str, loaded: LoadedModel, model: Any, examples: Sequence[Example], max_new_tokens: int, form: Form, say: Say,
) -> tuple[float, int]:  # fmt: skip
    """The median time from samples to answer in seconds, one recording at a time with nothing cached, and the number of
    parameters, including a cascade's recogniser.

    Raises:
        UserError: a recording cannot be read, or the recogniser cannot be loaded.
    """
    listen, size = load_recogniser(asr, say) if asr else (None, 0)
    seconds = []
    for example in examples:
        utterance = example.utterance
        samples = load_audio(utterance.audio or Path(), utterance.where)
        started = time.perf_counter()
        if listen:
            read = replace(utterance, transcript=listen(samples))
            row = tokenize(replace(example, utterance=read, modality="text"), loaded.processor, None)
        else:
            (states,) = encode_clips(loaded.model, loaded.processor, [samples], 1, [utterance.locale])
            row = tokenize(replace(example, modality="speech"), loaded.processor, states)
        generate(loaded, model, [row], max_new_tokens, form)
        seconds.append(time.perf_counter() - started)
    return round(median(seconds), 4), size + int(bare(model).num_parameters())
