"""How long a study will take: the remaining work times the costs of small pieces of it, timed on this machine."""

from __future__ import annotations

import math
import time
from collections.abc import Iterable, Sequence
from dataclasses import asdict, dataclass, replace

from sottovoce.core.progress import progress_bar
from sottovoce.core.types import MODALITIES, Example, Modality
from sottovoce.data.prompts import slu_example
from sottovoce.models.audio_states import BATCH_CLIPS
from sottovoce.models.load import family_named
from sottovoce.study.cells import Cell
from sottovoce.study.engines.jobs import longest_first, shared_stages
from sottovoce.study.kept import Values, circumstances_of, kept
from sottovoce.study.resources.costs import MAX_ROWS, Costs, measure
from sottovoce.study.resources.fit import resolve_checkpointing
from sottovoce.study.transcripts import is_file_of_transcripts
from sottovoce.study.work import Work, dev_examples, epochs_by_model
from sottovoce.study.workspace import Study

SAMPLE = 32  # examples whose mean length stands for all


@dataclass(frozen=True)
class Job:
    """A job of one process, which starts when the jobs at the indices ``before`` have ended."""

    seconds: float
    before: tuple[int, ...] = ()


def makespan(jobs: Sequence[Job], num_at_once: int) -> float:
    """How long ``num_at_once`` processes take for the jobs, if each, when free, takes the next one that can start."""
    free, ended = [0.0] * num_at_once, dict[int, float]()
    while len(ended) < len(jobs):
        now = min(free)
        ready = {
            place: max((ended[other] for other in job.before), default=0.0)
            for place, job in enumerate(jobs)
            if place not in ended and all(other in ended for other in job.before)
        }
        place = min(ready, key=lambda each: (max(ready[each], now), ready[each], each))
        free[free.index(now)] = ended[place] = max(ready[place], now) + jobs[place].seconds
    return max(ended.values(), default=0.0)


@dataclass(frozen=True)
class _RowLength:
    """The length of a row's prompt and answer, in tokens."""

    prompt: float
    answer: float


def forecast_lines(study: Study, cells: list[Cell], num_at_once: int = 1) -> list[str]:
    """What is left to do, and about how long it takes.

    Args:
        cells: the unfinished ones.
        num_at_once: cells that run at the same time on this machine, each with its share of the cores.
    """
    if not cells:
        return ["everything is already finished"]
    num_at_once, work = min(num_at_once, len(cells)), study.work_of(cells)
    costs = {model: _costs(study, model, work, num_at_once) for model in dict.fromkeys(cell.model for cell in cells)}
    stages = study.stages_to_do(cells)
    training = {key: _training_seconds(study, item, costs[item.cell.model]) for key, item in stages.items()}
    prompts = {model: [_test_rows(study, model, modality) for modality in MODALITIES] for model in costs}
    decoding = {cell.name: _decoding_seconds(study, cell, costs[cell.model], prompts[cell.model]) for cell in cells}
    encoding = sum(_encoding_seconds(study, model, stages.values()) for model in costs)
    seconds = makespan(_jobs(study, cells, training, decoding), num_at_once) + encoding / num_at_once
    # Each trained cell keeps a copy of its last stage's weights.
    keeping = [item.cell.model for item in stages.values()] + [cell.model for cell in cells if cell.stages]
    disk_bytes = sum(costs[model].trained_bytes for model in keeping)
    where = "on this machine" if num_at_once == 1 else f"on this machine with {num_at_once} cells at once"
    one_by_one = "" if num_at_once == 1 else "one after the other: "
    return [
        f"{len(cells)} cells to do: {len(stages)} training stages with "
        f"{sum(item.num_rows for item in stages.values())} examples (shared ones counted once), "
        f"{2 * len(cells)} decodings of {len(study.data.test)} utterances",
        f"about {minutes(seconds)} {where} ({one_by_one}training {minutes(sum(training.values()))}, "
        f"decoding {minutes(sum(decoding.values()))}, encoding recordings {minutes(encoding)}) and "
        f"{disk_bytes / 2**30:.1f} GiB on disk; you can stop at any time and rerun to resume",
        *(f"plus the time that {asr} takes to transcribe" for asr in _recognisers(cells)),
    ]


def _recognisers(cells: list[Cell]) -> list[str]:
    return sorted({cell.asr for cell in cells if cell.asr and not is_file_of_transcripts(cell.asr)})


def minutes(seconds: float) -> str:
    """A duration for users, in seconds or minutes."""
    return f"{seconds:.0f} s" if seconds < 90 else f"{seconds / 60:.0f} min"


def _jobs(study: Study, cells: list[Cell], training: dict[str, float], decoding: dict[str, float]) -> list[Job]:
    """The study as engines run it: the stages that cells share, and each cell with its own stages."""
    places, jobs = dict[str, int](), list[Job]()
    shared = shared_stages(study, cells)
    for stage in shared:
        before = (places[stage.parent_key],) if stage.parent_key in places else ()
        places[stage.key] = len(jobs)
        jobs.append(Job(training.get(stage.key, 0.0), before))
    for cell in longest_first(study, cells):
        keys = [item.plan.key for item in study.work_of([cell])]
        own = sum(training.get(key, 0.0) for key in keys if key not in places)
        jobs.append(Job(own + decoding[cell.name], tuple(places[key] for key in keys if key in places)))
    return jobs


