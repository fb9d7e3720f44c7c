from pathlib import Path

import pytest
from corpus_files import clip, fault_of, table

from sottovoce.core.types import Frame, Utterance
from sottovoce.data.corpora.registry import prepare
from sottovoce.data.manifest import read_manifest


def _row(number: int, name: str, **changes: str) -> dict[str, str]:
    return {"": str(number), "path": f"wavs/speakers/kim/{name}.wav", "speakerId": "kim",
            "transcription": "Dim it, please", "action": "deactivate", "object": "lamp",
            "location": "none"} | changes  # fmt: skip


@pytest.fixture
def release(tmp_path: Path) -> Path:
    folder = tmp_path / "fluent_speech_commands_dataset"
    language = {"transcription": "Speak Dutch", "action": "change language", "object": "Dutch"}
    table(folder / "data" / "train_data.csv", _row(0, "a1"), _row(1, "a2", location="cellar", object="heat"))
    table(folder / "data" / "valid_data.csv", _row(0, "b1"))
    table(folder / "data" / "test_data.csv", _row(0, "c1", **language))
    for name in ("a1", "a2", "b1", "c1"):
        clip(folder / "wavs" / "speakers" / "kim" / f"{name}.wav", 0.25)
    return folder


def test_the_intent_is_action_object_and_location(release: Path, tmp_path: Path) -> None:
    out = tmp_path / "out"
    rows = read_manifest(prepare("fluent", release, out))
    assert rows[0] == Utterance("a1", "en-US", "Dim it, please", Frame("deactivate", "lamp_none"), "train",
                                out / "audio" / "a1.wav", "kim", 0.25)  # fmt: skip
    assert [(row.id, row.split, row.frame.intent) for row in rows[1:]] == [
        ("a2", "train", "deactivate_heat_cellar"),
        ("b1", "dev", "deactivate_lamp_none"),
        ("c1", "test", "change_language_Dutch_none"),
    ]
    assert all(row.audio and row.audio.is_file() for row in rows)


def test_one_file_is_read_with_the_recordings_of_the_release(release: Path, tmp_path: Path) -> None:
    file = release / "data" / "valid_data.csv"
    file.write_bytes(b"\xef\xbb\xbf" + file.read_bytes().replace(b"\n", b"\r\n"))
    (row,) = read_manifest(prepare("fluent", file, tmp_path / "out"))
    assert (row.id, row.split) == ("b1", "dev")


@pytest.mark.parametrize(
    ("change", "fault"),
    [
        ({"path": "wavs/speakers/kim/none.wav"}, "no such recording"),
        ({"path": "../../secret.wav"}, "is outside"),
        ({"path": "/etc/hosts"}, "is outside"),
        ({"path": "wavs/speakers/kim/text.wav"}, "cannot read"),
        ({"transcription": " "}, "'transcription' must be non-empty text"),
        ({"action": ""}, "'action' must be non-empty text"),
        ({"path": "wavs/speakers/kim/a1.wav"}, "id 'a1' is already in"),
    ],
)
def test_bad_rows_are_refused(release: Path, tmp_path: Path, change: dict[str, str], fault: str) -> None:
    clip(tmp_path / "secret.wav")
    (release / "wavs" / "speakers" / "kim" / "text.wav").write_text("not sound")
    file = table(release / "data" / "train_data.csv", _row(0, "a1"), _row(1, "a2") | change)
    message = fault_of("fluent", release, tmp_path / "out")
    assert message.startswith(f"{file}:3: ")
    assert fault in message
    assert not (tmp_path / "out" / "manifest.jsonl").exists()


def test_files_that_do_not_fit_are_refused(release: Path, tmp_path: Path) -> None:
    file, out = release / "data" / "train_data.csv", tmp_path / "out"
    assert "has none of data/train_data.csv" in fault_of("fluent", tmp_path, out)
    assert "gives no split" in fault_of("fluent", table(tmp_path / "training.csv", _row(0, "a1")), out)
    file.write_text(file.read_text().replace("speakerId", "speaker"))
    assert f"{file}:1: no column 'speakerId'; did you mean 'speaker'?" in fault_of("fluent", release, out)
    file.write_bytes(b"path,speakerId\nwavs/\xff.wav,kim\n")
    assert f"{file}:1: no column" in fault_of("fluent", release, out)
    table(file, _row(0, "a1"))
    file.write_bytes(file.read_bytes() + b"1,\xff")
    assert f"{file}:3: not UTF-8" in fault_of("fluent", release, out)
    file.write_text("")
    assert f"{file}:1: no header line" in fault_of("fluent", release, out)
    table(file, _row(0, "a1"))
    file.write_text(file.read_text().splitlines()[0])
    assert "no rows" in fault_of("fluent", file, out)
