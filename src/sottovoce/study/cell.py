"""Runs one cell: its stages, decoding from speech and from gold text, scores. Finished work is never redone."""

from __future__ import annotations

import json
import shutil
import time
from contextlib import nullcontext
from dataclasses import dataclass
from importlib.metadata import version
from pathlib import Path
from typing import Any

from filelock import FileLock

from sottovoce.core.errors import UserError
from sottovoce.core.machine import keep_freed_memory
from sottovoce.core.progress import progress_bar
from sottovoce.core.recipe import Grammar, Recipe
from sottovoce.core.storage import whole_file, write_whole, written_whole
from sottovoce.core.types import MODALITIES, Example
from sottovoce.decode.batches import decode
from sottovoce.decode.parse import parse_answer
from sottovoce.decode.prefix_reader import goes_by_steps
from sottovoce.models.audio_states import AudioStore
from sottovoce.models.injection import bare
from sottovoce.models.load import model_identity
from sottovoce.models.lower_states import LowerStates
from sottovoce.score.evaluate import score
from sottovoce.score.files import read_gold, read_predictions, stream_predictions, write_predictions
from sottovoce.study.answer_cost import note_cost
from sottovoce.study.cell_inputs import (
    answered_with_same_weights,
    card_of,
    examples_to_answer,
    read_by,
    recogniser_of_cell,
)
from sottovoce.study.cells import Cell, example_keys
from sottovoce.study.locate import manifest_name
from sottovoce.study.resources.fit import decided
from sottovoce.study.runs import answer_form, intent_tree, prediction_row, tuned
from sottovoce.study.workspace import CELLS, STAGES, Study
from sottovoce.train.processes import processes, wait_for
from sottovoce.train.stage import DONE, WEIGHTS, StagePlan, plan_stages, run_stage

# Of the training settings: what a stage's own settings are chosen from, and what changes no result but for rounding.
NOT_IN_KEYS = {"stage", "first_stage", "last_stage", "noise", "logging_steps", "gradient_checkpointing"}
MEASURED = ("word_error_rate", "seconds_per_utterance", "num_parameters")  # in cell.json, once for all starts


@dataclass(frozen=True)
class Work:
    """A stage of a cell with one epoch's examples."""

    cell: Cell
    plan: StagePlan
    examples: list[Example]


def work_of(study: Study, cells: list[Cell]) -> list[Work]:
    """Every stage of every cell with one epoch's examples; a stage that cells share occurs once for each.

    A cell's are put together once for a study: its examples are many, and their recordings are read to name them.

    Raises:
        UserError: a stage has no examples, as where no training utterance has a transcript.
    """
    for cell in cells:
        if cell.name not in study.work:
            examples = cell.examples(study.data)
            if empty := [stage.name for stage, part in zip(cell.stages, examples, strict=True) if not part]:
                advice = "add training utterances with a transcript, or choose another scheme"
                raise UserError(f"{cell.name}: the stage {empty[0]} has nothing to train on", advice)
            plans = cell_stage_plans(study.recipe, cell, examples, study.example_keys)
            study.work[cell.name] = [Work(cell, plan, part) for plan, part in zip(plans, examples, strict=True)]
    return [item for cell in cells for item in study.work[cell.name]]


def cell_stage_plans(
    recipe: Recipe, cell: Cell, examples: list[list[Example]], known: dict[int, str] | None = None
) -> list[StagePlan]:
    """The cell's stages with the names of their folders; equal stages of different cells have equal names.

    Args:
        known: the keys of examples that other cells show, too; see :func:`example_keys`.
    """
    common = recipe.train.model_dump(mode="json", exclude=NOT_IN_KEYS)
    known = {} if known is None else known
    root = json.dumps([model_identity(cell.model), cell.seed, common], sort_keys=True)
    return plan_stages(cell.stages, [example_keys(part, known) for part in examples], root)


def is_finished(study: Study, cell: Cell) -> bool:
    """Whether the cell has scores.

    Raises:
        UserError: they are of another model, of other training data, or a cascade's by another recogniser.
    """
    folder = study.folder / CELLS / cell.name
    if not (folder / "scores.json").exists():
        return False
    if not _is_same(study, cell):
        advice = "delete that folder to train it again, or give the study another name"
        if _reads_others(study, cell):
            raise UserError(f"{folder} holds results of another recogniser or other transcripts", advice)
        raise UserError(f"{folder} holds results of another model or of other training data", advice)
    return True


