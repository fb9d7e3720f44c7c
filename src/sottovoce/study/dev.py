"""Scores a model on the dev utterances while it is trained."""

from __future__ import annotations

from typing import Any

import torch

from sottovoce.core.progress import progress_bar
from sottovoce.data.collate import collate_training, moved
from sottovoce.decode.batches import RawAnswer, generate
from sottovoce.models.injection import answer_loss, bare
from sottovoce.models.load import LoadedModel
from sottovoce.score.evaluate import score
from sottovoce.score.files import read_gold
from sottovoce.study.runs import answer_form, prediction_row
from sottovoce.study.work import dev_examples
from sottovoce.study.workspace import Study
from sottovoce.train.trainer import Evaluate


def dev_evaluation(study: Study, model_name: str, loaded: LoadedModel) -> Evaluate:
    """A function from the model, as it is trained, to its strict scores and its loss (nats a token) on dev.

    Recordings are decoded if dev has any, else texts, with the recipe's grammar. Where the audio part is trained,
    recordings go through it as they do in training.

    Args:
        loaded: the model that is trained, before it is.
    """
    settings, examples = study.recipe.decode, dev_examples(study.data)
    form = answer_form(study.folder, settings.grammar, loaded)
    rows = study.store(model_name).rows_of(examples)
    by_length = sorted(range(len(rows)), key=lambda place: len(rows[place].prompt_ids))
    batches = [by_length[start : start + settings.batch_size] for start in range(0, len(rows), settings.batch_size)]
    gold = read_gold(study.layout.dev)

    @torch.no_grad()
    def evaluate(model: Any) -> dict[str, float]:
        texts, loss, num_tokens = dict[int, str](), 0.0, 0
        with progress_bar(transient=True) as progress:
            task = progress.add_task("scoring on dev", total=len(rows))
            for places in batches:
                batch = [rows[place] for place in places]
                total, number = answer_loss(model, moved(collate_training(batch, loaded.pad_id), bare(model).device))
                loss, num_tokens = loss + float(total), num_tokens + number
                texts |= zip(places, generate(loaded, model, batch, settings.max_new_tokens, form), strict=True)
                progress.advance(task, len(places))
        answers = [prediction_row(e.utterance.id, RawAnswer(texts[n], None)) for n, e in enumerate(examples)]
        strict = score(gold, answers)["strict"]
        return {**{name: strict[name] for name in ("intent_accuracy", "slu_f1")}, "loss": loss / num_tokens}

    return evaluate
