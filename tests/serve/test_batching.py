"""The queue between requests and the model, with models that are not there."""

from __future__ import annotations

import asyncio
import threading
from collections.abc import Callable, Coroutine, Sequence
from typing import Any

import pytest

from sottovoce.core.errors import UserError
from sottovoce.serve.batching import Done, QueueFullError, StoppedError, Worker


class Doubling:
    """Doubles numbers; refuses 13; notes its batches, and waits for ``go``."""

    def __init__(self) -> None:
        self.batches: list[list[int]] = []
        self.threads: set[int] = set()
        self.go = threading.Event()
        self.go.set()

    def __call__(self, numbers: Sequence[int]) -> list[int]:
        self.batches.append(list(numbers))
        self.threads.add(threading.get_ident())
        self.go.wait()
        if 13 in numbers:
            raise UserError("13 cannot be doubled", "take another")
        return [2 * number for number in numbers]


Ask = Callable[[int], Coroutine[Any, Any, Done[int]]]
Scene = Callable[[Worker, Ask, Doubling], Coroutine[Any, Any, None]]


def play(
    scene: Scene, max_batch_size: int = 4, max_wait_seconds: float = 0.02, max_queue: int = 100, **options: Any
) -> Doubling:  # fmt: skip
    """Runs a scene with a worker of one lane."""
    double = Doubling()

    async def run() -> None:
        worker = Worker(max_batch_size, max_wait_seconds, max_queue, **options)
        lane = worker.lane("double", double)
        worker.start()
        async with asyncio.timeout(30):
            await scene(worker, lambda number: worker.submit(lane, number), double)
            await worker.stop()

    asyncio.run(run())
    return double


async def held_up(ask: Ask, double: Doubling) -> asyncio.Task[Done[int]]:
    """A request that is being computed until ``go`` is set."""
    double.go.clear()
    first = asyncio.create_task(ask(0))
    while not double.batches:
        await asyncio.sleep(0.001)
    return first


def test_what_comes_together_is_computed_together_by_one_thread() -> None:
    async def scene(worker: Worker, ask: Ask, double: Doubling) -> None:
        done = await asyncio.gather(*map(ask, range(10)))
        assert [each.result for each in done] == [2 * number for number in range(10)]
        assert [each.batch_size for each in done] == [4, 4, 4, 4, 4, 4, 4, 4, 2, 2]
        assert all(each.queued_seconds >= 0 and each.computed_seconds >= 0 for each in done)

    double = play(scene)
    assert double.batches == [[0, 1, 2, 3], [4, 5, 6, 7], [8, 9]]
    assert len(double.threads) == 1 and threading.get_ident() not in double.threads


def test_a_batch_size_of_one_is_no_batching() -> None:
    async def scene(worker: Worker, ask: Ask, double: Doubling) -> None:
        await asyncio.gather(*map(ask, range(3)))

    assert play(scene, max_batch_size=1).batches == [[0], [1], [2]]


def test_the_first_waits_a_little_for_others_and_no_longer() -> None:
    async def scene(worker: Worker, ask: Ask, double: Doubling) -> None:
        first = asyncio.create_task(ask(1))
        await asyncio.sleep(0)
        done = await asyncio.gather(first, ask(2))
        assert [each.batch_size for each in done] == [2, 2]
        assert (await ask(3)).batch_size == 1

    assert play(scene, max_wait_seconds=0.2).batches == [[1, 2], [3]]


def test_what_arrived_while_a_batch_was_computed_is_the_next_one() -> None:
    async def scene(worker: Worker, ask: Ask, double: Doubling) -> None:
        first = await held_up(ask, double)
        others = [asyncio.create_task(ask(number)) for number in (1, 2, 3)]
        await asyncio.sleep(0)
        assert worker.num_waiting == 3
        double.go.set()
        await asyncio.gather(first, *others)
        assert worker.num_waiting == 0

    assert play(scene, max_wait_seconds=0).batches == [[0], [1, 2, 3]]


def test_a_bad_item_fails_alone() -> None:
    async def scene(worker: Worker, ask: Ask, double: Doubling) -> None:
        good, bad, other = await asyncio.gather(ask(1), ask(13), ask(2), return_exceptions=True)
        assert isinstance(good, Done) and isinstance(other, Done)
        assert (good.result, other.result, good.batch_size) == (2, 4, 1)
        assert isinstance(bad, UserError)
        assert (await ask(5)).result == 10  # and the worker goes on

    assert play(scene).batches == [[1, 13, 2], [1], [13], [2], [5]]


