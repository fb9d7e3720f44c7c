"""How long a study will take, from timing one small training step, one short decoding and one clip on this machine."""

from __future__ import annotations

import math
import time
from collections import Counter
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import astuple, dataclass, replace

import torch
from rich.progress import Progress

from sottovoce.data.collate import Row, collate_training, moved, tokenize
from sottovoce.data.prompts import slu_example
from sottovoce.evaluate.decode import answered, generate
from sottovoce.evaluate.forms import ANY_TEXT
from sottovoce.evaluate.intents import IntentTree
from sottovoce.evaluate.reader import goes_by_steps
from sottovoce.models.audio_store import BATCH_CLIPS, AudioStore
from sottovoce.models.injection import answer_loss
from sottovoce.models.load import LoadedModel
from sottovoce.recipe import Recipe, Train
from sottovoce.study.cell_run import Work
from sottovoce.study.cells import Cell
from sottovoce.study.data import Data
from sottovoce.study.memory_check import decided
from sottovoce.study.opening import STAGES, Study
from sottovoce.study.process_engine import threads_of_each
from sottovoce.study.transcripts import is_file_of_transcripts
from sottovoce.train.parts import with_weights
from sottovoce.train.stage import DONE

MAX_PROBE_ROWS, PROBE_TOKENS = 16, 8


@dataclass(frozen=True)
class Forecast:
    """What is left to do: seconds of each kind of work, and bytes that the weights will take on disk.

    ``longest_cell`` is how long the cell takes that takes longest, with the stages that it waits for, in seconds.
    """

    training: float = 0.0
    decoding: float = 0.0
    hearing: float = 0.0
    disk_bytes: float = 0.0
    longest_cell: float = 0.0

    def __add__(self, other: Forecast) -> Forecast:
        sums = Forecast(*(mine + its for mine, its in zip(astuple(self), astuple(other), strict=True)))
        return replace(sums, longest_cell=max(self.longest_cell, other.longest_cell))

    def seconds(self, num_at_once: int) -> float:
        """All of it, with so many cells at once: none is faster than its stages one after the other."""
        return max((self.training + self.decoding + self.hearing) / num_at_once, self.longest_cell)


def forecast_lines(study: Study, work: list[Work], cells: list[Cell], num_at_once: int = 1) -> list[str]:
    """What is left to do, and about how long it takes.

    Args:
        work: every stage of every cell with its examples; stages that are named alike are counted once.
        cells: those that are not finished.
        num_at_once: cells that are run at once on this machine, each with its share of the cores. What they take of
            each other beside that, such as memory bandwidth, is not forecast.
    """
    if not cells:
        return ["everything is finished already"]
    stages = {item.plan.key: item for item in work if not (study.folder / STAGES / item.plan.key / DONE).exists()}
    total = Forecast()
    num_at_once = min(num_at_once, len(cells))
    with _threads_of_one(num_at_once):
        for model in dict.fromkeys(cell.model for cell in cells):
            own = [item for item in stages.values() if item.cell.model == model]
            todo = [item for item in work if item.plan.key in stages and item.cell.model == model]
            total += _forecast(study, model, own, todo, [cell for cell in cells if cell.model == model])
    num_rows = sum(_num_rows(item) for item in stages.values())
    where = "on this machine" if num_at_once == 1 else f"on this machine with {num_at_once} cells at once"
    one_by_one = "" if num_at_once == 1 else "one after the other: "
    return [
        f"{len(cells)} cells to do: {len(stages)} training stages with {num_rows} examples (shared ones once), "
        f"{2 * len(cells)} decodings of {len(study.data.test)} utterances",
        f"about {minutes(total.seconds(num_at_once))} {where} ({one_by_one}training {minutes(total.training)}, "
        f"decoding {minutes(total.decoding)}, hearing {minutes(total.hearing)}) and "
        f"{total.disk_bytes / 2**30:.1f} GiB on disk; "
        "you can stop it at any time and start it again",
        *(f"the time that {asr} takes to transcribe is not in it" for asr in _recognisers(cells)),
    ]


def _recognisers(cells: list[Cell]) -> list[str]:
    return sorted({cell.asr for cell in cells if cell.asr and not is_file_of_transcripts(cell.asr)})


def _num_rows(item: Work) -> int:
    return item.plan.stage.settings.num_train_epochs * len(item.examples)


@contextmanager
def _threads_of_one(num_at_once: int) -> Iterator[None]:
    before = torch.get_num_threads()
    if num_at_once > 1:
        torch.set_num_threads(threads_of_each(num_at_once))
    try:
        yield
    finally:
        torch.set_num_threads(before)


