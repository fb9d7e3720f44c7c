"""The models behind the server: warmed up before they report ready, run in batches, not run for clients that left."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Awaitable, Callable, Sequence
from contextlib import asynccontextmanager
from typing import Literal, Protocol, TypeVar

import numpy as np
from starlette.requests import ClientDisconnect, Request

from sottovoce.data.audio import SAMPLING_RATE, Samples
from sottovoce.inference.understanding import Understander, Understanding
from sottovoce.serve.batching import Done, Lane, QueueFullError, StoppedError, Worker
from sottovoce.serve.errors import ApiError
from sottovoce.serve.metrics import Metrics
from sottovoce.serve.settings import ServerSettings

T = TypeVar("T")
Result = TypeVar("Result")
_WARM_TEXT = "turn the light on"


class Transcribes(Protocol):
    """What transcribes: a :class:`sottovoce.inference.transcriber.Transcriber`."""

    def transcribe_all(self, clips: Sequence[Samples]) -> list[str]:
        """The transcript of each recording (mono, 16 kHz), computed together."""
        ...


class Service:
    """One worker thread for both models; understanding comes before transcribing, until a request to transcribe has
    waited half its time limit.

    ``failure`` is the error that ended it, if any; then it calls ``stop``, which its owner may set.
    """

    def __init__(self, model: Understander, transcriber: Transcribes | None, settings: ServerSettings) -> None:
        self.status: Literal["starting", "ok", "stopping"] = "starting"
        self.failure: BaseException | None = None
        self.stop: Callable[[], None] = lambda: None
        self._timeout_seconds = settings.timeout_seconds
        self._worker = Worker(
            settings.max_batch_size, settings.max_wait_seconds, settings.max_queue, self._note,
            patience_seconds=settings.timeout_seconds / 2,
        )  # fmt: skip
        self.metrics = Metrics(lambda: self._worker.num_waiting)
        self._understand: Lane[Samples | str, Understanding]
        self._understand = self._worker.lane("understand", model.understand_all)
        self._transcribe = self._worker.lane("transcribe", transcriber.transcribe_all) if transcriber else None

    def _note(self, lane: str, size: int, seconds: float) -> None:
        self.metrics.note_batch(lane, size, seconds)

    @asynccontextmanager
    async def running(self) -> AsyncIterator[None]:
        """Runs until the block ends, then finishes what was accepted."""
        working, warming = self._worker.start(), asyncio.create_task(self._warm())
        for task in (working, warming):
            task.add_done_callback(self._ended)
        try:
            yield
        finally:
            self.status = "stopping"
            warming.cancel()
            await self._worker.stop()
            await asyncio.wait({warming})

    async def _warm(self) -> None:
        """Computes a dummy recording and a dummy text, since the first of each takes longest."""
        noise = np.random.default_rng(0).normal(0, 0.01, SAMPLING_RATE).astype(np.float32)
        await self._worker.submit(self._understand, noise)
        await self._worker.submit(self._understand, _WARM_TEXT)
        if self._transcribe:
            await self._worker.submit(self._transcribe, noise)
        self.status = "ok"

    def _ended(self, task: asyncio.Task[None]) -> None:
        if not task.cancelled() and (error := task.exception()):
            self.failure, self.status = error, "stopping"
            self.stop()

    async def understand(self, request: Request, given: Samples | str) -> Done[Understanding]:
        """Raises ApiError (503, 504), ClientDisconnect, or what the model raised."""
        return await self._ask(request, self._understand, given)

    async def transcribe(self, request: Request, clip: Samples) -> Done[str]:
        """Raises as :meth:`understand`, and ApiError 404 if there is no transcriber."""
        self.refuse_transcripts_if_there_are_none()
        assert self._transcribe
        return await self._ask(request, self._transcribe, clip)

    def refuse_transcripts_if_there_are_none(self) -> None:
        """Raises ApiError 404."""
        if not self._transcribe:
            advice = "ask the server's operator for --transcripts"
            raise ApiError(404, "no_transcripts", "this server does not transcribe", advice)

    def refuse_unless_ready(self) -> None:
        """Raises ApiError 503, before an upload is read for nothing."""
        if self.status != "ok":
            raise _busy(self.status, f"the server is {self.status}", 1)
        if self._worker.is_full:
            raise self._full()

    async def _ask(self, request: Request, lane: Lane[T, Result], given: T) -> Done[Result]:
        self.refuse_unless_ready()
        try:
            async with asyncio.timeout(self._timeout_seconds):
                return await _while_connected(request, self._worker.submit(lane, given))
        except QueueFullError as error:
            raise self._full() from error
        except StoppedError as error:
            raise _busy("stopping", "the server is stopping", 1) from error
        except TimeoutError as error:
            what = f"the answer took longer than {self._timeout_seconds:g} seconds"
            raise ApiError(504, "timeout", what, "try again, or send less at once") from error

    def _full(self) -> ApiError:
        return _busy("busy", "too many requests are waiting", self._worker.seconds_until_free)


def _busy(code: str, what: str, seconds: int) -> ApiError:
    return ApiError(503, code, what, "try again later", {"Retry-After": str(seconds)})


async def _while_connected(request: Request, work: Awaitable[T]) -> T:
    """The work's result; it is cancelled if the client leaves, or the caller is."""
    working, gone = asyncio.ensure_future(work), asyncio.ensure_future(_gone(request))
    try:
        await asyncio.wait({working, gone}, return_when=asyncio.FIRST_COMPLETED)
        if not working.done():
            raise ClientDisconnect
        return working.result()
    finally:
        working.cancel()
        gone.cancel()


async def _gone(request: Request) -> None:
    while (await request.receive())["type"] != "http.disconnect":
        pass
