import json
from pathlib import Path
from typing import Any

import pytest

from sottovoce.core.errors import UserError
from sottovoce.core.types import Entity, Frame
from sottovoce.score.files import PredictionRow, read_gold, read_predictions, write_predictions

RELEASE: dict[str, Any] = {
    "slurp_id": 7,
    "sentence": "Wake me at Five AM",
    "intent": "something_else",
    "scenario": "alarm",
    "action": "set",
    "tokens": [{"surface": word, "id": place} for place, word in enumerate(["Wake", "me", "at", "Five", "AM"])],
    "entities": [{"span": [3, 4], "type": "time"}, {"span": [1], "type": "person"}],
    "recordings": [{"file": "a.flac", "wer": 0.0}, {"file": "a-headset.flac", "wer": 0.5}],
}
MANIFEST: dict[str, Any] = {
    "id": "u1",
    "locale": "de-DE",
    "transcript": "Ruf Oma an",
    "scenario": "call",
    "action": "make",
    "entities": [{"type": "person", "filler": "Oma"}],
    "split": "test",
    "audio": "clips/u1.flac",
}
PREDICTION: dict[str, Any] = {
    "file": "a.flac",
    "scenario": "alarm",
    "action": "set",
    "entities": [{"type": "time", "filler": "Five"}],
}


def write(path: Path, *rows: Any) -> Path:
    lines = [row if isinstance(row, str) else json.dumps(row) for row in rows]
    path.write_text("\n".join(lines) + "\n", encoding="utf-8")
    return path


@pytest.fixture
def path(tmp_path: Path) -> Path:
    return tmp_path / "rows.jsonl"


def test_a_release_file_is_looked_up_by_recording_and_by_id(path: Path) -> None:
    gold = read_gold(write(path, RELEASE, RELEASE | {"slurp_id": "8", "recordings": []}))
    frame = Frame("alarm", "set", (Entity("time", "five am"), Entity("person", "me")))
    assert list(gold.items("file")) == ["a.flac", "a-headset.flac"]
    assert list(gold.items("slurp_id")) == list(gold.items("id")) == ["7", "8"]
    for item in (*gold.items("file").values(), *gold.items("id").values()):
        assert item.frame == frame
        assert item.transcript == "Wake me at Five AM"
    assert gold.items("file")["a-headset.flac"].key == "a-headset.flac"
    assert gold.items("id")["8"].where == f"{path}:2"


def test_a_manifest_is_looked_up_by_id_and_by_audio_name_with_its_fillers_as_they_stand(path: Path) -> None:
    gold = read_gold(write(path, MANIFEST, {key: MANIFEST[key] for key in MANIFEST if key != "audio"} | {"id": 2}))
    assert list(gold.items("id")) == ["u1", "2"]
    assert list(gold.items("file")) == ["u1.flac"]
    assert gold.items("file")["u1.flac"].frame == Frame("call", "make", (Entity("person", "Oma"),))
    assert gold.items("id")["u1"].transcript == "Ruf Oma an"


def test_a_manifest_may_name_audio_outside_its_folder(path: Path) -> None:
    gold = read_gold(write(path, MANIFEST | {"audio": "../elsewhere/u1.flac"}))
    assert list(gold.items("file")) == ["u1.flac"]


def test_a_split_keeps_its_rows_only(path: Path) -> None:
    write(path, MANIFEST, MANIFEST | {"id": "u2", "split": "dev"})
    assert list(read_gold(path, "dev").utterances) == ["u2"]
    assert list(read_gold(path).utterances) == ["u1", "u2"]
    with pytest.raises(UserError, match="no row of the split 'train'"):
        read_gold(path, "train")
    with pytest.raises(UserError, match="no split 'validation'; it is one of train, dev, test"):
        read_gold(path, "validation")
    with pytest.raises(UserError, match="has no splits"):
        read_gold(write(path, RELEASE), "test")


def test_a_recording_that_stands_twice_matters_only_when_looked_up_by_file(path: Path) -> None:
    gold = read_gold(write(path, MANIFEST, MANIFEST | {"id": "u2", "audio": "others/u1.flac"}))
    assert len(gold.items("id")) == 2
    with pytest.raises(UserError, match=r"rows.jsonl:2: file 'u1.flac' is already in .*rows.jsonl:1"):
        gold.items("file")


def test_an_utterance_that_stands_twice_matters_only_when_looked_up_by_id(path: Path) -> None:
    gold = read_gold(write(path, RELEASE, RELEASE | {"recordings": [{"file": "b.flac"}]}))
    assert len(gold.items("file")) == 3
    with pytest.raises(UserError, match=r"rows.jsonl:2: id '7' is already in .*rows.jsonl:1"):
        gold.items("slurp_id")


def test_gold_without_recordings_cannot_be_looked_up_by_file(path: Path) -> None:
    gold = read_gold(write(path, RELEASE | {"recordings": []}))
    with pytest.raises(UserError, match="no row names a recording"):
        gold.items("file")


@pytest.mark.parametrize(
    ("row", "fault"),
    [
        ({"entities": [{"span": [5], "type": "time"}]}, "a span points outside the row's 5 tokens"),
        ({"entities": [{"span": [-1], "type": "time"}]}, r"entities\.0\.span\.0"),
        ({"scenario": 3}, "scenario"),
        ({"tokens": [{"id": 0}]}, r"the key 'tokens\.0\.surface' is missing"),
        ({"recordings": ["a.flac"]}, r"recordings\.0"),
    ],
)
def test_a_faulty_release_row_is_named_by_line(path: Path, row: dict[str, Any], fault: str) -> None:
    with pytest.raises(UserError, match=r"rows\.jsonl:3: .*" + fault):
        read_gold(write(path, RELEASE, "", RELEASE | {"slurp_id": 8} | row))


