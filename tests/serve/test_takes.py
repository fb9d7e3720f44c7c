"""The folder of takes: what is in it after sessions, crashes and mistakes."""

import json
import os
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import soundfile
from made_speech import made_speech
from manifest_rows import row, save_rows, spoken

from sottovoce.data.check import check_manifest
from sottovoce.data.manifest import read_manifest
from sottovoce.errors import UserError
from sottovoce.serve.take_names import take_names
from sottovoce.serve.takes import TakeFolder, open_takes
from sottovoce.storage import alone_in
from sottovoce.types import Utterance


@pytest.fixture
def source(tmp_path: Path) -> Path:
    """Three train utterances without a recording and one with, and one of test with."""
    folder = tmp_path / "source"
    folder.mkdir()
    return save_rows(folder, *(row(n) for n in range(3)), spoken(folder, 3), spoken(folder, 4, "test"))


@pytest.fixture
def out(tmp_path: Path) -> Path:
    return tmp_path / "out"


@contextmanager
def opened(out: Path, source: Path, said: list[str] | None = None) -> Iterator[TakeFolder]:
    with open_takes(out, source, read_manifest(source), [].append if said is None else said.append) as takes:
        yield takes


def by_id(out: Path) -> dict[str, Utterance]:
    return {each.id: each for each in read_manifest(out / "manifest.jsonl")}  # nothing lies outside


def test_a_take_is_a_16_bit_file_and_a_row_like_any_other(out: Path, source: Path) -> None:
    samples = made_speech(3)
    with opened(out, source) as takes:
        takes.name_speaker("anna")
        takes.keep("train1", samples, -20.0)
        kept = by_id(out)["train1"]
        assert kept.audio == out / "audio/train1.wav" and kept.speaker == "anna"
        info = soundfile.info(kept.audio)
        assert (info.samplerate, info.channels, info.subtype) == (16_000, 1, "PCM_16")
        assert kept.seconds == pytest.approx(len(samples) / 16_000, abs=0.001)
        heard, _ = soundfile.read(kept.audio, dtype="float32")
        assert np.abs(heard - samples).max() < 1e-4


def test_the_manifest_holds_all_rows_in_their_order_and_is_fit_to_train(out: Path, source: Path) -> None:
    with opened(out, source) as takes:
        takes.keep("train0", made_speech(3), -20.0)
    before, after = read_manifest(source), read_manifest(out / "manifest.jsonl")
    assert [each.id for each in after] == [each.id for each in before]
    assert [each.frame for each in after] == [each.frame for each in before]
    report = check_manifest(out / "manifest.jsonl")
    assert report.fit_to_train and not report.warnings_by_kind
    assert {each.id for each in after if each.audio} == {"train0", "train3", "test4"}


def test_the_sources_recordings_are_linked_and_stay_when_the_folder_is_opened_again(out: Path, source: Path) -> None:
    said: list[str] = []
    for _ in range(2):
        with opened(out, source, said):
            assert (out / "audio/test4.wav").samefile(source.parent / "test4.wav")
    assert said == [f"2 recordings of the source are in {out / 'audio'}, linked"] * 2
    assert not list((out / "set-aside").iterdir())


