"""The training benchmark runs, at tiny sizes on a CPU, and its two sides train the same."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

FOLDER = Path(__file__).parents[2] / "benchmarks"


@pytest.fixture(autouse=True)
def importable(monkeypatch: pytest.MonkeyPatch) -> None:
    """As for ``python benchmarks/gpu_training.py``."""
    monkeypatch.syspath_prepend(str(FOLDER))


def test_both_sides_learn_the_same_from_the_same_rows(tmp_path: Path) -> None:
    from gpu_training import main

    main(["--tiny", "--steps", "3", "--out", str(tmp_path)])
    results = json.loads((tmp_path / "results.json").read_text())["results"]
    assert [(r["kind"], r["side"]) for r in results] == [
        (kind, side) for kind in ("lora", "full") for side in ("sottovoce", "plain Trainer")
    ]
    for ours, plain in (results[:2], results[2:]):
        assert ours["losses"] == pytest.approx(plain["losses"], abs=5e-4)
        assert len(ours["losses"]) == 3 and ours["num_timed"] == 2
        assert ours["operations"] < plain["operations"]  # which encodes at every step, and computes every logit
    assert results[0]["losses"][2] != results[2]["losses"][2]  # an adapter or the whole: both moved
    lines = (tmp_path / "table.md").read_text().splitlines()
    assert len(lines) == 2 + 4 and len({line.count("|") for line in lines}) == 1


def test_rows_hold_a_placeholder_for_each_audio_token_and_the_share_of_speech() -> None:
    from random_job import TINY, RandomJob

    from sottovoce.models.features import encode_clips

    job = RandomJob(
        config=TINY, num_steps=5, batch=4, per_device=2, share=0.3, seconds=1.0, bf16=False, learning_rate=1e-2
    )
    loaded = job.loaded()
    rows = job.rows(loaded)
    spoken = [(row, clip) for row, clip in rows if clip is not None]
    assert len(rows) == 20 and len(spoken) == 6
    states = encode_clips(loaded.model, loaded.processor, [clip for _, clip in spoken])
    assert [len(kept) for kept in states] == [row.prompt_ids.count(TINY["audio_token_index"]) for row, _ in spoken]


def test_without_a_gpu_the_real_sizes_are_refused(capsys: pytest.CaptureFixture[str]) -> None:
    from gpu_training import main, torch

    if torch.cuda.is_available():
        pytest.skip("there is a GPU")
    with pytest.raises(SystemExit):
        main([])
    assert "there is no GPU here; --tiny runs anywhere" in capsys.readouterr().err