def _is_same(study: Study, cell: Cell) -> bool:
    """Whether the cell's folder is of its model, training data and recogniser, not only of its name."""
    earlier = card_of(study, cell)
    stages = [item.plan.key for item in work_of(study, [cell])]
    same = (earlier.get("stages"), earlier.get("model")) == (stages, model_identity(cell.model))
    return same and not _reads_others(study, cell)


def _reads_others(study: Study, cell: Cell) -> bool:
    """Whether the cell's folder is that of a cascade with other transcripts."""
    return bool(card_of(study, cell).get("recogniser", "") != recogniser_of_cell(study, cell))


def run_cell(study: Study, cell: Cell) -> None:
    """Trains, decodes and scores one cell, from wherever an earlier start stopped."""
    started = time.monotonic()
    train_cell(study, cell)
    if not processes().is_main_process:
        wait_for(study.folder / CELLS / cell.name / "scores.json")
        return
    decode_cell(study, cell)
    describe_cell(study, cell, time.monotonic() - started)
    score_cell(study.folder, cell.name)


def train_cell(study: Study, cell: Cell) -> None:
    """Runs the cell's stages and puts the resulting weights into its folder, ``cells/<cell>/weights``."""
    if cell.budget:
        for line in cell.budget.lines():
            study.say(f"{cell.name}: {line}")
    folder = study.folder / CELLS / cell.name
    if processes().is_main_process:
        folder.mkdir(parents=True, exist_ok=True)
        if card_of(study, cell) and not _is_same(study, cell):
            for results in (*folder.glob("predictions-*"), *folder.glob("scores-*")):
                results.unlink()  # an earlier start gave them with other weights
        describe_cell(study, cell, None)
    weights = None
    for item in work_of(study, [cell]):
        weights = train_stage(study, item)
    if weights and processes().is_main_process:
        shutil.rmtree(folder / "weights", ignore_errors=True)  # they, too, may be those of an earlier start
        with written_whole(folder / "weights") as copy:
            shutil.copytree(weights, copy, dirs_exist_ok=True)


def train_stage(study: Study, item: Work) -> Path:
    """Trains a stage, or finds it trained, and returns the folder of its weights."""
    model, folder = item.cell.model, study.folder / STAGES
    folder.mkdir(exist_ok=True)
    # Cells that run at once elsewhere may need the same stage; processes that train it together must not wait.
    alone = processes().num_processes == 1
    with FileLock(folder / f".{item.plan.key}.lock") if alone else nullcontext():
        if (folder / item.plan.key / DONE).exists():
            return folder / item.plan.key / WEIGHTS
        keep_freed_memory()
        rows = study.store(model).rows_of(item.examples)
        train = decided(study.recipe.of_model(model), [item.examples])
        if train.gradient_checkpointing != study.recipe.train.gradient_checkpointing and train.gradient_checkpointing:
            study.say(f"{item.plan.stage.name}: with gradient checkpointing, for lack of memory")
        lower = study.lower.setdefault(model, LowerStates(train.lora.first_layer))
        return run_stage(study.load(model), item.plan, rows, train, folder, item.cell.seed, lower)


def other_grammar(recipe: Recipe, grammar: Grammar) -> str:
    """What the names of a cell's files end with that were decoded with another grammar than the recipe's."""
    return "" if grammar == recipe.decode.grammar else f"-{grammar}"


