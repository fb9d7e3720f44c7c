"""What small pieces of a study's work take on this machine, measured on one training step and one short decoding."""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from threading import Event, Thread

import numpy as np
import torch
from numpy.typing import NDArray

from sottovoce.core.recipe import Train
from sottovoce.data.collate import Row, collate_training, end_of_turn_id, moved
from sottovoce.decode.batches import answered
from sottovoce.decode.constraints import ANY_TEXT
from sottovoce.decode.intent_confidence import IntentTree
from sottovoce.decode.prefix_reader import goes_by_steps
from sottovoce.models.injection import answer_loss
from sottovoce.models.load import LoadedModel
from sottovoce.models.lower_states import LowerStates
from sottovoce.study.engines.processes import threads_of_one
from sottovoce.train.parts import with_weights
from sottovoce.train.sharding import asked_engine

MAX_ROWS = 16  # of the training step and of the decoding that are timed
PROBE_TOKENS = 8  # that are decoded of each row
BUSY_SIZE = 1024  # of the matrix products that stand for the cells which run at the same time


@dataclass(frozen=True)
class Costs:
    """Seconds of small pieces of work, in one of the processes that run at once.

    Args:
        starting: before a stage or a decoding: the model is loaded, and matrix products are compiled.
        training: a token of a training row: forward, backward, and its part in the optimizer's step.
        lower: a token of a row in the frozen lower layers, which each row goes through once; 0 if all are trained.
        reading: a token of a prompt.
        writing: a token of each of ``num_rows`` answers.
        confidence: the probabilities of an utterance's known intents; 0 if they are not asked for.
        trained_bytes: of the weights that are trained.
    """

    starting: float
    training: float
    lower: float
    reading: float
    writing: float
    num_rows: int
    confidence: float
    trained_bytes: int

    def step(self, num_rows: int) -> float:
        """A token of each of so many answers: a row more costs what a token of a prompt does."""
        return max(self.writing + (num_rows - self.num_rows) * self.reading, self.reading * num_rows)


def measure(
    load: Callable[[], LoadedModel], train: Train, rows: Sequence[Row], batch_size: int,
    intents: Sequence[tuple[str, str]], num_at_once: int,
) -> Costs:  # fmt: skip
    """Decodes a few rows and trains on them twice.

    Args:
        load: the model, freshly; an adapter is attached to it.
        rows: training rows without recordings; at most ``MAX_ROWS`` are used.
        batch_size: of decodings.
        intents: the known ones, if confidences are to be measured where the model can tell them.
        num_at_once: processes that will be at work; meanwhile as many threads are, each on its share of the cores.
    """
    with threads_of_one(num_at_once), _others_at_work(num_at_once - 1):
        started = time.monotonic()
        loaded = load()
        loading = time.monotonic() - started
        decoded = rows[: min(batch_size, MAX_ROWS)]
        reading, writing = _decoding_seconds(loaded, decoded)
        confidence = 0.0
        if intents and goes_by_steps(loaded.family, loaded.model):
            confidence = _confidence_seconds(loaded, decoded, intents, reading)
        trained: Sequence[Row] = rows[: min(train.per_device_train_batch_size, MAX_ROWS)]
        lower = 0.0
        if first_layer := train.lora.first_layer:
            started = time.monotonic()
            trained = LowerStates(first_layer).of(loaded, trained)
            lower = time.monotonic() - started
        first, later, num_bytes = _training_seconds(loaded, train, trained)
    num_trained, num_read = sum(map(len, trained)), sum(len(row.prompt_ids) for row in decoded)
    return Costs(
        starting=loading + max(0.0, first - later),
        training=later / num_trained,
        lower=lower / num_trained,
        reading=reading / num_read,
        writing=writing,
        num_rows=len(decoded),
        confidence=confidence,
        trained_bytes=num_bytes,
    )


@contextmanager
def _others_at_work(number: int) -> Iterator[None]:
    """Keeps as many further threads at work: cells that run at once share caches, memory and often cores, which a
    single one at work would not show."""
    over = Event()

    def work() -> None:
        left, right = torch.ones(BUSY_SIZE, BUSY_SIZE), torch.ones(BUSY_SIZE, BUSY_SIZE)
        while not over.is_set():
            torch.mm(left, right)

    threads = [Thread(target=work, daemon=True) for _ in range(number)]
    for thread in threads:
        thread.start()
    try:
        yield
    finally:
        over.set()
        for thread in threads:
            thread.join()


def _timed(action: Callable[[], object]) -> float:
    started = time.monotonic()
    action()
    return time.monotonic() - started


def _training_seconds(loaded: LoadedModel, train: Train, rows: Sequence[Row]) -> tuple[float, float, int]:
    """Of a first step, which also allocates and compiles, and of another one; and the bytes of what is trained."""
    model = with_weights(loaded, train, None).train()
    batch = moved(collate_training(rows, loaded.pad_id), loaded.model.device)
    trained = [parameter for parameter in model.parameters() if parameter.requires_grad]
    # Where the optimizer is sharded one process may not hold it all.
    optimizer = None if asked_engine() else torch.optim.AdamW(trained, fused=True)

    def step() -> None:
        with torch.autocast(loaded.model.device.type, torch.bfloat16, enabled=loaded.bf16):
            answer_loss(model, batch, train.lora.first_layer)[0].backward()  # type: ignore[no-untyped-call]
        if optimizer:
            optimizer.step()
            optimizer.zero_grad()
        if torch.cuda.is_available():
            torch.cuda.synchronize()

    first, later = _timed(step), _timed(step)
    return first, later, sum(p.numel() * p.element_size() for p in trained)


class _Clock:
    """A form by which no answer ends, and that notes when tokens are chosen; it is the state of every answer."""

    ended = False

    def __init__(self, loaded: LoadedModel) -> None:
        self.times: list[float] = []
        tokenizer = loaded.processor.tokenizer
        self._going = np.ones(len(tokenizer), dtype=np.bool_)
        self._going[end_of_turn_id(tokenizer)] = False

    def new_state(self) -> _Clock:
        return self

    def advance(self, token: int) -> None:
        pass

    def forced(self) -> list[int]:
        return []

    def allowed(self) -> NDArray[np.bool_]:
        self.times.append(time.monotonic())
        return self._going


def _decoding_seconds(loaded: LoadedModel, rows: Sequence[Row]) -> tuple[float, float]:
    """Of reading the prompts, and of a further token of each answer."""
    clock, started = _Clock(loaded), time.monotonic()
    answered(loaded, loaded.model, rows, 1 + PROBE_TOKENS, clock)
    return clock.times[0] - started, (clock.times[-1] - clock.times[0]) / PROBE_TOKENS


def _confidence_seconds(
    loaded: LoadedModel, rows: Sequence[Row], intents: Sequence[tuple[str, str]], reading: float
) -> float:
    """Of one utterance, beside reading its prompt."""
    tree = IntentTree(intents, loaded.processor.tokenizer)
    both = _timed(lambda: answered(loaded, loaded.model, rows, 1, ANY_TEXT, tree))
    return max(0.0, both - reading) / len(rows)
