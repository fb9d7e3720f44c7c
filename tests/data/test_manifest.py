import gc
import json
import re
from pathlib import Path
from typing import Any

import pytest

from sottovoce.core.downloads import sha256_of
from sottovoce.core.errors import UserError
from sottovoce.core.types import Entity, Frame, Utterance
from sottovoce.data.manifest import read_manifest, row_of, write_manifest

ROW: dict[str, Any] = {
    "id": "a1", "locale": "en-US", "split": "train", "transcript": "wake me at noon", "scenario": "alarm",
    "action": "set", "entities": [{"type": "time", "filler": "noon"}], "audio": "audio/a1.wav", "speaker": "s1",
    "seconds": 1.5,
}  # fmt: skip


def manifest(folder: Path, *rows: dict[str, Any] | str | bytes) -> Path:
    lines = [row if isinstance(row, str) else json.dumps(row) for row in rows if not isinstance(row, bytes)]
    raw = [row for row in rows if isinstance(row, bytes)]
    path = folder / "manifest.jsonl"
    path.write_bytes(b"\n".join([line.encode() for line in lines] + raw))
    return path


def without(key: str) -> dict[str, Any]:
    return {name: value for name, value in ROW.items() if name != key}


def test_a_row_is_read_as_it_stands(tmp_path: Path) -> None:
    path = manifest(tmp_path, ROW)
    frame = Frame("alarm", "set", (Entity("time", "noon"),))
    expected = Utterance("a1", "en-US", "wake me at noon", frame, "train", tmp_path / "audio/a1.wav", "s1", 1.5)
    assert read_manifest(path) == [expected]
    assert read_manifest(path)[0].where == f"{path}:1"


def test_writing_and_reading_again_changes_nothing(tmp_path: Path) -> None:
    text_only = {key: ROW[key] for key in ("locale", "split", "scenario", "action")} | {
        "id": "b", "transcript": "réveille-moi à « midi » ✓", "entities": [],
    }  # fmt: skip
    rows = read_manifest(manifest(tmp_path, ROW, text_only))
    copy = tmp_path / "copies" / "again.jsonl"
    write_manifest(rows, copy)
    assert read_manifest(copy, allow_outside=True)[1] == rows[1]
    assert json.loads(copy.read_text().splitlines()[0])["audio"] == "../audio/a1.wav"
    assert row_of(rows[0], tmp_path) == ROW
    assert row_of(rows[1], tmp_path) == text_only
    before = sha256_of(copy)
    write_manifest(rows, copy)
    assert sha256_of(copy) == before
    write_manifest(rows[:1], copy)
    assert sha256_of(copy) != before


def test_only_a_training_recording_may_lack_a_transcript(tmp_path: Path) -> None:
    (heard,) = read_manifest(manifest(tmp_path, ROW | {"transcript": " "}))
    assert heard.transcript == "" and heard.audio
    for lacking in (ROW | {"transcript": "", "split": "test"}, without("audio") | {"transcript": ""}):
        with pytest.raises(UserError, match="'transcript' must not be empty"):
            read_manifest(manifest(tmp_path, lacking))


NO_LABELS = {key: value for key, value in ROW.items() if key not in ("scenario", "action", "entities")}


@pytest.mark.parametrize("split", ["train", "dev", "test"])
def test_a_row_says_that_there_is_no_intent(tmp_path: Path, split: str) -> None:
    silent = NO_LABELS | {"id": "n", "transcript": "", "intent": "no_speech", "split": split}
    other = NO_LABELS | {"id": "o", "intent": "out_of_scope", "split": split}
    read = read_manifest(manifest(tmp_path, silent, other))
    assert [utterance.frame for utterance in read] == [Frame("no_speech", ""), Frame("out_of_scope", "")]
    assert [utterance.frame.intent for utterance in read] == ["no_speech", "out_of_scope"]
    assert [row_of(utterance, tmp_path) for utterance in read] == [silent, other]


