import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest
from corpus_files import clip, fault_of, table
from hub_files import arrow, datasets, hub, parquet, pyarrow, repository, sound

from sottovoce.core.types import Entity, Frame, Utterance
from sottovoce.data.corpora.registry import prepare
from sottovoce.data.manifest import read_manifest

__all__ = ["hub"]
TEXT = datasets.Value("string")
FEATURES: dict[str, Any] = {
    "said": TEXT,
    "label": datasets.ClassLabel(names=["bell_ring", "greet"]),
    "slots": datasets.List({"type": TEXT, "filler": TEXT}),
    "audio": datasets.Audio(),
}
OPTIONS = {"transcript_column": "said", "intent_column": "label", "entities_column": "slots", "locale": "nl-NL"}


def _row(**changes: Any) -> dict[str, Any]:
    return {"said": "ring at ten", "label": 0, "slots": [{"type": "time", "filler": "ten"}],
            "audio": {"bytes": sound(form="FLAC"), "path": "a.flac"}} | changes  # fmt: skip


def _expected(out: Path) -> list[Utterance]:
    ring = Frame("bell", "ring", (Entity("time", "ten"),))
    return [
        Utterance("test-1", "nl-NL", "ring at ten", ring, "test", out / "audio" / "test-1.flac", None, 0.25),
        Utterance("test-2", "nl-NL", "hi", Frame("command", "greet"), "test"),
    ]


ROWS = [_row(), _row(said="hi", label=1, slots=[], audio=None)]


def test_every_kind_of_source_gives_the_same_rows(tmp_path: Path, hub: Path) -> None:
    file = parquet(tmp_path / "flat" / "test.parquet", FEATURES, ROWS)
    parquet(tmp_path / "converted" / "default" / "test" / "0000.parquet", FEATURES, ROWS)
    parquet(tmp_path / "pushed" / "data" / "test-00000-of-00001.parquet", FEATURES, ROWS)
    parquet(hub / "me" / "own" / "part" / "test-00000-of-00001.parquet", FEATURES, ROWS)
    repository(hub / "me" / "own", ["part"])
    datasets.DatasetDict({"test": datasets.Dataset(arrow(FEATURES, ROWS))}).save_to_disk(tmp_path / "saved")
    converted = tmp_path / "converted"
    sources = [(file, None), (file.parent, None), (converted / "default", None), (converted, "default"),
               (tmp_path / "pushed", None), (tmp_path / "saved", None), (Path("me/own"), "part")]  # fmt: skip
    for number, (source, config) in enumerate(sources):
        out = tmp_path / f"out{number}"
        assert read_manifest(prepare("dataset", source, out, config=config, **OPTIONS)) == _expected(out), source


def test_a_folder_of_sound_files_is_left_to_the_table(tmp_path: Path) -> None:
    folder = tmp_path / "own"
    clip(folder / "test" / "1.wav", 0.5)
    row = {"file_name": "1.wav", "transcript": "ring", "intent": "bell_ring"}
    sheet = table(folder / "test" / "metadata.csv", row)
    assert "prepare its metadata.csv as the corpus `table`" in fault_of("dataset", folder, tmp_path / "out")
    (read,) = read_manifest(prepare("table", sheet, tmp_path / "out", audio_column="file_name", split="test"))
    assert (read.split, read.seconds, read.audio) == ("test", 0.5, tmp_path / "out" / "audio" / "1.wav")


def test_stored_paths_may_not_lead_outside(tmp_path: Path) -> None:
    outside = clip(tmp_path / "secret.wav")
    stored = {"bytes": None, "path": str(outside)}
    file = tmp_path / "hostile" / "test.parquet"
    file.parent.mkdir()
    rows = [{"transcript": "ring", "intent": "bell_ring", "audio": stored}]
    pyarrow.parquet.write_table(pyarrow.Table.from_pylist(rows), file)
    assert f"{file}:1: {outside} is outside" in fault_of("dataset", file, tmp_path / "x")
    rows[0]["audio"] = {"bytes": None, "path": "none.wav"}
    pyarrow.parquet.write_table(pyarrow.Table.from_pylist(rows), file)
    assert f"{file}:1: no such recording" in fault_of("dataset", file, tmp_path / "x")


