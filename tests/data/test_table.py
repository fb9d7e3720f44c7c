from pathlib import Path

import pytest
from corpus_files import clip, fault_of, table

from sottovoce.core.types import Entity, Frame, Utterance
from sottovoce.data.corpora.labelled import scenario_and_action
from sottovoce.data.corpora.registry import prepare
from sottovoce.data.manifest import read_manifest

ROWS = [
    {"id": "1", "transcript": "ring at [time : ten; sharp]", "intent": "bell_ring", "audio": "kim/1.wav",
     "speaker": "kim", "split": "train", "locale": "en-GB"},
    {"id": "2", "transcript": 'say "hi"', "intent": "greet", "audio": "", "speaker": "", "split": "Valid",
     "locale": ""},
]  # fmt: skip
EXPECTED = [
    ("1", "en-GB", "ring at ten; sharp", Frame("bell", "ring", (Entity("time", "ten; sharp"),)), "train"),
    ("2", "en-US", 'say "hi"', Frame("command", "greet"), "dev"),
]


@pytest.mark.parametrize("suffix", [".csv", ".tsv"])
@pytest.mark.parametrize(("delimiter", "end", "bom"), [(",", "\n", False), (";", "\r\n", True), ("|", "\r\n", False)])
def test_tables_are_read_however_they_were_saved(
    tmp_path: Path, suffix: str, delimiter: str, end: str, bom: bool
) -> None:
    delimiter = "\t" if suffix == ".tsv" else delimiter
    file, out = tmp_path / "own" / f"rows{suffix}", tmp_path / "out"
    clip(tmp_path / "own" / "kim" / "1.wav", 0.5)
    rows = read_manifest(prepare("table", table(file, *ROWS, delimiter=delimiter, end=end, bom=bom), out))
    assert [(row.id, row.locale, row.transcript, row.frame, row.split) for row in rows] == EXPECTED
    assert [(row.audio, row.speaker, row.seconds) for row in rows] == [
        (out / "audio" / "kim-1.wav", "kim", 0.5),
        (None, None, None),
    ]


def test_columns_go_by_any_name_and_lines_count_from_where_a_row_begins(tmp_path: Path) -> None:
    file = tmp_path / "rows.csv"
    file.write_text(
        'Said;Scene;Deed;Slots\n"two\nlines";bell;ring;\nat noon;bell;stop;"{""time"": ""noon""}"\nx;bell;;\n'
    )
    options = {"transcript_column": "Said", "scenario_column": "Scene", "action_column": "Deed"}
    message = fault_of("table", file, tmp_path / "out", **options, entities_column="Slots")
    assert message.startswith(f"{file}:5: 'Deed' must be non-empty text")
    file.write_text(file.read_text().replace("x;bell;;", ""))
    rows = read_manifest(
        prepare("table", file, tmp_path / "out", **options, entities_column="Slots", split="test", locale="nl-NL")
    )
    assert rows == [
        Utterance("rows-1", "nl-NL", "two lines", Frame("bell", "ring"), "test"),
        Utterance("rows-2", "nl-NL", "at noon", Frame("bell", "stop", (Entity("time", "noon"),)), "test"),
    ]


@pytest.mark.parametrize(
    "entities",
    ['[{"type": "day", "filler": "may 1"}, {"type": "time", "filler": "ten"}]', '[{"day": "may 1"}, {"time": "ten"}]',
     '{"day": "may 1", "time": "ten"}', "on [day : may 1] at [time : ten]"],
)  # fmt: skip
def test_entities_are_read_in_every_form(tmp_path: Path, entities: str) -> None:
    file = table(tmp_path / "rows.csv", {"transcript": "on may 1 at ten", "intent": "a_b", "entities": entities})
    (row,) = read_manifest(prepare("table", file, tmp_path / "out"))
    assert row.frame == Frame("a", "b", (Entity("day", "may 1"), Entity("time", "ten")))


def test_a_folder_of_splits_is_one_manifest(tmp_path: Path) -> None:
    row = {"transcript": "ring", "intent": "bell_ring"}
    for name in ("train.csv", "validation.tsv", "test.csv"):
        table(tmp_path / "own" / name, row, delimiter="\t" if name.endswith("tsv") else ",")
    rows = read_manifest(prepare("table", tmp_path / "own", tmp_path / "out"))
    assert [(row.id, row.split) for row in rows] == [("test-1", "test"), ("train-1", "train"), ("validation-1", "dev")]
    assert "has no train, dev or test file" in fault_of("table", tmp_path, tmp_path / "out")


