"""How long small pieces of a study's work take on this machine, measured on a training step and a short decoding."""

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
from sottovoce.decode.prefix_reader import supports_steps
from sottovoce.models.injection import answer_loss
from sottovoce.models.load import LoadedModel
from sottovoce.models.lower_states import LowerStates
from sottovoce.study.engines.processes import threads_of_one
from sottovoce.train.parts import with_weights
from sottovoce.train.sharding import asked_engine

MAX_ROWS = 16  # in the training step and the decoding that are timed
PROBE_TOKENS = 8  # decoded for each row
BUSY_SIZE = 1024  # of the matrix products that stand in for cells running at the same time


@dataclass(frozen=True)
class Costs:
    """Seconds for small pieces of work, in one of the processes that run at the same time.

    Args:
        starting: before a stage or a decoding, to load the model and compile matrix products.
        training: per token of a training row: forward, backward, and its part of the optimizer's step.
        lower: per token of a row in the frozen lower layers, computed once per row; 0 if all are trained.
        reading: per token of a prompt.
        writing: for one token of each of ``num_rows`` answers.
        confidence: for the probabilities of one utterance's known intents; 0 if not measured.
        trained_bytes: size of the trained weights.
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
        """One token of each of ``num_rows`` answers: each further row costs as much as a prompt token."""
        return max(self.writing + (num_rows - self.num_rows) * self.reading, self.reading * num_rows)


def measure(
    load: Callable[[], LoadedModel], train: Train, rows: Sequence[Row], batch_size: int,
    intents: Sequence[tuple[str, str]], num_at_once: int,
) -> Costs:  # fmt: skip
    """Decodes a few rows and trains on them twice.

    Args:
        load: loads a fresh model; an adapter is attached to it.
        rows: training rows without recordings; at most ``MAX_ROWS`` are used.
        batch_size: for decoding.
        intents: the known ones, if confidences are measured; ignored if the model cannot give them.
        num_at_once: processes that will run at the same time; as many threads simulate them.
    """
    with threads_of_one(num_at_once), _others_at_work(num_at_once - 1):
        started = time.monotonic()
        loaded = load()
        loading = time.monotonic() - started
        decoded = rows[: min(batch_size, MAX_ROWS)]
        reading, writing = _decoding_seconds(loaded, decoded)
        confidence = 0.0
        if intents and supports_steps(loaded.family, loaded.model):
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
    """Keeps ``number`` more threads busy: cells that run at the same time share caches, memory and often cores."""
    over = Event()

    def work() -> None:
        # With a dtype, since the default differs while the main thread loads a model.
        left = right = torch.ones(BUSY_SIZE, BUSY_SIZE, dtype=torch.float32)
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
    """A first step, which also allocates and compiles, a second one, and the bytes of the trained weights."""
    model = with_weights(loaded, train, None).train()
    batch = moved(collate_training(rows, loaded.pad_id), loaded.model.device)
    trained = [parameter for parameter in model.parameters() if parameter.requires_grad]
    # If the optimizer is sharded, one process may not hold all of it.
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
    """A form that never lets an answer end and records when tokens are chosen; also the state of every answer."""

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
    """Reading the prompts, and one further token of each answer."""
    clock, started = _Clock(loaded), time.monotonic()
    answered(loaded, loaded.model, rows, 1 + PROBE_TOKENS, clock)
    return clock.times[0] - started, (clock.times[-1] - clock.times[0]) / PROBE_TOKENS


def _confidence_seconds(
    loaded: LoadedModel, rows: Sequence[Row], intents: Sequence[tuple[str, str]], reading: float
) -> float:
    """For one utterance, not counting its prompt."""
    tree = IntentTree(intents, loaded.processor.tokenizer)
    both = _timed(lambda: answered(loaded, loaded.model, rows, 1, ANY_TEXT, tree))
    return max(0.0, both - reading) / len(rows)
