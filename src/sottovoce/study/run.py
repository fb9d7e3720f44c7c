"""Runs a study: each cell's stages, decoding from speech and from gold text, scores. Finished work is never redone."""

from __future__ import annotations

import json
import shutil
import time
from importlib.metadata import version
from pathlib import Path
from typing import Any

from sottovoce.data.prompts import slu_example
from sottovoce.errors import UserError
from sottovoce.evaluate.decode import decode
from sottovoce.evaluate.files import read_gold, read_predictions, write_predictions
from sottovoce.evaluate.metrics.slurp import score
from sottovoce.evaluate.parse import parse_answer
from sottovoce.models.audio_store import AudioStore
from sottovoce.models.load import model_identity
from sottovoce.progress import progress_bar
from sottovoce.recipe import Recipe
from sottovoce.storage import write_whole, written_whole
from sottovoce.study.cells import Cell, Data, example_key, load_data, plan_cells
from sottovoce.study.forecast import forecast_lines
from sottovoce.study.memory import check_memory, longest_of
from sottovoce.study.opening import Study, note_seconds, open_study, summary_of
from sottovoce.study.preflight import COUNTS, prove, telling_examples
from sottovoce.study.trained import Say, load_run, prediction_row, recipe_of, tuned
from sottovoce.train.processes import processes, wait_for
from sottovoce.train.stage import DONE, StagePlan, plan_stages, run_stage
from sottovoce.types import MODALITIES, Example


def run_study(recipe: Recipe, recipe_path: Path, say: Say) -> Path:
    """Runs every cell that is not finished and returns the study's folder."""
    started = time.monotonic()
    data = load_data(recipe)
    cells = plan_cells(recipe, data)
    study = _open(recipe, recipe_path, data, cells, say)
    work = _work(study, cells)
    if processes().is_main_process:
        _prove_ready(study, work)
        for line in forecast_lines(study.load(), work, cells, data, recipe, study.folder):
            say(line)
    earlier = float(summary_of(study.folder)["seconds"])
    for cell in cells:
        run_cell(study, cell)
        if processes().is_main_process:
            note_seconds(study.folder, earlier + time.monotonic() - started)
    return study.folder


def _open(recipe: Recipe, recipe_path: Path, data: Data, cells: list[Cell], say: Say) -> Study:
    """Opens the study, the first process before the others, which have nothing to say."""
    with processes().main_process_first():
        return open_study(recipe, recipe_path, data, cells, say if processes().is_main_process else lambda line: None)


def _work(study: Study, cells: list[Cell]) -> list[tuple[StagePlan, list[Example]]]:
    """Every stage of every cell with one epoch's examples; a stage that cells share occurs once for each."""
    work = []
    for cell in cells:
        examples = cell.examples(study.data)
        work += list(zip(cell_stage_plans(study.recipe, cell, examples), examples, strict=True))
    return work


def _prove_ready(study: Study, work: list[tuple[StagePlan, list[Example]]]) -> None:
    """Runs the preflight proofs if anything is still to be trained."""
    if all((study.folder / "stages" / plan.key / DONE).exists() for plan, _ in work):
        return
    study.say(check_memory(study.recipe, longest_of(study.recipe, [examples for _, examples in work])))
    loaded = study.load()
    examples = telling_examples(study.data.test)
    proofs = {p.name: p.seen for p in prove(loaded, study.recipe.train, examples, study.store.rows_of(examples))}
    study.say(f"{len(proofs)} preflight proofs hold: {', '.join(proofs)}")
    study.say(proofs[COUNTS])


def run_cell(study: Study, cell: Cell) -> None:
    """Trains, decodes and scores one cell, from wherever an earlier start stopped."""
    folder = study.folder / "cells" / cell.name
    if (folder / "scores.json").exists():
        _same_stages(study, cell)
        study.say(f"{cell.name}: finished before, kept")
        return
    started = time.monotonic()
    train_cell(study, cell)
    if not processes().is_main_process:
        wait_for(folder / "scores.json")
        return
    decode_cell(study, cell.name)
    describe_cell(study, cell, time.monotonic() - started)
    score_cell(study.folder, cell.name)


def _same_stages(study: Study, cell: Cell) -> None:
    folder = study.folder / "cells" / cell.name
    earlier = json.loads((folder / "cell.json").read_text(encoding="utf-8"))["stages"]
    if earlier != [plan.key for plan in cell_stage_plans(study.recipe, cell, cell.examples(study.data))]:
        advice = "delete that folder to train it again, or give the study another name"
        raise UserError(f"{folder} holds results of other training recordings", advice)


def train_cell(study: Study, cell: Cell) -> None:
    """Runs the cell's stages and puts the resulting weights into its folder, ``cells/<cell>/weights``."""
    if cell.budget:
        for line in cell.budget.lines():
            study.say(f"{cell.name}: {line}")
    examples, target = cell.examples(study.data), study.folder / "cells" / cell.name / "weights"
    target.parent.mkdir(parents=True, exist_ok=True)
    weights = None
    for plan, stage_examples in zip(cell_stage_plans(study.recipe, cell, examples), examples, strict=True):
        weights = _run(study, plan, stage_examples)
    if weights and processes().is_main_process:
        shutil.rmtree(target, ignore_errors=True)  # an earlier start may have left those of another recording
        with written_whole(target) as copy:
            shutil.copytree(weights, copy, dirs_exist_ok=True)


