from pathlib import Path
from typing import Any

import pytest
from corpus_files import clip, fault_of, jsonl
from shared_data import SHARED, needs_shared

from sottovoce.core.errors import UserError
from sottovoce.core.types import Entity, Frame, Utterance
from sottovoce.data.corpora import home
from sottovoce.data.corpora.registry import CORPORA, option_names, prepare
from sottovoce.data.manifest import read_manifest

SLURP: dict[str, Any] = {
    "slurp_id": 41, "sentence": "Ring Zoe's bell at ten",
    "sentence_annotation": "Ring [person : Zoe's] bell at [time : ten]",
    "intent": "bell_other", "action": "set", "scenario": "bell",
    "tokens": [{"surface": word, "id": place, "lemma": word, "pos": "NN"}
               for place, word in enumerate(["Ring", "Zoe", "'s", "bell", "at", "ten"])],
    "recordings": [{"file": "audio-1-headset.flac", "wer": 0.0, "ent_wer": 0.0, "status": "correct"},
                   {"file": "audio-1.flac", "wer": 0.0, "ent_wer": 0.0, "status": "correct"}],
    "entities": [{"span": [1, 2], "type": "person"}, {"span": [5], "type": "time"}],
}  # fmt: skip
SLURP_FRAME = Frame("bell", "set", (Entity("person", "zoe 's"), Entity("time", "ten")))
ORDER = {"id": "t1", "locale": "en-US", "partition": "train", "intent": "orderDrink",
         "utt": "a big flat white please", "annot_utt": "a [size : big] [coffeeDrink : flat white] please"}  # fmt: skip
ORDER_CLIP = {"id": "c1", "locale": "en-US", "partition": "dev", "intent": "orderDrink",
              "slots": {"coffeeDrink": "flat white", "size": "big"}, "audio": "audio/c1.wav",
              "seconds": 0.5}  # fmt: skip


def test_slurp_text_has_a_row_an_utterance(tmp_path: Path) -> None:
    for name, number in (("train", 1), ("devel", 2), ("test", 3)):
        jsonl(tmp_path / "slurp" / f"{name}.jsonl", SLURP | {"slurp_id": number})
    rows = read_manifest(prepare("slurp", tmp_path / "slurp", tmp_path / "out"))
    assert [(row.id, row.split) for row in rows] == [("1", "train"), ("2", "dev"), ("3", "test")]
    assert all((row.frame, row.transcript, row.audio) == (SLURP_FRAME, SLURP["sentence"], None) for row in rows)
    (row,) = read_manifest(prepare("slurp", tmp_path / "slurp" / "devel.jsonl", tmp_path / "dev"))
    assert (row.split, row.frame.intent, row.locale) == ("dev", "bell_set", "en-US")


def test_slurp_speech_has_a_row_a_recording(tmp_path: Path) -> None:
    source = jsonl(tmp_path / "test.jsonl", SLURP, SLURP | {"slurp_id": 42, "recordings": []})
    audio = tmp_path / "slurp_real"
    clip(audio / "audio-1.flac", 0.75)
    fault = fault_of("slurp", source, tmp_path / "out", audio=audio)
    assert fault.startswith(f"{source}:1: no such recording: {audio / 'audio-1-headset.flac'}")
    rows = read_manifest(prepare("slurp", source, tmp_path / "out", audio=audio, missing="skip"))
    assert [(row.id, row.audio, row.seconds) for row in rows] == [
        ("audio-1.flac", tmp_path / "out" / "audio" / "audio-1.flac", 0.75),
        ("42", None, None),
    ]
    clip(audio / "audio-1-headset.flac", 1.0)
    rows = read_manifest(prepare("slurp", source, tmp_path / "out", audio=audio))
    assert [row.id for row in rows] == ["audio-1-headset.flac", "audio-1.flac", "42"]
    assert all(row.frame == SLURP_FRAME for row in rows)


@pytest.mark.parametrize(
    ("change", "fault"),
    [
        ({"scenario": ""}, "'scenario' must be non-empty text"),
        ({"entities": [{"span": [6], "type": "time"}]}, "the span [6] of 'time' is outside the 6 tokens"),
        ({"entities": [{"span": [-1], "type": "time"}]}, "the span [-1] of 'time' is outside"),
        ({"entities": [{"type": "time"}]}, "is not a type and a span"),
        ({"entities": ["time"]}, "is not a type and a span"),
        ({"entities": None}, "'entities' must be a list"),
        ({"tokens": [{"id": 0}]}, "has no surface"),
    ],
)
def test_bad_slurp_rows_are_refused(tmp_path: Path, change: dict[str, Any], fault: str) -> None:
    source = jsonl(tmp_path / "test.jsonl", SLURP, SLURP | {"slurp_id": 42} | change)
    message = fault_of("slurp", source, tmp_path / "out")
    assert message.startswith(f"{source}:2: ")
    assert fault in message