def _training_seconds(study: Study, item: Work, costs: Costs) -> float:
    length = _mean_length(study, item.cell.model, item.examples)
    once = len(set(item.plan.example_keys)) * costs.lower
    training = (length.prompt + length.answer) * (once + item.num_rows * costs.training)
    return costs.starting + training + _evaluations(study, item) * _dev_seconds(study, item.cell.model, costs)


def _evaluations(study: Study, item: Work) -> int:
    """How often a stage is scored on dev, if nothing stops it early."""
    train, settings = study.recipe.train, item.plan.stage.settings
    if train.eval_strategy == "no":
        return 0
    num_steps = item.num_rows / (train.per_device_train_batch_size * train.gradient_accumulation_steps)
    return settings.num_train_epochs if train.eval_strategy == "epoch" else math.ceil(num_steps / train.eval_steps)


def _dev_seconds(study: Study, model: str, costs: Costs) -> float:
    """One evaluation: the loss of every row, then its answer decoded."""
    if not study.data.dev:
        return 0.0
    length, size = _mean_length(study, model, dev_examples(study.data)), study.recipe.decode.batch_size
    size = min(size, len(study.data.dev))
    reading = (2 * length.prompt + length.answer) * costs.reading
    return len(study.data.dev) * (reading + length.answer * costs.step(size) / size)


def _test_rows(study: Study, model: str, modality: Modality) -> _RowLength:
    asked = study.data.instruction
    return _mean_length(study, model, [slu_example(u, modality, instruction=asked) for u in study.data.test])


def _decoding_seconds(study: Study, cell: Cell, costs: Costs, rows: Sequence[_RowLength]) -> float:
    """Reading the prompts and writing the answers, from speech and from text; with confidences, also reading the known
    intents."""
    settings, num_test, seconds = study.recipe.decode, len(study.data.test), costs.starting
    size = min(settings.batch_size, num_test)
    for length in rows:
        # An untrained model does not know how answers end.
        written = length.answer if cell.stages else settings.max_new_tokens
        seconds += num_test * (length.prompt * costs.reading + costs.confidence + written * costs.step(size) / size)
    return seconds


def _mean_length(study: Study, model: str, examples: Sequence[Example]) -> _RowLength:
    """The mean length of the examples' rows, from a sample."""
    some, family = _spread(examples), family_named(model)
    written = [example if example.modality == "text" else _without_words(example) for example in some]
    rows = study.store(model).rows_of(written)
    audio = [family.num_audio_tokens(e.utterance.seconds or 0.0) if e.modality == "speech" else 0 for e in some]
    prompts = sum(len(row.prompt_ids) for row in rows) + sum(audio)
    return _RowLength(prompts / len(rows), sum(len(row.answer_ids) for row in rows) / len(rows))


def _without_words(example: Example) -> Example:
    """A text example as long as the speech example without its recording."""
    return replace(example, utterance=replace(example.utterance, transcript=""), modality="text")


def _spread(examples: Sequence[Example]) -> list[Example]:
    return list(examples[:: math.ceil(len(examples) / SAMPLE)])


def _costs(study: Study, model: str, work: Sequence[Work], num_at_once: int) -> Costs:
    """What a model's training and decoding cost on this machine, measured when the study first ran."""
    recipe, data = study.recipe.of_model(model), study.data
    train = resolve_checkpointing(recipe, epochs_by_model(work).get(model, []))
    size = min(recipe.decode.batch_size, len(data.test))

    def measured() -> Values:
        study.say(f"timing a decoding and a training step of {model}")
        shown = [slu_example(u, "text", instruction=data.instruction) for u in data.train[:MAX_ROWS]]
        rows = study.store(model).rows_of(shown)
        intents = [(u.frame.scenario, u.frame.action) for u in data.train] if recipe.decode.confidence else []
        return asdict(measure(lambda: study.load(model), train, rows, size, intents, num_at_once))

    asked: Values = {"decoded at once": size, "confidence": recipe.decode.confidence, "cells at once": num_at_once}
    asked["instruction"] = data.instruction
    return Costs(**kept(study.folder, f"costs of {model}", circumstances_of(recipe, train) | asked, measured))


def _encoding_seconds(study: Study, model: str, stages: Iterable[Work]) -> float:
    """Estimated for all recordings not encoded yet, by encoding the first of them."""
    store = study.store(model)
    clips = [(utterance, 0) for utterance in study.data.test]
    clips += [
        (example.utterance, example.copy)
        for item in stages
        if item.cell.model == model
        for example in item.examples
        if example.modality == "speech"
    ]
    missing = store.missing(clips)
    if not missing:
        return 0.0
    first = missing[:BATCH_CLIPS]
    with progress_bar(transient=True) as progress:
        started = time.monotonic()
        store.encode(first, progress)
        return (time.monotonic() - started) / len(first) * (len(missing) - len(first))
