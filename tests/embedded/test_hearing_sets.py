"""The four sets that the embedded model's hearing is measured on, with a recogniser that writes what it is told."""

from __future__ import annotations

import json
from collections.abc import Callable, Sequence
from pathlib import Path

import pytest
from command_line import run_main
from made_speech import made_speech, wav_bytes

from sottovoce.core.types import Utterance
from sottovoce.embedded import transcripts as transcribing


@pytest.fixture
def data(tmp_path: Path) -> Path:
    """One test utterance of MASSIVE with a recording, and two of Picovoice's."""
    folder = tmp_path / "data"
    for name in ("massive", "speech/audio", "barista/audio"):
        (folder / name).mkdir(parents=True)
    clip = wav_bytes(made_speech(2))
    row = {"id": "9", "locale": "en-US", "partition": "test", "scenario": "lamp", "intent": "lamp_on",
           "utt": "light on in the hall", "annot_utt": "light on in the [room : hall]", "worker_id": "1"}  # fmt: skip
    write(folder / "massive/en-US.jsonl", row)
    (folder / "speech/audio/a.wav").write_bytes(clip)
    heard = {"id": "9", "locale": "en-US", "partition": "test", "audio": "audio/a.wav", "speaker": "x", "seconds": 1.0}
    write(folder / "speech/manifest.jsonl", heard)
    orders = [
        {"id": f"o{number}", "locale": "en-US", "partition": "dev", "intent": "orderDrink",
         "slots": {"size": "large", "roast": "dark roast"}, "audio": f"audio/{number}.wav", "seconds": 1.0}
        for number in range(2)
    ]  # fmt: skip
    for number in range(2):
        (folder / f"barista/audio/{number}.wav").write_bytes(clip)
    write(folder / "barista/speech_dev.jsonl", *orders)
    return folder


def write(path: Path, *rows: object) -> None:
    path.write_text("".join(json.dumps(row) + "\n" for row in rows), encoding="utf-8")


@pytest.fixture
def asked(monkeypatch: pytest.MonkeyPatch) -> list[list[Utterance]]:
    """Hears a word more than was said; of orders the size alone."""
    sets: list[list[Utterance]] = []

    def heard(utterances: Sequence[Utterance], model: str, partial: Path, say: Callable[[str], None]) -> dict[str, str]:
        assert model == "embedded"
        sets.append(list(utterances))
        return {u.id: "a large one" if u.id.startswith("o") else f"{u.transcript} please" for u in utterances}

    monkeypatch.setattr(transcribing, "transcribe", heard)
    return sets


def test_each_set_has_its_share(
    data: Path, asked: list[list[Utterance]], monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    outcome = run_main(monkeypatch, capsys, "embedded", "wer", "--json", "--data", data)
    shares = json.loads(outcome.out)
    english, massive, barista, french = asked
    assert list(shares) == ["home-en", "massive-en", "barista-fillers", "french"]
    assert shares["massive-en"] == 0.2 and shares["barista-fillers"] == 0.5
    words = sum(len(u.transcript.replace("'", " ").replace("-", " ").split()) for u in english)
    assert shares["home-en"] == pytest.approx(len(english) / words, abs=1e-4)
    assert [len(each) for each in (massive, barista)] == [1, 2]
    assert {u.split for u in english + french} == {"test"} and {u.speaker for u in french} == {"kokoro:ff_siwis"}
    assert {u.locale for u in french} == {"fr-FR"} and len({u.speaker for u in english}) == 6


def test_sets_that_are_absent_are_left_out_with_a_line_each(
    tmp_path: Path, asked: list[list[Utterance]], monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    outcome = run_main(monkeypatch, capsys, "embedded", "wer", "--data", tmp_path)
    assert outcome.code == 0 and len(asked) == 2
    assert outcome.err.count("is skipped: there is no") == 2 and "massive/en-US.jsonl with --data" in outcome.err
    assert "home-en" in outcome.out and "barista" not in outcome.out
