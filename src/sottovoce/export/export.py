"""Exports a run to a folder that transformers loads by itself: merged weights, processor, settings, model card."""

from __future__ import annotations

import json
import shutil
import subprocess
import sys
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from sottovoce.core.errors import UserError
from sottovoce.core.progress import Say
from sottovoce.core.storage import written_whole
from sottovoce.core.types import MODALITIES, Utterance
from sottovoce.data.collate import end_of_turn_id
from sottovoce.data.prompts import messages_of, slu_example
from sottovoce.export.model_card import model_card
from sottovoce.export.reference_answers import OWN_CODE, plain_answers
from sottovoce.models.load import LoadedModel, attention, load_model
from sottovoce.models.precision import precision_lines
from sottovoce.study.layout import CellFolder
from sottovoce.study.locate import gold_utterances
from sottovoce.study.runs import decoded_files, instruction_in, load_finetuned, refuse_cascade, trained_recipe

NUM_VERIFIED = 4


def export_run(run: Path, out: Path, verify: bool, say: Say) -> Path:
    """Writes the folder, completely or not at all.

    Args:
        run: a decoded run, STUDY/cells/CELL.
        out: a folder that does not exist yet.
        verify: load it in a fresh process, without this project's training or decoding code, and compare its answers
            to test utterances, as speech and text, with the run's.
        say: takes a line about what was verified.

    Raises:
        UserError: there is no such run, it is not decoded or is a cascade; ``out`` exists; the fresh process fails or
            answers differently.
    """
    if out.exists():
        raise UserError(f"{out} already exists", "name a folder that does not exist yet, or delete it")
    decoded_files(run)
    refuse_cascade(run)
    recipe, folder = trained_recipe(run), run.resolve()
    for line in precision_lines(recipe.train.bf16):
        say(line)
    loaded = load_model(recipe.model, recipe.train.bf16, say)  # not in 4 bits, so that an adapter can be merged
    model = load_finetuned(loaded, recipe, folder)
    settings = model.generation_config
    settings.eos_token_id, settings.pad_token_id = end_of_turn_id(loaded.processor.tokenizer), loaded.pad_id
    settings.do_sample, settings.max_new_tokens = False, recipe.decode.max_new_tokens
    settings.repetition_penalty = 1.0  # as in the answers that were scored
    settings.temperature = settings.top_p = settings.top_k = None  # nothing is sampled
    with written_whole(out) as temporary:
        model.save_pretrained(temporary)
        loaded.processor.save_pretrained(temporary)
        if recipe.decode.grammar == "ontology":
            shutil.copy(CellFolder(folder).study.ontology, temporary)
        (temporary / "README.md").write_text(model_card(folder, recipe, say), encoding="utf-8")
        if verify:
            study = CellFolder(folder).study.path
            shown = gold_utterances(study)[:NUM_VERIFIED]
            say(_verified(loaded, model, shown, instruction_in(study), temporary))
    return out


def _verified(loaded: LoadedModel, model: Any, utterances: Sequence[Utterance], asked: str, exported: Path) -> str:
    requests = [
        {
            "prompt": loaded.processor.apply_chat_template(
                messages_of(slu_example(utterance, modality, instruction=asked)),
                add_generation_prompt=True,
                tokenize=False,
            ),
            "audio": str(utterance.audio) if modality == "speech" else None,
            "options": loaded.family.processor_options(utterance.locale),
        }
        for utterance in utterances
        for modality in MODALITIES
    ]
    code = [OWN_CODE] if loaded.family.brings_code else []
    command = [sys.executable, "-m", "sottovoce.export.reference_answers", str(exported), attention(), *code]
    fresh = subprocess.run(command, input=json.dumps(requests), capture_output=True, text=True)
    if fresh.returncode:
        last = (fresh.stderr.strip().splitlines() or ["no message"])[-1]
        raise UserError(f"the exported model cannot be loaded: {last}", "nothing was exported; report this as a bug")
    expected, found = plain_answers(model, loaded.processor, requests), json.loads(fresh.stdout)
    if differing := sum(left != right for left, right in zip(expected, found, strict=True)):
        fault = f"{differing} of {len(requests)} answers of the exported model differ from the run's"
        raise UserError(fault, "nothing was exported; report this as a bug")
    return f"verified: a fresh process gives the run's answers to {len(requests)} requests"
