from collections import Counter
from pathlib import Path
from typing import Any

import pytest
from corpus_files import fault_of
from hub_files import datasets, hub, parquet, repository, sound

from sottovoce.core.types import Frame
from sottovoce.data.corpora.registry import prepare
from sottovoce.data.manifest import read_manifest

__all__ = ["hub"]
NAME = "PolyAI/minds14"
FEATURES: dict[str, Any] = {
    "path": datasets.Value("string"),
    "audio": datasets.Audio(sampling_rate=8000),
    "transcription": datasets.Value("string"),
    "english_transcription": datasets.Value("string"),
    "intent_class": datasets.ClassLabel(names=["abroad", "freeze", "pay_bill"]),
    "lang_id": datasets.ClassLabel(names=["nl-NL", "pl-PL"]),
}


def _row(number: int, intent: int = 0, **changes: Any) -> dict[str, Any]:
    path = f"nl-NL~CASE/{number:024x}.wav"
    return {"path": path, "audio": {"bytes": sound(rate=8000), "path": path}, "transcription": f"zin {number}",
            "english_transcription": f"line {number}", "intent_class": intent, "lang_id": 0} | changes  # fmt: skip


@pytest.fixture
def copy(tmp_path: Path) -> Path:
    rows = [_row(number, number % 2) for number in range(20)]
    parquet(tmp_path / "copy" / "nl-NL" / "train-00000-of-00001.parquet", FEATURES, rows)
    return tmp_path / "copy"


def test_every_intent_is_cut_alike_by_the_seed(copy: Path, tmp_path: Path) -> None:
    rows = read_manifest(prepare("minds14", copy, tmp_path / "out", locale="nl-NL", dev="0.1", test="0.3"))
    assert (rows[0].id, rows[0].transcript, rows[0].frame) == (f"{0:024x}", "zin 0", Frame("banking", "abroad"))
    assert (rows[0].locale, rows[0].seconds) == ("nl-NL", 0.25)
    counts = Counter((row.frame.action, row.split) for row in rows)
    assert counts == {
        (intent, split): number
        for intent in ("abroad", "freeze")
        for split, number in (("train", 6), ("dev", 1), ("test", 3))
    }
    splits = {row.id: row.split for row in rows}
    file = copy / "nl-NL" / "train-00000-of-00001.parquet"
    parquet(file, FEATURES, [_row(number, number % 2) for number in reversed(range(20))])
    again = read_manifest(prepare("minds14", file, tmp_path / "again"))
    assert {row.id: row.split for row in again} == splits, "whatever the order of the rows"
    other = read_manifest(prepare("minds14", file, tmp_path / "other", seed="1"))
    assert {row.id: row.split for row in other} != splits


def test_the_hub_is_read_through_datasets(tmp_path: Path, hub: Path) -> None:
    parquet(hub / NAME / "nl-NL" / "train-00000-of-00001.parquet", FEATURES, [_row(1), _row(2, 2)])
    repository(hub / NAME, ["nl-NL"])
    rows = read_manifest(prepare("minds14", Path(NAME), tmp_path / "out", locale="nl-NL"))
    assert [(row.frame.intent, row.audio is not None) for row in rows] == [
        ("banking_abroad", True), ("banking_pay_bill", True)]  # fmt: skip


@pytest.mark.parametrize(
    ("change", "fault"),
    [
        ({"transcription": ""}, "'transcription' must be non-empty text"),
        ({"intent_class": None}, "'intent_class' must be non-empty text"),
        ({"intent_class": -1}, "'intent_class' must be non-empty text"),
        ({"lang_id": 1}, "'lang_id' is 'pl-PL', not 'nl-NL'"),
        ({"audio": None}, "'audio' has no recording"),
        ({"path": _row(1)["path"]}, "is already in"),
    ],
)
def test_bad_rows_are_refused(tmp_path: Path, change: dict[str, Any], fault: str) -> None:
    file = parquet(tmp_path / "nl-NL" / "train-00000-of-00001.parquet", FEATURES, [_row(1), _row(2) | change])
    message = fault_of("minds14", tmp_path, tmp_path / "out", locale="nl-NL")
    assert message.startswith(f"{file}:2: ")
    assert fault in message


@pytest.mark.parametrize(
    ("options", "fault"),
    [
        ({"dev": "much"}, "dev is 'much'"),
        ({"test": "-0.1"}, "test is '-0.1'"),
        ({"dev": "nan"}, "dev is 'nan'"),
        ({"dev": "0.5", "test": "0.5"}, "leave some for train"),
        ({"seed": "one"}, "seed is 'one'"),
        ({"locale": "pl-PL"}, "has no part 'pl-PL'"),
    ],
)
def test_options_that_do_not_fit_are_refused(copy: Path, tmp_path: Path, options: dict[str, str], fault: str) -> None:
    assert fault in fault_of("minds14", copy, tmp_path / "out", **options)
