from pathlib import Path

import pytest
from corpus_files import clip, fault_of, table

from sottovoce.core.types import Entity, Frame, Utterance
from sottovoce.data.corpora.registry import prepare
from sottovoce.data.manifest import read_manifest

TIMER = "{'intent': 'SetTimer', 'slots': {'hours': 0, 'minutes': 2.0, 'seconds': 7.5}}"
SUM = "{'intent': 'SimpleMath', 'slots': {'number1': 4.25, 'number2': -3, 'op': ' minus '}}"


def _row(path: str, **changes: str) -> dict[str, str]:
    return {
        "path": path,
        "semantics": TIMER,
        "speakerId": "lee",
        "transcription": "count two minutes and a bit",
    } | changes


def _made(number: int, wav: str, **changes: str) -> dict[str, str]:
    return {"ID": str(number), "duration": "0.25", "wav": wav, "wav_format": "wav", "wav_opts": "", "spk_id": "lee",
            "spk_id_format": "string", "spk_id_opts": "", "semantics": SUM.replace(",", "|"),
            "semantics_format": "string", "semantics_opts": "", "transcript": "FOUR MINUS MINUS THREE",
            "transcript_format": "string", "transcript_opts": ""} | changes  # fmt: skip


@pytest.fixture
def release(tmp_path: Path) -> Path:
    folder = tmp_path / "timers-and-such"
    table(folder / "train-real.csv", _row("train-real/u1.wav"))
    table(folder / "train-synth.csv", _row("train-synth/u1.wav", semantics=SUM, speakerId=""))
    table(folder / "test-real.csv", _row("test-real/u2.wav"))
    table(folder / "test-synth.csv", _row("test-synth/u3.wav"))
    for name in ("train-real/u1", "train-synth/u1", "test-real/u2", "test-synth/u3"):
        clip(folder / f"{name}.wav", 0.25)
    return folder


def test_the_release_becomes_a_manifest(release: Path, tmp_path: Path) -> None:
    out = tmp_path / "out"
    rows = read_manifest(prepare("timers_and_such", release, out))
    timer = Frame("set", "timer", (Entity("hours", "0"), Entity("minutes", "2"), Entity("seconds", "7.5")))
    assert rows[0] == Utterance("train-real-u1", "en-US", "count two minutes and a bit", timer, "train",
                                out / "audio" / "train-real-u1.wav", "lee", 0.25)  # fmt: skip
    assert rows[1].frame == Frame(
        "simple", "math", (Entity("number1", "4.25"), Entity("number2", "-3"), Entity("op", "minus"))
    )
    assert [(row.id, row.speaker) for row in rows[1:]] == [("train-synth-u1", None), ("test-real-u2", "lee")]
    rows = read_manifest(prepare("timers_and_such", release, tmp_path / "synth", parts="test-synth"))
    assert [(row.id, row.split) for row in rows] == [("test-synth-u3", "test")]


def test_speechbrains_files_mean_the_same(tmp_path: Path) -> None:
    folder = tmp_path / "data"
    clip(folder / "dev-real" / "v1.wav")
    file = table(folder / "dev-real-type=direct.csv", _made(0, "/elsewhere/timers-and-such/dev-real/v1.wav"))
    for source in (folder, file):
        (row,) = read_manifest(prepare("timers_and_such", source, tmp_path / source.name / "out"))
        assert (row.id, row.split, row.speaker, row.transcript) == (
            "dev-real-v1",
            "dev",
            "lee",
            "FOUR MINUS MINUS THREE",
        )
        assert row.frame.entities[2] == Entity("op", "minus")


@pytest.mark.parametrize(
    ("change", "fault"),
    [
        ({"semantics": "{'intent': 'SetTimer', 'slots': {"}, "'semantics' is not a dictionary"),
        ({"semantics": "__import__('os').getcwd()"}, "'semantics' is not a dictionary"),
        ({"semantics": "[" * 4000}, "'semantics' is not a dictionary"),
        ({"semantics": "{" + " " * 9000 + "}"}, "'semantics' is not a dictionary"),
        ({"semantics": "['SetTimer']"}, "'semantics' is not a dictionary"),
        ({"semantics": "{'slots': {}}"}, "the intent None is not two or more words"),
        ({"semantics": "{'intent': 'timer', 'slots': {}}"}, "the intent 'timer' is not two or more words"),
        ({"semantics": "{'intent': 'SetTimer'}"}, "no dictionary of slots"),
        ({"semantics": "{'intent': 'SetTimer', 'slots': {'hours': None}}"}, "the slot 'hours' must hold text"),
        ({"transcription": ""}, "'transcription' must be non-empty text"),
        ({"path": "train-real/none.wav"}, "no such recording"),
        ({"path": "../secret.wav"}, "is outside"),
        ({"path": "train-real/u1.wav"}, "id 'train-real-u1' is already in"),
    ],
)
def test_bad_rows_are_refused(release: Path, tmp_path: Path, change: dict[str, str], fault: str) -> None:
    clip(tmp_path / "secret.wav")
    clip(release / "train-real" / "u9.wav")
    file = table(release / "train-real.csv", _row("train-real/u1.wav"), _row("train-real/u9.wav") | change, end="\r\n")
    message = fault_of("timers_and_such", release, tmp_path / "out")
    assert message.startswith(f"{file}:3: ")
    assert fault in message


def test_files_that_do_not_fit_are_refused(release: Path, tmp_path: Path) -> None:
    out = tmp_path / "out"
    assert "has no csv file of train-real" in fault_of("timers_and_such", tmp_path, out)
    assert "did you mean 'test-real'?" in fault_of("timers_and_such", release, out, parts="test-reel")
    assert "gives no part" in fault_of("timers_and_such", table(tmp_path / "real.csv", _row("x/y.wav")), out)
    file = release / "train-real.csv"
    file.write_text("path,transcription\n")
    assert f"{file}:1: no column 'semantics'" in fault_of("timers_and_such", release, out)
    file.write_text("semantics,transcription\n{},x\n")
    assert f"{file}:2: the key 'path' is missing" in fault_of("timers_and_such", release, out)
    file.write_bytes(b"path,semantics\n\xe9,x\n")
    assert f"{file}:2: not UTF-8" in fault_of("timers_and_such", release, out)
    file.write_text("")
    assert f"{file}:1: no header line" in fault_of("timers_and_such", release, out)