def test_where_there_are_no_links_recordings_are_copied_once(
    out: Path, source: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def refuse(*_: Any) -> None:
        raise OSError("no links here")

    monkeypatch.setattr(os, "link", refuse)
    said: list[str] = []
    for _ in range(2):
        with opened(out, source, said):
            assert (out / "audio/test4.wav").read_bytes() == (source.parent / "test4.wav").read_bytes()
    assert [line.rpartition(", linked")[2] for line in said] == [", 2 of them copied", ""]


def test_a_recording_that_the_source_changed_is_brought_anew_and_the_older_one_kept(out: Path, source: Path) -> None:
    with opened(out, source):
        pass
    (source.parent / "test4.wav").unlink()
    soundfile.write(source.parent / "test4.wav", made_speech(2), 16_000)
    with opened(out, source):
        assert (out / "audio/test4.wav").samefile(source.parent / "test4.wav")
    assert [path.name for path in (out / "set-aside").iterdir()] == ["test4.1.wav"]


def test_everything_is_remembered_in_the_next_session(out: Path, source: Path) -> None:
    with opened(out, source) as takes:
        takes.name_speaker("anna")
        takes.keep("train0", made_speech(3), -20.0)
        takes.skip("train1")
        name = takes.name
    with opened(out, source) as takes:
        assert list(takes.takes) == ["train0"] and takes.takes["train0"].speaker == "anna"
        assert takes.skipped == {"train1"} and takes.speaker == "anna"
        assert takes.name == name != ""


def test_a_second_recording_sets_the_first_aside_and_deleting_it_too(out: Path, source: Path) -> None:
    first, second = made_speech(3, seed=1), made_speech(4, seed=2)
    with opened(out, source) as takes:
        takes.keep("train0", first, -20.0)
        bytes_of_first = (out / "audio/train0.wav").read_bytes()
        takes.name_speaker("ben")
        takes.keep("train0", second, -20.0)
        bytes_of_second = (out / "audio/train0.wav").read_bytes()
        assert (out / "set-aside/train0.1.wav").read_bytes() == bytes_of_first
        assert by_id(out)["train0"].speaker == "ben"
        takes.discard("train0")
        assert by_id(out)["train0"].audio is None and not takes.takes
    assert (out / "set-aside/train0.2.wav").read_bytes() == bytes_of_second
    with opened(out, source) as takes:
        assert not takes.takes


def test_the_same_recording_sent_again_is_the_same_take(out: Path, source: Path) -> None:
    with opened(out, source) as takes:
        first = takes.keep("train0", made_speech(3), -20.0)
        takes.name_speaker("ben")
        assert takes.keep("train0", made_speech(3), -20.0) == first
    assert not list((out / "set-aside").iterdir())


def test_recording_what_was_skipped_ends_the_skip(out: Path, source: Path) -> None:
    with opened(out, source) as takes:
        takes.skip("train0")
        takes.keep("train0", made_speech(3), -20.0)
        assert not takes.skipped


def test_a_file_that_was_not_noted_gets_its_row_and_a_half_one_is_set_aside(out: Path, source: Path) -> None:
    with opened(out, source) as takes:
        takes.name_speaker("anna")
    soundfile.write(out / "audio/train0.wav", made_speech(3), 16_000)
    (out / "audio/.train1.wav.77.part").write_bytes(b"RIFF")
    (out / "audio/train2.wav").write_bytes(b"RIFF")
    said: list[str] = []
    with opened(out, source, said) as takes:
        assert list(takes.takes) == ["train0"]
        assert by_id(out)["train0"].speaker == "anna"
        assert takes.takes["train0"].loudest_db == pytest.approx(-20, abs=10)
    assert len(said) == 4
    assert sorted(path.name for path in (out / "set-aside").iterdir()) == [".train1.wav.77.1.part", "train2.1.wav"]
    assert not list((out / "audio").glob("*.part"))


def test_half_a_line_of_the_journal_is_forgotten_and_a_take_that_is_gone_is_wanted_again(
    out: Path, source: Path
) -> None:
    with opened(out, source) as takes:
        takes.keep("train0", made_speech(3), -20.0)
        takes.keep("train1", made_speech(4), -20.0)
    (out / "audio/train0.wav").unlink()
    with (out / "label.jsonl").open("a") as file:
        file.write('{"event": "skipped", "id": "tra')
    said: list[str] = []
    with opened(out, source, said) as takes:
        assert list(takes.takes) == ["train1"] and not takes.skipped
    assert by_id(out)["train0"].audio is None
    assert "train0.wav is gone" in said[0]


class CrashError(BaseException):
    """The machine stops."""


@pytest.mark.parametrize("step", range(1, 12))
def test_a_crash_at_any_step_leaves_a_manifest_and_every_take_that_was_kept(
    out: Path, source: Path, step: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    kept: dict[str, bytes] = {}
    steps = 0

    def crashing(real: Any) -> Any:
        def call(*given: Any, **named: Any) -> Any:
            nonlocal steps
            steps += 1
            if steps == step:
                raise CrashError
            return real(*given, **named)

        return call

    with pytest.raises(CrashError), opened(out, source) as takes:
        takes.keep("train0", made_speech(3), -20.0)
        kept["train0"] = (out / "audio/train0.wav").read_bytes()
        with monkeypatch.context() as patch:
            for owner, name in ((os, "fsync"), (os, "link"), (Path, "replace"), (Path, "rename")):
                patch.setattr(owner, name, crashing(getattr(owner, name)))
            for number, identity in enumerate(("train1", "train0", "train2")):
                takes.keep(identity, made_speech(4, seed=number), -20.0)
                kept[identity] = (out / f"audio/{identity}.wav").read_bytes()
    assert read_manifest(out / "manifest.jsonl")
    with opened(out, source) as takes:
        for identity, content in kept.items():
            files = [out / f"audio/{identity}.wav", *(out / "set-aside").glob(f"{identity}.*.wav")]
            assert content in [path.read_bytes() for path in files]
            assert identity in takes.takes and by_id(out)[identity].audio is not None
        for identity, take in takes.takes.items():
            assert take.seconds == soundfile.info(takes.path_of(identity)).duration


def test_a_full_disk_leaves_everything_as_it_was(out: Path, source: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    with opened(out, source) as takes:
        takes.keep("train0", made_speech(3), -20.0)
        before = (out / "label.jsonl").read_bytes(), (out / "audio/train0.wav").read_bytes()

        def full(descriptor: int) -> None:
            raise OSError(28, "No space left on device")

        with monkeypatch.context() as patch:
            patch.setattr(os, "fsync", full)
            with pytest.raises(OSError, match="No space"):
                takes.keep("train0", made_speech(4), -20.0)
            with pytest.raises(OSError, match="No space"):
                takes.skip("train1")
        assert before == ((out / "label.jsonl").read_bytes(), (out / "audio/train0.wav").read_bytes())
        assert not takes.skipped
        assert sorted(path.name for path in (out / "audio").iterdir()) == ["test4.wav", "train0.wav", "train3.wav"]


def test_another_process_is_kept_out(out: Path, source: Path) -> None:
    with alone_in(out, "wait"):
        pass
    with (
        opened(out, source),
        pytest.raises(UserError, match=r"another process is working on .*out; stop it"),
        opened(out, source),
    ):
        pass


def changed(source: Path, **changes: Any) -> None:
    rows = [json.loads(line) for line in source.read_text(encoding="utf-8").splitlines()]
    save_rows(source.parent, rows[0] | changes, *rows[1:])


@pytest.mark.parametrize("changes", [{"transcript": "another"}, {"id": "renamed"}])
def test_takes_of_other_words_are_refused_and_left_alone(out: Path, source: Path, changes: dict[str, str]) -> None:
    with opened(out, source) as takes:
        takes.keep("train0", made_speech(3), -20.0)
    before = (out / "manifest.jsonl").read_bytes()
    changed(source, **changes)
    with pytest.raises(UserError, match=r"'train0', which is not in the manifest in these words"), opened(out, source):
        pass
    assert (out / "manifest.jsonl").read_bytes() == before


def test_other_labels_and_more_utterances_of_the_source_are_taken_over(out: Path, source: Path) -> None:
    with opened(out, source) as takes:
        takes.keep("train0", made_speech(3), -20.0)
    changed(source, action="off")
    with source.open("a") as file:
        file.write(json.dumps(row(9)) + "\n")
    with opened(out, source):
        pass
    assert by_id(out)["train0"].frame.action == "off" and by_id(out)["train0"].audio is not None
    assert "train9" in by_id(out)


def test_folders_that_hold_something_else_are_refused(tmp_path: Path, source: Path) -> None:
    with pytest.raises(UserError, match="the manifest's own folder"), opened(source.parent, source):
        pass
    (tmp_path / "full").mkdir()
    (tmp_path / "full/notes.txt").touch()
    with pytest.raises(UserError, match="not empty, and no folder of recordings"), opened(tmp_path / "full", source):
        pass


def test_a_recording_that_the_source_lacks_is_named_with_its_line(out: Path, source: Path) -> None:
    (source.parent / "test4.wav").unlink()
    with pytest.raises(UserError, match=r"manifest\.jsonl:5: no such recording"), opened(out, source):
        pass


def test_ids_become_names_that_every_file_system_takes() -> None:
    ids = ["a1", "../x", "a/b", "a%2Fb", ".", "..", "weiß", "A1b", "a1B", "long" * 100, "long" * 101, "a b"]
    names = take_names(ids)
    assert names["a1"] == "a1" and names["a/b"] == "a%2Fb" and names["a%2Fb"] == "a%252Fb"
    assert len({name.casefold() for name in names.values()}) == len(ids)
    assert all(len(name) < 130 and "/" not in name and not name.startswith(".") for name in names.values())
    assert take_names(reversed(ids)) == names


def test_the_manifest_that_came_of_it_is_a_source_like_any_other(out: Path, source: Path, tmp_path: Path) -> None:
    with opened(out, source) as takes:
        takes.name_speaker("anna")
        takes.keep("train0", made_speech(3), -20.0)
    with opened(tmp_path / "more", out / "manifest.jsonl") as takes:
        takes.name_speaker("ben")
        takes.keep("train1", made_speech(3), -20.0)
    rows = by_id(tmp_path / "more")
    assert {each.id: each.speaker for each in rows.values() if each.audio} == {
        "train0": "anna", "train1": "ben", "train3": "train-s1", "test4": "test-s0",
    }  # fmt: skip
