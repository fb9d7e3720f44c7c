"""The folder of takes beside its source, which brings recordings of its own and changes meanwhile."""

import json
import os
from pathlib import Path
from typing import Any

import pytest
import soundfile
from made_speech import made_speech
from manifest_rows import row, save_rows, spoken
from take_folders import by_id, bytes_of, opened

from sottovoce.core.errors import UserError


def test_the_sources_recordings_are_linked_and_stay_when_the_folder_is_opened_again(out: Path, source: Path) -> None:
    said: list[str] = []
    for _ in range(2):
        with opened(out, source, said):
            assert (out / "audio/source/test4.wav").samefile(source.parent / "test4.wav")
    assert said == [f"2 recordings of the source are in {out / 'audio/source'}, linked"] * 2
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
            assert (out / "audio/source/test4.wav").read_bytes() == (source.parent / "test4.wav").read_bytes()
    assert [line.rpartition(", linked")[2] for line in said] == [", 2 of them copied", ""]


def test_a_recording_that_the_source_changed_is_brought_anew_and_the_older_one_kept(out: Path, source: Path) -> None:
    with opened(out, source):
        pass
    (source.parent / "test4.wav").unlink()
    soundfile.write(source.parent / "test4.wav", made_speech(2), 16_000)
    with opened(out, source):
        assert (out / "audio/source/test4.wav").samefile(source.parent / "test4.wav")
    assert [path.name for path in (out / "set-aside").iterdir()] == ["test4.1.wav"]


def test_a_recording_that_the_source_names_no_longer_is_no_take(out: Path, source: Path) -> None:
    with opened(out, source):
        pass
    save_rows(source.parent, *(row(n) for n in range(4)), spoken(source.parent, 4, "test"))
    with opened(out, source) as takes:
        assert not takes.takes
    assert by_id(out)["train3"].audio is None
    assert [path.name for path in (out / "set-aside").iterdir()] == ["train3.1.wav"]


def changed(source: Path, **changes: Any) -> None:
    rows = [json.loads(line) for line in source.read_text(encoding="utf-8").splitlines()]
    save_rows(source.parent, rows[0] | changes, *rows[1:])


@pytest.mark.parametrize("changes", [{"transcript": "another"}, {"id": "renamed"}])
def test_takes_of_other_words_are_refused_and_left_alone(out: Path, source: Path, changes: dict[str, str]) -> None:
    with opened(out, source) as takes:
        takes.keep("train0", made_speech(3), -20.0)
    before = (out / "manifest.jsonl").read_bytes()
    changed(source, **changes)
    with (
        pytest.raises(UserError, match=r"'train0', which is not in the manifest with the same transcript"),
        opened(out, source),
    ):
        pass
    assert (out / "manifest.jsonl").read_bytes() == before
    (out / "audio/train0.wav").rename(out / "mine.wav")  # as the error says
    with opened(out, source) as takes:
        assert not takes.takes
    assert {each.id for each in by_id(out).values() if each.audio} == {"train3", "test4"}


def test_a_file_without_a_line_whose_words_have_changed_is_set_aside(out: Path, source: Path) -> None:
    with opened(out, source):
        pass
    soundfile.write(out / "audio/train0.wav", made_speech(3), 16_000)
    changed(source, transcript="another")
    said: list[str] = []
    with opened(out, source, said) as takes:
        assert not takes.takes
    assert [path.name for path in (out / "set-aside").iterdir()] == ["train0.1.wav"] and "has changed" in said[0]


def test_a_take_keeps_its_name_whatever_ids_the_source_gets(tmp_path: Path, out: Path) -> None:
    source = save_rows(tmp_path, row(0, id="A1b"))
    with opened(out, source) as takes:
        takes.keep("A1b", made_speech(3), -20.0)
    save_rows(tmp_path, row(0, id="A1b"), row(1, id="a1B"))
    with opened(out, source) as takes:
        takes.keep("a1B", made_speech(4, seed=1), -20.0)
        takes.keep("A1b", made_speech(4, seed=2), -20.0)
    paths = {identity: each.audio for identity, each in by_id(out).items()}
    assert paths["A1b"] == out / "audio/A1b.wav"
    assert {identity: path.read_bytes() for identity, path in paths.items() if path} == {
        "A1b": bytes_of(made_speech(4, seed=2)), "a1B": bytes_of(made_speech(4, seed=1)),
    }  # fmt: skip


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


def test_a_recording_that_the_source_lacks_is_named_with_its_line(out: Path, source: Path) -> None:
    (source.parent / "test4.wav").unlink()
    with pytest.raises(UserError, match=r"manifest\.jsonl:5: no such recording"), opened(out, source):
        pass
