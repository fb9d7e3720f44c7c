"""The collection mode over HTTP, in this process."""

import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any
from urllib.parse import quote

import pytest
import soundfile
from fastapi.testclient import TestClient
from made_speech import made_speech, wav_bytes
from manifest_rows import row, save_rows, spoken

from sottovoce.collect.app import label_app
from sottovoce.collect.collection import Collection, open_collection
from sottovoce.core.errors import UserError
from sottovoce.data.manifest import read_manifest

GOOD = wav_bytes(made_speech(4))
SLASHED = "room/4?#"


@pytest.fixture
def source(tmp_path: Path) -> Path:
    """Twelve train utterances of two intents, the last with a recording, one with an id that is no file name."""
    folder = tmp_path / "source"
    folder.mkdir()
    rows = [row(n, action="off" if n % 3 == 2 else "on") for n in range(11)]
    rows[4]["id"] = SLASHED
    return save_rows(folder, *rows, spoken(folder, 11), spoken(folder, 12, "test"))


@pytest.fixture
def collection(tmp_path: Path, source: Path) -> Iterator[Collection]:
    with open_collection(source, tmp_path / "out", [].append, num_utterances=6) as opened:
        yield opened


@pytest.fixture
def client(collection: Collection) -> TestClient:
    return TestClient(label_app(collection, "out"), raise_server_exceptions=False)


def path_of(identity: str, what: str = "recording") -> str:
    return f"/v1/label/{what}/{quote(identity, safe='')}"


def upload(client: TestClient, identity: str, content: bytes = GOOD) -> Any:
    return client.post(path_of(identity), files={"audio": ("recording.wav", content, "audio/wav")})


def following(client: TestClient, after: str | None = None) -> Any:
    return client.get("/v1/label/next", params={} if after is None else {"after": after}).json()


def error(answer: Any) -> tuple[int, str]:
    body = answer.json()["error"]
    assert set(body) == {"code", "what", "advice"} and body["what"]
    assert "Traceback" not in answer.text and "/out" not in answer.text
    return answer.status_code, body["code"]


def test_about_says_what_is_collected(client: TestClient, collection: Collection) -> None:
    about = client.get("/v1/about").json()
    assert about["mode"] == "label" and about["title"] == "out" and about["collection"] == collection.name
    assert about["intents"] == ["lamp_off", "lamp_on"] and about["slots"] == ["device"]
    assert about["max_seconds"] == about["window_seconds"] == 12.0
    assert about["max_bytes"] > 8 * 48_000 * 2


def test_recording_until_nothing_is_left(client: TestClient, tmp_path: Path) -> None:
    client.put("/v1/label/speaker", json={"speaker": " anna "})
    heard = []
    for number in range(6):
        told = following(client)
        assert (told["num_wanted"], told["num_recorded"]) == (6, number)
        assert set(told["utterance"]) == {"id", "transcript", "intent", "entities", "reason"}
        heard.append(told["utterance"]["id"])
        answer = upload(client, heard[-1])
        assert answer.status_code == 201
        kept = answer.json()
        assert kept["id"] == heard[-1] and kept["notes"] == []
        assert kept["seconds"] == pytest.approx(len(made_speech(4)) / 16_000)
        assert 0 < kept["peak_share"] < 1 and -40 < kept["loudest_db"] < 0
        row = next(each for each in read_manifest(tmp_path / "out/manifest.jsonl") if each.id == heard[-1])
        assert row.audio is not None and row.audio.is_file() and row.speaker == "anna"
    told = following(client)
    assert told["utterance"] is None and told["num_recorded"] == told["num_wanted"] == 6
    assert told["seconds_recorded"] == pytest.approx(6 * len(made_speech(4)) / 16_000)
    assert told["speaker"] == "anna"
    assert {each["intent"]: each["num_recorded"] for each in told["coverage"]} == {"lamp_off": 2, "lamp_on": 4}
    recordings = client.get("/v1/label/recorded").json()["recordings"]
    assert [each["id"] for each in recordings] == heard[::-1]
    assert set(recordings[0]) == {"id", "transcript", "intent", "seconds", "loudest_db"}


def test_after_passes_over_one_and_comes_round(client: TestClient) -> None:
    seen, identity = [], None
    for _ in range(7):
        identity = following(client, identity)["utterance"]["id"]
        seen.append(identity)
    assert len(set(seen[:6])) == 6 and seen[6] == seen[0]
    upload(client, seen[2])
    assert following(client, seen[2])["utterance"]["id"] == seen[3]
    assert following(client)["utterance"]["id"] == seen[0]
    assert error(client.get("/v1/label/next", params={"after": "train11"})) == (404, "no_such_utterance")


