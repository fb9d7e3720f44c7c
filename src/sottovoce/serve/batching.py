"""Dynamic batching: requests that wait together are computed together, by the one thread that owns the models."""

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
    """As many requests wait as may."""


class StoppedError(Exception):
    """The worker takes nothing any more, or not yet."""


@dataclass(frozen=True)
class Done(Generic[Result]):
    """A result; how long it waited and was computed, in seconds; how many were computed at once, with itself."""

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
    """Work of one kind: what waits for it, and what computes a batch of it."""

    def __init__(self, name: str, compute: Callable[[Sequence[Given]], Sequence[Result]]) -> None:
        self.name, self.compute = name, compute
        self._items = deque[_Item[Given, Result]]()

    @property
    def waiting(self) -> deque[_Item[Given, Result]]:
        """What waits, the oldest first, without those that were cancelled."""
        if any(item.future.done() for item in self._items):
            self._items = deque(item for item in self._items if not item.future.done())
        return self._items

    def take(self, most: int) -> list[_Item[Given, Result]]:
        """The oldest of what waits, which then waits no more."""
        waiting = self.waiting
        return [waiting.popleft() for _ in range(min(most, len(waiting)))]


class Worker:
    """Computes what its lanes hold, batch by batch; a lane has its turn when those before it hold nothing, or it has
    waited long.

    Args:
        max_batch_size: computed at once.
        max_wait_seconds: how long the first of a batch waits for others, if there are not enough yet.
        max_queue: how many may wait, in all lanes together.
        patience_seconds: what waits longer goes before all that came later, in whatever lane.
        note_batch: told of every batch: lane, size and seconds.
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
        """A new lane, after those there are."""
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
        """About how long what waits will take, in whole seconds, at least 1."""
        num_batches = -(-self.num_waiting // self._max_batch_size)
        return max(1, round(num_batches * self._batch_seconds))

    async def submit(self, lane: Lane[Given, Result], given: Given) -> Done[Result]:
        """Waits for a result. Who is cancelled meanwhile leaves the queue.

        Raises:
            QueueFullError, StoppedError: it was not taken.
            Exception: what computing it raised, alone.
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
        """Begins; the task ends when the worker is stopped and has computed what it held."""
        self._open = True
        self._task = asyncio.create_task(self._work())
        return self._task

    async def stop(self) -> None:
        """Takes nothing more, computes what it holds, and ends."""
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
        """Waits until a batch is there, or its first item has waited long enough."""
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
        else:  # one of them cannot be computed, which is not its neighbours' fault
            for item in batch:
                if not item.future.done():
                    await self._compute(lane, [item])