def test_a_faulty_manifest_row_is_named_by_line(path: Path) -> None:
    with pytest.raises(UserError, match=r"rows\.jsonl:2: the key 'scenario' is missing"):
        read_gold(write(path, MANIFEST, {key: MANIFEST[key] for key in MANIFEST if key != "scenario"}))


@pytest.mark.parametrize("read", [read_gold, read_predictions])
def test_files_that_are_no_rows_are_refused(path: Path, read: Any) -> None:
    with pytest.raises(UserError, match="no such"):
        read(path)
    with pytest.raises(UserError, match=r"rows\.jsonl: .* is empty"):
        read(write(path, "", " "))
    with pytest.raises(UserError, match=r"rows\.jsonl:1: not JSON"):
        read(write(path, "{"))
    with pytest.raises(UserError, match=r"rows\.jsonl:2: not a JSON object"):
        read(write(path, "", "[]"))
    with pytest.raises(UserError, match=r"rows\.jsonl:1: not JSON"):
        read(write(path, "[" * 100_000))
    path.write_bytes(b'{"id": "\xff"}\n')
    with pytest.raises(UserError, match="not UTF-8"):
        read(path)


def test_predictions_are_read_in_order_with_duplicates_kept(path: Path) -> None:
    row = PREDICTION | {"text": " raw\n", "status": "ok", "entities": [], "score": 0.4}
    assert read_predictions(write(path, PREDICTION, "", row)) == [
        PredictionRow("file", "a.flac", Frame("alarm", "set", (Entity("time", "Five"),)), None, "ok"),
        PredictionRow("file", "a.flac", Frame("alarm", "set"), " raw\n", "ok"),
    ]
    assert [row.where for row in read_predictions(path)] == [f"{path}:1", f"{path}:3"]


@pytest.mark.parametrize(
    ("keys", "kind", "key"),
    [
        ({"slurp_id": 7}, "slurp_id", "7"),
        ({"id": "u1"}, "id", "u1"),
        ({"id": 0}, "id", "0"),
        ({"id": "u1", "slurp_id": 7, "file": "a"}, "file", "a"),
        ({"file": None, "slurp_id": "7"}, "slurp_id", "7"),
    ],
)
def test_the_key_is_recognised(path: Path, keys: dict[str, Any], kind: str, key: str) -> None:
    (row,) = read_predictions(write(path, keys | {"scenario": "a", "action": "b", "entities": []}))
    assert (row.kind, row.key) == (kind, key)


def test_an_unreadable_answer_may_lack_its_labels_and_a_readable_one_may_not(path: Path) -> None:
    (row,) = read_predictions(write(path, {"id": "u1", "text": "er", "status": "unreadable"}))
    assert row == PredictionRow("id", "u1", Frame("", ""), "er", "unreadable")
    (row,) = read_predictions(write(path, PREDICTION | {"status": "unreadable"}))
    assert row.frame.entities == (Entity("time", "Five"),)
    with pytest.raises(UserError, match=r"rows\.jsonl:1: the key 'scenario' is missing"):
        read_predictions(write(path, {"id": "u1", "text": "er", "status": "ok"}))


@pytest.mark.parametrize(
    ("row", "fault"),
    [
        ({"file": None}, "no key among file, slurp_id, id"),
        ({"file": None, "id": "u1"}, "keyed by id, the rows above by file"),
        ({"file": ""}, "file must be a name or a number"),
        ({"file": True}, "file must be a name or a number"),
        ({"file": ["a"]}, "file must be a name or a number"),
        ({"action": None}, "action"),
        ({"status": "fine"}, "status"),
        ({"text": 3}, "text"),
        ({"entities": {"time": "five"}}, "entities"),
        ({"entities": [{"type": "time"}]}, r"the key 'entities\.0\.filler' is missing"),
    ],
)
def test_a_faulty_prediction_is_named_by_line(path: Path, row: dict[str, Any], fault: str) -> None:
    with pytest.raises(UserError, match=r"rows\.jsonl:3: .*" + fault):
        read_predictions(write(path, PREDICTION, "", PREDICTION | row))


def test_written_predictions_are_read_back_and_have_slurps_keys(path: Path) -> None:
    rows = [
        PredictionRow("id", "ü", Frame("alarm", "set", (Entity("time", "fünf\u2028Uhr"),)), 'raw\n"', "ok"),
        PredictionRow("id", "b", Frame("", ""), "half a pair: \ud83d", "unreadable"),
        PredictionRow("id", "c", Frame("a", "b")),
    ]
    write_predictions(rows, path.parent / "new" / path.name)
    path = path.parent / "new" / path.name
    assert read_predictions(path) == rows
    lines = [json.loads(line) for line in path.read_text(encoding="utf-8").split("\n")[:-1]]
    assert [list(line) for line in lines] == [
        ["id", "scenario", "action", "entities", "text", "status"],
        ["id", "scenario", "action", "entities", "text", "status"],
        ["id", "scenario", "action", "entities", "status"],
    ]
    assert lines[0]["entities"] == [{"type": "time", "filler": "fünf\u2028Uhr"}]
    assert "fünf" in path.read_text(encoding="utf-8")


def test_a_write_that_fails_leaves_the_old_file_and_nothing_else(path: Path) -> None:
    write(path, PREDICTION)
    before = path.read_bytes()

    def rows() -> Any:
        yield PredictionRow("id", "a", Frame("a", "b"))
        raise RuntimeError("the model stopped")

    with pytest.raises(RuntimeError):
        write_predictions(rows(), path)
    assert path.read_bytes() == before
    assert list(path.parent.iterdir()) == [path]