def _forecast(study: Study, model: str, stages: list[Work], todo: list[Work], cells: list[Cell]) -> Forecast:
    """Of one model; the probe trains an adapter on a model of its own.

    Args:
        stages: to be trained, each once; ``todo`` once for each cell that needs it.
    """
    loaded, recipe, data = study.load(model), study.recipe, study.data
    # Small batches are slower a row: the probe is as large as a training step, or as large as it may be.
    num_probe = min(recipe.train.per_device_train_batch_size, MAX_PROBE_ROWS)
    probe = [tokenize(slu_example(u, "text"), loaded.processor, None) for u in data.train[:num_probe]]
    clips = {
        (example.utterance.audio, example.copy)
        for item in stages
        for example in item.examples
        if example.modality == "speech"
    }
    hearing = _hearing_seconds(loaded, data) * (len(clips) + len(data.test))
    decoding = _decoding_seconds(loaded, cells, data, recipe, probe)
    train = decided(recipe.of_model(model), [item.examples for item in stages])
    row, num_bytes = _training_cost(loaded, train, probe)
    # Each trained cell keeps a copy of its last stage's weights.
    kept = num_bytes * (len(stages) + sum(bool(cell.stages) for cell in cells))
    rows_of_cells: Counter[str] = Counter()
    for item in todo:
        rows_of_cells[item.cell.name] += _num_rows(item)
    longest = row * max(rows_of_cells.values(), default=0) + decoding / len(cells)
    return Forecast(row * sum(_num_rows(item) for item in stages), decoding, hearing, kept, longest)


def minutes(seconds: float) -> str:
    """A duration as users are told it."""
    return f"{seconds:.0f} s" if seconds < 90 else f"{seconds / 60:.0f} min"


def _timed(action: Callable[[], object]) -> float:
    started = time.monotonic()
    action()
    return time.monotonic() - started


def _hearing_seconds(loaded: LoadedModel, data: Data) -> float:
    """For one recording, heard here and now among as many as are heard at once, whatever is on disk already."""
    store, clips = AudioStore(loaded), data.test[:BATCH_CLIPS]
    with Progress(disable=True) as progress:
        return _timed(lambda: store.encode([(clip, 0) for clip in clips], progress)) / len(clips)


def _training_cost(loaded: LoadedModel, train: Train, rows: list[Row]) -> tuple[float, int]:
    """Seconds a row, and the bytes of what is trained."""
    model = with_weights(loaded, train, None).train()
    batch = moved(collate_training(rows, loaded.pad_id), loaded.model.device)

    def step() -> None:
        with torch.autocast(loaded.model.device.type, torch.bfloat16, enabled=loaded.bf16):
            answer_loss(model, batch)[0].backward()  # type: ignore[no-untyped-call]

    step()  # the first one also allocates
    num_bytes = sum(p.numel() * p.element_size() for p in model.parameters() if p.requires_grad)
    return _timed(step) / len(rows), num_bytes


def _decoding_seconds(loaded: LoadedModel, cells: list[Cell], data: Data, recipe: Recipe, rows: list[Row]) -> float:
    """Reading the prompts, which are longer for speech, and writing the answers, batch by batch; where confidences are
    measured, reading the known intents, too."""
    batch_size = min(recipe.decode.batch_size, len(data.test))
    many = (rows * math.ceil(batch_size / len(rows)))[:batch_size]
    generate(loaded, loaded.model, many, 2)  # the first one also compiles the matrix products of these shapes
    one = _timed(lambda: generate(loaded, loaded.model, many, 1))
    more = _timed(lambda: generate(loaded, loaded.model, many, 1 + PROBE_TOKENS))
    reading_per_token = one / sum(len(row.prompt_ids) for row in many)
    writing_per_token = max(0.0, more - one) / PROBE_TOKENS
    text_tokens = sum(len(row.prompt_ids) for row in rows) / len(rows)
    heard_tokens = sum(loaded.family.num_audio_tokens(u.seconds or 0.0) for u in data.test) / len(data.test)
    answer_tokens = sum(len(row.answer_ids) for row in rows) / len(rows)
    written = sum(recipe.decode.max_new_tokens if not cell.stages else answer_tokens for cell in cells)
    reading = len(cells) * len(data.test) * (2 * text_tokens + heard_tokens) * reading_per_token
    writing = 2 * math.ceil(len(data.test) / batch_size) * written * writing_per_token
    if not (recipe.decode.confidence and goes_by_steps(loaded.family, loaded.model)):
        return reading + writing
    tree = IntentTree(((u.frame.scenario, u.frame.action) for u in data.train), loaded.processor.tokenizer)
    both = _timed(lambda: answered(loaded, loaded.model, many, 1, ANY_TEXT, tree))
    return reading + writing + len(cells) * 2 * len(data.test) * max(0.0, both - one) / batch_size
