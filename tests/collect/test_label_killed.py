"""The collection mode as a process of its own: killed, stopped, started again."""

import io
import random
import signal
import sys
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import httpx
import pytest
import soundfile
from made_speech import made_speech, wav_bytes
from manifest_rows import row, save_rows, spoken
from server_process import Server, server_process

from sottovoce.check.manifest import check_manifest
from sottovoce.collect.takes import open_takes
from sottovoce.core.errors import UserError
from sottovoce.data.manifest import read_manifest

NUM_UTTERANCES = 40


@pytest.fixture
def source(tmp_path: Path) -> Path:
    folder = tmp_path / "source"
    folder.mkdir()
    rows = [row(n) for n in range(NUM_UTTERANCES)]
    return save_rows(folder, *rows, spoken(folder, NUM_UTTERANCES, "test"))


@contextmanager
def serving(source: Path, out: Path) -> Iterator[tuple[Server, httpx.Client]]:
    """A server process and a client of it."""
    command = [sys.executable, "-m", "sottovoce", "label", str(source), str(out), "--port", "0", "--share", "1"]
    with (
        server_process(*command, "--speaker", "anna") as server,
        httpx.Client(base_url=server.url, timeout=20) as client,
    ):
        yield server, client


def send(client: httpx.Client, identity: str, content: bytes) -> int:
    return client.post(f"/v1/label/recording/{identity}", files={"audio": ("a.wav", content)}).status_code


def take(number: int) -> bytes:
    return wav_bytes(made_speech(4, seed=number))


def stored(content: bytes) -> bytes:
    samples, _ = soundfile.read(io.BytesIO(content), dtype="int16")
    return samples.tobytes()


def lost(out: Path, kept: dict[str, bytes]) -> list[str]:
    rows = {each.id: each for each in read_manifest(out / "manifest.jsonl")}
    assert len(rows) == NUM_UTTERANCES + 1
    return [
        identity
        for identity, content in kept.items()
        if (audio := rows[identity].audio) is None or stored(audio.read_bytes()) != stored(content)
    ]


def test_a_server_that_is_killed_between_or_within_uploads_loses_nothing_that_it_answered_201(
    source: Path, tmp_path: Path
) -> None:
    out, kept, numbers = tmp_path / "out", dict[str, bytes](), iter(range(NUM_UTTERANCES))
    for session in range(2):
        with serving(source, out) as (server, client):
            assert client.get("/v1/label/next").json()["num_recorded"] >= len(kept)
            for _ in range(3):
                number = next(numbers)
                assert send(client, f"train{number}", take(number)) == 201
                kept[f"train{number}"] = take(number)
            delay = random.Random(session).uniform(0.0, 0.05)
            killer = threading.Timer(delay, server.process.kill)
            killer.start()
            try:
                for number in numbers:
                    if send(client, f"train{number}", take(number)) == 201:
                        kept[f"train{number}"] = take(number)
            except httpx.TransportError:
                pass  # killed while it was asked; that one was not answered
            killer.join()
            server.process.wait()
            assert not lost(out, kept)
    assert len(kept) >= 6
    with serving(source, out) as (_, client):
        recorded = {each["id"] for each in client.get("/v1/label/recorded").json()["recordings"]}
        assert recorded >= kept.keys()
        assert not list((out / "audio").glob("*.part"))
    assert not lost(out, kept)


def test_ctrl_c_ends_it_well_and_the_manifest_passes_the_check(source: Path, tmp_path: Path) -> None:
    out = tmp_path / "out"
    with serving(source, out) as (server, client):
        strange = client.get("/v1/about", headers={"Host": "elsewhere.example"})
        assert strange.status_code >= 400  # another site's name that points here
        for number in range(3):
            assert send(client, f"train{number}", take(number)) == 201
        with pytest.raises(UserError, match="another process is working on"), open_takes(out, source, [], print):
            pass
        assert server.stop(signal.SIGINT) == 0
        assert server.printed.strip() == str(out / "manifest.jsonl")
        assert "3 recordings, 0.1 minutes" in server.said
    assert check_manifest(out / "manifest.jsonl").fit_to_train


def test_a_server_that_stops_finishes_the_upload_that_it_has_begun(source: Path, tmp_path: Path) -> None:
    out = tmp_path / "out"
    body = b'--b\r\nContent-Disposition: form-data; name="audio"; filename="a.wav"\r\n\r\n' + take(0) + b"\r\n--b--\r\n"

    with serving(source, out) as (server, client):
        client.get("/v1/about")

        def slowly() -> Iterator[bytes]:
            yield body[:2000]
            server.process.send_signal(signal.SIGTERM)
            time.sleep(0.3)
            yield body[2000:]

        headers = {"Content-Type": "multipart/form-data; boundary=b", "Content-Length": str(len(body))}
        assert client.post("/v1/label/recording/train0", content=slowly(), headers=headers).status_code == 201
        assert server.process.wait(timeout=20) == 0
    assert not lost(out, {"train0": take(0)})
