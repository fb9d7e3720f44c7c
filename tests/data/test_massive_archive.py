import io
import json
import tarfile
from pathlib import Path
from typing import Any

import pytest
from corpus_files import fault_of

from sottovoce.data.corpora.registry import prepare
from sottovoce.data.manifest import read_manifest

ROW: dict[str, Any] = {
    "id": "7", "locale": "nl-NL", "partition": "train", "scenario": "lamp", "intent": "lamp_on",
    "utt": "doe de lamp aan", "annot_utt": "doe [device : de lamp] aan", "worker_id": "3",
    "slot_method": [{"slot": "device", "method": "translation"}],
    "judgments": [{"worker_id": "3", "intent_score": 1, "slots_score": 1, "grammar_score": 4, "spelling_score": 2,
                   "language_identification": "target"}],
}  # fmt: skip


def _archive(path: Path, members: dict[str, bytes], mode: str = "w:gz") -> Path:
    with tarfile.open(path, mode) as archive:  # type: ignore[call-overload]
        for name, content in members.items():
            info = tarfile.TarInfo(name)
            info.size = len(content)
            archive.addfile(info, io.BytesIO(content))
    return path


def _lines(*rows: dict[str, Any]) -> bytes:
    return "".join(json.dumps(row, ensure_ascii=False) + "\n" for row in rows).encode()


@pytest.fixture
def release(tmp_path: Path) -> dict[str, bytes]:
    return {
        "1.1/CITATION.md": b"cite",
        "1.1/data/._nl-NL.jsonl": b"\0\5\26\7",  # what macOS leaves in archives
        "1.1/data/nl-NL.jsonl": _lines(ROW, ROW | {"id": "8", "utt": "één", "annot_utt": "één", "partition": "dev"}),
        "1.1/data/ca-ES.jsonl": _lines(ROW | {"locale": "ca-ES"}),
    }


@pytest.mark.parametrize("version", ["1.0", "1.1"])
def test_a_locale_of_the_archive_is_read_where_it_is(tmp_path: Path, release: dict[str, bytes], version: str) -> None:
    members = {name.replace("1.1", version): content for name, content in release.items()}
    file = _archive(tmp_path / f"amazon-massive-dataset-{version}.tar.gz", members)
    rows = read_manifest(prepare("massive", file, tmp_path / "out", locale="nl-NL"))
    assert [(row.id, row.split, row.transcript) for row in rows] == [
        ("7", "train", "doe de lamp aan"),
        ("8", "dev", "één"),
    ]
    assert sorted(path.name for path in tmp_path.iterdir()) == [file.name, "out"]
    assert [path.name for path in (tmp_path / "out").iterdir()] == ["manifest.jsonl"], "nothing is extracted"
    assert "choose the locale; known: ca-ES, nl-NL" in fault_of("massive", file, tmp_path / "x")
    assert "did you mean 'nl-NL'?" in fault_of("massive", file, tmp_path / "x", locale="nl-BE")


def test_rows_of_the_archive_are_named_by_member_and_line(tmp_path: Path, release: dict[str, bytes]) -> None:
    name = "1.1/data/nl-NL.jsonl"
    for content, fault in (
        (_lines(ROW, ROW | {"id": "8", "partition": "rest"}), "'partition' is 'rest'"),
        (_lines(ROW, ROW), "id '7' is already in"),
        (_lines(ROW) + b"{oops\n", "not JSON"),
        (_lines(ROW) + b"\xff\n", "not UTF-8 text"),
        (_lines(ROW) + b"[" * 100_000 + b"\n", "not JSON that can be read"),
        (_lines(ROW) + b"9" * 5_000 + b"\n", "not JSON that can be read"),
        (_lines(ROW).replace(b"\n", b"\r\n") + b"{}\r\n", "the key 'scenario' is missing"),
    ):
        file = _archive(tmp_path / "massive.tgz", release | {name: content})
        message = fault_of("massive", file, tmp_path / "out", locale="nl-NL")
        assert message.startswith(f"{file}/{name}:2: ")
        assert fault in message


@pytest.mark.parametrize("name", ["../nl-NL.jsonl", "1.1/../../x.txt", "/etc/cron.d/x"])
def test_archives_that_point_outside_are_refused(tmp_path: Path, release: dict[str, bytes], name: str) -> None:
    file = _archive(tmp_path / "massive.tar", {name: b"x"} | release, "w")
    message = fault_of("massive", file, tmp_path / "out", locale="nl-NL")
    assert f"the member {name} points outside" in message


def test_a_link_in_place_of_a_locale_is_refused(tmp_path: Path) -> None:
    file = tmp_path / "massive.tar.gz"
    with tarfile.open(file, "w:gz") as archive:
        info = tarfile.TarInfo("1.1/data/nl-NL.jsonl")
        info.type, info.linkname = tarfile.SYMTYPE, "/etc/hosts"
        archive.addfile(info)
    assert "is not a file" in fault_of("massive", file, tmp_path / "out", locale="nl-NL")


def test_archives_that_cannot_be_read_are_refused(tmp_path: Path, release: dict[str, bytes]) -> None:
    file = _archive(tmp_path / "massive.tar.gz", release | {"1.1/data/fr-FR.jsonl": bytes(range(256)) * 999})
    whole = file.read_bytes()
    for content in (b"", b"hello", whole[: len(whole) // 2], whole[:100] + b"\0" * 200 + whole[300:]):
        file.write_bytes(content)
        assert f"cannot read {file}" in fault_of("massive", file, tmp_path / "out", locale="nl-NL")
    empty = _archive(file, {"readme": b""})
    assert "has no nl-NL.jsonl" in fault_of("massive", empty, tmp_path / "out", locale="nl-NL")
    assert "has several locales, or none" in fault_of("massive", empty, tmp_path / "out")


def test_recordings_stay_inside_their_folder(tmp_path: Path, release: dict[str, bytes]) -> None:
    file = _archive(tmp_path / "massive.tar.gz", release)
    place = tmp_path / "speech" / "manifest.jsonl"
    place.parent.mkdir()
    place.write_bytes(_lines({"id": "7", "audio": "../secret.wav"}))
    message = fault_of("massive", file, tmp_path / "out", locale="nl-NL", speech=place.parent)
    assert message.startswith(f"{place}:1: ../secret.wav is outside")
