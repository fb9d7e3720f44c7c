"""Access control: a bearer token, security headers, and requests from other sites refused."""

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
    """The token on the first line of a file.

    Raises:
        UserError: there is no such file, or no token of at least 16 printable ASCII characters in it.
    """
    try:
        lines = path.read_text(encoding="utf-8").splitlines()
    except (OSError, UnicodeDecodeError) as error:
        raise UserError(f"cannot read the token file {path}", "write the token to a text file with one line") from error
    token = lines[0].strip() if lines else ""
    if len(token) < MIN_TOKEN_LETTERS or not (token.isascii() and token.isprintable()) or " " in token:
        advice = "write one with: python -c 'import secrets; print(secrets.token_urlsafe())'"
        raise UserError(f"{path} has no token of at least {MIN_TOKEN_LETTERS} ASCII characters without spaces", advice)
    return token


class Guard:
    """ASGI middleware: sets the headers, asks for the token on ``/v1/*`` and ``/metrics``, refuses other sites' writes.

    Args:
        app: what to guard.
        token: None: anyone may use it.
        own_names: refuse requests for any other host name than these; none: any host will do. Without a token this
            alone prevents DNS rebinding: another site's name that points here, so that a browser takes it for this one.
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
            # Browsers send requests on behalf of other sites' pages, which must not use or fill this server.
            await _cross_site().response()(scope, receive, send_with_headers)
        else:
            await self._app(scope, receive, send_with_headers)

    def _knows(self, authorization: str) -> bool:
        if self._token is None:
            return True
        kind, _, given = authorization.partition(" ")
        # Compared in constant time.
        same = hmac.compare_digest(given.strip().encode("utf-8"), self._token.encode("utf-8"))
        return kind.lower() == "bearer" and same


def _kept_from_strangers(path: str) -> bool:
    return path.startswith("/v1/") or path == "/metrics"


def _unauthorized() -> ApiError:
    headers = {"WWW-Authenticate": "Bearer"}
    return ApiError(401, "unauthorized", "the token is missing or wrong", "send Authorization: Bearer TOKEN", headers)


def _cross_site() -> ApiError:
    return ApiError(403, "cross_site", "the request comes from another site's page", "use this server's own page")


def _strange_name(own_names: tuple[str, ...]) -> ApiError:
    what = f"this server only answers to {', '.join(own_names)}"
    return ApiError(403, "strange_host", what, "use one of these addresses, or start the server with a token")
