import os
import shutil
from pathlib import Path
from typing import Any

import pytest
from corpus_files import clip, fault_of, jsonl
from shared_data import SHARED, needs_shared

from sottovoce.core.errors import UserError
from sottovoce.core.types import Entity, Frame, Utterance
from sottovoce.data.budget import choose_speech
from sottovoce.data.corpora.brackets import parse_brackets
from sottovoce.data.corpora.registry import prepare
from sottovoce.data.manifest import read_manifest

MASSIVE: list[dict[str, Any]] = [
    {"id": "7", "locale": "fr-FR", "partition": "train", "scenario": "lamp", "intent": "lamp_light_on",
     "utt": "allume la lampe du salon", "annot_utt": "allume [device : la lampe] du [room : salon]", "worker_id": "3"},
    {"id": "8", "locale": "fr-FR", "partition": "dev", "scenario": "lamp", "intent": "lamp_off",
     "utt": "éteins tout", "annot_utt": "éteins tout", "worker_id": "4"},
    {"id": "9", "locale": "fr-FR", "partition": "test", "scenario": "bell", "intent": "bell_set",
     "utt": "sonne à 5:30", "annot_utt": "sonne à [time : 5:30]", "worker_id": "5"},
]  # fmt: skip


@pytest.mark.parametrize(
    ("annotated", "plain", "entities"),
    [
        ("no slots", "no slots", []),
        ("[time : five am]", "five am", [("time", "five am")]),
        ("at [time:5:30] on [date :  may 1 ]!", "at 5:30 on may 1!", [("time", "5:30"), ("date", "may 1")]),
        ("l'[room : étage][x : y]", "l'étagey", [("room", "étage"), ("x", "y")]),
    ],
)
def test_brackets_give_the_text_and_the_entities(annotated: str, plain: str, entities: list[tuple[str, str]]) -> None:
    assert parse_brackets(annotated, "f:1") == (plain, tuple(Entity(*entity) for entity in entities))


@pytest.mark.parametrize(
    ("annotated", "fault", "column"),
    [
        ("at [time : ten", "not closed", 4),
        ("at time : ten]", "not opened", 14),
        ("at [time : [ten]]", "inside a bracket", 12),
        ("at [a : b] c]", "not opened", 13),
        ("at [ten]", "not [type : filler]", 4),
        ("at [ : ten]", "not [type : filler]", 4),
        ("at [time : ]", "not [type : filler]", 4),
        ("at []", "not [type : filler]", 4),
    ],
)
def test_malformed_brackets_are_refused(annotated: str, fault: str, column: int) -> None:
    with pytest.raises(UserError) as caught:
        parse_brackets(annotated, "rows.jsonl:9")
    assert caught.value.what.startswith("rows.jsonl:9: ")
    assert fault in caught.value.what
    assert f"at column {column} of " in caught.value.what


def test_massive_text_becomes_a_manifest(tmp_path: Path) -> None:
    path = prepare("massive", jsonl(tmp_path / "fr-FR.jsonl", *MASSIVE), tmp_path / "out")
    assert path == tmp_path / "out" / "manifest.jsonl"
    assert read_manifest(path) == [
        Utterance("7", "fr-FR", "allume la lampe du salon",
                  Frame("lamp", "light_on", (Entity("device", "la lampe"), Entity("room", "salon"))), "train"),
        Utterance("8", "fr-FR", "éteins tout", Frame("lamp", "off"), "dev"),
        Utterance("9", "fr-FR", "sonne à 5:30", Frame("bell", "set", (Entity("time", "5:30"),)), "test"),
    ]  # fmt: skip
    assert read_manifest(path)[0].frame.intent == "lamp_light_on"


def test_massive_takes_one_locale_of_a_folder(tmp_path: Path) -> None:
    folder = tmp_path / "data"
    jsonl(folder / "fr-FR.jsonl", *MASSIVE)
    assert len(read_manifest(prepare("massive", folder, tmp_path / "only"))) == 3
    jsonl(folder / "de-DE.jsonl", MASSIVE[0] | {"locale": "de-DE"})
    assert len(read_manifest(prepare("massive", folder, tmp_path / "de", locale="de-DE"))) == 1
    assert "known: de-DE, fr-FR" in fault_of("massive", folder, tmp_path / "x")
    assert "did you mean 'fr-FR'?" in fault_of("massive", folder, tmp_path / "x", locale="fr-CA")
    assert "'locale' is 'fr-FR', not 'en-US'" in fault_of(
        "massive", folder / "fr-FR.jsonl", tmp_path / "x", locale="en-US"
    )


