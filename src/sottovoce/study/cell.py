"""Runs one cell: its stages, decoding from speech and from gold text, scores. Finished work is never redone."""

from __future__ import annotations

import json
import shutil
import time
from contextlib import nullcontext
from importlib.metadata import version
from pathlib import Path
from typing import Any

from filelock import FileLock

from sottovoce.core.errors import UserError
from sottovoce.core.machine import keep_freed_memory
from sottovoce.core.progress import progress_bar
from sottovoce.core.recipe import Grammar, Recipe
from sottovoce.core.storage import whole_file, write_whole, written_whole
from sottovoce.core.types import MODALITIES
from sottovoce.data.prompts import slu_example
from sottovoce.decode.prefix_reader import supports_steps
from sottovoce.models.audio_states import AudioStore
from sottovoce.models.injection import bare
from sottovoce.models.load import model_identity
from sottovoce.models.lower_states import LowerStates
from sottovoce.score.evaluate import score
from sottovoce.score.files import read_gold, read_predictions, stream_predictions
from sottovoce.study.answer_cost import note_cost
from sottovoce.study.card import DevScores, trained_alike, write_card
from sottovoce.study.cell_inputs import (
    card_of,
    examples_to_answer,
    read_by,
    recogniser_of_cell,
)
from sottovoce.study.cells import Cell
from sottovoce.study.dev import dev_evaluation
from sottovoce.study.layout import StudyFolder
from sottovoce.study.locate import manifest_name
from sottovoce.study.resources.fit import resolve_checkpointing
from sottovoce.study.runs import answer_form, intent_tree, known_labels, load_finetuned, write_answers
from sottovoce.study.start import starting_weights
from sottovoce.study.work import Work
from sottovoce.study.workspace import Study
from sottovoce.train.processes import processes, wait_for
from sottovoce.train.stage import run_stage
from sottovoce.train.stage_files import DONE, WEIGHTS

MEASURED = ("word_error_rate", "seconds_per_utterance", "num_parameters")  # fields of the card that later runs keep


def is_finished(study: Study, cell: Cell) -> bool:
    """Whether the cell has scores.

    Raises:
        UserError: the scores come from another model, other training data or (in a cascade) another recogniser.
    """
    files = study.layout.cell(cell.name)
    if not files.scores().exists():
        return False
    if not _is_same(study, cell):
        advice = "delete that folder to train it again, or give the study another name"
        if _reads_others(study, cell):
            raise UserError(f"{files.path} holds results from another recogniser or other transcripts", advice)
        raise UserError(f"{files.path} holds results from another model or other training data", advice)
    return True


def _is_same(study: Study, cell: Cell) -> bool:
    """Whether the cell's folder has the same model, training data and recogniser, not just the same name."""
    earlier = card_of(study, cell)
    stages = tuple(item.plan.key for item in study.work_of([cell]))
    same = earlier and (earlier.stages, earlier.model) == (stages, model_identity(cell.model))
    return bool(same) and not _reads_others(study, cell)


def _reads_others(study: Study, cell: Cell) -> bool:
    """Whether the cell's folder is a cascade's with other transcripts."""
    earlier = card_of(study, cell)
    return (earlier.recogniser if earlier else "") != recogniser_of_cell(study, cell)


def run_cell(study: Study, cell: Cell) -> None:
    """Trains, decodes and scores one cell, resuming where an earlier run stopped."""
    started = time.monotonic()
    train_cell(study, cell)
    if not processes().is_main_process:
        wait_for(study.layout.cell(cell.name).scores())
        return
    decode_cell(study, cell)
    describe_cell(study, cell, time.monotonic() - started)
    score_cell(study.folder, cell.name)


def train_cell(study: Study, cell: Cell) -> None:
    """Runs the cell's stages and puts the resulting weights into its folder."""
    if cell.budget:
        for line in cell.budget.lines():
            study.say(f"{cell.name}: {line}")
    files = study.layout.cell(cell.name)
    if processes().is_main_process:
        files.path.mkdir(parents=True, exist_ok=True)
        if not _is_same(study, cell):
            for results in files.all_results():
                results.unlink()  # an earlier run made them with other weights
        describe_cell(study, cell, None)
    weights = None
    for item in study.work_of([cell]):
        weights = train_stage(study, item)
    if weights and processes().is_main_process:
        shutil.rmtree(files.weights, ignore_errors=True)  # these may be an earlier run's, too
        with written_whole(files.weights) as copy:
            shutil.copytree(weights, copy, dirs_exist_ok=True)


def train_stage(study: Study, item: Work) -> Path:
    """Trains a stage unless it is trained already, and returns the folder of its weights."""
    model, folder = item.cell.model, study.layout.stages
    folder.mkdir(exist_ok=True)
    # Cells running elsewhere may need the same stage; processes that train it together must not block each other.
    alone = processes().num_processes == 1
    with FileLock(folder / f".{item.plan.key}.lock") if alone else nullcontext():
        if (folder / item.plan.key / DONE).exists():
            return folder / item.plan.key / WEIGHTS
        keep_freed_memory()
        rows = study.store(model).rows_of(item.examples)
        train = resolve_checkpointing(study.recipe.of_model(model), [item.examples])
        if train.gradient_checkpointing != study.recipe.train.gradient_checkpointing and train.gradient_checkpointing:
            study.say(f"{item.plan.stage.name}: gradient checkpointing is on, because memory is short")
        lower = study.lower.setdefault(model, LowerStates(train.lora.first_layer))
        loaded = study.load(model)
        evaluate = dev_evaluation(study, model, loaded) if study.data.dev else None
        start = starting_weights(study.recipe, model)
        return run_stage(loaded, item.plan, rows, train, folder, item.cell.seed, lower, evaluate, start)


