"""The decoding benchmark on a tiny run: both sides answer alike, and what the language model reads is counted."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

FOLDER = Path(__file__).parents[2] / "benchmarks"


def test_sides_answer_alike_and_ours_reads_less(
    tiny_study: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.syspath_prepend(str(FOLDER))
    from decode_speed import HEARD, PLAIN, main

    options = ["--utterances", "6", "--rounds", "1", "--batch", "2", "--out", str(tmp_path)]
    main([str(tiny_study / "cells/text_only"), *options])
    results = json.loads((tmp_path / "results.json").read_text())["results"]
    assert [(r["modality"], r["side"]) for r in results] == [
        *(("speech", side) for side in (PLAIN, "sottovoce", "sottovoce, ontology", HEARD)),
        *(("text", side) for side in (PLAIN, "sottovoce", "sottovoce, ontology")),
    ]
    assert results[3]["texts"] == results[1]["texts"]
    for plain, ours, held in (results[:3], results[4:]):
        # Ours ends with the JSON object, if there is one; a tiny model's answers are mostly no frames. Later on nearly
        # equal logits decide, which bfloat16 rounds in either way.
        assert all(text.startswith(own[:12]) for text, own in zip(plain["texts"], ours["texts"], strict=True))
        assert any(ours["texts"]) and ours["frames"] == plain["frames"]
        assert len(plain["seconds"]) == 1
        assert ours["passes"] < plain["passes"]
        assert held["passes"] < ours["passes"]  # forced tokens are read together
    lines = (tmp_path / "table.md").read_text().splitlines()
    assert len(lines) == 2 + 2 + 7