def test_massive_speech_is_joined_by_id_and_brought_inside(tmp_path: Path) -> None:
    text, speech, out = jsonl(tmp_path / "fr-FR.jsonl", *MASSIVE), tmp_path / "speech", tmp_path / "out"
    original = clip(speech / "audio" / "nine.wav")
    jsonl(
        speech / "manifest.jsonl",
        {"id": 9, "audio": "audio/nine.wav", "speaker": "s1", "seconds": 0.5, "locale": "fr-FR"},
    )
    for _ in range(2):  # and again over what is there
        rows = read_manifest(prepare("massive", text, out, speech=speech))
        assert [row.audio for row in rows] == [None, None, out / "audio" / "nine.wav"]
        assert (rows[2].speaker, rows[2].seconds) == ("s1", 0.5)
        assert (out / "audio" / "nine.wav").read_bytes() == original.read_bytes()
    inside = out / "clips"
    shutil.move(speech, inside)
    rows = read_manifest(prepare("massive", text, out, speech=str(inside)))
    assert rows[2].audio == inside / "audio" / "nine.wav", "a clip inside the folder stays where it is"


@pytest.mark.parametrize(
    ("row", "fault"),
    [
        ({"id": "10", "audio": "a.wav"}, "id '10' is not in the text"),
        ({"id": "9", "audio": "none.wav"}, "no such recording"),
        ({"id": "9"}, "the key 'audio' is missing"),
        ({"id": "9", "audio": "a.wav", "locale": "en-US"}, "'locale' is 'en-US', but 'fr-FR' in"),
        ({"id": "9", "audio": "a.wav", "partition": "train"}, "'partition' is 'train', but 'test' in"),
        ({"id": "9", "audio": "a.wav", "seconds": "long"}, "'seconds' must be a number above 0"),
        ({"id": "8", "audio": "a.wav"}, "id '8' occurs twice"),
        ({"id": "9", "audio": "other/a.wav"}, "have the same name"),
    ],
)
def test_massive_speech_that_does_not_fit_is_refused(tmp_path: Path, row: dict[str, Any], fault: str) -> None:
    text, speech = jsonl(tmp_path / "fr-FR.jsonl", *MASSIVE), tmp_path / "speech"
    clip(speech / "a.wav")
    clip(speech / "other" / "a.wav")
    place = jsonl(speech / "manifest.jsonl", {"id": "8", "audio": "a.wav"}, row)
    message = fault_of("massive", text, tmp_path / "out", speech=speech)
    assert message.startswith(f"{place}:2: ")
    assert fault in message


@pytest.mark.parametrize(
    ("change", "fault"),
    [
        ({"intent": "bell_set"}, "the intent 'bell_set' does not begin with its scenario 'lamp'"),
        ({"intent": "lamp_"}, "does not begin with its scenario"),
        ({"intent": None}, "'intent' must be non-empty text"),
        ({"intent": 48}, "does not begin with its scenario"),
        ({"partition": "heldout"}, "'partition' is 'heldout', not one of train, dev, test"),
        ({"annot_utt": "allume [device : la lampe"}, "a bracket that is not closed"),
        ({"utt": "  "}, "'utt' must be non-empty text"),
        ({"id": "8"}, "id '8' is already in"),
    ],
)
def test_bad_massive_rows_are_refused(tmp_path: Path, change: dict[str, Any], fault: str) -> None:
    source = jsonl(tmp_path / "fr-FR.jsonl", MASSIVE[1], MASSIVE[0] | change)
    message = fault_of("massive", source, tmp_path / "out")
    assert message.startswith(f"{source}:2: ")
    assert fault in message
    assert not (tmp_path / "out" / "manifest.jsonl").exists()


def test_a_source_is_never_overwritten(tmp_path: Path) -> None:
    speech = tmp_path / "speech"
    clip(speech / "a.wav")
    place = jsonl(speech / "manifest.jsonl", {"id": "9", "audio": "a.wav"})
    before = place.read_bytes()
    text = jsonl(tmp_path / "fr-FR.jsonl", *MASSIVE)
    assert "would be overwritten" in fault_of("massive", text, speech, speech=speech)
    assert place.read_bytes() == before


def test_clips_are_copied_where_they_cannot_be_linked(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def refuse(*_: object) -> None:
        raise OSError("another file system")

    text, speech = jsonl(tmp_path / "fr-FR.jsonl", *MASSIVE), tmp_path / "speech"
    original = clip(speech / "a.wav")
    jsonl(speech / "manifest.jsonl", {"id": "9", "audio": "a.wav"})
    monkeypatch.setattr(os, "link", refuse)
    audio = read_manifest(prepare("massive", text, tmp_path / "out", speech=speech))[2].audio
    assert audio is not None and audio.read_bytes() == original.read_bytes()
    assert not audio.samefile(original)


@needs_shared
def test_massive_as_released_with_speech(tmp_path: Path) -> None:
    rows = read_manifest(prepare("massive", SHARED / "massive", tmp_path, locale="en-US", speech=SHARED / "speech"))
    train = [row for row in rows if row.split == "train"]
    assert (len(rows), len(train), sum(row.audio is not None for row in rows)) == (16_521, 11_514, 1242)
    assert (len({row.frame.intent for row in rows}), len({row.frame.scenario for row in rows})) == (60, 18)
    assert all(row.audio.is_file() for row in rows if row.audio)
    budget = choose_speech(train, share=0.05)
    assert budget.num_utterances == 576
    assert len(budget.intents_without_speech) <= 1