def test_what_is_skipped_is_made_up_for_by_the_next_of_the_list(client: TestClient) -> None:
    first = following(client)["utterance"]["id"]
    assert client.post(path_of(first, "skip")).status_code == 204
    told = following(client)
    assert (told["num_wanted"], told["num_skipped"]) == (6, 1) and told["utterance"]["id"] != first
    for _ in range(6):
        client.post(path_of(following(client)["utterance"]["id"], "skip"))
    assert following(client)["num_wanted"] == 4
    assert upload(client, first).status_code == 201
    assert following(client)["num_skipped"] == 6


def test_a_recording_can_be_heard_and_deleted(client: TestClient, tmp_path: Path) -> None:
    identity = following(client)["utterance"]["id"]
    upload(client, identity)
    audio = client.get(path_of(identity))
    assert audio.status_code == 200 and audio.headers["content-type"] == "audio/wav"
    (tmp_path / "heard.wav").write_bytes(audio.content)
    assert soundfile.info(tmp_path / "heard.wav").samplerate == 16_000
    assert client.delete(path_of(identity)).status_code == 204
    assert following(client)["utterance"]["id"] == identity
    for answer in (client.delete(path_of(identity)), client.get(path_of(identity))):
        assert error(answer) == (404, "no_such_utterance")


def test_an_id_with_slashes_is_an_id(client: TestClient, tmp_path: Path) -> None:
    assert upload(client, SLASHED).status_code == 201
    assert (tmp_path / "out/audio/room%2F4%3F%23.wav").is_file()
    assert client.get(path_of(SLASHED)).status_code == 200


def test_ids_that_look_like_addresses_are_ids(tmp_path: Path) -> None:
    ids = ("a", "a/skip", "skip/a", "recording/a", "next", "speaker")
    source = save_rows(tmp_path, *(row(number, id=identity) for number, identity in enumerate(ids)))
    with open_collection(source, tmp_path / "out", [].append, share=1.0) as collection:
        client = TestClient(label_app(collection, "out"), raise_server_exceptions=False)
        for number, identity in enumerate(ids, 1):
            assert upload(client, identity).json()["id"] == identity
            assert client.get(path_of(identity)).status_code == 200
            assert following(client)["num_recorded"] == number
        assert client.delete(path_of("a/skip")).status_code == 204
        assert client.post(path_of("a/skip", "skip")).status_code == 204
        assert following(client)["num_skipped"] == 1
        assert {each["id"] for each in client.get("/v1/label/recorded").json()["recordings"]} == {*ids} - {"a/skip"}


def test_takes_of_another_split_are_not_what_is_wanted_of_this_one(tmp_path: Path) -> None:
    source = save_rows(tmp_path, *(row(n) for n in range(4)), *(row(n, "test", action="off") for n in range(4, 8)))
    out = tmp_path / "out"
    with open_collection(source, out, [].append, split="test", num_utterances=3) as collection:
        for identity in ("test4", "test5"):
            collection.record(identity, GOOD)
        collection.skip("test6")
    with open_collection(source, out, [].append, num_utterances=3) as collection:
        progress = collection.progress()
        assert (progress.num_wanted, progress.num_recorded, progress.num_skipped) == (3, 0, 0)
        assert progress.seconds_recorded == 0 and progress.coverage == {"lamp_on": (0, 3)}
        assert len(collection.recorded()) == 2  # which can be heard and set aside all the same


