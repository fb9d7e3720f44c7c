"""Dynamic batching: requests that wait together are computed together, by the one thread that runs the models."""

from __future__ import annotations

import asyncio
import math
from collections import deque
from collections.abc import Callable, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from typing import Any, Generic, TypeVar

Given = TypeVar("Given")
Result = TypeVar("Result")
NoteBatch = Callable[[str, int, float], None]


class QueueFullError(Exception):
    """The queue is full."""


class StoppedError(Exception):
    """The worker has stopped, or has not started yet."""


@dataclass(frozen=True)
class Done(Generic[Result]):
    """A result, its seconds in the queue and in the computation, and how many requests its batch had."""

    result: Result
    queued_seconds: float
    computed_seconds: float
    batch_size: int


@dataclass(frozen=True)
class _Item(Generic[Given, Result]):
    given: Given
    future: asyncio.Future[Done[Result]]
    arrived: float


class Lane(Generic[Given, Result]):
    """Work of one kind: its queue, and the function that computes a batch."""

    def __init__(self, name: str, compute: Callable[[Sequence[Given]], Sequence[Result]]) -> None:
        self.name, self.compute = name, compute
        self._items = deque[_Item[Given, Result]]()

    @property
    def waiting(self) -> deque[_Item[Given, Result]]:
        """The queue, oldest first, without cancelled items."""
        if any(item.future.done() for item in self._items):
            self._items = deque(item for item in self._items if not item.future.done())
        return self._items

    def take(self, most: int) -> list[_Item[Given, Result]]:
        """Removes and returns the oldest items."""
        waiting = self.waiting
        return [waiting.popleft() for _ in range(min(most, len(waiting)))]


class Worker:
    """Computes its lanes batch by batch; a lane has its turn if those before it are empty, or if it has waited long.

    Args:
        max_batch_size: items per batch.
        max_wait_seconds: how long the first item of a batch waits for others.
        max_queue: how many items may wait, in all lanes together.
        patience_seconds: an item that waits longer goes before all later ones, of any lane.
        note_batch: called with each batch's lane, size and seconds.
    """

    def __init__(
        self, max_batch_size: int, max_wait_seconds: float, max_queue: int,
        note_batch: NoteBatch = lambda lane, size, seconds: None, patience_seconds: float = math.inf,
    ) -> None:  # fmt: skip
        self._max_batch_size, self._max_wait_seconds, self._max_queue = max_batch_size, max_wait_seconds, max_queue
        self._note_batch, self._patience_seconds = note_batch, patience_seconds
        self._lanes: list[Lane[Any, Any]] = []
        self._arrival = asyncio.Event()
        self._thread = ThreadPoolExecutor(1, thread_name_prefix="model")
        self._task: asyncio.Task[None] | None = None
        self._open = False
        self._batch_seconds = 0.0

    def lane(self, name: str, compute: Callable[[Sequence[Given]], Sequence[Result]]) -> Lane[Given, Result]:
        """Adds a lane after the others."""
        self._lanes.append(lane := Lane(name, compute))
        return lane

    @property
    def num_waiting(self) -> int:
        return sum(len(lane.waiting) for lane in self._lanes)

    @property
    def is_full(self) -> bool:
        return self.num_waiting >= self._max_queue

    @property
    def seconds_until_free(self) -> int:
        """About how long the queue will take, in whole seconds, at least 1."""
        num_batches = -(-self.num_waiting // self._max_batch_size)
        return max(1, round(num_batches * self._batch_seconds))

    async def submit(self, lane: Lane[Given, Result], given: Given) -> Done[Result]:
        """Waits for a result; a cancelled caller leaves the queue.

        Raises:
            QueueFullError, StoppedError: it was not accepted.
            Exception: from computing this item alone.
        """
        if not self._open:
            raise StoppedError
        if self.is_full:
            raise QueueFullError
        loop = asyncio.get_running_loop()
        item = _Item[Given, Result](given, loop.create_future(), loop.time())
        lane.waiting.append(item)
        self._arrival.set()
        return await item.future

    def start(self) -> asyncio.Task[None]:
        """Starts; the task ends when the worker is stopped and its lanes are empty."""
        self._open = True
        self._task = asyncio.create_task(self._work())
        return self._task

    async def stop(self) -> None:
        """Accepts nothing more, computes what is queued, and ends."""
        self._open = False
        self._arrival.set()
        if self._task is not None:
            await asyncio.wait({self._task})
        self._thread.shutdown()

    async def _work(self) -> None:
        while True:
            lane = self._next_lane()
            if lane is not None:
                await self._fill(lane)
                await self._compute(lane, lane.take(self._max_batch_size))
            elif self._open:
                self._arrival.clear()
                await self._arrival.wait()
            else:
                return

    def _next_lane(self) -> Lane[Any, Any] | None:
        arrived = {lane: lane.waiting[0].arrived for lane in self._lanes if lane.waiting}
        lane = min(arrived, key=lambda each: arrived[each], default=None)
        if lane is not None and asyncio.get_running_loop().time() - arrived[lane] > self._patience_seconds:
            return lane
        return next(iter(arrived), None)

    async def _fill(self, lane: Lane[Given, Result]) -> None:
        """Waits until a batch is full, or its first item has waited long enough."""
        while self._open and (waiting := lane.waiting) and len(waiting) < self._max_batch_size:
            self._arrival.clear()
            try:
                async with asyncio.timeout_at(waiting[0].arrived + self._max_wait_seconds):
                    await self._arrival.wait()
            except TimeoutError:
                return

    async def _compute(self, lane: Lane[Given, Result], batch: Sequence[_Item[Given, Result]]) -> None:
        if not batch:
            return
        loop = asyncio.get_running_loop()
        started = loop.time()
        computing = loop.run_in_executor(self._thread, lane.compute, [item.given for item in batch])
        await asyncio.wait({computing})
        seconds = loop.time() - started
        error = computing.exception()
        if error is None:
            self._batch_seconds = seconds
            self._note_batch(lane.name, len(batch), seconds)
            for item, result in zip(batch, computing.result(), strict=True):
                if not item.future.done():
                    item.future.set_result(Done(result, started - item.arrived, seconds, len(batch)))
        elif len(batch) == 1:
            if not batch[0].future.done():
                batch[0].future.set_exception(error)
        else:  # one item fails, which must not fail the others
            for item in batch:
                if not item.future.done():
                    await self._compute(lane, [item])
