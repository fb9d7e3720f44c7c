"""The folder of takes after crashes, full disks and what else fails half way."""

import itertools
import json
import os
from contextlib import suppress
from pathlib import Path
from typing import Any

import pytest
import soundfile
from made_speech import made_speech
from take_folders import by_id, bytes_of, opened

from sottovoce.collect.takes import TakeFolder
from sottovoce.core.errors import UserError
from sottovoce.data.manifest import read_manifest


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


@pytest.mark.parametrize("line", ["{", "[]", '{"event": "recorded", "id": "train0"}'])
def test_a_damaged_line_of_what_was_done_is_named(out: Path, source: Path, line: str) -> None:
    with opened(out, source) as takes:
        takes.skip("train1")
    with (out / "label.jsonl").open("a") as file:
        file.write(line + "\n")
    with pytest.raises(UserError, match=r"label\.jsonl:3 is damaged: "), opened(out, source):
        pass


class CrashError(BaseException):
    """The machine stops."""


class Stopping:
    """Counts the steps that reach the disk, and raises an error at one of them."""

    def __init__(self, step: int, error: BaseException, patch: pytest.MonkeyPatch) -> None:
        self.step, self.num_steps, self.error = step, 0, error
        for owner, name in (
            (os, "fsync"), (os, "link"), (Path, "replace"), (Path, "rename"), (soundfile, "write"), (json, "dumps"),
        ):  # fmt: skip
            patch.setattr(owner, name, self._stopping(getattr(owner, name)))

    def _stopping(self, real: Any) -> Any:
        def call(*given: Any, **named: Any) -> Any:
            self.num_steps += 1
            if self.num_steps == self.step:
                raise self.error
            return real(*given, **named)

        return call


# Of equal lengths, so that a file is told from another by what it holds; train0 is recorded anew, and by another.
TAKES = [("train1", "ben"), ("train0", "cleo"), ("train2", "dora")]


FIRST, LATER = made_speech(4, seed=9), {identity: made_speech(4, seed=n) for n, (identity, _) in enumerate(TAKES)}


def assert_books_are_right(out: Path, takes: TakeFolder) -> None:
    """What is in each file, who spoke it, and the manifest agree."""
    speakers = {bytes_of(FIRST): "anna"} | {bytes_of(LATER[identity]): speaker for identity, speaker in TAKES}
    assert len(speakers) == 4
    for identity, utterance in by_id(out).items():
        if identity in takes.takes:
            assert utterance.audio == takes.path_of(identity)
            speaker = speakers[takes.path_of(identity).read_bytes()]
            assert takes.takes[identity].speaker == utterance.speaker == speaker
            assert takes.takes[identity].seconds == soundfile.info(takes.path_of(identity)).duration
        elif identity in ("train0", "train1", "train2"):
            assert utterance.audio is None and not takes.path_of(identity).exists()


def test_a_crash_at_any_step_leaves_a_manifest_and_every_take_that_was_kept(
    tmp_path: Path, source: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(os, "fsync", lambda descriptor: None)  # which takes its time
    for step in itertools.count(1):
        out, kept = tmp_path / f"out{step}", {"train0": bytes_of(FIRST)}
        try:
            with opened(out, source) as takes:
                takes.name_speaker("anna")
                takes.keep("train0", FIRST, -20.0)
                with monkeypatch.context() as patch:
                    steps = Stopping(step, CrashError(), patch)
                    for identity, speaker in TAKES:
                        takes.name_speaker(speaker)
                        takes.keep(identity, LATER[identity], -20.0)
                        kept[identity] = (out / f"audio/{identity}.wav").read_bytes()
        except CrashError:
            pass
        assert read_manifest(out / "manifest.jsonl")
        with opened(out, source) as takes:
            for identity, content in kept.items():
                files = [out / f"audio/{identity}.wav", *(out / "set-aside").glob(f"{identity}.*.wav")]
                assert content in [path.read_bytes() for path in files]
                assert identity in takes.takes
            assert_books_are_right(out, takes)
        if steps.num_steps < step:
            break
    assert step > 30


def test_whatever_fails_half_way_the_next_try_finishes(
    tmp_path: Path, source: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(os, "fsync", lambda descriptor: None)
    for step in itertools.count(1):
        out = tmp_path / f"out{step}"
        with opened(out, source) as takes:
            takes.name_speaker("anna")
            takes.keep("train0", FIRST, -20.0)
            for _, speaker in TAKES:
                takes.name_speaker(speaker)
            with monkeypatch.context() as patch:
                steps = Stopping(step, OSError(5, "it failed"), patch)
                with suppress(OSError):
                    takes.keep("train0", LATER["train0"], -20.0)
            takes.keep("train0", LATER["train0"], -20.0)
            assert takes.takes["train0"].speaker == by_id(out)["train0"].speaker == TAKES[-1][1]
            assert takes.path_of("train0").read_bytes() == bytes_of(LATER["train0"])
            assert (out / "set-aside/train0.1.wav").read_bytes() == bytes_of(FIRST)
            before = (out / "label.jsonl").read_text()
        with opened(out, source):
            assert (out / "label.jsonl").read_text() == before  # nothing was left to be put right
        if steps.num_steps < step:
            break
    assert step > 8


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
        assert sorted(path.name for path in (out / "audio").iterdir()) == ["source", "train0.wav"]
