"""A small server that follows the page's contract with canned answers."""

from __future__ import annotations

import asyncio
import io
import socket
import threading
import time
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Any

import soundfile
import uvicorn
from fastapi import FastAPI, Request, Response
from fastapi.responses import FileResponse, JSONResponse
from fastapi.staticfiles import StaticFiles
from starlette.middleware.base import RequestResponseEndpoint

import sottovoce.serve
from sottovoce.serve.headers import HEADERS

if TYPE_CHECKING:
    from playwright.sync_api import Page

PAGE = Path(sottovoce.serve.__file__).parent / "page"
TRANSCRIPT = "wake me up at half past six next wednesday"
ANSWER: dict[str, Any] = {
    "id": "1",
    "scenario": "alarm",
    "action": "set",
    "intent": "alarm_set",
    "entities": [{"type": "time", "filler": "half past six"}, {"type": "date", "filler": "next wednesday"}],
    "status": "ok",
    "confidence": 0.87,
    "intents": [
        {"intent": "alarm_set", "probability": 0.87},
        {"intent": "calendar_set", "probability": 0.06},
        {"intent": "alarm_query", "probability": 0.03},
        {"intent": "timer_set", "probability": 0.01},
    ],
    "text": '{"scenario": "alarm", "action": "set"}',
    "seconds": 2.0,
    "cut": False,
    "transcript": None,
    "milliseconds": {"queued": 3.2, "computed": 181.0, "total": 190.4},
    "batch_size": 1,
}
ABOUT: dict[str, Any] = {
    "mode": "understand",
    "title": "Home commands",
    "collection": "c0ffee",
    "version": "0.1.0",
    "model": "curriculum, 5 % of the speech",
    "intents": ["alarm_set", "alarm_query", "calendar_set", "lights_on", "timer_set"],
    "slots": ["date", "time", "room"],
    "max_seconds": 30.0,
    "window_seconds": 30.0,
    "max_bytes": 8_000_000,
    "transcripts": True,
    "abstain_below": 0.5,
}
UTTERANCES = [
    ("u1", "turn the kitchen light down a little", "lights_dim"),
    ("u2", "what is the weather like in aberdeen tomorrow", "weather_query"),
    ("u3", "play some quiet music", "music_play"),
]


@dataclass
class Opened:
    """A page in the browser, the hosts it asked and what the browser complained of.

    Args:
        expected: pieces of complaints that a test brings about.
    """

    page: Page
    hosts: set[str] = field(default_factory=set)
    complaints: list[str] = field(default_factory=list)
    expected: list[str] = field(default_factory=list)


@dataclass
class StandIn:
    """The server's state; tests read and set it while the server runs.

    Args:
        about: what /v1/about answers.
        answer: what /v1/understand answers.
        faults: answers given in place of the next ones to POST requests: status, error and headers.
        token: wanted of every /v1 request, if not None.
        uploads: the audio that was sent, in order; `texts` what was typed.
        takes: recordings of label mode by utterance.
    """

    about: dict[str, Any] = field(default_factory=lambda: dict(ABOUT))
    answer: dict[str, Any] = field(default_factory=lambda: dict(ANSWER))
    faults: list[tuple[int, dict[str, str], dict[str, str]]] = field(default_factory=list)
    token: str | None = None
    speaker: str = "anna"
    uploads: list[bytes] = field(default_factory=list)
    texts: list[str] = field(default_factory=list)
    takes: dict[str, bytes] = field(default_factory=dict)
    skipped: set[str] = field(default_factory=set)
    port: int = 0
    _server: uvicorn.Server | None = None
    _thread: threading.Thread | None = None

    @property
    def address(self) -> str:
        return f"http://localhost:{self.port}/"

    def start(self) -> None:
        """Listens on a free port, on the same one after a stop."""
        listener = socket.socket()
        listener.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        listener.bind(("127.0.0.1", self.port))
        self.port = listener.getsockname()[1]
        self._server = uvicorn.Server(uvicorn.Config(make_app(self), log_level="error", timeout_graceful_shutdown=1))
        self._thread = threading.Thread(target=lambda: asyncio.run(self._server.serve([listener])))
        self._thread.start()
        while not self._server.started:
            time.sleep(0.01)

    def stop(self) -> None:
        """Goes away, as a killed server does."""
        if self._server and self._thread:
            self._server.should_exit = True
            self._thread.join()

    def next(self, after: str | None) -> dict[str, Any]:
        left = [row for row in UTTERANCES if row[0] not in self.takes and row[0] not in self.skipped]
        behind = [row for row in left if after is None or row[0] > after] or left
        utterance = None
        if behind:
            identity, transcript, intent = behind[0]
            reason = "this intent has no recording yet"
            utterance = {
                "id": identity, "transcript": transcript, "intent": intent, "entities": [], "reason": reason
            }  # fmt: skip
        return {
            "num_wanted": len(UTTERANCES) - len(self.skipped),
            "num_recorded": len(self.takes),
            "num_skipped": len(self.skipped),
            "seconds_recorded": 2.0 * len(self.takes),
            "speaker": self.speaker,
            "utterance": utterance,
            "coverage": [
                {"intent": intent, "num_recorded": int(identity in self.takes), "num_wanted": 1}
                for identity, _, intent in UTTERANCES
            ],
        }


