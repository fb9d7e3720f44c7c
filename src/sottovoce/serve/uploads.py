"""Reads request bodies within limits: bytes while streaming, time for slow clients, seconds while decoding audio."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncGenerator, AsyncIterator
from contextlib import asynccontextmanager, suppress

from starlette.datastructures import Headers, UploadFile
from starlette.formparsers import MultiPartException, MultiPartParser
from starlette.requests import Request
from starlette.types import ASGIApp, Message, Receive, Scope, Send

from sottovoce.data.audio import Samples, load_audio
from sottovoce.serve.errors import ApiError

AUDIO_FIELD = "audio"
_FORM_BYTES = 16 * 1024  # what a form may hold besides the recording
# How much of a refused upload is read, so that its client gets the response: bytes, time, and time without data.
_DRAINED_BYTES, _DRAINED_SECONDS, _IDLE_SECONDS = 64 * 2**20, 10.0, 0.5


class Uploads:
    """Reads bodies within limits.

    Args:
        max_bytes: of a recording as uploaded.
        max_seconds: of a recording.
        upload_seconds: for sending a body and, for samples, decoding it.
        max_at_once: uploads that are read or decoded at the same time, to limit memory.
    """

    def __init__(self, max_bytes: int, max_seconds: float, upload_seconds: float, max_at_once: int) -> None:
        self.max_bytes, self.max_seconds, self.upload_seconds = max_bytes, max_seconds, upload_seconds
        self._free = asyncio.Semaphore(max_at_once)

    async def body(self, request: Request, max_bytes: int) -> bytes:
        """A body of at most that many bytes.

        Raises:
            ApiError: 408, 413 or 503.
        """
        async with self._turn():
            return b"".join([chunk async for chunk in _limited(request, max_bytes)])

    async def recording(self, request: Request) -> bytes:
        """The file in the form field ``audio``, kept only in memory.

        Raises:
            ApiError: 400, 408, 413, 415 or 503.
        """
        _refuse_other_types(request)
        async with self._turn():
            return await self._received(request)

    async def samples(self, request: Request) -> Samples:
        """The recording in the form field ``audio``: mono, 16 kHz, -1..1.

        Raises:
            ApiError: as :meth:`recording`.
            NotAudioError: it is not audio.
            UserError: it is too long or unusable.
        """
        _refuse_other_types(request)
        async with self._turn():
            content = await self._received(request)
            # A thread cannot be stopped: the limits on what headers may claim keep its work short.
            return await asyncio.to_thread(load_audio, content, max_seconds=self.max_seconds)

    async def _received(self, request: Request) -> bytes:
        stream = _limited(request, self.max_bytes + _FORM_BYTES)
        parser = MultiPartParser(request.headers, stream, max_files=1, max_fields=8, max_part_size=_FORM_BYTES)
        parser.spool_max_size = 2 * (self.max_bytes + _FORM_BYTES)  # never on disk
        try:
            form = await parser.parse()
        except MultiPartException as error:
            raise ApiError(400, "malformed", "the form cannot be read", "send multipart/form-data") from error
        sent = form.get(AUDIO_FIELD)
        if not isinstance(sent, UploadFile):
            what = f"the form has no file in its field {AUDIO_FIELD!r}"
            raise ApiError(400, "malformed", what, f"send the recording as the file {AUDIO_FIELD!r}")
        content = await sent.read()
        await form.close()
        if len(content) > self.max_bytes:
            raise _too_large(self.max_bytes)
        return content

    @asynccontextmanager
    async def _turn(self) -> AsyncIterator[None]:
        if self._free.locked():
            what = "too many recordings are being sent at once"
            raise ApiError(503, "busy", what, "try again later", {"Retry-After": "1"})
        async with self._free:
            try:
                async with asyncio.timeout(self.upload_seconds):
                    yield
            except TimeoutError as error:
                what = f"sending and decoding took longer than {self.upload_seconds:g} seconds"
                raise ApiError(408, "too_slow", what, "send a smaller file, or use a faster connection") from error


def media_type(request: Request) -> str:
    """The type of a body without its parameters, in lower case."""
    return request.headers.get("content-type", "").partition(";")[0].strip().lower()


def _refuse_other_types(request: Request) -> None:
    if media_type(request) != "multipart/form-data":
        what = "a recording must be sent as multipart/form-data"
        raise ApiError(415, "wrong_type", what, f"send it in the form field {AUDIO_FIELD!r}")


async def _limited(request: Request, max_bytes: int) -> AsyncGenerator[bytes, None]:
    stated = request.headers.get("content-length", "")
    if stated.isdecimal() and int(stated) > max_bytes:
        raise _too_large(max_bytes)
    num_bytes = 0
    async for chunk in request.stream():
        num_bytes += len(chunk)
        if num_bytes > max_bytes:
            raise _too_large(max_bytes)
        yield chunk


def _too_large(max_bytes: int) -> ApiError:
    what = f"the upload is larger than {max_bytes / 2**20:.3g} MiB"
    return ApiError(413, "too_large", what, "send a shorter recording, or a smaller format such as FLAC or OGG")


class Drained:
    """ASGI middleware: reads and discards the rest of a body before a response is sent.

    If a connection is closed while its client still sends, it is reset, and the client never sees why it was refused.
    A client that sends more than the limit is cut off.
    """

    def __init__(self, app: ASGIApp) -> None:
        self._app = app

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        headers = Headers(scope=scope) if scope["type"] == "http" else Headers()
        if "content-length" not in headers and "transfer-encoding" not in headers:
            await self._app(scope, receive, send)
            return
        # A client that sent `Expect: 100-continue` sends nothing before the first receive.
        ended = headers.get("expect", "").lower() == "100-continue"

        async def receive_and_note() -> Message:
            nonlocal ended
            message = await receive()
            ended = message["type"] == "http.disconnect" or not message.get("more_body", False)
            return message

        async def drain() -> None:
            num_bytes = 0
            async with asyncio.timeout(_DRAINED_SECONDS):
                while not ended and num_bytes < _DRAINED_BYTES:
                    async with asyncio.timeout(_IDLE_SECONDS):
                        num_bytes += len((await receive_and_note()).get("body", b""))

        async def send_when_drained(message: Message) -> None:
            if message["type"] == "http.response.start" and not ended:
                with suppress(TimeoutError):
                    await drain()
            await send(message)

        await self._app(scope, receive_and_note, send_when_drained)
