"""The server's answers, of every status, from a model that is not there."""

from __future__ import annotations

import json
import threading
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import pytest
from fake_model import TOKEN, FakeModel, app_of, client_of, form, sound, wait_until
from fastapi import FastAPI
from fastapi.testclient import TestClient

from sottovoce.serve.page import serve_page

DISPOSITION = b'--b\r\nContent-Disposition: form-data; name="audio"'
SECURITY = {
    "x-content-type-options": "nosniff",
    "referrer-policy": "no-referrer",
    "permissions-policy": "microphone=(self)",
}


def fault(response: Any, status: int) -> str:
    """The code of an error, which has the one form that errors have."""
    assert response.status_code == status, response.text
    assert set(response.json()) == {"error"} and set(response.json()["error"]) == {"code", "what", "advice"}
    assert all(response.json()["error"].values())
    assert "/" not in response.json()["error"]["what"].replace("multipart/form-data", "")  # no path
    assert "Traceback" not in response.text and "0x" not in response.text
    assert all(response.headers[name] == value for name, value in SECURITY.items())
    assert "default-src 'self'" in response.headers["content-security-policy"]
    return str(response.json()["error"]["code"])


def test_a_typed_text_is_understood() -> None:
    with client_of(FakeModel()) as client:
        response = client.post("/v1/understand", json={"text": "turn the light on"})
    assert response.status_code == 200
    answer = response.json()
    assert len(answer.pop("id")) == 32
    times = answer.pop("milliseconds")
    assert set(times) == {"queued", "computed", "total"} and times["total"] >= times["computed"]
    assert answer == {
        "scenario": "light", "action": "on", "intent": "light_on", "entities": [{"type": "room", "filler": "hall"}],
        "status": "ok", "confidence": 0.9, "intents": [{"intent": "light_on", "probability": 0.9}],
        "text": "heard turn the light on", "seconds": None, "cut": False, "transcript": "turn the light on",
        "batch_size": 1,
    }  # fmt: skip


@pytest.mark.parametrize(
    ("kind", "options"),
    [("WAV", {}), ("FLAC", {}), ("OGG", {"subtype": "OPUS"}), ("OGG", {"subtype": "VORBIS"}), ("MP3", {})],
)
def test_a_recording_of_any_kind_and_rate_arrives_as_16_khz(kind: str, options: dict[str, str]) -> None:
    rate = 48_000 if options.get("subtype") == "OPUS" else 44_100
    with client_of(model := FakeModel()) as client:
        response = client.post("/v1/understand", **form(sound(0.5, rate, kind, **options)))
    assert response.status_code == 200 and response.json()["status"] == "unreadable"
    assert response.json()["seconds"] == pytest.approx(0.5, abs=0.1)
    assert len(model.batches[0][0]) == pytest.approx(8_000, abs=1_600)
    # An answer may hold half a surrogate pair, which no UTF-8 can.
    assert response.json()["text"] == "half a pair: \\ud800"


def test_about_and_health_and_headers() -> None:
    with client_of(FakeModel(), abstain_below=0.25) as client:
        about, health = client.get("/v1/about"), client.get("/healthz")
    assert about.json()["mode"] == "understand" and about.json()["abstain_below"] == 0.25
    assert about.json()["intents"] == ["light_on"] and about.json()["window_seconds"] == 8.0
    assert health.json() == {"status": "ok"}
    assert about.headers["cache-control"] == "no-store"
    assert all(about.headers[name] == value for name, value in SECURITY.items())


def test_before_it_is_warm_it_says_so_and_answers_nothing() -> None:
    (model := FakeModel()).go.clear()
    app, service = app_of(model)
    with TestClient(app) as client:
        health = client.get("/healthz")
        assert (health.status_code, health.json()) == (503, {"status": "starting"})
        response = client.post("/v1/understand", json={"text": "hello"})
        assert fault(response, 503) == "starting" and response.headers["retry-after"] == "1"
        model.go.set()
        wait_until(lambda: client.get("/healthz").status_code == 200)
    assert [len(batch) for batch in model.batches] == [1, 1]  # a recording and a text
    assert [isinstance(batch[0], str) for batch in model.batches] == [False, True]
    assert service.status == "stopping"