def other_grammar(recipe: Recipe, grammar: Grammar) -> Grammar | None:
    """The grammar if it differs from the recipe's; its answers then go to separate files."""
    return None if grammar == recipe.decode.grammar else grammar


def decode_cell(study: Study, cell: Cell, grammar: Grammar | None = None, confidence: bool = False) -> None:
    """Decodes the test utterances from speech and from gold text into the cell's prediction files, then notes what an
    answer costs. For speech, a cascade reads its recogniser's transcripts.

    Existing files are kept, unless they lack confidences that are now wanted.

    Args:
        grammar: overrides the recipe's grammar; the answers then go to separate files.
        confidence: measure it even if the recipe does not. If only the recipe wants it and the model cannot give it,
            a warning is reported.

    Raises:
        UserError: ``confidence`` is set and the model cannot give it; or a cascade's transcripts cannot be obtained.
    """
    grammar = grammar or study.recipe.decode.grammar
    other, files = other_grammar(study.recipe, grammar), study.layout.cell(cell.name)
    keep_freed_memory()
    heard = read_by(study, cell)  # before a second model is in memory
    loaded, store = study.load(cell.model), study.store(cell.model)
    model, form = load_finetuned(loaded, study.recipe, files.path), answer_form(study.folder, grammar, loaded)
    known = known_labels(study.folder)
    measured = confidence or study.recipe.decode.confidence
    if measured and not supports_steps(loaded.family, bare(model)):
        if confidence:
            raise UserError(f"{cell.model} cannot give a confidence", "leave --confidence out")
        study.say(f"{cell.name}: no confidences, since {cell.model} cannot give them")
        measured = False
    tree = intent_tree(study.folder, loaded) if measured else None
    if store.keeps_inputs:
        store = AudioStore(loaded)  # trained, the audio part gives other states than those stored
    with progress_bar() as progress:
        if not cell.asr:
            store.encode([(utterance, 0) for utterance in study.data.test], progress)
        for modality in MODALITIES:
            target = files.predictions(modality, other)
            if target.exists() and (tree is None or has_confidence(target)):
                continue
            alike = [each.path / target.name for each in trained_alike(files)] if modality == "text" else []
            same = next((path for path in alike if path.exists()), None)
            if same and (tree is None or has_confidence(same)):
                with whole_file(target) as copy:
                    shutil.copyfile(same, copy)
                continue
            examples = examples_to_answer(study, cell, modality, heard)
            title, settings = f"{cell.name}: decoding {modality}", study.recipe.decode
            write_answers(target, loaded, model, examples, store, settings, progress, title, form, known, tree)
    if not other:
        most = study.recipe.decode.max_new_tokens
        asked = [slu_example(u, "speech", instruction=study.data.instruction) for u in study.data.test]
        note_cost(files, cell.asr, loaded, model, asked, most, form, study.say)


def has_confidence(predictions: Path) -> bool:
    """Whether a prediction file has confidences; rows without words have none in any file."""
    return any(row.confidence is not None for row in stream_predictions(predictions) if row.status != "no_speech")


def describe_cell(study: Study, cell: Cell, seconds: float | None) -> None:
    """Writes the cell's card: its facts, what it was trained on, versions and data; ``seconds`` it took, if known."""
    work = study.work_of([cell])
    examples = [example for item in work for example in item.examples]
    facts: dict[str, Any] = {
        "seconds": None if seconds is None else round(seconds, 1),
        "num_text_rows": sum(example.modality == "text" for example in examples),
        "num_speech_rows": sum(example.modality == "speech" for example in examples),
        "model": model_identity(cell.model),
        **({"recogniser": recogniser_of_cell(study, cell)} if cell.asr else {}),
        "stages": tuple(item.plan.key for item in work),
        "versions": {name: version(name) for name in ("sottovoce", "torch", "transformers", "peft")},
        **({"dev": dev} if work and (dev := _dev_scores(study, work[-1].plan.key)) else {}),
        "data": {"manifest": manifest_name(study.recipe.corpus, study.folder), "sha256": study.data.sha256},
    }
    earlier = card_of(study, cell)
    if earlier and _is_same(study, cell):
        facts |= earlier.model_dump(include=set(MEASURED), exclude_unset=True)
    write_card(study.layout.cell(cell.name), cell.card().model_copy(update=facts))


def _dev_scores(study: Study, stage: str) -> DevScores | None:
    """What the weights that a trained stage ends with scored on dev; None if it was not evaluated."""
    done = study.layout.stages / stage / DONE
    summary = json.loads(done.read_text(encoding="utf-8")) if done.exists() else {}
    kept = [each for each in summary.get("evaluations", []) if each["step"] == summary["kept_step"]]
    if not kept:
        return None
    data, metric = study.data, study.recipe.train.metric_for_best_model
    facts = {"modality": data.dev_modality, "num_utterances": len(data.dev), "metric": metric}
    return DevScores(**facts, num_steps=summary["steps"], **kept[-1])


def score_cell(study_folder: Path, name: str, other: Grammar | None = None) -> dict[str, Any]:
    """Scores the cell's prediction files against the study's gold and writes their scores.

    Args:
        other: see :func:`other_grammar`.
    """
    layout = StudyFolder(study_folder)
    gold, files = read_gold(layout.gold), layout.cell(name)
    decoded = {modality: files.predictions(modality, other) for modality in MODALITIES}
    scores: dict[str, Any] = {
        modality: score(gold, read_predictions(path)) for modality, path in decoded.items() if path.exists()
    }
    write_whole(files.scores(other), json.dumps(scores, indent=1))
    return scores
