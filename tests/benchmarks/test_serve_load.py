"""The benchmark of the server: what it counts, on a model that is not there; and whole, on the tiny study."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

FOLDER = Path(__file__).parents[2] / "benchmarks"


def test_a_turn_is_counted_and_told(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.syspath_prepend(str(FOLDER))
    from fake_model import FakeModel, app_of, served
    from serve_load import OFF, ON, Result, load, table

    requests = [{"json": {"text": f"on {number}"}} for number in range(12)]
    results = []
    for side, size in ((OFF, 1), (ON, 8)):
        app, _ = app_of(model := FakeModel(0.05), max_batch_size=size)
        with served(app) as url:
            model.batches.clear()
            load(url, requests, result := Result("text", 4, side))
        assert result.num_batches == len(model.batches)
        assert len(result.latencies) == len(result.answers) == 12 and len(result.seconds) == 1
        assert result.answers[0] == ["light_on", [{"type": "room", "filler": "hall"}], "ok"]
        results.append(result)
    assert results[0].num_batches == 12 > results[1].num_batches
    lines = table(results).splitlines()
    assert len(lines) == 4
    assert lines[2].startswith("| text | 4 | off | ") and lines[2].endswith("| 1.00 | 12 of 12 |")


@pytest.mark.slow
def test_a_run_is_served_and_measured(tiny_study: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.syspath_prepend(str(FOLDER))
    from serve_load import main

    options = ["--clients", "1", "3", "--requests", "6", "--rounds", "1", "--batch", "4", "--out", str(tmp_path)]
    main([str(tiny_study / "cells/text_only"), *options])
    results = json.loads((tmp_path / "results.json").read_text())["results"]
    assert [(r["modality"], r["num_clients"], r["batching"]) for r in results] == [
        (modality, number, side) for modality in ("speech", "text") for number in (1, 3) for side in ("off", "on")
    ]
    assert all(len(r["latencies"]) == 6 and r["num_batches"] <= 6 for r in results)
    assert all(r["num_batches"] == 6 for r in results if r["batching"] == "off" or r["num_clients"] == 1)
    assert len((tmp_path / "table.md").read_text().splitlines()) == 2 + 2 + 8
