import sys
from pathlib import Path
from typing import Any

import pytest
from corpus_files import fault_of
from hub_files import datasets, hub, parquet, repository, sound

from sottovoce.core.types import Entity, Frame, Utterance
from sottovoce.data.corpora.registry import prepare
from sottovoce.data.manifest import read_manifest

__all__ = ["hub"]
NAME = "FBK-MT/Speech-MASSIVE"
_TEXT = ("utt", "annot_utt", "worker_id", "path", "speaker_id", "speaker_sex", "speaker_age",
         "speaker_ethnicity_simple", "speaker_country_of_birth", "speaker_country_of_residence",
         "speaker_nationality", "speaker_first_language")  # fmt: skip
JUDGED = {"worker_id": "string", "intent_score": "int8", "slots_score": "int8", "grammar_score": "int8",
          "spelling_score": "int8", "language_identification": "string"}  # fmt: skip
FEATURES: dict[str, Any] = {
    "id": datasets.Value("string"),
    "locale": datasets.Value("string"),
    "partition": datasets.Value("string"),
    "scenario": datasets.ClassLabel(names=["lamp", "bell"]),
    "scenario_str": datasets.Value("string"),
    "intent_idx": datasets.ClassLabel(names=["lamp_on", "bell_set"]),
    "intent_str": datasets.Value("string"),
    **{key: datasets.Value("string") for key in _TEXT},
    "slot_method": {"slot": datasets.List(datasets.Value("string")), "method": datasets.List(datasets.Value("string"))},
    "judgments": {key: datasets.List(datasets.Value(kind)) for key, kind in JUDGED.items()},
    "tokens": datasets.List(datasets.Value("string")),
    "labels": datasets.List(datasets.Value("string")),
    "audio": datasets.Audio(sampling_rate=16_000),
    "is_transcript_reported": datasets.Value("bool"),
    "is_validated": datasets.Value("bool"),
}  # fmt: skip


def _row(number: int, locale: str = "nl-NL", partition: str = "train", **changes: Any) -> dict[str, Any]:
    return {"id": str(number), "locale": locale, "partition": partition, "scenario": 0, "scenario_str": "lamp",
            "intent_idx": 0, "intent_str": "lamp_on", "utt": "doe de lamp aan",
            "annot_utt": "doe [device : de lamp] aan", "worker_id": "3", "speaker_id": "kim", "speaker_sex": "Female",
            "slot_method": {"slot": ["device"], "method": ["translation"]},
            "judgments": {"worker_id": ["3"], "intent_score": [1], "slots_score": [1], "grammar_score": [4],
                          "spelling_score": [2], "language_identification": ["target"]},
            "tokens": ["doe", "de", "lamp", "aan"], "labels": ["Other", "device", "device", "Other"],
            "path": f"{partition}/r{number}.wav", "audio": {"bytes": sound(), "path": f"r{number}.wav"},
            "is_transcript_reported": False, "is_validated": True} | changes  # fmt: skip


def _files(folder: Path, locale: str = "nl-NL") -> Path:
    parquet(folder / locale / "train_115-00000-of-00001.parquet", FEATURES, [_row(1, locale)])
    parquet(folder / locale / "validation-00000-of-00001.parquet", FEATURES, [_row(3, locale, "dev")])
    return folder


def test_a_local_copy_becomes_a_manifest(tmp_path: Path) -> None:
    folder, out = _files(tmp_path / "copy"), tmp_path / "out"
    rows = read_manifest(prepare("speech_massive", folder, out, locale="nl-NL"))
    assert rows[0] == Utterance("1", "nl-NL", "doe de lamp aan", Frame("lamp", "on", (Entity("device", "de lamp"),)),
                                "train", out / "audio" / "1.wav", "kim", 0.25)  # fmt: skip
    assert [(row.id, row.split) for row in rows] == [("1", "train"), ("3", "dev")]
    assert rows[0].audio and rows[0].audio.read_bytes() == sound(), "the bytes as they were stored"
    assert not list(out.rglob("*.part"))
    assert "torchcodec" not in sys.modules


def test_the_training_split_is_the_full_one_unless_told_otherwise(tmp_path: Path) -> None:
    folder = _files(tmp_path / "copy")
    shards = [f"train-0000{number}-of-00002.parquet" for number in (0, 1)]
    for number, shard in enumerate(shards):
        parquet(folder / "nl-NL" / shard, FEATURES, [_row(10 + number)])
    for train, expected in ((None, ["10", "11", "3"]), ("train", ["10", "11", "3"]), ("train_115", ["1", "3"])):
        rows = read_manifest(prepare("speech_massive", folder / "nl-NL", tmp_path / "out", train=train))
        assert [row.id for row in rows] == expected
    assert "did you mean 'train_115'?" in fault_of("speech_massive", folder, tmp_path / "out", train="train115")
    (row,) = read_manifest(prepare("speech_massive", folder / "nl-NL" / shards[1], tmp_path / "one"))
    assert row.id == "11"


