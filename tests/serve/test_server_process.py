"""A server in a process of its own: how it stops, and what the network does to it. Its model is not there."""

from __future__ import annotations

import signal
import socket
import sys
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import httpx
import pytest
from fake_model import FakeModel, app_of, form, sound, wait_until
from fastapi.testclient import TestClient
from server_process import Server, server_process

from sottovoce.core.errors import UserError
from sottovoce.serve.security import read_token
from sottovoce.serve.server import address_of, bound_socket, own_names, refuse_without_packages


@pytest.fixture
def server() -> Iterator[Server]:
    """A process that serves; each of its answers takes half a second."""
    with server_process(sys.executable, str(Path(__file__).parents[1] / "fake_model.py"), "0") as started:
        wait_until(lambda: started.process.poll() is not None or _status(started.url) == 200)
        yield started


def _status(url: str) -> int:
    try:
        return httpx.get(f"{url}/healthz").status_code
    except httpx.TransportError:
        return 0


@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGINT])
def test_a_server_that_is_told_to_stop_finishes_what_it_holds_and_exits_0(server: Server, number: int) -> None:
    url = server.url
    with ThreadPoolExecutor(3) as threads, httpx.Client() as idle:
        idle.get(f"{url}/healthz")  # a connection that stays open must not keep it
        ask = lambda text: httpx.post(f"{url}/v1/understand", json={"text": text}, timeout=30)  # noqa: E731
        asked = [threads.submit(ask, text) for text in "abc"]
        wait_until(lambda: "sottovoce_queue_length 2.0" in idle.get(f"{url}/metrics").text)
        server.process.send_signal(number)
        assert [each.result().json()["text"] for each in asked] == ["heard a", "heard b", "heard c"]
    assert server.process.wait(30) == 0
    assert server.said == ""
    with pytest.raises(httpx.ConnectError):
        httpx.get(f"{url}/healthz")


def test_a_client_that_sends_too_much_reads_why_it_was_refused(server: Server) -> None:
    response = httpx.post(f"{server.url}/v1/understand", timeout=30, **form(bytes(20_000_000)))
    assert (response.status_code, response.json()["error"]["code"]) == (413, "too_large")
    assert httpx.post(f"{server.url}/v1/understand", timeout=30, **form(sound())).status_code == 200


def test_a_client_that_sends_too_slowly_reads_why_it_was_refused(server: Server) -> None:
    host, port = server.url.removeprefix("http://").split(":")
    with socket.create_connection((host, int(port)), timeout=30) as line:
        line.sendall(
            b"POST /v1/understand HTTP/1.1\r\nHost: here\r\nContent-Length: 1000\r\n"
            b"Content-Type: multipart/form-data; boundary=b\r\n\r\n--b\r\n"
        )
        assert line.recv(1000).startswith(b"HTTP/1.1 408 ")


def test_an_address_that_cannot_be_had_is_one_clear_error() -> None:
    with bound_socket("127.0.0.1", 0, False, print) as first:
        port = first.getsockname()[1]
        with (
            pytest.raises(UserError, match=f"cannot listen on 127.0.0.1:{port}: Address already in use"),
            bound_socket("127.0.0.1", port, False, print),
        ):
            pass
    with pytest.raises(UserError, match=r"cannot listen on 192\.0\.2\.1:0"), bound_socket("192.0.2.1", 0, False, print):
        pass


def test_a_server_answers_to_the_address_it_is_bound_to() -> None:
    for host in ("127.0.0.1", "127.0.0.5", "LocalHost"):
        with bound_socket(host, 0, False, print) as listening:
            bound, port = listening.getsockname()[:2]
            assert address_of(listening, host) == f"http://{host}:{port}"
            names = own_names(listening, host, has_token=False)
            assert {"localhost", "127.0.0.1", "[::1]", host.lower()} <= {*names}
            assert any(bound in name for name in names)
            assert own_names(listening, host, has_token=True) == ()
            app, _ = app_of(FakeModel(), own_names=names)
            assert TestClient(app).get("/v1/about", headers={"host": f"{host}:{port}"}).status_code == 200
    with bound_socket("0.0.0.0", 0, False, print) as listening:
        assert own_names(listening, "0.0.0.0", has_token=False) == ()


@pytest.mark.skipif(not socket.has_ipv6, reason="no IPv6 here")
def test_an_address_of_colons_is_written_in_brackets() -> None:
    try:
        with bound_socket("::1", 0, False, print) as listening:
            assert address_of(listening, "::1") == f"http://[::1]:{listening.getsockname()[1]}"
    except UserError as error:
        assert error.what.startswith("cannot listen on [::1]:0: ")  # the kernel may have been told to have none


def test_strangers_are_warned_of_where_they_can_come_without_a_token() -> None:
    said: list[str] = []
    for host, has_token in (("127.0.0.1", False), ("localhost", False), ("0.0.0.0", True)):
        with bound_socket(host, 0, has_token, said.append):
            assert said == []
    with bound_socket("0.0.0.0", 0, False, said.append):
        assert len(said) == 1 and said[0].startswith("warning: ") and "--token-file" in said[0]
        assert ":0 " not in said[0]


def test_a_token_is_read_from_the_first_line_of_a_file(tmp_path: Path) -> None:
    (tmp_path / "token").write_text("  0123456789abcdef  \nmore\n")
    assert read_token(tmp_path / "token") == "0123456789abcdef"
    for content in ("", "short", "with spaces in between them", "0123456789abcdefé"):
        (tmp_path / "token").write_text(content)
        with pytest.raises(UserError, match="has no token of at least 16"):
            read_token(tmp_path / "token")
    with pytest.raises(UserError, match="cannot read the token file"):
        read_token(tmp_path / "nowhere")


def test_without_the_extra_it_says_what_to_install(monkeypatch: pytest.MonkeyPatch) -> None:
    refuse_without_packages()
    monkeypatch.setattr("sottovoce.serve.server.find_spec", lambda name: None)
    with pytest.raises(UserError, match=r"a server needs fastapi, .*; pip install 'sottovoce\[serve\]'"):
        refuse_without_packages()
