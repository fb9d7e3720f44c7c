from pathlib import Path

import pytest

from sottovoce.check.distributions import (
    MAX_BINS,
    LabelCount,
    SpeakerMinutes,
    clip_lengths,
    distributions,
)
from sottovoce.core.types import Entity, Frame, Split, Utterance


def utterance(
    number: int, action: str, slots: str = "", seconds: float | None = None, speaker: str | None = None,
    split: Split = "train",
) -> Utterance:  # fmt: skip
    frame = Frame("lamp", action, tuple(Entity(slot, "x") for slot in slots.split()))
    audio = None if seconds is None else Path("clip.wav")
    return Utterance(f"u{number}", "en-US", "x", frame, split, audio, speaker, seconds)


DATA = distributions(
    [
        utterance(0, "on", "room room", 60.0, "anna"),
        utterance(1, "on", "room"),
        utterance(2, "off", "", 30.0, "ben"),
        utterance(3, "dim", "level"),
        utterance(4, "dim"),
        utterance(5, "dim", "", 90.0, "anna", "test"),
        utterance(6, "dim", "", 6.0, None, "test"),
    ],
    {44_100: 1, 16_000: 3},
)


def test_labels_are_counted_in_train_with_those_that_have_speech() -> None:
    assert DATA.intents == (LabelCount("lamp_dim", 2, 0), LabelCount("lamp_on", 2, 1), LabelCount("lamp_off", 1, 1))
    assert DATA.slot_types == (LabelCount("room", 2, 1), LabelCount("level", 1, 0)), "utterances, not slots"


def test_speakers_minutes_are_those_of_all_splits_and_of_train() -> None:
    assert DATA.speakers == (
        SpeakerMinutes("anna", 2.5, 1.0),
        SpeakerMinutes("ben", 0.5, 0.5),
        SpeakerMinutes(None, 0.1, 0.0),
    )


def test_lengths_and_rates_leave_out_what_has_none() -> None:
    assert DATA.seconds == {"train": (60.0, 30.0), "test": (90.0, 6.0)}
    assert list(DATA.sampling_rates.items()) == [(16_000, 3), (44_100, 1)]


def test_clips_are_counted_in_bins_that_begin_at_their_own_length() -> None:
    lengths = clip_lengths({"train": [0.3, 0.1, 0.05, 0.39], "test": [0.6]}, limit=8)
    assert lengths.bin_seconds == pytest.approx(0.1)
    # 0.3 / 0.1 is less than 3 in floating point, and still three bins.
    assert lengths.counts == {"train": (1, 1, 0, 2, 0, 0, 0), "test": (0, 0, 0, 0, 0, 0, 1)}
    assert not lengths.open_ended


@pytest.mark.parametrize(("longest", "width"), [(2.9, 0.1), (3.1, 0.2), (29.9, 1.0), (59.9, 2.0), (86_400.0, 5000.0)])
def test_bins_are_round_and_few(longest: float, width: float) -> None:
    lengths = clip_lengths({"train": [longest]}, limit=100_000)
    assert lengths.bin_seconds == pytest.approx(width)
    assert len(lengths.counts["train"]) <= MAX_BINS
    assert lengths.counts["train"][-1] == 1


def test_an_endless_clip_is_counted_in_the_last_bin() -> None:
    lengths = clip_lengths({"train": [1.0, 2.0, 3600.0]}, limit=2.5)
    assert lengths.counts["train"] == (*[0] * 10, 1, *[0] * 9, 1, *[0] * 4, 1)
    assert lengths.open_ended


def test_no_clips_and_no_window_are_no_error() -> None:
    assert clip_lengths({}, limit=8).counts == {}
    assert sum(clip_lengths({"train": [1.0, 2.0]}, limit=0).counts["train"]) == 2