def test_slurp_files_and_options_that_do_not_fit_are_refused(tmp_path: Path) -> None:
    source = jsonl(tmp_path / "tests.jsonl", SLURP)
    assert "did you mean 'test'?" in fault_of("slurp", source, tmp_path / "out")
    assert "has none of train.jsonl" in fault_of("slurp", tmp_path, tmp_path / "out")
    source = jsonl(tmp_path / "test.jsonl", SLURP)
    assert "no such folder of recordings" in fault_of("slurp", source, tmp_path / "out", audio=tmp_path / "none")
    assert "did you mean 'skip'?" in fault_of("slurp", source, tmp_path / "out", missing="skp")
    jsonl(source, SLURP, SLURP)
    assert f"{source}:2: id '41' is already in {source}:1" in fault_of("slurp", source, tmp_path / "out")


def test_picovoice_sentences_and_clips_become_one_manifest(tmp_path: Path) -> None:
    jsonl(tmp_path / "bench" / "text.jsonl", ORDER)
    jsonl(tmp_path / "bench" / "speech_dev.jsonl", ORDER_CLIP)
    clip(tmp_path / "bench" / "audio" / "c1.wav")
    rows = read_manifest(prepare("picovoice", tmp_path / "bench", tmp_path / "out"))
    size, drink = Entity("size", "big"), Entity("coffeeDrink", "flat white")
    assert rows == [
        Utterance("t1", "en-US", "a big flat white please", Frame("order", "drink", (size, drink)), "train"),
        Utterance("c1", "en-US", "flat white big", Frame("order", "drink", (drink, size)), "dev",
                  tmp_path / "out" / "audio" / "c1.wav", None, 0.5),
    ]  # fmt: skip


def test_picovoice_clips_are_cut_into_training_and_test(tmp_path: Path) -> None:
    clips = [ORDER_CLIP | {"id": f"c{number}"} for number in range(8)]
    jsonl(tmp_path / "bench" / "text.jsonl", ORDER)
    jsonl(tmp_path / "bench" / "speech_dev.jsonl", *clips)
    clip(tmp_path / "bench" / "audio" / "c1.wav")
    rows = read_manifest(prepare("picovoice", tmp_path / "bench", tmp_path / "out", test="0.75"))
    tested = {row.id for row in rows if row.split == "test"}
    assert len(tested) == 6
    for row in rows:
        assert row.split == "test" or row.split == "train"
        fillers = "flat white big" if row.id in tested else "" if row.audio else ORDER["utt"]
        assert row.transcript == fillers
    again = read_manifest(prepare("picovoice", tmp_path / "bench", tmp_path / "more", test="0.75", seed="1"))
    assert {row.id for row in again if row.split == "test"} != tested
    assert "test is 'x'" in fault_of("picovoice", tmp_path / "bench", tmp_path / "out", test="x")


@pytest.mark.parametrize(
    ("change", "fault"),
    [
        ({"intent": "order"}, "not camel case of two or more words"),
        ({"intent": "order-Drink"}, "not camel case of two or more words"),
        ({"slots": {}}, "'slots' must be a non-empty object"),
        ({"slots": {"size": ""}}, "the slot 'size' must hold text"),
        ({"audio": "audio/none.wav"}, "no such recording"),
        ({"audio": "../elsewhere.wav"}, "is outside"),
    ],
)
def test_bad_picovoice_rows_are_refused(tmp_path: Path, change: dict[str, Any], fault: str) -> None:
    clip(tmp_path / "audio" / "c1.wav")
    source = jsonl(tmp_path / "speech_dev.jsonl", ORDER_CLIP, ORDER_CLIP | {"id": "c2"} | change)
    message = fault_of("picovoice", source, tmp_path / "out")
    assert message.startswith(f"{source}:2: ")
    assert fault in message


