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
    lines = [line for line in (tmp_path / "table.md").read_text().splitlines() if line.startswith("|")]
    assert len(lines) == 2 + 4 and len({line.count("|") for line in lines}) == 1


def test_rows_hold_a_placeholder_for_each_audio_token_and_the_share_of_speech() -> None:
    from random_job import RandomJob
    from real_sizes import TINY

    from sottovoce.models.features import encode_clips

    job = RandomJob(
        size=TINY, num_steps=5, batch=4, per_device=2, share=0.3, seconds=1.0, bf16=False, learning_rate=1e-2
    )
    loaded = job.loaded()
    rows = job.rows(loaded)
    spoken = [(row, clip) for row, clip in rows if clip is not None]
    assert len(rows) == 20 and len(spoken) == 6
    states = encode_clips(loaded.model, loaded.processor, [clip for _, clip in spoken])
    assert [len(kept) for kept in states] == [row.prompt_ids.count(511) for row, _ in spoken]


def test_another_way_computes_the_same_and_one_that_does_not_work_is_reported(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    import gpu_training
    from ways import WAYS, Way

    class Broken(Way):
        def around(self, model: object) -> None:  # type: ignore[override]
            raise RuntimeError("No available kernel. Aborting execution.\nmore")

    monkeypatch.setitem(WAYS, "broken", Broken())
    ways = ["as it is", "broken", "flash attention only", "eager attention", "no fused attention"]
    arguments = ["--tiny", "--steps", "2", "--kinds", "lora", "--checkpointing", "--out", str(tmp_path), "--ways"]
    gpu_training.main([*arguments, *ways])
    results = json.loads((tmp_path / "results.json").read_text())["results"]
    failed = [(r["way"], r["failure"]) for r in results if r["failure"]]
    assert failed == [("broken", "RuntimeError: No available kernel. Aborting execution.")] * 2
    losses = {r["way"]: r["losses"] for r in results if not r["failure"]}
    assert set(losses) == set(ways) - {"broken"}
    for found in losses.values():
        assert found == pytest.approx(losses["as it is"], abs=5e-4)
    assert "No available kernel" in (tmp_path / "table.md").read_text()


@pytest.mark.slow
def test_compiled_layers_compute_the_same(tmp_path: Path) -> None:
    from gpu_training import main

    main(["--tiny", "--steps", "2", "--kinds", "lora", "--ways", "as it is", "torch.compile", "--out", str(tmp_path)])
    results = json.loads((tmp_path / "results.json").read_text())["results"]
    assert [r["failure"] for r in results] == [""] * 4
    for result in results:
        assert result["losses"] == pytest.approx(results[0]["losses"], abs=5e-4)


def test_without_a_gpu_the_real_sizes_are_refused(capsys: pytest.CaptureFixture[str]) -> None:
    from gpu_training import main, torch

    if torch.cuda.is_available():
        pytest.skip("there is a GPU")
    with pytest.raises(SystemExit):
        main([])
    assert "there is no GPU here; --tiny runs anywhere" in capsys.readouterr().err
