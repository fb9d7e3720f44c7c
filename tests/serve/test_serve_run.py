"""``sottovoce serve`` on the tiny study: a whole server in a process of its own."""

from __future__ import annotations

import json
import re
import signal
import sys
import time
from collections import Counter
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from pathlib import Path
from statistics import median
from typing import Any

import httpx
import numpy as np
import pytest
from fake_model import TOKEN, form, sound, wait_until
from server_process import Server, server_process

from sottovoce.inference.model import load_model_of
from sottovoce.inference.transcriber import Transcriber, load_transcriber_of
from sottovoce.models.load import LoadedModel
from sottovoce.serve.run import _about, _model_of
from sottovoce.serve.settings import ServerSettings

FORM_HEADERS = {"content-type": "multipart/form-data; boundary=b"}
MAX_BYTES = 2**20
SETTLED_AFTER = 300  # requests; by then every kind has been met, and the allocators have what they keep
MOST_GROWTH_BYTES = 20 * 2**20


@contextmanager
def serving(run: Path, *options: str) -> Iterator[Server]:
    """The verb in a process of its own, warm."""
    with server_process(sys.executable, "-m", "sottovoce", "serve", str(run), "--port", "0", *options) as server:
        wait_until(lambda: httpx.get(f"{server.url}/healthz").status_code == 200, 120)
        yield server


def test_a_transcriber_is_the_model_before_its_training(loaded: LoadedModel, tiny_study: Path) -> None:
    clips = [np.sin(np.arange(number) / 5).astype(np.float32) for number in (8_000, 16_000, 50_000)]
    heard = Transcriber(loaded, "en-US").transcribe_all(clips)
    assert len(heard) == 3 and any(heard)
    assert Transcriber(loaded, "en-US").transcribe_all(clips[1:2]) == heard[1:2]
    run = tiny_study / "cells/curriculum-30pct"
    own = load_transcriber_of(run, lambda line: None)
    untrained = own.loaded.model.state_dict()
    trained = load_model_of(run).loaded.model.state_dict()
    moved = [name for name in untrained if name in trained and not untrained[name].equal(trained[name])]
    assert own.transcribe_all(clips[:1]) and (moved or untrained.keys() != trained.keys())


def test_what_is_told_of_a_run_names_no_path(tiny_study: Path) -> None:
    about = _about(tiny_study / "cells/text_only", ServerSettings(max_seconds=4.0), float("inf"))
    assert about.intents == ["light_off", "light_on", "music_play"] and about.slots == ["room"]
    assert (about.title, about.model, about.window_seconds) == ("tiny: text_only", "model", 4.0)
    assert str(tiny_study) not in about.model_dump_json() and "/" not in about.model_dump_json()


def test_as_many_are_computed_together_as_the_server_says(tiny_study: Path) -> None:
    run = tiny_study / "cells/text_only"
    size = load_model_of(run).settings.batch_size + 3
    model = _model_of(run, ServerSettings(max_batch_size=size, abstain_below=0.5), lambda line: None)
    assert (model.settings.batch_size, model.abstain_below) == (size, 0.5)


@pytest.mark.slow
def test_a_run_is_served_until_it_is_told_to_stop(tiny_study: Path, tiny_corpus: Path, tmp_path: Path) -> None:
    (tmp_path / "token").write_text(TOKEN)
    clip = next(iter(sorted(tiny_corpus.parent.glob("audio/*.wav"))))
    run = tiny_study / "cells/curriculum-30pct"
    with serving(run, "--transcripts", "--token-file", str(tmp_path / "token")) as server:
        url = server.url
        assert httpx.post(f"{url}/v1/understand", json={"text": "light on"}).status_code == 401
        with httpx.Client(base_url=url, headers={"authorization": f"Bearer {TOKEN}"}, timeout=60) as client:
            assert client.get("/v1/about").json()["transcripts"] is True
            answer = client.post("/v1/understand", **form(clip.read_bytes())).json()
            assert client.post("/v1/transcribe", **form(clip.read_bytes())).json().keys() >= {"transcript"}
        expected = load_model_of(run).understand(clip).as_json()
        assert {key: answer[key] for key in expected} == json.loads(json.dumps(expected))
        assert server.stop(signal.SIGTERM) == 0


