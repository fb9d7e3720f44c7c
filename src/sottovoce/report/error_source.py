"""The text-speech gap of a run: transcribes its test recordings, answers from the transcripts, and compares."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path
from typing import Any

from sottovoce.core.progress import Say, progress_bar
from sottovoce.core.types import Utterance
from sottovoce.data.prompts import slu_example
from sottovoce.models.audio_states import AudioStore
from sottovoce.score.error_source import Input, gap_report
from sottovoce.score.evaluate import read_answers
from sottovoce.score.files import read_gold
from sottovoce.study.cells import is_the_model_itself
from sottovoce.study.layout import CellFolder
from sottovoce.study.locate import gold_utterances
from sottovoce.study.runs import (
    answer_form,
    decoded_files,
    instruction_in,
    known_labels,
    load_run,
    recipe_of_run,
    refuse_cascade,
    write_answers,
)
from sottovoce.study.transcripts import error_rate, recogniser_identity, transcripts_of


def measure_gap(run: Path, asr: str | None, say: Say) -> dict[str, Any]:
    """What :func:`sottovoce.score.error_source.gap_report` returns, with the recogniser and its word error rate.

    The transcripts are kept in the study's folder, for its other runs, and the answers from them in the run's folder.

    Args:
        run: a decoded run, STUDY/cells/CELL.
        asr: the recogniser, see :func:`sottovoce.decode.transcribe.transcribe`, or a file of transcripts; None: the
            run's model before fine-tuning.

    Raises:
        UserError: there is no such run, it is a cascade or not decoded yet, or the recogniser cannot be loaded.
    """
    name = asr or recipe_of_run(run).model
    refuse_cascade(run)
    decoded = decoded_files(run)
    files: dict[Input, Path] = {"text": decoded["text"], "speech": decoded["speech"]}
    cell = CellFolder(run.resolve())
    utterances = gold_utterances(cell.study.path)
    heard = transcripts_of(utterances, name, cell.study.path, say)
    recipe = recipe_of_run(run)
    if is_the_model_itself(name, recipe.model) and recipe.train.audio_tower == "frozen":
        say("the model reads its own transcripts as text, so its answers to speech are also the cascade's")
        files["cascade"] = files["speech"]
    else:
        files["cascade"] = cell.answers_from(recogniser_identity(name, utterances, say))
        _answer(run, [replace(u, transcript=heard[u.id]) for u in utterances], files["cascade"], say)
    items = read_gold(cell.study.gold)
    report = gap_report({source: read_answers(path, items, say) for source, path in files.items()})
    return {"run": str(run), "asr": name, "word_error_rate": error_rate(utterances, heard), **report}


def _answer(run: Path, utterances: list[Utterance], target: Path, say: Say) -> None:
    if target.exists():
        return
    loaded, model, recipe = load_run(run, say)
    asked = instruction_in(recipe.folder)
    examples = [slu_example(utterance, "text", instruction=asked) for utterance in utterances]
    store, form = AudioStore(loaded), answer_form(recipe.folder, recipe.decode.grammar, loaded)
    known = known_labels(recipe.folder)
    with progress_bar() as progress:
        title = "answering from transcripts"
        write_answers(target, loaded, model, examples, store, recipe.decode, progress, title, form, known)