def cell_stage_plans(recipe: Recipe, cell: Cell, examples: list[list[Example]]) -> list[StagePlan]:
    """The cell's stages with the names of their folders; equal stages of different cells have equal names."""
    common = recipe.train.model_dump(mode="json", exclude={"stage", "first_stage", "last_stage", "logging_steps"})
    root = json.dumps([model_identity(recipe.model), recipe.seed, common], sort_keys=True)
    return plan_stages(cell.stages, [[example_key(e) for e in part] for part in examples], root)


def _run(study: Study, plan: StagePlan, examples: list[Example]) -> Path:
    loaded = study.load()
    rows = study.store.rows_of(examples)
    return run_stage(loaded, plan, rows, study.recipe.train, study.folder / "stages", study.recipe.seed)


def decode_cell(study: Study, name: str) -> None:
    """Decodes the test utterances from speech and from gold text into the cell's prediction files."""
    folder = study.folder / "cells" / name
    loaded = study.load()
    model = tuned(loaded, study.recipe, folder)
    # What a trained audio part hears is not what it heard before.
    store = AudioStore(loaded) if study.store.keeps_inputs else study.store
    with progress_bar() as progress:
        store.encode([(utterance, 0) for utterance in study.data.test], progress)
        for modality in MODALITIES:
            target = folder / f"predictions-{modality}.jsonl"
            if target.exists():
                continue
            examples = [slu_example(utterance, modality) for utterance in study.data.test]
            partial = folder / f"predictions-{modality}.partial"
            title = f"{name}: decoding {modality}"
            answers = decode(loaded, model, examples, store, study.recipe.decode, partial, progress, title)
            predictions = [parse_answer(u.id, answers[u.id]) for u in study.data.test]
            write_predictions([prediction_row(prediction) for prediction in predictions], target)
            partial.unlink()


def train_study(recipe: Recipe, recipe_path: Path, say: Say) -> list[Path]:
    """Trains every cell without decoding it and returns the cells' folders."""
    data = load_data(recipe)
    cells = plan_cells(recipe, data)
    study = _open(recipe, recipe_path, data, cells, say)
    if processes().is_main_process:
        _prove_ready(study, _work(study, cells))
    for cell in cells:
        train_cell(study, cell)
    return [study.folder / "cells" / cell.name for cell in cells]


def decode_run(run: Path, say: Say) -> list[Path]:
    """Decodes a trained cell, scores it, and returns the prediction files."""
    study_folder = run.resolve().parent.parent
    load_run(run, say)  # refuses what is no run, or not trained
    recipe = recipe_of(study_folder)
    data = load_data(recipe)
    cells = plan_cells(recipe, data)
    cell = next((cell for cell in cells if cell.name == run.resolve().name), None)
    if cell is None:
        raise UserError(f"{run} is not a cell of its study", f"its cells: {', '.join(c.name for c in cells)}")
    study = open_study(recipe, study_folder / "recipe.yaml", data, cells, say)
    decode_cell(study, cell.name)
    describe_cell(study, cell, None)
    score_cell(study.folder, cell.name)
    return [run / f"predictions-{modality}.jsonl" for modality in MODALITIES]


def describe_cell(study: Study, cell: Cell, seconds: float | None) -> None:
    """Writes cell.json: what the cell is, what it saw, with which versions and data; ``seconds`` it took, if known."""
    examples = [example for stage in cell.examples(study.data) for example in stage]
    summary: dict[str, Any] = {
        "name": cell.name,
        "scheme": cell.scheme,
        "budget_share": cell.share,
        "seed": study.recipe.seed,
        "seconds": None if seconds is None else round(seconds, 1),
        "num_text_rows": sum(example.modality == "text" for example in examples),
        "num_speech_rows": sum(example.modality == "speech" for example in examples),
        "speech_ids": list(cell.budget.ids) if cell.budget else [],
        "speech_seconds": cell.budget.seconds if cell.budget else 0.0,
        "model": model_identity(study.recipe.model),
        "stages": [plan.key for plan in cell_stage_plans(study.recipe, cell, cell.examples(study.data))],
        "versions": {name: version(name) for name in ("sottovoce", "torch", "transformers", "peft")},
        "data": {"manifest": str(study.data.manifest), "sha256": study.data.sha256},
    }
    write_whole(study.folder / "cells" / cell.name / "cell.json", json.dumps(summary, indent=1))


def score_cell(study_folder: Path, name: str) -> dict[str, Any]:
    """Scores the cell's prediction files against the study's gold and writes scores.json."""
    gold, folder = read_gold(study_folder / "gold.jsonl"), study_folder / "cells" / name
    files = {modality: folder / f"predictions-{modality}.jsonl" for modality in MODALITIES}
    scores: dict[str, Any] = {
        modality: score(gold, read_predictions(path)) for modality, path in files.items() if path.exists()
    }
    write_whole(folder / "scores.json", json.dumps(scores, indent=1))
    return scores
