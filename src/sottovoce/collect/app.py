"""The routes of label mode: what to read aloud next, uploading a recording, and what is recorded so far."""

from __future__ import annotations

from typing import Annotated

from fastapi import FastAPI, Query, Request
from fastapi.concurrency import run_in_threadpool
from fastapi.exceptions import RequestValidationError
from fastapi.responses import FileResponse, JSONResponse

from sottovoce import __version__
from sottovoce.collect import schemas
from sottovoce.collect.collection import SLACK_SECONDS, Collection, NoSuchUtteranceError, RefusedTakeError
from sottovoce.core.storage import disk_is_full
from sottovoce.serve.errors import ApiError, answer_errors, declared
from sottovoce.serve.page import serve_page
from sottovoce.serve.schemas import AUDIO_BODY
from sottovoce.serve.security import Guard
from sottovoce.serve.uploads import Drained, Uploads

UPLOAD_SECONDS, MAX_UPLOADS = 60.0, 4  # of one person, whose page may resend after an interruption
_BYTES_PER_SECOND = 96_000 * 2 * 3  # stereo at 96 kHz and 24 bits, more than browsers record


def label_app(collection: Collection, title: str, token: str | None = None, own_names: tuple[str, ...] = ()) -> FastAPI:
    """The app that collects recordings.

    Args:
        collection: an open one.
        title: of the page.
        token, own_names: see :class:`sottovoce.serve.security.Guard`.
    """
    app = FastAPI(
        title="Sottovoce label", version=__version__, description="Collects recordings of utterances.",
        openapi_url="/v1/openapi.json", docs_url=None, redoc_url=None,  # those pages load from other hosts
    )  # fmt: skip
    max_seconds = collection.window_seconds + SLACK_SECONDS
    uploads = Uploads(round(max_seconds * _BYTES_PER_SECOND), max_seconds, UPLOAD_SECONDS, MAX_UPLOADS)
    about = schemas.about_body(collection, title, uploads.max_bytes)
    answer_errors(app)
    for kind, handler in ((RefusedTakeError, _refused), (NoSuchUtteranceError, _unknown), (OSError, _not_written),
                          (RequestValidationError, _malformed)):  # fmt: skip
        app.add_exception_handler(kind, handler)
    app.add_middleware(Drained)
    app.add_middleware(Guard, token=token, own_names=own_names)
    serve_page(app)

    @app.get("/healthz", tags=["operation"])
    def health() -> dict[str, str]:
        """Whether it is up."""
        return {"status": "ok"}

    @app.get("/v1/about", tags=["about"], responses=declared(401))
    def what_is_collected() -> schemas.LabelAbout:
        return about

    @app.get("/v1/label/next", tags=["label"], responses=declared(400, 401, 404))
    def next_utterance(after: Annotated[str | None, Query(max_length=1000)] = None) -> schemas.Next:
        """What to read aloud now; with `after`, the next one in the list."""
        return schemas.next_body(collection.progress(after))

    @app.get("/v1/label/recorded", tags=["label"], responses=declared(401))
    def recorded() -> schemas.Recordings:
        """What is recorded so far, the newest first."""
        return schemas.recorded_body(collection)

    @app.put("/v1/label/speaker", tags=["label"], responses=declared(400, 401))
    def name_speaker(body: schemas.Speaker) -> schemas.Speaker:
        """Who speaks from now on."""
        collection.name_speaker(body.speaker.strip())
        return body

    # Ids may contain slashes, so they come last.
    @app.get(
        "/v1/label/recording/{identity:path}", tags=["label"], responses=declared(401, 404),
        response_class=FileResponse,
    )  # fmt: skip
    def audio(identity: str) -> FileResponse:
        """A recording, 16 kHz."""
        return FileResponse(collection.path_of(identity), media_type="audio/wav")

    @app.post(
        "/v1/label/recording/{identity:path}", tags=["label"], status_code=201, openapi_extra=AUDIO_BODY,
        responses=declared(400, 401, 403, 404, 408, 413, 415, 422, 503),
    )  # fmt: skip
    async def record(identity: str, request: Request) -> schemas.Kept:
        """Keep a recording (form field `audio`): it is on disk before the response. 422 says why it is not kept."""
        content = await uploads.recording(request)
        return schemas.kept_body(*await run_in_threadpool(collection.record, identity, content))

    @app.delete(
        "/v1/label/recording/{identity:path}", tags=["label"], status_code=204, responses=declared(401, 403, 404)
    )
    def discard(identity: str) -> None:
        """Set a recording aside; its utterance is wanted again."""
        collection.discard(identity)

    @app.post("/v1/label/skip/{identity:path}", tags=["label"], status_code=204, responses=declared(401, 403, 404))
    def skip(identity: str) -> None:
        """Do not ask for this utterance again."""
        collection.skip(identity)

    return app


# FastAPI's handlers take any exception; each is registered for one type, which the assertions state.
def _refused(request: Request, error: Exception) -> JSONResponse:
    assert isinstance(error, RefusedTakeError)
    found = error.finding
    return ApiError(422, found.code, found.what, found.advice).response()


def _unknown(request: Request, error: Exception) -> JSONResponse:
    advice = "see /v1/label/next"
    return ApiError(404, "no_such_utterance", "no such utterance is wanted or recorded here", advice).response()


def _not_written(request: Request, error: Exception) -> JSONResponse:
    assert isinstance(error, OSError)
    if not disk_is_full(error):
        raise error
    headers = {"Retry-After": "10"}
    return ApiError(503, "disk_full", "the disk is full", "free some space, then send it again", headers).response()


def _malformed(request: Request, error: Exception) -> JSONResponse:
    return ApiError(400, "malformed", "the request cannot be read", "send it as /v1/openapi.json says").response()