@pytest.mark.parametrize(
    ("change", "fault"),
    [
        ({"transcript": " "}, "'transcript' must be non-empty text"),
        ({"transcript": "at [time : ten"}, "a bracket that is not closed"),
        ({"intent": ""}, "'intent' must be non-empty text"),
        ({"split": "rest"}, "'split' is 'rest', not one of train"),
        ({"audio": "none.wav"}, "no such recording"),
        ({"audio": "../secret.wav"}, "is outside"),
        ({"audio": "link.wav"}, "is outside"),
        ({"audio": "a\0b.wav"}, "is not a path"),
        ({"audio": "rows.csv"}, "cannot read"),
        ({"id": "1"}, "id '1' is already in"),
        ({"entities": "noon"}, "neither JSON nor annotated text"),
        ({"entities": '{"time": 3}'}, "is not a type and a filler"),
        ({"entities": '{"time": '}, "'entities' is not JSON"),
        ({"entities": '[{"a": "b"}, 3]'}, "the entity 3 is not an object"),
        ({"transcript": "at [time : ten]", "entities": '{"time": "ten"}'}, "both in brackets and in 'entities'"),
    ],
)
def test_bad_rows_are_refused(tmp_path: Path, change: dict[str, str], fault: str) -> None:
    folder = tmp_path / "own"
    clip(folder / "kim" / "1.wav")
    (folder / "link.wav").symlink_to(clip(tmp_path / "secret.wav"))
    file = table(folder / "rows.csv", ROWS[0] | {"entities": ""}, ROWS[1] | {"entities": ""} | change)
    message = fault_of("table", file, tmp_path / "out")
    assert message.startswith(f"{file}:3: ")
    assert fault in message


def test_recordings_outside_are_taken_where_that_is_permitted(tmp_path: Path) -> None:
    outside = clip(tmp_path / "far" / "away.wav")
    file = table(tmp_path / "own" / "rows.csv", {"transcript": "x", "intent": "a_b", "audio": str(outside)})
    assert "is outside" in fault_of("table", file, tmp_path / "out", allow_outside="false")
    (row,) = read_manifest(prepare("table", file, tmp_path / "out", allow_outside="true"))
    assert row.audio == tmp_path / "out" / "audio" / "away.wav"
    assert "give true or false" in fault_of("table", file, tmp_path / "out", allow_outside="maybe")


@pytest.mark.parametrize(
    ("content", "fault"),
    [
        (b"", ":1: no header line"),
        (b"transcript,intent\n", "no rows"),
        (b"text,intent\na,b\n", ":1: no column 'transcript'"),
        (b"transcript,intent,intent\na,b,c\n", ":1: the column 'intent' is named twice"),
        (b"transcript,intent\na,b\na,b,c\n", ":3: 3 cells, but 2 columns"),
        (b"transcript,intent\na\n", ":2: 1 cells, but 2 columns"),
        (b"transcript,label\na,b\n", ":2: the key 'intent' is missing"),
        (b'transcript,intent\na,b\n"a,b\nc,d\n', ":3: unexpected end of data"),
        (b"transcript,intent\na,b\n\xe9,b\n", ":3: not UTF-8 text"),
        (b"transcript,intent\ra,b\r", "new-line character"),
    ],
)
def test_files_that_are_no_tables_are_refused(tmp_path: Path, content: bytes, fault: str) -> None:
    file = tmp_path / "rows.csv"
    file.write_bytes(content)
    message = fault_of("table", file, tmp_path / "out")
    assert message.startswith(str(file))
    assert fault in message


def test_options_that_do_not_fit_are_refused(tmp_path: Path) -> None:
    file = table(tmp_path / "rows.csv", {"transcript": "x", "intent": "a_b"})
    assert "did you mean 'semicolon'?" in fault_of("table", file, tmp_path / "out", delimiter="semi")
    assert "split is 'tset'; did you mean 'test'?" in fault_of("table", file, tmp_path / "out", split="tset")
    assert "no column" in fault_of("table", file, tmp_path / "out", delimiter="tab")


@pytest.mark.parametrize("rejection", ["no_speech", "out_of_scope"])
def test_a_row_without_an_intent_says_so_in_the_intent_s_column(rejection: str) -> None:
    assert scenario_and_action(f" {rejection} ", "command") == (rejection, "")
    assert scenario_and_action(f"{rejection}_at_all", "command")[1] != ""
