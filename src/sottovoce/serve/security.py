"""Who may ask, and which headers browsers get: a bearer token, headers, and requests of other sites refused."""

from __future__ import annotations

import hmac
import re
from pathlib import Path

from starlette.datastructures import Headers, MutableHeaders
from starlette.types import ASGIApp, Message, Receive, Scope, Send

from sottovoce.core.errors import UserError
from sottovoce.serve.errors import ApiError
from sottovoce.serve.headers import HEADERS

MIN_TOKEN_LETTERS = 16


def read_token(path: Path) -> str:
    """The token in the first line of a file.

    Raises:
        UserError: no such file, or no token of at least 16 printable ASCII letters in it.
    """
    try:
        lines = path.read_text(encoding="utf-8").splitlines()
    except (OSError, UnicodeDecodeError) as error:
        raise UserError(f"cannot read the token file {path}", "write the token into a text file of one line") from error
    token = lines[0].strip() if lines else ""
    if len(token) < MIN_TOKEN_LETTERS or not (token.isascii() and token.isprintable()) or " " in token:
        advice = "write one with: python -c 'import secrets; print(secrets.token_urlsafe())'"
        raise UserError(f"{path} holds no token of {MIN_TOKEN_LETTERS} or more letters without spaces", advice)
    return token


class Guard:
    """ASGI middleware: sets the headers, asks for the token on ``/v1/*`` and ``/metrics``, refuses other sites' writes.

    Args:
        app: what is guarded.
        token: None if anyone may ask.
        own_names: refuse what was not asked of this machine by one of these names; none if any will do. Without a token
            nothing else keeps another site from pointing its name here, to be taken by the browser for the site that
            this page is of.
    """

    def __init__(self, app: ASGIApp, token: str | None = None, own_names: tuple[str, ...] = ()) -> None:
        self._app, self._token, self._own_names = app, token, own_names

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        if scope["type"] != "http":
            await self._app(scope, receive, send)
            return

        async def send_with_headers(message: Message) -> None:
            if message["type"] == "http.response.start":
                headers = MutableHeaders(scope=message)
                headers.update(HEADERS)
                headers.setdefault("Cache-Control", "no-store" if _kept_from_strangers(scope["path"]) else "no-cache")
            await send(message)

        headers = Headers(scope=scope)
        if _kept_from_strangers(scope["path"]) and not self._knows(headers.get("authorization", "")):
            await _unauthorized().response()(scope, receive, send_with_headers)
        elif self._own_names and re.sub(r":\d*$", "", headers.get("host", "")).lower() not in self._own_names:
            await _strange_name(self._own_names).response()(scope, receive, send_with_headers)
        elif scope["method"] not in ("GET", "HEAD") and headers.get("sec-fetch-site") == "cross-site":
            # Browsers send what another site's page asks for, and such a page must not use or fill this server.
            await _cross_site().response()(scope, receive, send_with_headers)
        else:
            await self._app(scope, receive, send_with_headers)

    def _knows(self, authorization: str) -> bool:
        if self._token is None:
            return True
        kind, _, given = authorization.partition(" ")
        # Compared in a time that does not tell how much of it is right.
        same = hmac.compare_digest(given.strip().encode("utf-8"), self._token.encode("utf-8"))
        return kind.lower() == "bearer" and same


def _kept_from_strangers(path: str) -> bool:
    return path.startswith("/v1/") or path == "/metrics"


def _unauthorized() -> ApiError:
    headers = {"WWW-Authenticate": "Bearer"}
    return ApiError(401, "unauthorized", "the token is missing or wrong", "send Authorization: Bearer TOKEN", headers)


def _cross_site() -> ApiError:
    return ApiError(403, "cross_site", "another site's page asked for this", "use this server's own page")


def _strange_name(own_names: tuple[str, ...]) -> ApiError:
    what = f"this server answers to no other name than {', '.join(own_names)}"
    return ApiError(403, "strange_host", what, "use such an address, or start it with a token")
