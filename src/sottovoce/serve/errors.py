"""Errors as responses: JSON ``{"error": {"code", "what", "advice"}}``, never a path or a stack trace."""

from __future__ import annotations

from collections.abc import Mapping
from http import HTTPStatus
from typing import Any

from fastapi import FastAPI, Request
from fastapi.responses import JSONResponse
from pydantic import BaseModel
from starlette.exceptions import HTTPException
from starlette.requests import ClientDisconnect

from sottovoce.core.errors import UserError
from sottovoce.data.audio import NotAudioError, TooLongError
from sottovoce.serve.headers import HEADERS

_OF_HTTP = {
    400: ("malformed", "the request cannot be read", "see /v1/openapi.json"),
    404: ("not_found", "there is nothing at this address", "see /v1/openapi.json"),
    405: ("method_not_allowed", "this address does not take that method", "see the header Allow"),
}
_INTERNAL = ("internal", "something went wrong on the server", "try again; the server's log says more")


class Problem(BaseModel):
    """What is wrong, as a code and in words, and what to do about it."""

    code: str
    what: str
    advice: str


class ErrorBody(BaseModel):
    """The body of every response that is not a success."""

    error: Problem


class ApiError(Exception):
    """A response that is not a success.

    Args:
        status: of HTTP.
        code: for programs, such as ``too_large``.
        what: what is wrong, in one sentence that names no file.
        advice: what to do about it.
        headers: of the response, such as Retry-After.
    """

    def __init__(
        self, status: int, code: str, what: str, advice: str, headers: Mapping[str, str] | None = None
    ) -> None:
        self.status, self.code, self.what, self.advice, self.headers = status, code, what, advice, headers
        super().__init__(f"{status} {code}: {what}")

    def response(self) -> JSONResponse:
        return _response(self.status, (self.code, self.what, self.advice), self.headers)


def answer_errors(app: FastAPI) -> None:
    """Makes the app answer every error with :class:`ErrorBody`; a bug in the server is 500 and goes to the log."""
    app.add_exception_handler(ApiError, _api_error)
    app.add_exception_handler(UserError, _user_error)
    app.add_exception_handler(HTTPException, _http_error)
    app.add_exception_handler(ClientDisconnect, _gone)
    app.add_exception_handler(Exception, _internal)


def of_user_error(error: UserError) -> ApiError:
    """An error in what was sent. Its message names no file of the server: audio is read from bytes."""
    if isinstance(error, NotAudioError):
        return ApiError(415, "not_audio", error.what, error.advice)
    code = "too_long" if isinstance(error, TooLongError) else "unusable"
    return ApiError(422, code, error.what, error.advice)


def declared(*statuses: int) -> dict[int | str, dict[str, Any]]:
    """The errors of a route, for its documentation."""
    return {status: {"model": ErrorBody, "description": HTTPStatus(status).phrase} for status in statuses}


# FastAPI's handlers take any exception; each is registered for one type, which the assertions state.
def _api_error(request: Request, error: Exception) -> JSONResponse:
    assert isinstance(error, ApiError)
    return error.response()


def _user_error(request: Request, error: Exception) -> JSONResponse:
    assert isinstance(error, UserError)
    return of_user_error(error).response()


def _http_error(request: Request, error: Exception) -> JSONResponse:
    assert isinstance(error, HTTPException)
    return _response(error.status_code, _OF_HTTP.get(error.status_code, _OF_HTTP[400]), error.headers)


def _gone(request: Request, error: Exception) -> JSONResponse:
    # Nobody reads this, but the metrics count it.
    return _response(400, ("gone", "the client left before the response", "stay connected"), None)


def _internal(request: Request, error: Exception) -> JSONResponse:
    # FastAPI sends this outside of all middleware, and passes the error on to the log.
    return _response(500, _INTERNAL, HEADERS)


def _response(status: int, problem: tuple[str, str, str], headers: Mapping[str, str] | None) -> JSONResponse:
    code, what, advice = problem
    body = ErrorBody(error=Problem(code=code, what=what, advice=advice)).model_dump()
    return JSONResponse(body, status, dict(headers or {}))