@pytest.fixture
def assets(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    folder = tmp_path / "assets"
    folder.mkdir()
    monkeypatch.setattr(home, "_assets_folder", lambda: folder)
    return folder


def test_home_is_copied_with_its_clips(tmp_path: Path, assets: Path) -> None:
    text: dict[str, Any] = {
        "locale": "en-US",
        "transcript": "lamp on",
        "scenario": "lamp",
        "action": "on",
        "split": "train",
    }
    jsonl(assets / "en-US.jsonl", {"id": "h1", **text}, {"id": "h2", "audio": "audio/en-US/h2.ogg", **text})
    original = clip(assets / "audio" / "en-US" / "h2.ogg")
    rows = read_manifest(prepare("home", None, tmp_path / "out", locale="en-US"))
    assert [row.audio for row in rows] == [None, tmp_path / "out" / "audio" / "en-US" / "h2.ogg"]
    assert rows[1].audio and rows[1].audio.read_bytes() == original.read_bytes()
    assert [row.id for row in read_manifest(home.home_manifest("en-US"))] == ["h1", "h2"]
    assert "did you mean 'en-US'?" in fault_of("home", None, tmp_path / "out", locale="en-GB")
    assert "takes no source" in fault_of("home", tmp_path, tmp_path / "out")
    assert "package's own folder" in fault_of("home", None, assets, locale="en-US")
    original.unlink()
    assert "no such recording" in fault_of("home", None, tmp_path / "out")


def test_home_without_its_files_says_so(tmp_path: Path, assets: Path) -> None:
    assert "the corpus home is not installed" in fault_of("home", None, tmp_path / "out")
    with pytest.raises(UserError, match="not installed"):
        home.home_manifest("en-US")


def test_unknown_names_and_options_are_refused_with_the_nearest(tmp_path: Path) -> None:
    assert "did you mean 'massive'?" in fault_of("masive", tmp_path, tmp_path / "out")
    assert f"known: {', '.join(sorted(CORPORA))}" in fault_of("zzz", tmp_path, tmp_path / "out")
    assert "did you mean 'speech'?" in fault_of("massive", tmp_path, tmp_path / "out", spech="x")
    assert option_names("massive") == ["locale", "speech"]


@pytest.mark.parametrize("name", ["massive", "slurp", "picovoice"])
def test_sources_that_are_not_there_are_refused(tmp_path: Path, name: str) -> None:
    assert f"the corpus {name} needs a source" in fault_of(name, None, tmp_path / "out")
    assert "no such file or folder" in fault_of(name, tmp_path / "none", tmp_path / "out")
    empty = tmp_path / "train.jsonl"
    empty.touch()
    assert "no rows" in fault_of(name, empty, tmp_path / "out")
    empty.write_text("\n{oops\n")
    assert f"{empty}:2: not JSON" in fault_of(name, empty, tmp_path / "out")
    empty.write_text("[1]\n")
    assert f"{empty}:1: not a JSON object" in fault_of(name, empty, tmp_path / "out")
    empty.write_bytes(b"{}\n\xff\n")
    assert f"{empty}:" in fault_of(name, empty, tmp_path / "out")
    assert "is a file" in fault_of(name, tmp_path, empty)


@pytest.mark.parametrize("name", sorted(CORPORA.keys() - {"home"}))
def test_every_corpus_but_home_needs_a_source(tmp_path: Path, name: str) -> None:
    assert f"the corpus {name} needs a source" in fault_of(name, None, tmp_path / "out")
    assert "no such file or folder" in fault_of(name, tmp_path / "none", tmp_path / "out")


def test_every_corpus_is_prepared_by_a_function_with_named_options() -> None:
    options = {name: option_names(name) for name in CORPORA}
    assert {name for name, known in options.items() if "intent_column" in known} == {"dataset", "table"}
    assert {name: known for name, known in options.items() if name not in ("dataset", "table")} == {
        "chat": ["locale", "split", "scenario", "instruction", "unsaid", "allow_outside"],
        "fluent": [],
        "home": ["locale"],
        "massive": ["locale", "speech"],
        "minds14": ["locale", "dev", "test", "seed"],
        "picovoice": ["test", "seed"],
        "slurp": ["audio", "missing"],
        "speech_massive": ["locale", "train", "test"],
        "timers_and_such": ["parts"],
    }


@needs_shared
def test_slurp_as_released(tmp_path: Path) -> None:
    rows = read_manifest(prepare("slurp", SHARED / "slurp", tmp_path))
    assert [sum(row.split == split for row in rows) for split in ("train", "dev", "test")] == [0, 2033, 2974]
    assert sum(len(row.frame.entities) for row in rows) == 2022 + 2823


@needs_shared
def test_picovoice_as_released(tmp_path: Path) -> None:
    rows = read_manifest(prepare("picovoice", SHARED / "barista", tmp_path))
    assert [sum(row.split == split for row in rows) for split in ("train", "dev", "test")] == [432, 200, 0]
    assert {row.frame.intent for row in rows} == {"order_drink"}
    assert len({entity.type for row in rows for entity in row.frame.entities}) == 6
    assert sum(row.audio is not None for row in rows) == 200