@pytest.mark.parametrize(
    ("row", "fault"),
    [
        (ROW | {"intent": "out_of_scope"}, "other labels next to the key 'intent'"),
        (NO_LABELS | {"intent": "out_of_scope", "entities": ROW["entities"]}, "other labels next to the key 'intent'"),
        (NO_LABELS | {"intent": "alarm_set"}, "intent: Input should be 'no_speech' or 'out_of_scope'"),
        (NO_LABELS | {"intent": "no_speech"}, "a transcript, though there is no speech"),
        (without("audio") | {"transcript": ""}, "'transcript' must not be empty"),
        (NO_LABELS | {"intent": "out_of_scope", "transcript": "", "split": "test"}, "'transcript' must not be empty"),
    ],
)
def test_a_row_without_an_intent_has_nothing_else(tmp_path: Path, row: dict[str, Any], fault: str) -> None:
    with pytest.raises(UserError, match=re.escape(fault)):
        read_manifest(manifest(tmp_path, row))
    unheard = {key: value for key, value in NO_LABELS.items() if key != "audio"}
    with pytest.raises(UserError, match="no_speech without a recording"):
        read_manifest(manifest(tmp_path, unheard | {"intent": "no_speech", "transcript": ""}))


@pytest.mark.parametrize("key", ["id", "locale", "split", "transcript", "scenario", "action"])
def test_a_missing_key_is_named(tmp_path: Path, key: str) -> None:
    path = manifest(tmp_path, ROW | {"id": "first"}, without(key))
    with pytest.raises(UserError) as caught:
        read_manifest(path)
    assert caught.value.what == f"{path}:2: the key {key!r} is missing"


@pytest.mark.parametrize(
    ("row", "fault"),
    [
        (ROW | {"sampling": 1}, "unknown key 'sampling'"),
        (ROW | {"entities": [{"type": "time", "filler": "noon", "span": [1]}]}, "unknown key 'entities.0.span'"),
        (ROW | {"entities": [{"type": "time"}]}, "the key 'entities.0.filler' is missing"),
        (ROW | {"split": "devel"}, "split: Input should be 'train', 'dev' or 'test'"),
        (ROW | {"seconds": "long"}, "seconds: "),
        (ROW | {"seconds": -1}, "seconds: "),
        (ROW | {"seconds": float("nan")}, "seconds: "),
        (ROW | {"seconds": float("inf")}, "seconds: "),
        (ROW | {"transcript": " ", "split": "dev"}, "the key 'transcript' must not be empty"),
        (ROW | {"id": ""}, "the key 'id' must not be empty"),
        (ROW | {"scenario": ""}, "the key 'scenario' must not be empty"),
        (ROW | {"action": ""}, "the key 'action' must not be empty"),
        (ROW | {"audio": ""}, "'' is not a path"),
        (ROW | {"audio": "a\0b.wav"}, "is not a path"),
        ('{"id": "a1", ', "Invalid JSON: "),
        ("[1, 2]", "Input should be an object"),
        ("null", "Input should be an object"),
    ],
)
def test_a_bad_row_is_refused_with_its_place(tmp_path: Path, row: dict[str, Any] | str, fault: str) -> None:
    path = manifest(tmp_path, ROW | {"id": "first"}, "", row)
    with pytest.raises(UserError) as caught:
        read_manifest(path)
    assert caught.value.what.startswith(f"{path}:3: ")
    assert fault in caught.value.what
    assert "\n" not in str(caught.value)


def test_the_place_of_bad_json_is_the_files_line_alone(tmp_path: Path) -> None:
    with pytest.raises(UserError) as caught:
        read_manifest(manifest(tmp_path, ROW, '{"id" 3}'))
    assert "manifest.jsonl:2: " in caught.value.what
    assert "line 1" not in caught.value.what
    assert "at column 7" in caught.value.what


def test_a_repeated_id_is_refused_with_both_places(tmp_path: Path) -> None:
    path = manifest(tmp_path, ROW, ROW | {"id": "b"}, ROW)
    with pytest.raises(UserError) as caught:
        read_manifest(path)
    assert caught.value.what == f"{path}:3: id 'a1' is already in {path}:1"


def test_text_that_is_not_utf8_is_refused_with_its_line(tmp_path: Path) -> None:
    path = manifest(tmp_path, ROW, json.dumps(ROW | {"transcript": "réveil"}, ensure_ascii=False).encode("latin-1"))
    with pytest.raises(UserError, match="not UTF-8") as caught:
        read_manifest(path)
    assert caught.value.what.startswith(f"{path}:2: ")


