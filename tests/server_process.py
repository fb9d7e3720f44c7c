"""Servers in processes of their own: where they are and what they said; none of them outlives its test."""

from __future__ import annotations

import re
import subprocess
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from tempfile import TemporaryDirectory

from fake_model import wait_until


@dataclass(frozen=True)
class Server:
    """A server that has said where it is; ``printed`` and ``said`` are its standard output and error so far."""

    process: subprocess.Popen[bytes]
    url: str
    folder: Path

    @property
    def printed(self) -> str:
        return (self.folder / "printed").read_text()

    @property
    def said(self) -> str:
        return (self.folder / "said").read_text()

    def stop(self, number: int) -> int:
        """Sends a signal, and waits for the exit status."""
        self.process.send_signal(number)
        return self.process.wait(60)


@contextmanager
def server_process(*command: str) -> Iterator[Server]:
    """Starts a server and waits until it names its address. If the test fails, pytest shows what the server said."""
    with TemporaryDirectory() as name:
        folder = Path(name)
        with (
            (folder / "printed").open("wb") as printed,
            (folder / "said").open("wb") as said,
            subprocess.Popen(command, stdout=printed, stderr=said) as process,
        ):
            server = Server(process, "", folder)
            try:
                wait_until(lambda: _url(server) or process.poll() is not None, 120)
                assert _url(server), "it ended before it said where it is"
                yield Server(process, _url(server), folder)
            except BaseException:
                print(server.printed + server.said)
                raise
            finally:
                process.kill()


def _url(server: Server) -> str:
    found = re.search(r"(http://\S+?:\d+)[;/\s]", server.printed + server.said)
    return found[1] if found else ""
