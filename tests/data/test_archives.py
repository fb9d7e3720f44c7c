import io
import shutil
import tarfile
import zipfile
from pathlib import Path

import pytest
from corpus_files import clip, fault_of, table

from sottovoce.data.corpora.registry import prepare
from sottovoce.data.manifest import read_manifest

ROW = {"": "0", "path": "wavs/speakers/kim/a1.wav", "speakerId": "kim", "transcription": "dim it",
       "action": "deactivate", "object": "lamp", "location": "none"}  # fmt: skip


@pytest.fixture
def release(tmp_path: Path) -> Path:
    folder = tmp_path / "files" / "fluent"
    table(folder / "data" / "train_data.csv", ROW)
    clip(folder / "wavs" / "speakers" / "kim" / "a1.wav")
    return folder


@pytest.mark.parametrize("form", ["zip", "gztar", "tar"])
@pytest.mark.parametrize("nested", [True, False])
def test_a_release_is_read_from_its_archive(tmp_path: Path, release: Path, form: str, nested: bool) -> None:
    file, out = (
        Path(shutil.make_archive(str(tmp_path / "fluent"), form, release.parent if nested else release)),
        tmp_path / "out",
    )
    for _ in range(2):  # and again over what is there
        (row,) = read_manifest(prepare("fluent", file, out))
        assert row.audio and row.audio.is_relative_to(out) and row.audio.is_file()
    assert sorted(path.name for path in out.iterdir()) == [f"fluent-{file.stat().st_size}", "manifest.jsonl"]


def test_timers_and_such_is_read_from_its_archive(tmp_path: Path) -> None:
    semantics = "{'intent': 'SetTimer', 'slots': {'hours': 1}}"
    row = {"path": "dev-real/v1.wav", "semantics": semantics, "speakerId": "lee", "transcription": "one hour"}
    table(tmp_path / "files" / "dev-real.csv", row)
    clip(tmp_path / "files" / "dev-real" / "v1.wav")
    file = Path(shutil.make_archive(str(tmp_path / "timers-and-such"), "zip", tmp_path / "files"))
    (read,) = read_manifest(prepare("timers_and_such", file, tmp_path / "out"))
    assert (read.id, read.frame.intent) == ("dev-real-v1", "set_timer")


@pytest.mark.parametrize("name", ["../x.csv", "data/../../x.csv", "/etc/x.csv", "C:/x.csv", "..\\x.csv"])
@pytest.mark.parametrize("form", ["zip", "tar"])
def test_members_that_point_outside_are_refused(tmp_path: Path, name: str, form: str) -> None:
    file = tmp_path / "in" / f"bad.{form}"
    file.parent.mkdir()
    if form == "zip":
        with zipfile.ZipFile(file, "w") as zipped:
            zipped.writestr(zipfile.ZipInfo(name), "x")
    else:
        with tarfile.open(file, "w") as tarred:
            info = tarfile.TarInfo(name)
            info.size = 1
            tarred.addfile(info, io.BytesIO(b"x"))
    message = fault_of("fluent", file, tmp_path / "out")
    assert message.startswith(f"{file}: the member {name} points outside")
    assert sorted(path.name for path in tmp_path.rglob("*")) == [file.name, "in", "out"], "nothing is left behind"


def test_links_are_refused(tmp_path: Path) -> None:
    zip_file, tar_file = tmp_path / "bad.zip", tmp_path / "bad.tgz"
    with zipfile.ZipFile(zip_file, "w") as zipped:
        linked = zipfile.ZipInfo("data/link.csv")
        linked.external_attr = 0o120777 << 16
        zipped.writestr(linked, "/etc/hosts")
    with tarfile.open(tar_file, "w:gz") as tarred:
        for name, kind in (("soft", tarfile.SYMTYPE), ("hard", tarfile.LNKTYPE), ("pipe", tarfile.FIFOTYPE)):
            info = tarfile.TarInfo(name)
            info.type, info.linkname = kind, "/etc/hosts"
            tarred.addfile(info)
    for file in (zip_file, tar_file):
        assert "is a link" in fault_of("fluent", file, tmp_path / "out")


@pytest.mark.parametrize("form", ["zip", "gztar"])
def test_archives_that_cannot_be_read_are_refused(tmp_path: Path, release: Path, form: str) -> None:
    file = Path(shutil.make_archive(str(tmp_path / "fluent"), form, release))
    whole = file.read_bytes()
    for content in (b"", b"hello", whole[: len(whole) // 2]):
        file.write_bytes(content)
        assert f"cannot unpack {file}" in fault_of("fluent", file, tmp_path / "out")
        assert not list((tmp_path / "out").iterdir())
    with zipfile.ZipFile(tmp_path / "none.zip", "w"):
        pass
    assert "has none of data/train_data.csv" in fault_of("fluent", tmp_path / "none.zip", tmp_path / "out")