def test_a_model_that_cannot_be_warmed_stops_the_server(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("sottovoce.serve.service._WARM_TEXT", "broken")
    app, service = app_of(FakeModel())
    stopped = threading.Event()
    service.stop = stopped.set
    with TestClient(app) as client:
        assert stopped.wait(10)
        assert client.get("/healthz").json() == {"status": "stopping"}
        assert fault(client.post("/v1/understand", json={"text": "hello"}), 503) == "stopping"
    assert isinstance(service.failure, RuntimeError)


@pytest.mark.parametrize(
    ("body", "status", "code"),
    [
        (b"", 400, "malformed"),
        (b"{", 400, "malformed"),
        (b"[]", 400, "malformed"),
        (b"{}", 400, "malformed"),
        (b'{"text": 3}', 400, "malformed"),
        (b'{"text": null}', 400, "malformed"),
        (b'{"text": "on", "more": 1}', 400, "malformed"),
        (b'{"text": "\xff"}', 400, "malformed"),
        (b'{"text": "\\ud800"}', 400, "malformed"),
        (b'{"text": ""}', 422, "empty"),
        (b'{"text": " \\n "}', 422, "empty"),
        (json.dumps({"text": "on " * 200}).encode(), 422, "too_long"),
        (b'{"text": "bad"}', 422, "unusable"),
        (json.dumps({"text": "on " * 20_000}).encode(), 413, "too_large"),
        (b'{"text": "broken"}', 500, "internal"),
    ],
)
def test_a_text_that_cannot_be_understood(body: bytes, status: int, code: str) -> None:
    with client_of(FakeModel()) as client:
        response = client.post("/v1/understand", content=body, headers={"content-type": "application/json"})
        assert fault(response, status) == code
        assert client.post("/v1/understand", json={"text": "on"}).status_code == 200


@pytest.mark.parametrize(
    ("content", "status", "code"),
    [
        (b"", 422, "unusable"),
        (sound(0), 422, "unusable"),
        (sound(3), 422, "too_long"),
        (sound(1, subtype="FLOAT", amplitude=float("inf")), 422, "unusable"),
        (b"words " * 100, 415, "not_audio"),
        (sound(1, kind="FLAC")[:9000], 415, "not_audio"),
        (b"RIFF", 415, "not_audio"),
        (bytes(300_000), 413, "too_large"),
    ],
    ids=["0 bytes", "0 samples", "too long", "not finite", "words", "cut off", "four bytes", "too large"],
)
def test_a_recording_that_cannot_be_understood(content: bytes, status: int, code: str) -> None:
    with client_of(FakeModel(), transcripts=True, max_seconds=2.0, max_bytes=200_000) as client:
        for route in ("/v1/understand", "/v1/transcribe"):
            assert fault(client.post(route, **form(content)), status) == code
        assert client.post("/v1/understand", **form(sound())).status_code == 200


@pytest.mark.parametrize(
    ("content_type", "body", "status"),
    [
        ("audio/wav", sound(), 415),
        ("text/plain", b'{"text": "on"}', 415),
        ("", b"x", 415),
        ("application/x-www-form-urlencoded", b"audio=3", 415),
        ("multipart/form-data", b"--b\r\n", 400),
        ("multipart/form-data; boundary=b", b"no boundary", 400),
        ("multipart/form-data; boundary=b", b"--b\r\nContent-Disposition: form-data\r\n\r\nx\r\n--b--\r\n", 400),
        ("multipart/form-data; boundary=b", DISPOSITION + b"\r\n\r\nnot a file\r\n--b--\r\n", 400),
        ("multipart/form-data; boundary=b", DISPOSITION + b'; filename="a"\r\n\r\ncut', 400),
    ],
)  # fmt: skip
def test_a_body_of_another_kind(content_type: str, body: bytes, status: int) -> None:
    with client_of(FakeModel()) as client:
        response = client.post("/v1/understand", content=body, headers={"content-type": content_type})
        assert fault(response, status) == ("wrong_type" if status == 415 else "malformed")


def test_what_is_not_there_and_wrong_methods() -> None:
    with client_of(FakeModel()) as client:
        assert fault(client.get("/v1/nothing"), 404) == "not_found"
        assert fault(client.get("/docs"), 404) == "not_found"
        response = client.put("/v1/understand")
        assert fault(response, 405) == "method_not_allowed" and response.headers["allow"] == "POST"


def test_transcripts_only_where_they_are_asked_for() -> None:
    with client_of(FakeModel()) as client:
        assert fault(client.post("/v1/transcribe", **form(sound())), 404) == "no_transcripts"
    with client_of(model := FakeModel(), transcripts=True) as client:
        answer = client.post("/v1/transcribe", **form(sound())).json()
        assert answer["transcript"] == "8000 samples" and set(answer) == {"id", "transcript", "milliseconds"}
        client.post("/v1/understand", json={"text": "on"})
    assert len(model.threads) == 1  # the two never compete


def test_what_takes_too_long_is_504_and_leaves_the_queue() -> None:
    with client_of(model := FakeModel(), timeout_seconds=0.2) as client:
        model.go.clear()
        assert fault(client.post("/v1/understand", json={"text": "held up"}), 504) == "timeout"
        assert fault(client.post("/v1/understand", json={"text": "behind it"}), 504) == "timeout"
        model.go.set()
        assert client.post("/v1/understand", json={"text": "next"}).status_code == 200
    assert model.batches == [["held up"], ["next"]]


def test_a_full_queue_is_503_with_a_time_to_try_again() -> None:
    with client_of(model := FakeModel(), max_queue=2, max_batch_size=1) as client, ThreadPoolExecutor(3) as threads:
        model.go.clear()
        asked = [threads.submit(client.post, "/v1/understand", json={"text": "1"})]
        wait_until(lambda: model.batches)
        asked += [threads.submit(client.post, "/v1/understand", json={"text": text}) for text in "23"]
        wait_until(lambda: "sottovoce_queue_length 2.0" in client.get("/metrics").text)
        response = client.post("/v1/understand", json={"text": "4"})
        assert fault(response, 503) == "busy" and int(response.headers["retry-after"]) >= 1
        model.go.set()
        assert [each.result().status_code for each in asked] == [200, 200, 200]


def test_requests_at_the_same_time_share_a_batch_texts_and_recordings() -> None:
    with client_of(model := FakeModel()) as client, ThreadPoolExecutor(5) as threads:
        model.go.clear()
        asked = [threads.submit(client.post, "/v1/understand", json={"text": "first"})]
        wait_until(lambda: model.batches)
        asked += [threads.submit(client.post, "/v1/understand", json={"text": text}) for text in ("a", "b")]
        asked += [threads.submit(client.post, "/v1/understand", **form(sound()))]
        asked += [threads.submit(client.post, "/v1/understand", json={"text": "bad"})]
        wait_until(lambda: "sottovoce_queue_length 4.0" in client.get("/metrics").text)
        model.go.set()
        statuses = [each.result().status_code for each in asked]
    assert statuses == [200, 200, 200, 200, 422]  # the bad one fails alone
    assert [len(batch) for batch in model.batches] == [1, 4, 1, 1, 1, 1]


def test_a_token_is_asked_for_where_it_must_be(tmp_path: Path) -> None:
    with client_of(FakeModel(), token=TOKEN) as client:
        assert client.get("/healthz").status_code == 200
        for authorization in (None, f"Bearer {TOKEN}x", TOKEN, "Bearer é"):
            given = {} if authorization is None else {"authorization": authorization}
            raw = {name: value.encode() for name, value in given.items()}
            for path in ("/v1/about", "/metrics", "/v1/openapi.json", "/v1/nothing"):
                response = client.get(path, headers=raw)  # type: ignore[arg-type]
                assert fault(response, 401) == "unauthorized"
                assert response.headers["www-authenticate"] == "Bearer"
            assert fault(client.post("/v1/understand", **form(sound()), headers=raw), 401)  # type: ignore[arg-type]
        known = {"authorization": f"bearer {TOKEN}"}
        assert client.get("/v1/about", headers=known).status_code == 200
        assert client.get("/metrics", headers=known).status_code == 200
        assert client.post("/v1/understand", json={"text": "on"}, headers=known).status_code == 200


def test_another_sites_page_cannot_send() -> None:
    with client_of(FakeModel()) as client:
        strange = {"sec-fetch-site": "cross-site"}
        assert fault(client.post("/v1/understand", json={"text": "on"}, headers=strange), 403) == "cross_site"
        own = {"sec-fetch-site": "same-origin"}
        assert client.post("/v1/understand", json={"text": "on"}, headers=own).status_code == 200


def test_where_only_this_machine_may_ask_strange_names_are_refused() -> None:
    app, _ = app_of(FakeModel(), own_names=("localhost", "127.0.0.1", "[::1]"))
    with TestClient(app) as client:
        for name in ("localhost", "localhost:8765", "127.0.0.1:80", "[::1]:8765", "LOCALHOST"):
            assert client.get("/v1/about", headers={"host": name}).status_code == 200
        for name in ("evil.example", "evil.example:8765", "localhost.evil.example", "127.0.0.1.evil.example:1", ""):
            for path in ("/v1/about", "/", "/healthz"):
                assert fault(client.get(path, headers={"host": name}), 403) == "strange_host"


def test_metrics_count_by_route_and_status() -> None:
    with client_of(FakeModel(), transcripts=True) as client:
        client.post("/v1/transcribe", **form(sound(0.5)))
        client.post("/v1/understand", json={"text": "on"})
        client.post("/v1/understand", json={"text": ""})
        client.post("/v1/understand", **form(sound(1.5)))
        client.get("/v1/a-strange-path")
        page = client.get("/metrics")
    assert page.headers["content-type"].startswith("text/plain")
    for line in (
        'sottovoce_requests_total{route="/v1/understand",status="200"} 2.0',
        'sottovoce_requests_total{route="/v1/understand",status="422"} 1.0',
        'sottovoce_requests_total{route="other",status="404"} 1.0',
        'sottovoce_request_seconds_count{route="/v1/understand"} 3.0',
        'sottovoce_batch_size_count{work="understand"} 4.0',  # two of them of the warming
        "sottovoce_audio_seconds_total 2.0",
        "sottovoce_queue_length 0.0",
    ):
        assert line in page.text.splitlines()
    assert "a-strange-path" not in page.text


def test_the_page_is_served_from_its_folder_alone(tmp_path: Path) -> None:
    (tmp_path / "page").mkdir()
    (tmp_path / "page/index.html").write_text("<title>hello</title>")
    (tmp_path / "page/app.js").write_text("1")
    (tmp_path / "secret").write_text("secret")
    app = FastAPI()
    serve_page(app, tmp_path / "page")
    client = TestClient(app)
    assert "hello" in client.get("/").text and client.get("/page/app.js").text == "1"
    assert client.get("/page/../secret").status_code == client.get("/page/%2e%2e/secret").status_code == 404
    serve_page(without := FastAPI(), tmp_path / "nowhere")
    assert TestClient(without).get("/").status_code == 404
