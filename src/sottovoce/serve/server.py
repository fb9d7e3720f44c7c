"""Runs an app at an address until it is stopped: for `sottovoce serve` and `sottovoce label`."""

from __future__ import annotations

import signal
import socket
from collections.abc import Callable, Iterator
from contextlib import ExitStack, contextmanager
from importlib.util import find_spec
from ipaddress import ip_address
from typing import Any

from sottovoce.core.errors import UserError

LOCAL_NAMES = ("localhost", "127.0.0.1", "[::1]")
_PACKAGES = ("fastapi", "uvicorn", "python_multipart", "prometheus_client")  # of the extra `serve`


def refuse_without_packages() -> None:
    """Raises UserError if a package that a server needs is not installed."""
    if missing := [name for name in _PACKAGES if find_spec(name) is None]:
        raise UserError(f"a server needs {', '.join(missing)}", "pip install 'sottovoce[serve]'")


@contextmanager
def bound_socket(host: str, port: int, has_token: bool, say: Callable[[str], None]) -> Iterator[socket.socket]:
    """A socket that listens at that address (port 0: any free port); ``say`` gets a warning if anyone can use it.

    From then on clients wait for the server instead of being refused.

    Raises:
        UserError: the address is not this machine's, or is in use.
    """
    with ExitStack() as stack:
        try:
            family, kind, protocol, _, address = socket.getaddrinfo(host, port, type=socket.SOCK_STREAM)[0]
            listening = stack.enter_context(socket.socket(family, kind, protocol))
            listening.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
            listening.bind(address)
            listening.listen()  # two sockets may be bound to one port until one listens
        except OSError as error:
            what = f"cannot listen on {_bracketed(host)}:{port}: {error.strerror or error}"
            raise UserError(what, "choose another with --host and --port") from error
        if not has_token and not _is_local(listening):
            where = address_of(listening, host)
            say(f"warning: anyone who can reach {where} can use it, since there is no token; see --token-file")
        yield listening


def address_of(listening: socket.socket, host: str) -> str:
    """The URL of a server that listens on ``host``."""
    return f"http://{_bracketed(host)}:{listening.getsockname()[1]}"


def own_names(listening: socket.socket, host: str, has_token: bool) -> tuple[str, ...]:
    """The host names that :class:`sottovoce.serve.security.Guard` accepts, in lower case.

    None, which means any, if there is a token or the server is open to other machines.
    """
    if has_token or not _is_local(listening):
        return ()
    bound = listening.getsockname()[0]
    return tuple(dict.fromkeys((*LOCAL_NAMES, _bracketed(host.lower()), _bracketed(bound))))


def _bracketed(host: str) -> str:
    return f"[{host}]" if ":" in host else host


def _is_local(listening: socket.socket) -> bool:
    """Whether only this machine can reach a bound socket."""
    return ip_address(listening.getsockname()[0]).is_loopback


def serve_until_stopped(
    app: Any, listening: socket.socket, closing_seconds: int,
    take_stop: Callable[[Callable[[], None]], None] = lambda stop: None,
) -> None:  # fmt: skip
    """Serves an ASGI app until SIGTERM or SIGINT, then finishes what it has accepted.

    Args:
        closing_seconds: how long it may take to finish.
        take_stop: is called with a function that stops the server.
    """
    import uvicorn

    config = uvicorn.Config(
        app, log_level="warning", access_log=False, server_header=False, ws="none", lifespan="on", proxy_headers=False,
        timeout_graceful_shutdown=closing_seconds,
    )  # fmt: skip
    server = uvicorn.Server(config)
    take_stop(lambda: setattr(server, "should_exit", True))
    # When it has stopped, uvicorn raises the signal again, which is no error here.
    before = {number: signal.signal(number, lambda *_: None) for number in (signal.SIGTERM, signal.SIGINT)}
    try:
        server.run(sockets=[listening])
    finally:
        for number, handler in before.items():
            signal.signal(number, handler)
