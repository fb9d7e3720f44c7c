"""`sottovoce predict` as a user types it, with a trained run of the tiny model."""

from __future__ import annotations

import io
import json
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import soundfile
from command_line import Outcome, run_main

Predict = Callable[..., Outcome]


@pytest.fixture
def predict(tiny_study: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> Predict:
    """Runs the verb in this process; ``lines`` is standard input."""

    def run(*arguments: str | Path, lines: bytes = b"") -> Outcome:
        cell = tiny_study / "cells/curriculum-30pct"
        monkeypatch.setattr(sys, "stdin", io.TextIOWrapper(io.BytesIO(lines)))
        return run_main(monkeypatch, capsys, "predict", cell, *arguments)

    return run


def tone(seconds: float, rate: int, pitch: float = 600.0) -> Any:
    return 0.3 * np.sin(2 * np.pi * pitch * np.arange(round(rate * seconds)) / rate)


def test_a_recording_gives_a_frame_in_one_line(predict: Predict, tmp_path: Path) -> None:
    soundfile.write(tmp_path / "clip.wav", tone(0.6, 16_000), 16_000)
    outcome = predict(tmp_path / "clip.wav")
    assert outcome.code == 0
    (answer,) = outcome.rows
    assert {"file", "path", "scenario", "action", "intent", "entities", "status", "confidence"} <= set(answer)
    assert (answer["file"], answer["seconds"], answer["cut"]) == ("clip.wav", 0.6, False)
    assert answer["status"] in ("ok", "unreadable")
    assert isinstance(answer["entities"], list) and answer["text"]


def test_a_stereo_recording_at_another_rate_is_accepted(predict: Predict, tmp_path: Path) -> None:
    both = np.stack([tone(0.6, 44_100), tone(0.6, 44_100, 300)], axis=1)
    soundfile.write(tmp_path / "clip.flac", both, 44_100)
    assert predict(tmp_path / "clip.flac").rows[0]["text"]


def test_a_recording_longer_than_the_window_is_cut_there(predict: Predict, tmp_path: Path) -> None:
    samples = np.random.default_rng(0).normal(0, 0.1, 16_000 * 5).astype(np.float32)
    soundfile.write(tmp_path / "long.wav", samples, 16_000)
    soundfile.write(tmp_path / "window.wav", samples[: 16_000 * 2], 16_000)
    long, window = (predict(tmp_path / f"{name}.wav").rows[0] for name in ("long", "window"))
    assert (long["cut"], window["cut"]) == (True, False)
    assert long["text"] == window["text"]


def test_a_missing_recording_is_one_line(predict: Predict, tmp_path: Path) -> None:
    outcome = predict(tmp_path / "nowhere.wav")
    assert (outcome.code, outcome.out) == (2, "")
    assert outcome.err.startswith(f"error: no such recording: {tmp_path / 'nowhere.wav'}")
    assert outcome.err.count("\n") == 1


def test_a_folder_and_a_list_give_the_same_rows_and_one_bad_file_status_1(predict: Predict, tmp_path: Path) -> None:
    for number in range(1, 7):
        soundfile.write(tmp_path / f"{number}.wav", tone(0.2 * number, 16_000, 100.0 * number), 16_000)
    (tmp_path / "4.wav").write_text("no wave")
    whole = predict(tmp_path)
    assert whole.code == 1
    assert [row["file"] for row in whole.rows] == [f"{number}.wav" for number in range(1, 7)]
    assert [row["status"] == "unreadable_input" for row in whole.rows] == [False, False, False, True, False, False]
    assert f"warning: cannot read {tmp_path / '4.wav'}" in whole.err
    listed = predict("-", lines="".join(f"{tmp_path}/{number}.wav\n" for number in range(1, 7)).encode())
    assert listed.rows == whole.rows
    written = predict(tmp_path, "--out", tmp_path / "rows.jsonl")
    assert (written.code, written.out) == (1, "")
    assert [json.loads(line) for line in (tmp_path / "rows.jsonl").read_text().splitlines()] == whole.rows


def test_typed_texts_are_understood(predict: Predict) -> None:
    (alone,) = predict("--text", "turn it on").rows
    assert (alone["id"], alone["transcript"], alone["seconds"]) == ("1", "turn it on", None)
    both = predict("--text", "-", lines=b"turn it on\nturn it off\n").rows
    assert [row["transcript"] for row in both] == ["turn it on", "turn it off"]
    assert predict("--text", "turn it on", "a.wav").code == 2


def test_what_the_model_is_not_sure_of_is_marked_and_still_answered(predict: Predict) -> None:
    told = predict("--text", "turn it on").rows[0]
    withheld = predict("--text", "turn it on", "--abstain-below", "1").rows[0]
    assert 0 <= told["confidence"] < 1
    assert withheld == told | {"status": "abstained" if told["status"] == "ok" else told["status"]}


def test_help_tells_what_can_be_given(predict: Predict) -> None:
    out = predict("--help").out.lower()
    assert all(option in out for option in ("--text", "--out", "--abstain-below", "source"))