def test_a_byte_order_mark_and_windows_line_ends_are_read(tmp_path: Path) -> None:
    path = tmp_path / "manifest.jsonl"
    path.write_bytes(b"\xef\xbb\xbf" + b"\r\n".join(json.dumps(ROW | {"id": id}).encode() for id in "ab") + b"\r\n")
    assert [(row.id, row.where) for row in read_manifest(path)] == [("a", f"{path}:1"), ("b", f"{path}:2")]


@pytest.mark.parametrize("content", [b"", b"\n \n"])
def test_an_empty_manifest_is_refused(tmp_path: Path, content: bytes) -> None:
    with pytest.raises(UserError, match="the manifest is empty"):
        read_manifest(manifest(tmp_path, content))


def test_a_manifest_that_is_not_there_is_refused(tmp_path: Path) -> None:
    with pytest.raises(UserError, match="no such manifest"):
        read_manifest(tmp_path / "none.jsonl")
    with pytest.raises(UserError, match="no such manifest"):
        read_manifest(tmp_path)


@pytest.mark.parametrize("audio", ["../clip.wav", "audio/../../clip.wav", "/elsewhere/clip.wav"])
def test_audio_outside_the_folder_needs_permission(tmp_path: Path, audio: str) -> None:
    folder = tmp_path / "corpus"
    folder.mkdir()
    path = manifest(folder, ROW | {"audio": audio})
    with pytest.raises(UserError, match="outside the manifest's folder") as caught:
        read_manifest(path)
    assert caught.value.what.startswith(f"{path}:1: {audio} ")
    assert read_manifest(path, allow_outside=True)[0].audio == folder / audio


def test_a_link_that_leads_outside_the_folder_needs_permission(tmp_path: Path) -> None:
    folder = tmp_path / "corpus"
    folder.mkdir()
    (tmp_path / "clip.wav").touch()
    (folder / "clip.wav").symlink_to(tmp_path / "clip.wav")
    with pytest.raises(UserError, match="outside the manifest's folder"):
        read_manifest(manifest(folder, ROW | {"audio": "clip.wav"}))


def test_a_linked_folder_that_leads_outside_needs_permission(tmp_path: Path) -> None:
    folder = tmp_path / "corpus"
    (folder / "inside").mkdir(parents=True)
    (folder / "away").symlink_to(tmp_path)
    (folder / "near").symlink_to(folder / "inside")
    assert (
        len(read_manifest(manifest(folder, ROW | {"audio": "near/a.wav"}, ROW | {"id": "b", "audio": "inside"}))) == 2
    )
    rows = [ROW | {"audio": "inside/clip.wav"}, ROW | {"id": "b", "audio": "away/clip.wav"}]
    with pytest.raises(UserError, match=r"away/clip\.wav is outside") as caught:
        read_manifest(manifest(folder, *rows))
    assert ":2: " in caught.value.what


def test_a_link_is_followed_though_its_neighbours_are_none(tmp_path: Path) -> None:
    folder = tmp_path / "corpus"
    folder.mkdir()
    (folder / "b.wav").symlink_to(tmp_path / "elsewhere.wav")
    with pytest.raises(UserError, match=r"b\.wav is outside"):
        read_manifest(manifest(folder, ROW | {"audio": "a.wav"}, ROW | {"id": "b", "audio": "b.wav"}))


def test_the_garbage_collector_is_on_again_after_reading(tmp_path: Path) -> None:
    read_manifest(manifest(tmp_path, ROW))
    with pytest.raises(UserError):
        read_manifest(manifest(tmp_path, ROW, ROW))
    assert gc.isenabled()


def test_a_numeric_id_becomes_text(tmp_path: Path) -> None:
    assert [row.id for row in read_manifest(manifest(tmp_path, ROW | {"id": 17}, ROW | {"id": "018"}))] == ["17", "018"]
    with pytest.raises(UserError, match="id '17' is already"):
        read_manifest(manifest(tmp_path, ROW | {"id": 17}, ROW | {"id": "17"}))