def test_a_delete_that_failed_half_way_is_finished_by_the_next(
    collection: Collection, client: TestClient, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def full(*_: Any) -> None:
        raise OSError(28, "full")

    for place, statuses in (("append_row", (503, 204)), ("durable_file", (503, 404))):
        upload(client, "train0")
        with monkeypatch.context() as patch:
            patch.setattr(f"sottovoce.collect.takes.{place}", full)
            first = client.delete(path_of("train0")).status_code
        assert (first, client.delete(path_of("train0")).status_code) == statuses
        rows = {each.id: each for each in read_manifest(tmp_path / "out/manifest.jsonl")}
        assert rows["train0"].audio is None and following(client)["num_recorded"] == 0


def test_what_is_not_good_is_refused_in_words_and_not_kept(client: TestClient, tmp_path: Path) -> None:
    identity = following(client)["utterance"]["id"]
    answer = upload(client, identity, wav_bytes(made_speech(4, loud=0.008, room=0.0001)))
    assert error(answer) == (422, "too_quiet")
    said = answer.json()["error"]
    assert said["what"].startswith("it is too quiet: ") and said["advice"].endswith("raise its level")
    assert error(upload(client, identity, wav_bytes(made_speech(45)))) == (422, "too_long")
    assert error(upload(client, identity, wav_bytes(made_speech(100)))) == (422, "too_long")
    assert error(upload(client, identity, b"RIFF and so on")) == (415, "not_audio")
    assert error(upload(client, identity, b""))[0] in (415, 422)
    assert not (tmp_path / f"out/audio/{identity}.wav").exists()
    assert following(client)["num_recorded"] == 0


def test_notes_say_what_is_so_and_what_to_do(client: TestClient) -> None:
    kept = upload(client, "train0", wav_bytes(made_speech(4, before=1.5))).json()
    assert kept["notes"] == ["it begins with 1.5 s of silence; start and stop closer to your words"]


@pytest.mark.parametrize("identity", ["train11", "test12", "unknown"])
def test_only_what_is_wanted_can_be_recorded(client: TestClient, identity: str) -> None:
    assert error(upload(client, identity)) == (404, "no_such_utterance")
    assert error(client.post(path_of(identity, "skip"))) == (404, "no_such_utterance")
    assert error(client.delete(path_of(identity))) == (404, "no_such_utterance")


def test_other_faults_of_a_request_are_told_alike(client: TestClient) -> None:
    assert error(client.post("/v1/label/recording/train0", content=GOOD)) == (415, "wrong_type")
    assert error(client.post("/v1/label/recording/train0", files={"sound": GOOD})) == (400, "malformed")
    assert error(client.put("/v1/label/speaker", json={"name": "anna"})) == (400, "malformed")
    assert error(client.put("/v1/label/speaker", json={"speaker": "a" * 101})) == (400, "malformed")
    assert error(client.get("/v1/nothing")) == (404, "not_found")
    assert error(upload(client, "train0", bytes(12_000_000))) == (413, "too_large")


def test_a_full_disk_is_said_and_a_bug_is_not_shown(client: TestClient, monkeypatch: pytest.MonkeyPatch) -> None:
    def failing(number: int) -> Any:
        def keep(*_: Any) -> None:
            raise OSError(number, "at /secret/path")

        return keep

    monkeypatch.setattr("sottovoce.collect.takes.TakeFolder.keep", failing(28))
    assert error(upload(client, "train0")) == (503, "disk_full")
    monkeypatch.setattr("sottovoce.collect.takes.TakeFolder.keep", failing(5))
    answer = upload(client, "train0")
    assert error(answer) == (500, "internal") and "secret" not in answer.text


def test_with_a_token_only_who_knows_it_records(collection: Collection) -> None:
    client = TestClient(label_app(collection, "out", token="a-token-of-16-letters"))
    assert error(client.get("/v1/label/next")) == (401, "unauthorized")
    client.headers["Authorization"] = "Bearer a-token-of-16-letters"
    assert following(client)["num_wanted"] == 6
    assert "default-src 'self'" in client.get("/v1/about").headers["content-security-policy"]


def test_another_sites_page_cannot_record(client: TestClient) -> None:
    client.headers["Sec-Fetch-Site"] = "cross-site"
    assert error(upload(client, "train0")) == (403, "cross_site")


def opening(source: Path, out: Path, **options: Any) -> Any:
    with open_collection(source, out, [].append, **options) as collection:
        return collection.progress()


def test_five_percent_are_wanted_unless_more_is_asked_for(tmp_path: Path, source: Path) -> None:
    assert opening(source, tmp_path / "a").num_wanted == 1
    assert opening(source, tmp_path / "b", share=0.5).num_wanted == 6
    assert opening(source, tmp_path / "c", share=1.0).num_wanted == 11  # the twelfth has a recording


@pytest.mark.parametrize(
    ("options", "fault"),
    [
        ({"share": 0.1, "num_utterances": 3}, "both a share and a number"),
        ({"num_utterances": 0}, "0 recordings are wanted"),
        ({"split": "dev"}, "the split dev is empty"),
        ({"split": "test"}, "every utterance of test has a recording"),
    ],
)
def test_what_cannot_be_collected_is_said(tmp_path: Path, source: Path, options: Any, fault: str) -> None:
    with pytest.raises(UserError, match=fault):
        opening(source, tmp_path / "out", **options)
    assert not (tmp_path / "out").exists()


def test_a_study_says_what_comes_first(tmp_path: Path, source: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    study = "sottovoce.plan.planner.gains_by_intent"
    monkeypatch.setattr(study, lambda folder: {"lamp_off": 0.02, "lamp_on": 0.0})
    first = opening(source, tmp_path / "a", study=tmp_path / "study", share=1.0).next
    assert first.utterance.frame.intent == "lamp_off"
    assert first.reason.endswith("; lamp_off could raise intent accuracy by 2.0 points")
    monkeypatch.setattr(study, lambda folder: {"alarm_set": 0.02})
    with pytest.raises(UserError, match="a study of other intents"):
        opening(source, tmp_path / "b", study=tmp_path / "study")


def test_it_needs_no_torch() -> None:
    code = "import sys, sottovoce.collect.run, sottovoce.plan.planner; print('torch' in sys.modules)"
    assert subprocess.check_output([sys.executable, "-c", code], text=True).strip() == "False"
