"""Runs a study: opens its folder, runs the proofs and the forecast, then the cells. Finished work is never redone."""

from __future__ import annotations

import time
from collections import Counter
from collections.abc import Iterator
from contextlib import contextmanager, nullcontext
from pathlib import Path

from sottovoce.core.errors import UserError
from sottovoce.core.power import num_independent, power_sentence
from sottovoce.core.progress import Say
from sottovoce.core.recipe import Grammar, Recipe
from sottovoce.core.types import MODALITIES
from sottovoce.data.load import load_data
from sottovoce.models.precision import precision_lines
from sottovoce.study.answer_checks import check_answers
from sottovoce.study.budget_transcripts import transcribe_budgets, with_budget_transcripts
from sottovoce.study.card import read_card
from sottovoce.study.cell import (
    decode_cell,
    describe_cell,
    is_finished,
    other_grammar,
    score_cell,
    train_cell,
)
from sottovoce.study.cells import Cell, left_out_lines, plan_cells
from sottovoce.study.engines.base import HERE, Engine, Failure
from sottovoce.study.engines.processes import threads_of_one
from sottovoce.study.layout import CellFolder
from sottovoce.study.ready import prove_ready
from sottovoce.study.resources.time import forecast_lines
from sottovoce.study.runs import recipe_of, trained_recipe
from sottovoce.study.transcripts import check_transcripts
from sottovoce.study.workspace import (
    Study,
    check_recordings,
    machine,
    note_seconds,
    only_study,
    open_study,
    summary_of,
)
from sottovoce.train.processes import processes


def run_study(recipe: Recipe, recipe_path: Path, say: Say, engine: Engine = HERE) -> list[Failure]:
    """Runs every unfinished cell, writes everything to the recipe's folder, and returns the failures.

    Args:
        engine: runs the cells; see :func:`engine_named`.
    """
    started = time.monotonic()
    with opened(recipe, recipe_path, say) as (study, cells):
        todo = [cell for cell in cells if not is_finished(study, cell)]
        for cell in cells:
            if cell not in todo:
                study.say(f"{cell.name}: already finished")
        for line in left_out_lines(recipe):
            study.say(line)
        check_recogniser(study, todo)
        check_answers(study, todo)
        if todo:
            say("counting the memory that a training step takes")
        at_once = engine.num_at_once(study, todo)
        if processes().is_main_process:
            # As many threads as a cell gets: on a busy machine, all threads wait for the one without a core.
            with threads_of_one(at_once):
                prove_ready(study, todo)
            for line in forecast_lines(study, todo, at_once):
                say(line)
            say(power_sentence(num_independent(study.data.test)))
        earlier, failures = float(summary_of(study.folder)["seconds"]), []
        for failure in engine.run(study, todo):
            if failure:
                failures.append(failure)
            if processes().is_main_process:
                note_seconds(study.folder, earlier + time.monotonic() - started)
    return failures


def plan_study(recipe: Recipe, recipe_path: Path, say: Say, engine: Engine = HERE) -> list[list[str]]:
    """Reports what a study would do and cost, without doing any of it.

    Returns:
        a table of the cells, header first; a stage with a star is trained once and shared by several cells.
    """
    _report_machine(recipe, say)
    data = load_data(recipe)
    cells = plan_cells(recipe, data)
    check_recordings(data, cells)
    study = Study(recipe, recipe_path, with_budget_transcripts(data, recipe.folder, cells), recipe.folder, say)
    todo = [cell for cell in cells if not is_finished(study, cell)]
    for line in left_out_lines(recipe):
        say(line)
    check_recogniser(study, todo)
    check_answers(study, todo)
    work = study.work_of(cells)
    for line in forecast_lines(study, todo, engine.num_at_once(study, todo)):
        say(line)
    say(power_sentence(num_independent(data.test)))
    uses = Counter(item.plan.key for item in work)
    table = [["cell", "stages", "clips", "minutes of speech", "rows per epoch", "state"]]
    for cell in cells:
        own = [item for item in work if item.cell is cell]
        stages = " > ".join(item.plan.stage.name + "*" * (uses[item.plan.key] > 1) for item in own)
        clips, seconds = (cell.budget.num_utterances, cell.budget.seconds) if cell.budget else (0, 0.0)
        rows = " > ".join(str(len(item.examples)) for item in own)
        state = "to do" if cell in todo else "finished"
        table.append([cell.name, stages or "none", str(clips), f"{seconds / 60:.1f}", rows or "0", state])
    return table


def _report_machine(recipe: Recipe, say: Say) -> None:
    for line in [machine(recipe.train.bf16), *precision_lines(recipe.train.bf16)]:
        say(line)


@contextmanager
def opened(recipe: Recipe, recipe_path: Path, say: Say) -> Iterator[tuple[Study, list[Cell]]]:
    """A recipe's study and its cells, locked against other processes."""
    main = processes().is_main_process
    say = say if main else lambda line: None  # one process reports for all
    _report_machine(recipe, say)
    say("reading the corpus and the headers of its recordings")
    data = load_data(recipe)
    cells = plan_cells(recipe, data)
    check_recordings(data, cells)
    say(f"loading {', '.join(recipe.all_models)}")
    with only_study(recipe.folder) if main else nullcontext():
        with processes().main_process_first():
            study = open_study(recipe, recipe_path, data, cells, say)
            study.data = transcribe_budgets(data, study.folder, cells, study.say)
        yield study, cells


def check_recogniser(study: Study, cells: list[Cell]) -> None:
    """Raises UserError if the transcripts that a cell will read are incomplete or cannot be made; called before hours
    of training."""
    for asr in {cell.asr for cell in cells if cell.asr}:
        check_transcripts(asr, study.data.test, study.folder, study.say)


def train_study(recipe: Recipe, recipe_path: Path, say: Say) -> list[Path]:
    """Trains every cell without decoding it and returns the cells' folders."""
    with opened(recipe, recipe_path, say) as (study, cells):
        check_recogniser(study, cells)
        check_answers(study, cells)
        if processes().is_main_process:
            prove_ready(study, cells)
        for cell in cells:
            train_cell(study, cell)
    return [study.layout.cell(cell.name).path for cell in cells]


def decode_run(run: Path, say: Say, grammar: Grammar | None = None, confidence: bool = False) -> list[Path]:
    """Decodes a trained cell, scores it, and returns the prediction files.

    Args:
        grammar: overrides the recipe's grammar; answers and scores then go to separate files.
        confidence: measure it even if the recipe does not.
    """
    files = CellFolder(run)
    recipe = trained_recipe(run)  # raises if the folder is not a trained run
    other = other_grammar(recipe, grammar or recipe.decode.grammar)
    with opened(recipe_of(files.study.path), files.study.recipe, say) as (study, cells):
        cell = next((cell for cell in cells if cell.name == files.name), None)
        if cell is None:
            raise UserError(f"{run} is not a cell of its study", f"its cells: {', '.join(c.name for c in cells)}")
        if read_card(files).stages is None:  # a complete card keeps its time and versions
            describe_cell(study, cell, None)
        decode_cell(study, cell, grammar, confidence)
        score_cell(study.folder, cell.name, other)
    return [files.predictions(modality, other) for modality in MODALITIES]