def make_app(state: StandIn) -> FastAPI:
    """The app over a state that tests may change meanwhile."""
    app = FastAPI()

    @app.middleware("http")
    async def guard(request: Request, call_next: RequestResponseEndpoint) -> Response:
        given = request.headers.get("authorization")
        if request.url.path.startswith("/v1/") and state.token and given != f"Bearer {state.token}":
            response = _error(
                401, {"code": "unauthorized", "what": "the token is missing or wrong", "advice": "send it"}
            )
        elif request.method == "POST" and state.faults:
            response = _error(*state.faults.pop(0))
        else:
            response = await call_next(request)
        response.headers.update(HEADERS)
        return response

    @app.get("/")
    async def index() -> FileResponse:
        return FileResponse(PAGE / "index.html")

    @app.get("/v1/about")
    async def about() -> dict[str, Any]:
        return state.about

    @app.post("/v1/understand")
    async def understand(request: Request) -> dict[str, Any]:
        if request.headers["content-type"] == "application/json":
            state.texts.append((await request.json())["text"])
            return state.answer | {"seconds": None}
        state.uploads.append(await _audio(request))
        return state.answer

    @app.post("/v1/transcribe")
    async def transcribe(request: Request) -> dict[str, Any]:
        await _audio(request)
        return {"id": "2", "transcript": TRANSCRIPT, "milliseconds": ANSWER["milliseconds"]}

    @app.get("/v1/label/next")
    async def next_utterance(after: str | None = None) -> dict[str, Any]:
        return state.next(after)

    @app.get("/v1/label/recorded")
    async def recorded() -> dict[str, Any]:
        rows = [
            {"id": identity, "transcript": words, "intent": intent, "seconds": 2.0, "loudest_db": -11.6}
            for identity, words, intent in UTTERANCES
            if identity in state.takes
        ]
        return {"recordings": rows[::-1]}

    @app.put("/v1/label/speaker")
    async def speaker(request: Request) -> dict[str, str]:
        state.speaker = (await request.json())["speaker"]
        return {"speaker": state.speaker}

    @app.post("/v1/label/recording/{identity}", status_code=201)
    async def keep(identity: str, request: Request) -> dict[str, Any]:
        content = await _audio(request)
        state.takes[identity] = content
        notes = ["there is some noise before the first word"]
        return {
            "id": identity, "seconds": soundfile.info(io.BytesIO(content)).duration, "loudest_db": -11.6,
            "peak_share": 0.4, "notes": notes,
        }  # fmt: skip

    @app.post("/v1/label/skip/{identity}", status_code=204)
    async def skip(identity: str) -> None:
        state.skipped.add(identity)

    @app.delete("/v1/label/recording/{identity}", status_code=204)
    async def set_aside(identity: str) -> None:
        del state.takes[identity]

    @app.get("/v1/label/recording/{identity}")
    async def audio(identity: str) -> Response:
        return Response(state.takes[identity], media_type="audio/wav")

    app.mount("/page", StaticFiles(directory=PAGE))
    return app


async def _audio(request: Request) -> bytes:
    async with request.form() as form:
        upload = form["audio"]
        assert not isinstance(upload, str)
        return await upload.read()


def _error(status: int, error: dict[str, str], headers: dict[str, str] | None = None) -> JSONResponse:
    return JSONResponse({"error": error}, status, headers)
