from __future__ import annotations

import json
from pathlib import Path

import pytest
from command_line import run_main
from tiny_recogniser import save_tiny_recogniser

from sottovoce.core.errors import UserError
from sottovoce.core.types import Utterance
from sottovoce.data.confusions import read_confusions
from sottovoce.data.manifest import read_manifest
from sottovoce.embedded import mishearings
from sottovoce.embedded.mishearings import make_confusions


def silent(line: str) -> None:
    """Takes what is said to the user."""


def test_the_command_counts_what_a_recogniser_writes_of_the_training_recordings(
    tiny_corpus: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    model, out = save_tiny_recogniser(tmp_path / "ctc"), tmp_path / "tables/en.jsonl"
    told = run_main(monkeypatch, capsys, "embedded", "confusions", tiny_corpus, "--out", out, "--model", model)
    assert told.code == 0, told.err
    (facts,) = told.rows
    spoken = [u for u in read_manifest(tiny_corpus) if u.split == "train" and u.audio]
    assert facts["num_recordings"] == len(spoken) == 9
    table = read_confusions(out)
    assert table.num_words == facts["num_words"] == 4 * len(spoken)
    # It writes letters of "ab " at random: no word is heard right.
    assert facts["replace_rate"] + facts["drop_rate"] == 1 and facts["num_words_misheard"] == len(table.heard)
    assert {letter for counts in table.heard.values() for written in counts for letter in written} <= set("ab ")
    assert list(out.parent.iterdir()) == [out]


def test_each_recording_counts_though_equal_ones_are_transcribed_once(
    tiny_corpus: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    asked: list[Utterance] = []

    def transcribe(utterances: list[Utterance], model: str, partial: Path, say: object) -> dict[str, str]:
        asked.extend(utterances)
        return {utterance.id: utterance.transcript.replace("light", "lied") for utterance in utterances}

    monkeypatch.setattr(mishearings, "transcribe", transcribe)
    copy = tiny_corpus.with_name("again.jsonl")
    copy.write_text(tiny_corpus.read_text())
    facts = make_confusions([tiny_corpus, copy], "any", tmp_path / "en.jsonl", silent)
    assert facts["num_recordings"] == 18 and len(asked) == len({utterance.id for utterance in asked}) <= 9
    assert all(utterance.split == "train" for utterance in asked)
    lights = sum(u.transcript.startswith("light") for u in read_manifest(tiny_corpus) if u.split == "train" and u.audio)
    assert read_confusions(tmp_path / "en.jsonl").heard["light"]["lied"] >= 2 * lights > 0


def test_manifests_that_make_no_table_are_refused(tiny_corpus: Path, tmp_path: Path) -> None:
    rows = [json.loads(line) for line in tiny_corpus.read_text().splitlines()]
    mixed = tiny_corpus.with_name("mixed.jsonl")
    mixed.write_text(
        "".join(json.dumps(row | {"locale": f"{'fr' if n % 2 else 'en'}-X"}) + "\n" for n, row in enumerate(rows))
    )
    with pytest.raises(UserError, match=r"mixed\.jsonl: recordings in en, fr; make a table for each language"):
        make_confusions([mixed], "any", tmp_path / "x.jsonl", silent)
    tested = tiny_corpus.with_name("tested.jsonl")
    tested.write_text("".join(json.dumps(row | {"split": "test"}) + "\n" for row in rows))
    with pytest.raises(UserError, match=r"tested\.jsonl: no train utterance has both a recording"):
        make_confusions([tested], "any", tmp_path / "x.jsonl", silent)
