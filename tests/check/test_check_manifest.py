from pathlib import Path
from typing import Any

import numpy as np
import pytest
import soundfile
from manifest_rows import row, save_rows, sound, spoken

from sottovoce.check.manifest import MAX_LISTED, CheckReport, check_manifest
from sottovoce.core.errors import UserError


def check(folder: Path, *rows: dict[str, Any], window_seconds: float = 30.0) -> CheckReport:
    return check_manifest(save_rows(folder, *rows), window_seconds)


def test_a_sound_manifest_has_no_complaints(tmp_path: Path) -> None:
    report = check(tmp_path, *sound(tmp_path))
    assert (report.faults, report.warnings, report.fit_to_train) == ([], [], True)
    assert [note.split(" show ")[0] for note in report.notes] == ["1 test utterances"]  # how little they can show
    assert report.table_rows() == [
        ("split", "utterances", "with speech", "hours", "speakers", "intents", "slot types"),
        ("train", "3", "2", "0.00", "2", "2", "1"),
        ("dev", "1", "0", "0.00", "0", "1", "1"),
        ("test", "1", "1", "0.00", "1", "1", "1"),
    ]
    assert report.splits[0].hours == pytest.approx(2 / 3600)


@pytest.mark.parametrize("split", ["train", "test"])
def test_an_empty_split_is_a_fault(tmp_path: Path, split: str) -> None:
    report = check(tmp_path, *(entry for entry in sound(tmp_path) if entry["split"] != split))
    assert report.faults == [f"{tmp_path / 'manifest.jsonl'}: the split {split} is empty"]
    assert not report.fit_to_train


def test_an_empty_dev_split_is_not_a_fault(tmp_path: Path) -> None:
    assert check(tmp_path, *(entry for entry in sound(tmp_path) if entry["split"] != "dev")).fit_to_train


def test_recordings_that_cannot_be_read_are_faults_with_their_place(tmp_path: Path) -> None:
    (tmp_path / "text.wav").write_text("not audio " * 100)
    (tmp_path / "bytes.wav").touch()
    soundfile.write(tmp_path / "samples.wav", np.zeros(0), 16_000)
    names = ("gone.wav", "text.wav", "bytes.wav", "samples.wav")
    bad = [row(20 + place, audio=name) for place, name in enumerate(names)]
    report = check(tmp_path, *sound(tmp_path), *bad)
    assert len(report.faults) == 4
    words = ("no such recording", "cannot read", "holds no samples", "holds no samples")
    for place, (name, fault) in enumerate(zip(names, words, strict=True)):
        line = next(line for line in report.faults if name in line)
        assert line.startswith(f"{tmp_path / 'manifest.jsonl'}:{6 + place}: ")
        assert fault in line
    assert report.splits[0].with_speech == 2, "what cannot be read is not speech"


def test_at_most_twenty_faults_of_a_kind_are_listed(tmp_path: Path) -> None:
    bad = [row(20 + number, audio=f"gone{number}.wav") for number in range(MAX_LISTED + 5)]
    faults = check(tmp_path, *sound(tmp_path), *bad).faults
    assert len(faults) == MAX_LISTED + 1
    assert faults[-1] == "... and 5 more recordings"
    assert len(check(tmp_path, *sound(tmp_path), *bad[:MAX_LISTED]).faults) == MAX_LISTED


@pytest.mark.parametrize("split", ["dev", "test"])
def test_an_intent_that_train_does_not_teach_is_a_fault(tmp_path: Path, split: str) -> None:
    strange = [row(number, split, action="dim") for number in (10, 11)]
    report = check(tmp_path, *sound(tmp_path), *strange)
    (fault,) = report.faults
    assert fault.endswith(f":6: the intent 'lamp_dim' is in {split} (2 utterances), but not in train")


def test_a_slot_type_that_train_does_not_teach_is_a_warning(tmp_path: Path) -> None:
    report = check(tmp_path, *sound(tmp_path), row(9, "test", entities=[{"type": "room", "filler": "lamp"}]))
    (warning,) = report.warnings
    assert warning.endswith(":6: the slot type 'room' is in test (1 utterances), but not in train")
    assert report.fit_to_train


def test_a_transcript_in_two_splits_is_a_warning(tmp_path: Path) -> None:
    same_split = row(7, transcript="train lamp 0 on", entities=[])
    other_language = row(8, "test", transcript="train lamp 0 on", locale="en-GB", entities=[])
    leaked = row(9, "test", transcript="Train  lamp 0 ON", entities=[])
    report = check(tmp_path, *sound(tmp_path), same_split, other_language, leaked)
    path = tmp_path / "manifest.jsonl"
    assert report.warnings == [
        f"{path}:8: the transcript 'Train  lamp 0 ON' of test is also in train ({path}:1)"
    ]  # fmt: skip