def decode_cell(study: Study, cell: Cell, grammar: Grammar | None = None, confidence: bool = False) -> None:
    """Decodes the test utterances from speech and from gold text into the cell's prediction files, then notes what an
    answer costs. What a cascade answers from speech it answers from the transcripts of its recogniser.

    Files that are there are kept, unless they lack confidences that are asked for.

    Args:
        grammar: another than the recipe's, whose answers then go into files of their own.
        confidence: measure it, also where the recipe does not ask for it. If the recipe alone asks and the model cannot
            tell, a line says so.

    Raises:
        UserError: ``confidence``, and the model cannot tell; or a cascade's transcripts cannot be had.
    """
    grammar = grammar or study.recipe.decode.grammar
    ending = other_grammar(study.recipe, grammar)
    folder = study.folder / CELLS / cell.name
    keep_freed_memory()
    heard = read_by(study, cell)  # before there is another model in memory
    loaded, store = study.load(cell.model), study.store(cell.model)
    model, form = tuned(loaded, study.recipe, folder), answer_form(study.folder, grammar, loaded)
    measured = confidence or study.recipe.decode.confidence
    if measured and not goes_by_steps(loaded.family, bare(model)):
        if confidence:
            raise UserError(f"{cell.model} cannot tell how sure it is", "leave --confidence out")
        study.say(f"{cell.name}: without confidences, as {cell.model} cannot tell how sure it is")
        measured = False
    tree = intent_tree(study.folder, loaded) if measured else None
    if store.keeps_inputs:
        store = AudioStore(loaded)  # what a trained audio part hears is not what it heard before
    with progress_bar() as progress:
        if not cell.asr:
            store.encode([(utterance, 0) for utterance in study.data.test], progress)
        for modality in MODALITIES:
            target = folder / f"predictions-{modality}{ending}.jsonl"
            if target.exists() and (tree is None or has_confidence(target)):
                continue
            same = answered_with_same_weights(study, cell, target.name) if modality == "text" else None
            if same and (tree is None or has_confidence(same)):
                with whole_file(target) as copy:
                    shutil.copyfile(same, copy)
                continue
            examples = examples_to_answer(study, cell, modality, heard)
            partial = target.with_suffix(".sure.partial" if tree else ".partial")
            title = f"{cell.name}: decoding {modality}"
            answers = decode(loaded, model, examples, store, study.recipe.decode, partial, progress, title, form, tree)
            found = [(parse_answer(u.id, answers[u.id].text), answers[u.id].confidence) for u in study.data.test]
            write_predictions([prediction_row(*each) for each in found], target)
            partial.unlink()
    if not ending:
        card, most = folder / "cell.json", study.recipe.decode.max_new_tokens
        note_cost(card, cell.asr, loaded, model, study.data.test, most, form, study.say)


def has_confidence(predictions: Path) -> bool:
    """Whether a prediction file's rows say how sure the model was."""
    return next(iter(stream_predictions(predictions))).confidence is not None


def describe_cell(study: Study, cell: Cell, seconds: float | None) -> None:
    """Writes cell.json: what the cell is, what it saw, with which versions and data; ``seconds`` it took, if known."""
    work = work_of(study, [cell])
    examples = [example for item in work for example in item.examples]
    summary: dict[str, Any] = {
        "name": cell.name,
        "scheme": cell.scheme,
        "budget_share": cell.share,
        "seed": cell.seed,
        "sources": list(cell.sources),
        "model_name": cell.model,
        "seconds": None if seconds is None else round(seconds, 1),
        "num_text_rows": sum(example.modality == "text" for example in examples),
        "num_speech_rows": sum(example.modality == "speech" for example in examples),
        "speech_ids": list(cell.budget.ids) if cell.budget else [],
        "speech_seconds": cell.budget.seconds if cell.budget else 0.0,
        "model": model_identity(cell.model),
        **({"asr": cell.asr, "recogniser": recogniser_of_cell(study, cell)} if cell.asr else {}),
        "stages": [item.plan.key for item in work],
        "versions": {name: version(name) for name in ("sottovoce", "torch", "transformers", "peft")},
        "data": {"manifest": manifest_name(study.recipe.corpus, study.folder), "sha256": study.data.sha256},
    }
    if _is_same(study, cell):
        earlier = card_of(study, cell)
        summary |= {key: earlier[key] for key in MEASURED if key in earlier}
    write_whole(study.folder / CELLS / cell.name / "cell.json", json.dumps(summary, indent=1))


def score_cell(study_folder: Path, name: str, ending: str = "") -> dict[str, Any]:
    """Scores the cell's prediction files against the study's gold and writes scores.json.

    Args:
        ending: of the files' names, see :func:`other_grammar`.
    """
    gold, folder = read_gold(study_folder / "gold.jsonl"), study_folder / CELLS / name
    files = {modality: folder / f"predictions-{modality}{ending}.jsonl" for modality in MODALITIES}
    scores: dict[str, Any] = {
        modality: score(gold, read_predictions(path)) for modality, path in files.items() if path.exists()
    }
    write_whole(folder / f"scores{ending}.json", json.dumps(scores, indent=1))
    return scores
