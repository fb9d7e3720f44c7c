"""Scores a model on the dev utterances while it is trained."""

from __future__ import annotations

from typing import Any

import torch

from sottovoce.core.progress import progress_bar
from sottovoce.data.collate import collate_training, moved
from sottovoce.decode.batches import RawAnswer, generate
from sottovoce.decode.silence import holds_no_words
from sottovoce.models.injection import answer_loss, bare
from sottovoce.models.load import LoadedModel
from sottovoce.score.evaluate import score
from sottovoce.score.files import read_gold
from sottovoce.study.runs import answer_form, known_labels, prediction_row
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
    store, known = study.store(model_name), known_labels(study.folder)
    rows = store.rows_of(examples)
    heard = [not holds_no_words(example, store) for example in examples]
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
        answers = [RawAnswer(texts[n]) if heard[n] else None for n in range(len(rows))]
        named = zip(examples, answers, strict=True)
        strict = score(gold, [prediction_row(e.utterance.id, answer, known) for e, answer in named])["strict"]
        return {**{name: strict[name] for name in ("intent_accuracy", "slu_f1")}, "loss": loss / num_tokens}

    return evaluate