def test_who_is_cancelled_leaves_the_queue() -> None:
    async def scene(worker: Worker, ask: Ask, double: Doubling) -> None:
        first = await held_up(ask, double)
        leaving, staying = asyncio.create_task(ask(1)), asyncio.create_task(ask(2))
        await asyncio.sleep(0)
        leaving.cancel()
        with pytest.raises(TimeoutError):
            async with asyncio.timeout(0.01):
                await ask(3)
        assert worker.num_waiting == 1
        double.go.set()
        assert [(await each).result for each in (first, staying)] == [0, 4]

    assert play(scene).batches == [[0], [2]]


def test_who_is_cancelled_while_computed_harms_nobody() -> None:
    async def scene(worker: Worker, ask: Ask, double: Doubling) -> None:
        first = await held_up(ask, double)
        first.cancel()
        second = asyncio.create_task(ask(7))
        double.go.set()
        assert (await second).result == 14

    assert play(scene).batches == [[0], [7]]


def test_a_full_queue_takes_nothing() -> None:
    async def scene(worker: Worker, ask: Ask, double: Doubling) -> None:
        first = await held_up(ask, double)
        waiting = [asyncio.create_task(ask(number)) for number in (1, 2)]
        await asyncio.sleep(0)
        assert worker.is_full and worker.seconds_until_free >= 1
        with pytest.raises(QueueFullError):
            await ask(3)
        waiting[0].cancel()
        await asyncio.sleep(0)
        again = asyncio.create_task(ask(4))
        await asyncio.sleep(0)
        double.go.set()
        assert [(await each).result for each in (first, waiting[1], again)] == [0, 4, 8]

    assert play(scene, max_queue=2).batches == [[0], [2, 4]]


def test_a_stopped_worker_finishes_what_it_holds_and_takes_no_more() -> None:
    async def scene(worker: Worker, ask: Ask, double: Doubling) -> None:
        first = await held_up(ask, double)
        waiting = [asyncio.create_task(ask(number)) for number in range(1, 7)]
        await asyncio.sleep(0)
        stopping = asyncio.create_task(worker.stop())
        await asyncio.sleep(0)
        with pytest.raises(StoppedError):
            await ask(9)
        double.go.set()
        assert [(await each).result for each in (first, *waiting)] == [0, 2, 4, 6, 8, 10, 12]
        await stopping

    assert play(scene).batches == [[0], [1, 2, 3, 4], [5, 6]]


def test_a_lane_has_its_turn_when_those_before_it_are_empty() -> None:
    order: list[str] = []

    async def scene(worker: Worker, ask: Ask, double: Doubling) -> None:
        def later(numbers: Sequence[int]) -> list[int]:
            order.append("later")
            return list(numbers)

        lane = worker.lane("later", later)
        first = await held_up(ask, double)
        waiting: list[asyncio.Task[Done[int]]] = [asyncio.create_task(worker.submit(lane, 5))]
        waiting += [asyncio.create_task(ask(number)) for number in range(1, 7)]
        await asyncio.sleep(0)
        double.go.set()
        await asyncio.gather(first, *waiting)
        order.append(f"after {len(double.batches)} batches")

    play(scene)
    assert order == ["later", "after 3 batches"]


@pytest.mark.parametrize(("patience_seconds", "before"), [(60.0, 4), (0.0, 0)])
def test_a_lane_that_has_waited_long_has_its_turn_before_what_came_later(patience_seconds: float, before: int) -> None:
    computed_before: list[int] = []

    async def scene(worker: Worker, ask: Ask, double: Doubling) -> None:
        def later(numbers: Sequence[int]) -> list[int]:
            computed_before.append(len(double.batches) - 1)
            return list(numbers)

        lane = worker.lane("later", later)
        first = await held_up(ask, double)
        waiting: list[asyncio.Task[Done[int]]] = [asyncio.create_task(worker.submit(lane, 5))]
        await asyncio.sleep(0.01)
        waiting += [asyncio.create_task(ask(number)) for number in range(4)]
        await asyncio.sleep(0.01)
        double.go.set()
        await asyncio.gather(first, *waiting)

    play(scene, max_batch_size=1, patience_seconds=patience_seconds)
    assert computed_before == [before]


def test_batches_are_told_of() -> None:
    told: list[tuple[str, int]] = []

    async def scene() -> None:
        worker = Worker(4, 0.02, 10, lambda lane, size, seconds: told.append((lane, size)))
        lane = worker.lane("double", Doubling())
        worker.start()
        await asyncio.gather(*(worker.submit(lane, number) for number in range(3)))
        await worker.stop()

    asyncio.run(scene())
    assert told == [("double", 3)]
