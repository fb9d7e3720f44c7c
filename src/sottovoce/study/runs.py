"""Trained runs: loading their models, finding their recipes and files."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Any

from rich.progress import Progress

from sottovoce.core.errors import UserError
from sottovoce.core.progress import Say
from sottovoce.core.recipe import Decode, Grammar, Recipe
from sottovoce.core.recipe_file import load_recipe
from sottovoce.core.types import MODALITIES, Example, Frame, Labels, Modality
from sottovoce.data.manifest import read_manifest
from sottovoce.data.prompts import SLU_INSTRUCTION
from sottovoce.decode.batches import RawAnswer, decode
from sottovoce.decode.constraints import Form, JsonObject
from sottovoce.decode.intent_confidence import IntentTree
from sottovoce.decode.ontology import GrammarForm, labels_of
from sottovoce.decode.parse import parse_answer
from sottovoce.decode.silence import holds_no_words
from sottovoce.models.audio_states import AudioStore
from sottovoce.models.load import LoadedModel, load_model
from sottovoce.models.precision import precision_lines
from sottovoce.score.files import PredictionRow, write_predictions
from sottovoce.study.card import read_card, trained_alike
from sottovoce.study.layout import CellFolder, StudyFolder
from sottovoce.train.parts import with_weights
from sottovoce.train.schemes import SCHEMES


def load_for(recipe: Recipe, say: Say) -> LoadedModel:
    """The recipe's model, loaded as for training."""
    return load_model(recipe.model, recipe.train.bf16, say, recipe.train.load_in_4bit)


def load_finetuned(loaded: LoadedModel, recipe: Recipe, folder: Path) -> Any:
    """The model with a run's weights, ready to decode; unchanged if the run has none.

    The adapter is merged, except into 4-bit weights, which would round it away.
    """
    weights = CellFolder(folder).weights
    if not weights.exists():
        return loaded.model
    dtype = loaded.model.dtype
    model = with_weights(loaded, recipe.train, weights)
    if hasattr(model, "merge_and_unload") and not getattr(loaded.model, "is_loaded_in_4bit", False):
        model = model.merge_and_unload()
    for parameter in model.parameters():
        # Not model.to, which would also round the rotary frequencies; training has them in float32.
        if parameter.is_floating_point():
            parameter.data = parameter.data.to(dtype)
    return model.requires_grad_(False).eval()


def answer_form(study_folder: Path, grammar: Grammar, loaded: LoadedModel) -> Form:
    """Constrains a study's answers: to one JSON object, or to the ontology of its training labels.

    Raises:
        UserError: llguidance cannot read the tokenizer, or there is no ontology.
    """
    tokenizer = loaded.processor.tokenizer
    return JsonObject(tokenizer) if grammar == "none" else GrammarForm(ontology_in(study_folder), tokenizer)


def ontology_in(study_folder: Path) -> str:
    """The grammar of a study's training labels. Raises UserError if the study is too old to have one."""
    layout = StudyFolder(study_folder)
    path = layout.ontology
    if not path.is_file():
        advice = f"`sottovoce study {layout.recipe}` writes it and keeps finished cells"
        raise UserError(f"no ontology of the training labels: {path}", advice)
    return path.read_text(encoding="utf-8")


def known_labels(study_folder: Path) -> Labels:
    """A study's training labels. Raises UserError as :func:`ontology_in`."""
    return labels_of(ontology_in(study_folder))


def instruction_in(study_folder: Path) -> str:
    """The instruction of all prompts of a study: the one it wrote down, or the built-in one of a study without."""
    path = StudyFolder(study_folder).instruction
    return path.read_text(encoding="utf-8") if path.is_file() else SLU_INSTRUCTION


def intent_tree(study_folder: Path, loaded: LoadedModel) -> IntentTree:
    """The tree of a study's training intents, by their tokens. Raises UserError as :func:`ontology_in`."""
    return IntentTree(known_labels(study_folder).intents, loaded.processor.tokenizer)


def load_run(run: Path, say: Say) -> tuple[LoadedModel, Any, Recipe]:
    """A run's model, the same with the run's weights, and the recipe it was trained by.

    Raises:
        UserError: the folder is not a run, its training is not finished, or it is a cascade.
    """
    recipe = trained_recipe(run)
    refuse_cascade(run)
    for line in precision_lines(recipe.train.bf16):
        say(line)
    loaded = load_for(recipe, say)
    return loaded, load_finetuned(loaded, recipe, run), recipe