@pytest.mark.parametrize(
    ("change", "fault"),
    [
        ({"said": None}, "'said' must be non-empty text"),
        ({"label": None}, "'label' must be non-empty text"),
        ({"slots": [{"type": "time", "filler": ""}]}, "is not a type and a filler"),
        ({"said": "at [time : ten]"}, "both in brackets and in 'slots'"),
        ({"audio": {"bytes": b"x", "path": None}}, "cannot be read"),
    ],
)
def test_bad_rows_are_refused(tmp_path: Path, change: dict[str, Any], fault: str) -> None:
    file = parquet(tmp_path / "train.parquet", FEATURES, [_row(), _row() | change])
    message = fault_of("dataset", file, tmp_path / "out", **OPTIONS)
    assert message.startswith(f"{file}:2: ")
    assert fault in message


def test_sources_and_splits_that_do_not_fit_are_refused(tmp_path: Path, hub: Path) -> None:
    out = tmp_path / "out"
    file = parquet(tmp_path / "own" / "rest.parquet", FEATURES, ROWS)
    assert "the split 'rest'" in fault_of("dataset", file, out, **OPTIONS)
    assert "has no split 'test'" in fault_of("dataset", file, out, splits="test", **OPTIONS)
    assert "the corpus dataset needs a source" in fault_of("dataset", None, out)
    assert "no such file or folder" in fault_of("dataset", tmp_path / "none", out)
    assert "datasets cannot load me/none: " in fault_of("dataset", Path("me/none"), out)
    (tmp_path / "empty").mkdir()
    assert f"datasets cannot load {tmp_path / 'empty'}: " in fault_of("dataset", tmp_path / "empty", out)
    parquet(file.with_name("train.parquet"), {"text": TEXT}, [{"text": "x"}])
    assert "train.parquet:1: the key 'transcript' is missing" in fault_of("dataset", file.parent, out, splits="train")


def test_code_in_a_dataset_is_never_run(tmp_path: Path, hub: Path) -> None:
    script = hub / "me" / "code" / "code.py"
    script.parent.mkdir(parents=True)
    script.write_text(f"open({str(tmp_path / 'ran')!r}, 'w')\n")
    assert "datasets cannot load me/code: " in fault_of("dataset", Path("me/code"), tmp_path / "out")
    assert "datasets cannot load " in fault_of("dataset", script.parent, tmp_path / "out")
    assert not (tmp_path / "ran").exists()


def test_without_a_network_or_the_extra_there_is_one_line(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def unreachable(*_: object, **__: object) -> None:
        raise ConnectionError("Couldn't reach 'me/own' on the Hub\n(LocalEntryNotFoundError)")

    monkeypatch.setattr(datasets, "get_dataset_split_names", unreachable)
    message = fault_of("dataset", Path("me/own"), tmp_path / "out")
    assert message.startswith("datasets cannot load me/own: Couldn't reach 'me/own' on the Hub")
    assert "the network" in message
    monkeypatch.setitem(sys.modules, "datasets", None)
    assert "pip install 'sottovoce[hub]'" in fault_of("dataset", Path("me/own"), tmp_path / "out")


def test_neither_torch_nor_a_decoder_is_imported(tmp_path: Path) -> None:
    file = parquet(tmp_path / "test.parquet", FEATURES, ROWS)
    code = f"""
import sys
from pathlib import Path
from sottovoce.data.corpora.registry import prepare
prepare("dataset", Path({str(file)!r}), Path({str(tmp_path / "out")!r}), **{OPTIONS!r})
assert not {{"torch", "torchcodec", "librosa"}} & sys.modules.keys()
"""
    subprocess.run([sys.executable, "-c", code], check=True, timeout=120)