def kinds() -> dict[str, tuple[dict[str, Any], set[int]]]:
    """What is sent, and how it may be answered."""
    tiny_bomb = sound(120, 8_000, "FLAC", amplitude=0)  # two minutes of silence in a few bytes
    assert len(tiny_bomb) < 50_000
    return {
        "text": ({"json": {"text": "light on hall"}}, {200}),
        "speech": (form(sound(0.6)), {200}),
        "another rate": (form(sound(0.6, 44_100, "FLAC")), {200}),
        "silent": (form(sound(0.6, amplitude=0)), {200}),
        "beyond the window": (form(sound(5.0)), {200}),
        "truncated FLAC": (form(sound(0.6, kind="FLAC")[:6000]), {415}),
        "truncated form": ({"content": b"--b\r\n", "headers": FORM_HEADERS}, {400}),
        "huge": (form(bytes(3 * MAX_BYTES)), {413}),
        "unpacks to much": (form(tiny_bomb), {422}),
        "words": (form(b"words " * 500), {415}),
        "0 bytes": (form(b""), {422}),
        "no samples": (form(sound(0)), {422}),
        "not finite": (form(sound(0.5, subtype="FLOAT", amplitude=float("nan"))), {422}),
        "wrong type": ({"content": sound(), "headers": {"content-type": "audio/wav"}}, {415}),
        "not JSON": ({"content": b"{", "headers": {"content-type": "application/json"}}, {400}),
        "empty text": ({"json": {"text": " "}}, {422}),
        "long text": ({"json": {"text": "on " * 1000}}, {422}),
    }  # fmt: skip


def slowly() -> Iterator[bytes]:
    """A body that stops coming."""
    yield b"--b\r\n"
    time.sleep(1.5)
    yield b"--b--\r\n"


@pytest.mark.slow
def test_1000_good_and_bad_requests_are_answered_and_leave_no_memory_behind(tiny_study: Path) -> None:
    """Judged by the resident set that /metrics tells: after the first requests its median may not grow by more."""
    options = ("--max-seconds", "20", "--max-megabytes", "1", "--upload-seconds", "1")
    sent = kinds()
    names = [[*sent][number % len(sent)] for number in range(1000)]
    names[50::100] = ["slow"] * 10
    answered, memory = Counter[tuple[str, int]](), list[float]()
    with serving(tiny_study / "cells/text_only", *options) as server, httpx.Client(timeout=120) as client:
        url = server.url

        def ask(name: str) -> None:
            if name == "slow":
                response = client.post(f"{url}/v1/understand", content=slowly(), headers=FORM_HEADERS)
                allowed = {408}
            else:
                options, allowed = sent[name]
                response = client.post(f"{url}/v1/understand", **options)
            assert response.status_code in allowed, (name, response.status_code, response.text)
            assert response.status_code == 200 or response.json()["error"].keys() == {"code", "what", "advice"}
            assert str(tiny_study) not in response.text and "Traceback" not in response.text
            answered[name, response.status_code] += 1
            line = re.findall(r"^process_resident_memory_bytes (\S+)", client.get(f"{url}/metrics").text, re.M)
            memory.append(float(line[0]))

        with ThreadPoolExecutor(8) as threads:
            list(threads.map(ask, names))
        assert answered.total() == 1000
        assert client.post(f"{url}/v1/understand", json={"text": "light on"}).status_code == 200
        settled, last = memory[SETTLED_AFTER : SETTLED_AFTER + 200], memory[-200:]
        print(f"resident: {median(settled) / 2**20:.1f} MiB settled, {median(last) / 2**20:.1f} MiB at the end")
        assert median(last) - median(settled) < MOST_GROWTH_BYTES
        assert server.stop(signal.SIGTERM) == 0
