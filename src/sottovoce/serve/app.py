"""The server's routes, all in ``make_app``."""

from __future__ import annotations

import time
import uuid
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from typing import Any

from fastapi import APIRouter, FastAPI, Request, Response, Security
from fastapi.responses import PlainTextResponse
from fastapi.security import HTTPBearer

from sottovoce import __version__
from sottovoce.data.audio import SAMPLING_RATE, Samples
from sottovoce.serve import schemas
from sottovoce.serve.batching import Done
from sottovoce.serve.errors import answer_errors, declared
from sottovoce.serve.metrics import Measured
from sottovoce.serve.page import serve_page
from sottovoce.serve.security import Guard
from sottovoce.serve.service import Service
from sottovoce.serve.uploads import Drained, Uploads, media_type

_REFUSED = declared(400, 401, 403, 408, 413, 415, 422, 500, 503, 504)


def make_app(
    service: Service, uploads: Uploads, about: schemas.About, token: str | None = None, own_names: tuple[str, ...] = ()
) -> FastAPI:
    """The app; the service runs as long as the app does.

    Args:
        token: required by every request to ``/v1/*`` and ``/metrics``; None: no token.
        own_names: see :class:`sottovoce.serve.security.Guard`.
    """

    @asynccontextmanager
    async def lifespan(app: FastAPI) -> AsyncIterator[None]:
        async with service.running():
            yield

    app = FastAPI(
        title="Sottovoce", version=__version__, description="Understands spoken and typed commands.", lifespan=lifespan,
        openapi_url="/v1/openapi.json", docs_url=None, redoc_url=None,  # those pages load from other hosts
    )  # fmt: skip
    answer_errors(app)
    app.add_middleware(Drained)
    app.add_middleware(Guard, token=token, own_names=own_names)
    app.add_middleware(Measured, metrics=service.metrics)
    serve_page(app)
    # The guard asks for the token; this only documents it.
    routes = APIRouter(dependencies=[Security(HTTPBearer(auto_error=False))] if token else [])

    @app.get("/healthz", tags=["operation"], responses=declared(403, 500) | {503: {"model": schemas.Health}})
    async def health(response: Response) -> schemas.Health:
        """Whether requests are answered: 200 once the model is warm, 503 before that and while the server stops."""
        response.status_code = 200 if service.status == "ok" else 503
        return schemas.Health(status=service.status)

    @routes.get("/v1/about", tags=["about"], responses=declared(401, 403, 500))
    async def what_is_served() -> schemas.About:
        return about

    @routes.post("/v1/understand", tags=["understand"], responses=_REFUSED, openapi_extra=schemas.AUDIO_OR_TEXT_BODY)
    async def understand(request: Request) -> schemas.Understood:
        """The frame of a recording (form field `audio`) or of a typed text (JSON)."""
        started = time.perf_counter()
        service.refuse_unless_ready()
        given: Samples | str
        if media_type(request) == "application/json":
            given = schemas.typed_text(await uploads.body(request, schemas.MAX_TEXT_BYTES))
        else:
            given = await uploads.samples(request)
        done = await service.understand(request, given)
        service.metrics.audio.inc(done.result.seconds or 0)
        return schemas.Understood(**_facts(started, done), **done.result.as_json(), batch_size=done.batch_size)

    @routes.post(
        "/v1/transcribe", tags=["transcribe"], responses=_REFUSED | declared(404), openapi_extra=schemas.AUDIO_BODY
    )
    async def transcribe(request: Request) -> schemas.Transcribed:
        """The transcript of a recording (form field `audio`)."""
        started = time.perf_counter()
        service.refuse_transcripts_if_there_are_none()
        service.refuse_unless_ready()
        clip = await uploads.samples(request)
        done = await service.transcribe(request, clip)
        service.metrics.audio.inc(len(clip) / SAMPLING_RATE)
        return schemas.Transcribed(**_facts(started, done), transcript=done.result)

    @routes.get("/metrics", tags=["operation"], response_class=PlainTextResponse, responses=declared(401, 403, 500))
    async def metrics() -> Response:
        """Counters and histograms in Prometheus' text format."""
        return service.metrics.page()

    app.include_router(routes)
    return app


def _facts(started: float, done: Done[Any]) -> dict[str, Any]:
    total = time.perf_counter() - started
    seconds = {"queued": done.queued_seconds, "computed": done.computed_seconds, "total": total}
    return {"id": uuid.uuid4().hex, "milliseconds": {name: round(1000 * each, 3) for name, each in seconds.items()}}