def test_test_recordings_come_from_their_own_repository_and_all_locales_go_together(tmp_path: Path) -> None:
    folder, tests, out = _files(tmp_path / "copy", "all"), tmp_path / "tests", tmp_path / "out"
    path = folder / "all" / "train_115-00000-of-00001.parquet"
    again = _row(1, "fr-FR", path="train/again.wav")
    parquet(path, FEATURES, [_row(1), _row(1, "fr-FR"), again])
    parquet(folder / "all" / "validation-00000-of-00001.parquet", FEATURES, [_row(3, partition="dev")])
    parquet(tests / "all" / "test-00000-of-00001.parquet", FEATURES, [_row(4, partition="test")])
    rows = read_manifest(prepare("speech_massive", folder, out, locale="all", test=tests))
    assert [row.id for row in rows] == ["nl-NL-1", "fr-FR-1", "fr-FR-1-again", "nl-NL-3", "nl-NL-4"]
    assert {row.id: row.split for row in rows}["nl-NL-4"] == "test"


def test_the_hub_is_read_through_datasets(tmp_path: Path, hub: Path) -> None:
    repository(_files(_files(hub / NAME), "fr-FR"), ["fr-FR", "nl-NL"])
    parquet(hub / f"{NAME}-test" / "nl-NL" / "test-00000-of-00001.parquet", FEATURES, [_row(9, partition="test")])
    repository(hub / f"{NAME}-test", ["nl-NL"])
    rows = read_manifest(prepare("speech_massive", Path(NAME), tmp_path / "out", locale="nl-NL", test=f"{NAME}-test"))
    assert [(row.id, row.split, row.seconds) for row in rows] == [
        ("1", "train", 0.25), ("3", "dev", 0.25), ("9", "test", 0.25)]  # fmt: skip
    message = fault_of("speech_massive", Path(NAME), tmp_path / "x", locale="nl-BE")
    assert f"datasets cannot load {NAME}: " in message and "nl-NL" in message
    parquet(hub / "me" / "bad" / "nl-NL" / "train_115-00000-of-00001.parquet", FEATURES, [_row(1, utt="")])
    repository(hub / "me" / "bad", ["nl-NL"])
    message = fault_of("speech_massive", Path("me/bad"), tmp_path / "x", locale="nl-NL")
    assert message.startswith("me/bad/nl-NL/train_115:1: 'utt' must be non-empty text")


@pytest.mark.parametrize(
    ("change", "fault"),
    [
        ({"intent_str": "bell_set"}, "does not begin with its scenario 'lamp'"),
        ({"partition": "rest"}, "'partition' is 'rest'"),
        ({"annot_utt": "doe [device : de lamp aan"}, "a bracket that is not closed"),
        ({"utt": None}, "'utt' must be non-empty text"),
        ({"locale": "fr-FR"}, "'locale' is 'fr-FR', not 'nl-NL'"),
        ({"audio": None}, "'audio' has no recording"),
        ({"audio": {"bytes": b"", "path": None}}, "'audio' has no recording"),
        ({"audio": {"bytes": b"no sound", "path": None}}, "cannot be read"),
        ({"audio": {"bytes": sound(0), "path": None}}, "has no samples"),
        ({"audio": {"bytes": sound()[:30], "path": None}}, "the recording in 'audio'"),
        ({"id": "1", "path": "train/r1.wav"}, "is already in"),
    ],
)
def test_bad_rows_are_refused(tmp_path: Path, change: dict[str, Any], fault: str) -> None:
    file = tmp_path / "copy" / "nl-NL" / "train-00000-of-00001.parquet"
    parquet(file, FEATURES, [_row(1), _row(2) | change])
    message = fault_of("speech_massive", tmp_path / "copy", tmp_path / "out", locale="nl-NL")
    assert message.startswith(f"{file}:2: ")
    assert fault in message
    assert not (tmp_path / "out" / "manifest.jsonl").exists()


def test_sources_that_do_not_fit_are_refused(tmp_path: Path) -> None:
    folder, out = _files(tmp_path / "copy"), tmp_path / "out"
    _files(folder, "fr-FR")
    assert "choose one; known: fr-FR, nl-NL" in fault_of("speech_massive", folder, out)
    assert "did you mean 'nl-NL'?" in fault_of("speech_massive", folder, out, locale="nl-BE")
    assert "no split 'train'; did you mean 'train_115'?" in fault_of(
        "speech_massive", folder, out, locale="nl-NL", train="train"
    )
    path = folder / "nl-NL" / "train_115-00000-of-00001.parquet"
    features = {key: feature for key, feature in FEATURES.items() if key != "annot_utt"}
    parquet(path, features, [_row(1)])
    assert f"{path}:1: the key 'annot_utt' is missing" in fault_of("speech_massive", path, out)
    parquet(path, FEATURES, [])
    assert "no rows" in fault_of("speech_massive", path, out)
    for content in (b"", b"PAR1 not parquet", path.read_bytes()[:-20]):
        path.write_bytes(content)
        assert f"cannot read {path}" in fault_of("speech_massive", path, out)