def trained_recipe(run: Path) -> Recipe:
    """The recipe of a trained run. Raises UserError if the run is not trained yet or the folder is not a run."""
    recipe = recipe_of_run(run)
    cell = CellFolder(run)
    if not cell.weights.exists() and SCHEMES[read_card(cell).scheme].is_trained:
        advice = f"run `sottovoce study {cell.study.recipe}`"
        raise UserError(f"{run} is not trained yet", advice)
    return recipe


def refuse_cascade(run: Path) -> None:
    """Raises UserError if a run is a cascade, which takes two models: a recogniser and one that reads its text."""
    cell = CellFolder(run)
    if not _is_cascade(cell):
        return
    same_weights = [str(other.path) for other in trained_alike(cell) if not _is_cascade(other)]
    advice = f"use {', '.join(same_weights)}, which has the same weights; give it a transcript with --text"
    if not same_weights:
        advice = "add text_only, which has the same weights, to the study's schemes and use its run"
    raise UserError(f"{run} is a cascade: a recogniser and a model that reads its transcripts", advice)


def _is_cascade(cell: CellFolder) -> bool:
    return SCHEMES[read_card(cell).scheme].reads == "transcripts"


def recipe_of_run(run: Path) -> Recipe:
    """The recipe that a run was trained by, for its model alone. Raises UserError if the folder is not a run."""
    cell = CellFolder(run)
    if not cell.is_in_study() or not cell.card.is_file():
        cells = sorted(map(str, StudyFolder(run).cells.glob("*"))) if run.is_dir() else []
        advice = f"name one of its cells: {', '.join(cells)}" if cells else "train one with `sottovoce study`"
        raise UserError(f"{run} is not a run folder (STUDY/cells/CELL)", advice)
    recipe, card = recipe_of(cell.study.path), read_card(cell)
    return recipe.of_model(card.model_name if recipe.models else recipe.model)


def locale_of_run(run: Path) -> str:
    """The locale of the recordings that a run was tested on. Raises UserError if the folder is not a run."""
    recipe = recipe_of_run(run)
    if recipe.corpus.locale:
        return recipe.corpus.locale
    return next(iter(read_manifest(StudyFolder(recipe.folder).gold, allow_outside=True))).locale


def decoded_files(run: Path) -> dict[Modality, Path]:
    """A run's prediction files by modality. Raises UserError if the folder is not a run or is not decoded yet."""
    recipe_of_run(run)
    files = {modality: CellFolder(run.resolve()).predictions(modality) for modality in MODALITIES}
    if not all(path.exists() for path in files.values()):
        raise UserError(f"{run} is not decoded yet", f"run `sottovoce decode {run}`")
    return files


def recipe_of(study_folder: Path) -> Recipe:
    """The recipe of a study's folder, writing to that folder even after it moved."""
    recipe = load_recipe(StudyFolder(study_folder).recipe)
    return recipe.model_copy(update={"out": study_folder.parent, "name": study_folder.name})


def write_answers(
    target: Path, loaded: LoadedModel, model: Any, examples: Sequence[Example], store: AudioStore, settings: Decode,
    progress: Progress, title: str, form: Form, known: Labels, tree: IntentTree | None = None,
) -> None:  # fmt: skip
    """Answers examples into a file of SLURP's format, in their order; a rerun resumes from the answers so far.

    Examples without words are not asked about and have the status ``no_speech``. For the other arguments see
    :func:`sottovoce.decode.batches.decode`.

    Args:
        known: the training labels; an answer with others has the status ``unknown_label``.
    """
    partial = target.with_suffix(".sure.partial" if tree else ".partial")
    asked = [example for example in examples if not holds_no_words(example, store)]
    answers = decode(loaded, model, asked, store, settings, partial, progress, title, form, tree)
    names = [example.utterance.id for example in examples]
    write_predictions([prediction_row(name, answers.get(name), known) for name in names], target)
    partial.unlink()


def prediction_row(name: str, answer: RawAnswer | None, known: Labels) -> PredictionRow:
    """An answer as a row of SLURP's format; an unreadable one has empty labels, its raw text and its status.

    Args:
        answer: None where there were no words to ask about.
        known: see :func:`write_answers`.
    """
    if answer is None:
        return PredictionRow("id", name, Frame("no_speech", ""), "", "no_speech")
    prediction = parse_answer(name, answer.text, known)
    frame = prediction.frame or Frame("", "")
    return PredictionRow("id", name, frame, prediction.raw, prediction.status, confidence=answer.confidence)
