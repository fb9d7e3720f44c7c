"""A model that answers at once or waits for a word, an app around it, and recordings to send; none of it needs torch.

As a script it serves that app: ``python fake_model.py PORT``.
"""

from __future__ import annotations

import io
import sys
import threading
import time
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from typing import Any

import httpx
import numpy as np
import soundfile
import uvicorn
from fastapi.testclient import TestClient

from sottovoce.core.errors import UserError
from sottovoce.core.types import Entity, Frame
from sottovoce.inference.understanding import IntentProbability, Understanding
from sottovoce.serve.app import make_app
from sottovoce.serve.schemas import About
from sottovoce.serve.server import bound_socket, serve_until_stopped
from sottovoce.serve.service import Service
from sottovoce.serve.settings import ServerSettings
from sottovoce.serve.uploads import Uploads

TOKEN = "a-token-of-some-length"
FRAME = Frame("light", "on", (Entity("room", "hall"),))


class FakeModel:
    """Notes its batches; a text ``bad`` is the sender's fault, ``broken`` the server's; ``go`` holds it up."""

    window_seconds = 8.0

    def __init__(self, seconds: float = 0.0) -> None:
        self.batches: list[list[Any]] = []
        self.threads: set[int] = set()
        self.seconds = seconds
        self.go = threading.Event()
        self.go.set()

    def understand_all(self, inputs: Sequence[Any]) -> list[Understanding]:
        self.batches.append(list(inputs))
        self.threads.add(threading.get_ident())
        self.go.wait()
        time.sleep(self.seconds)
        return [self._answer(each) for each in inputs]

    def _answer(self, given: Any) -> Understanding:
        if isinstance(given, str):
            if given == "bad":
                raise UserError("the text holds what it must not", "remove it")
            if given == "broken":
                raise RuntimeError("/secret/place/model.safetensors is broken")
            likely = (IntentProbability("light", "on", 0.9),)
            return Understanding(FRAME, "ok", 0.9, likely, f"heard {given}", transcript=given)
        return Understanding(None, "unreadable", None, (), "half a pair: \ud800", len(given) / 16_000)

    def transcribe_all(self, clips: Sequence[Any]) -> list[str]:
        self.batches.append([("transcribe", clip) for clip in clips])
        self.threads.add(threading.get_ident())
        return [f"{len(clip)} samples" for clip in clips]


def app_of(
    model: Any, token: str | None = None, transcriber: Any = None, own_names: tuple[str, ...] = (), **settings: Any
) -> tuple[Any, Service]:
    """The app and its service; the fake model is its own transcriber."""
    given = ServerSettings(**settings)
    service = Service(model, transcriber or model if given.transcripts else None, given)
    about = About(
        title="a study", version="1", model="fake", intents=["light_on"], slots=["room"], window_seconds=8.0,
        transcripts=bool(given.transcripts), **given.model_dump(include={"max_seconds", "max_bytes", "abstain_below"}),
    )  # fmt: skip
    uploads = Uploads(given.max_bytes, given.max_seconds, given.upload_seconds, given.max_queue)
    return make_app(service, uploads, about, token, own_names), service


@contextmanager
def client_of(model: FakeModel, token: str | None = None, **settings: Any) -> Iterator[TestClient]:
    """A client of an app that is warm; the batches of its warming are forgotten."""
    app, _ = app_of(model, token, **settings)
    with TestClient(app, raise_server_exceptions=False) as client:
        wait_until(lambda: client.get("/healthz").status_code == 200)
        model.batches.clear()
        yield client


@contextmanager
def served(app: Any) -> Iterator[str]:
    """The address of a real server of the app, in a thread of its own; it is warm."""
    server = uvicorn.Server(uvicorn.Config(app, log_level="critical", ws="none"))
    with bound_socket("127.0.0.1", 0, False, print) as listening:
        url = f"http://127.0.0.1:{listening.getsockname()[1]}"
        thread = threading.Thread(target=server.run, kwargs={"sockets": [listening]})
        thread.start()
        try:
            wait_until(lambda: server.started and httpx.get(f"{url}/healthz").status_code == 200)
            yield url
        finally:
            server.should_exit = True
            thread.join()


def wait_until(holds: Any, seconds: float = 30.0) -> None:
    """Waits for what is sure to come."""
    end = time.monotonic() + seconds
    while not holds():
        assert time.monotonic() < end, "it never came"
        time.sleep(0.01)


def sound(seconds: float = 0.5, rate: int = 16_000, kind: str = "WAV", amplitude: float = 0.3, **options: Any) -> bytes:
    """The bytes of a recording of noise."""
    samples = amplitude * np.random.default_rng(0).uniform(-1, 1, round(rate * seconds)).astype(np.float32)
    stream = io.BytesIO()
    soundfile.write(stream, samples, rate, format=kind, **options)
    return stream.getvalue()


def form(content: bytes, name: str = "clip.wav") -> dict[str, Any]:
    """What httpx sends as a form."""
    return {"files": {"audio": (name, content, "application/octet-stream")}}


def main(port: int) -> None:
    app, service = app_of(FakeModel(0.5), max_batch_size=1, upload_seconds=1.0, max_bytes=100_000)
    with bound_socket("127.0.0.1", port, False, print) as listening:
        print(f"http://127.0.0.1:{listening.getsockname()[1]}", flush=True)
        serve_until_stopped(app, listening, 20, lambda stop: setattr(service, "stop", stop))


if __name__ == "__main__":
    main(int(sys.argv[1]))