def test_lengths_that_models_cannot_hear_are_warnings(tmp_path: Path) -> None:
    rows = [spoken(tmp_path, 10, seconds=2.5), spoken(tmp_path, 11, seconds=0.05), spoken(tmp_path, 12, seconds=2.0)]
    report = check(tmp_path, *sound(tmp_path), *rows, window_seconds=2.0)
    assert [line.partition(": ")[2] for line in report.warnings] == [
        "2.50 s, longer than the window of 2 s",
        "0.050 s, shorter than 0.1 s; silence is added",
    ]
    assert ":6: " in report.warnings[0] and ":7: " in report.warnings[1]
    assert report.fit_to_train


def test_seconds_that_the_recording_does_not_have_are_a_warning(tmp_path: Path) -> None:
    report = check(tmp_path, *sound(tmp_path), spoken(tmp_path, 10) | {"seconds": 3.0})
    (warning,) = report.warnings
    assert warning.endswith("1.00 s long, but the manifest says 3.00 s")


def test_other_sampling_rates_are_noted(tmp_path: Path) -> None:
    report = check(tmp_path, *sound(tmp_path), spoken(tmp_path, 10, rate=44_100), spoken(tmp_path, 11, rate=44_100))
    assert report.notes[0] == "2 recordings are at 44100 Hz; they are converted to 16000 Hz"
    assert report.warnings == []


def test_a_filler_that_is_not_said_is_a_warning(tmp_path: Path) -> None:
    said = row(10, transcript="Ring  Zoe's bell", entities=[{"type": "device", "filler": "zoe 's bell"}])
    unsaid = row(11, transcript="ring the bell", entities=[{"type": "device", "filler": "gong"}])
    report = check(tmp_path, *sound(tmp_path), said, unsaid)
    (warning,) = report.warnings
    assert warning.endswith(":7: the filler 'gong' of 'device' is not in the transcript")


def test_training_recordings_without_a_transcript_are_noted(tmp_path: Path) -> None:
    slots = [{"type": "device", "filler": "bell"}]
    untranscribed = [spoken(tmp_path, number) | {"transcript": "", "entities": slots} for number in (10, 11)]
    report = check(tmp_path, *sound(tmp_path), *untranscribed)
    assert report.warnings == []
    assert report.notes[0] == "2 training recordings have no transcript: they are used as speech only"


def test_a_speaker_of_both_train_and_test_is_noted(tmp_path: Path) -> None:
    shared = spoken(tmp_path, 10, "test") | {"speaker": "train-s1"}
    notes = check(tmp_path, *sound(tmp_path), shared).notes
    assert notes[0] == "1 speakers are in both train and test, such as 'train-s1'"


def test_train_without_speech_is_a_warning(tmp_path: Path) -> None:
    report = check(tmp_path, row(1), row(2, "test"))
    assert report.warnings == [f"{tmp_path / 'manifest.jsonl'}: no train utterance has speech"]
    assert report.coverage == ()


def test_the_budgets_that_recordings_allow_are_covered(tmp_path: Path) -> None:
    train = [spoken(tmp_path, n, action=["on", "off", "dim"][n % 3]) for n in range(30)]
    text = [row(n, action="set") for n in range(30, 100)]
    report = check(tmp_path, *train, *text, row(1, "test"))
    assert [(entry.percent, entry.utterances) for entry in report.coverage] == [
        (1, 1),
        (2, 2),
        (5, 5),
        (10, 10),
        (20, 20),
    ]
    assert report.coverage[0].intents_without_speech[-1] == "lamp_set"
    assert [len(entry.intents_without_speech) for entry in report.coverage] == [3, 2, 1, 1, 1]
    assert report.coverage_rows()[-1] == ("20 %", "20", "0.3", "1")
    assert [entry.percent for entry in check(tmp_path, *train, row(1, "test")).coverage] == [1, 2, 5, 10, 20, 50, 100]


def test_a_row_that_is_not_valid_is_refused_with_its_place(tmp_path: Path) -> None:
    with pytest.raises(UserError, match=r"manifest\.jsonl:6: id 'train0' is already"):
        check(tmp_path, *sound(tmp_path), row(0))


def test_silent_and_clipped_recordings_are_warned_of(tmp_path: Path) -> None:
    time = np.arange(16_000) / 16_000
    loud = np.clip(3 * np.sin(2 * np.pi * 200 * time), -1, 1)
    for name, samples in (("still", 1e-4 * np.sin(300 * time)), ("loud", loud), ("soft", 0.01 * loud)):
        soundfile.write(tmp_path / f"{name}.wav", samples, 16_000, subtype="FLOAT")
    clipped = float((np.abs(loud) >= 1).mean())
    odd = [row(20 + place, audio=f"{name}.wav") for place, name in enumerate(("still", "loud", "soft"))]
    report = check(tmp_path, *sound(tmp_path), *odd)
    manifest = tmp_path / "manifest.jsonl"
    assert report.warnings_by_kind == {
        "silent clips": [f"{manifest}:6: silent: its loudest part is at -83 dB"],
        "clipped clips": [f"{manifest}:7: clipped: {clipped:.1%} of its samples are at full scale"],
    }
    assert report.fit_to_train
