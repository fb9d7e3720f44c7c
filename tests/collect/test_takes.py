"""The folder of takes: what is in it after sessions and mistakes."""

from pathlib import Path

import numpy as np
import pytest
import soundfile
from made_speech import made_speech
from take_folders import by_id, opened

from sottovoce.check.manifest import check_manifest
from sottovoce.collect.take_names import take_names
from sottovoce.core.errors import UserError
from sottovoce.core.storage import alone_in
from sottovoce.data.manifest import read_manifest


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


def test_another_process_is_kept_out(out: Path, source: Path) -> None:
    with alone_in(out, "wait"):
        pass
    with (
        opened(out, source),
        pytest.raises(UserError, match=r"another process is working on .*out; stop it"),
        opened(out, source),
    ):
        pass


def test_folders_that_hold_something_else_are_refused(tmp_path: Path, source: Path) -> None:
    with pytest.raises(UserError, match="the manifest's own folder"), opened(source.parent, source):
        pass
    (tmp_path / "full").mkdir()
    (tmp_path / "full/notes.txt").touch()
    with pytest.raises(UserError, match="not empty and not a folder of recordings"), opened(tmp_path / "full", source):
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
