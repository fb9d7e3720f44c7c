"""Bodies that are too much, too slow or end early, as the network brings them."""

from __future__ import annotations

import asyncio
import json
import threading
from collections.abc import AsyncIterator, Callable
from typing import Any

import pytest
from fake_model import FakeModel, app_of, sound
from starlette.requests import Request

from sottovoce.data.audio import load_audio
from sottovoce.serve import uploads

HEAD = b'--b\r\nContent-Disposition: form-data; name="audio"; filename="a.wav"\r\n\r\n'
END = b"\r\n--b--\r\n"
Chunks = Callable[[], AsyncIterator[bytes | None]]


def post(
    chunks: Chunks, headers: dict[str, str] | None = None, model: FakeModel | None = None, **settings: Any
) -> tuple[int, Any, int]:
    """Posts a form that arrives piece by piece, None being a client that leaves: status, body, pieces taken."""
    num_taken = 0
    sent: list[Any] = []

    async def run() -> None:
        app, service = app_of(model or FakeModel(), **settings)
        pieces = chunks()

        async def receive() -> Any:
            nonlocal num_taken
            async for piece in pieces:
                num_taken += 1
                if piece is None:
                    return {"type": "http.disconnect"}
                return {"type": "http.request", "body": piece, "more_body": piece[-len(END) :] != END}
            await asyncio.Event().wait()

        async def send(message: Any) -> None:
            sent.append(message)

        given = {"content-type": "multipart/form-data; boundary=b", "transfer-encoding": "chunked", **(headers or {})}
        scope = {
            "type": "http", "method": "POST", "path": "/v1/understand", "raw_path": b"/v1/understand", "root_path": "",
            "query_string": b"", "headers": [(name.encode(), value.encode()) for name, value in given.items()],
            "http_version": "1.1", "scheme": "http", "client": ("127.0.0.1", 1), "server": ("127.0.0.1", 2),
        }  # fmt: skip
        async with asyncio.timeout(60), service.running():
            while service.status != "ok":
                await asyncio.sleep(0.01)
            await app(scope, receive, send)

    asyncio.run(run())
    body = b"".join(message.get("body", b"") for message in sent)
    return sent[0]["status"], json.loads(body), num_taken


def pieces_of(*pieces: bytes | None, wait_seconds: float = 0.0) -> Chunks:
    async def chunks() -> AsyncIterator[bytes | None]:
        for piece in pieces:
            await asyncio.sleep(wait_seconds)
            yield piece

    return chunks


def test_a_recording_in_many_pieces_is_put_together() -> None:
    whole = HEAD + sound() + END
    pieces = [whole[start : start + 1000] for start in range(0, len(whole), 1000)]
    status, body, _ = post(pieces_of(*pieces))
    assert (status, body["seconds"]) == (200, 0.5)


def test_a_huge_body_is_refused_while_it_streams_and_the_rest_is_forgotten() -> None:
    pieces = [HEAD, *[bytes(50_000)] * 100, END]
    status, body, num_taken = post(pieces_of(*pieces), max_bytes=100_000)
    assert (status, body["error"]["code"]) == (413, "too_large")
    assert num_taken == len(pieces)  # taken, so that the client comes to read the answer


def test_a_body_without_end_is_cut_off(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(uploads, "_DRAINED_BYTES", 1_000_000)
    pieces = [HEAD, *[bytes(50_000)] * 1000]
    status, _, num_taken = post(pieces_of(*pieces), max_bytes=100_000)
    assert status == 413
    assert num_taken < 40


def test_a_stated_length_that_is_too_much_is_refused_before_anything_is_read() -> None:
    headers = {"content-length": str(10**9), "expect": "100-continue"}
    status, body, num_taken = post(pieces_of(HEAD), headers, max_bytes=100_000)
    assert (status, body["error"]["code"], num_taken) == (413, "too_large", 0)


def test_a_slow_upload_is_408(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(uploads, "_DRAINED_SECONDS", 0.1)
    slow = pieces_of(HEAD, *[b"x"] * 1000, wait_seconds=0.05)
    status, body, num_taken = post(slow, upload_seconds=0.3)
    assert (status, body["error"]["code"]) == (408, "too_slow")
    assert num_taken < 100


def test_a_client_that_leaves_while_it_sends_is_no_fault_of_the_server() -> None:
    status, body, _ = post(pieces_of(HEAD, None))
    assert (status, body["error"]["code"]) == (400, "gone")


def test_a_client_that_leaves_while_it_waits_leaves_the_queue() -> None:
    model = FakeModel()

    async def chunks() -> AsyncIterator[bytes | None]:
        model.batches.clear()
        yield HEAD + sound() + END
        yield None

    # The first of a batch would wait this long for others.
    status, body, _ = post(chunks, model=model, max_wait_seconds=0.3)
    assert (status, body["error"]["code"]) == (400, "gone")
    assert model.batches == []


def test_more_uploads_at_once_than_may_be_are_503() -> None:
    async def run() -> tuple[int, str]:
        reading = uploads.Uploads(1000, 1.0, 5.0, max_at_once=1)
        async with reading._turn():
            with pytest.raises(uploads.ApiError) as caught:
                async with reading._turn():
                    pass
        async with reading._turn():
            return caught.value.status, caught.value.code

    assert asyncio.run(run()) == (503, "busy")


def test_what_decodes_counts_as_an_upload_and_has_no_more_time(monkeypatch: pytest.MonkeyPatch) -> None:
    decoding, go = threading.Event(), threading.Event()

    def decode(content: bytes, max_seconds: float) -> Any:
        decoding.set()
        go.wait()
        return load_audio(content, max_seconds=max_seconds)

    monkeypatch.setattr(uploads, "load_audio", decode)
    body = HEAD + sound() + END
    headers = [(b"content-type", b"multipart/form-data; boundary=b")]

    async def run() -> None:
        async def receive() -> Any:
            return {"type": "http.request", "body": body, "more_body": False}

        def read(reading: uploads.Uploads) -> asyncio.Task[Any]:
            return asyncio.create_task(reading.samples(Request({"type": "http", "headers": headers}, receive)))

        try:
            async with asyncio.timeout(20):
                patient = uploads.Uploads(100_000, 1.0, 60.0, max_at_once=1)
                first = read(patient)
                await asyncio.to_thread(decoding.wait)
                with pytest.raises(uploads.ApiError) as caught:
                    await read(patient)
                assert (caught.value.status, caught.value.code) == (503, "busy")
                with pytest.raises(uploads.ApiError) as caught:
                    await read(uploads.Uploads(100_000, 1.0, 0.1, max_at_once=1))
                assert (caught.value.status, caught.value.code) == (408, "too_slow")
                go.set()
                assert len(await first) == 8000
        finally:
            go.set()

    asyncio.run(run())
