"""The CPU benchmark's two sides train the same, at tiny sizes; what each of them encodes and computes is counted."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

FOLDER = Path(__file__).parents[2] / "benchmarks"


@pytest.fixture(autouse=True)
def importable(monkeypatch: pytest.MonkeyPatch) -> None:
    """As for ``python benchmarks/train_speed.py``."""
    monkeypatch.syspath_prepend(str(FOLDER))


@pytest.mark.parametrize("name", ["speech", "mixed", "text"])
def test_both_sides_learn_the_same_and_only_ours_encodes_once(name: str, monkeypatch: pytest.MonkeyPatch) -> None:
    import train_speed
    from sides import OURS, PLAIN

    monkeypatch.setitem(train_speed.SHARES, "mixed", 0.25)  # so that a few rows have some
    job = train_speed.jobs_of([name], tiny=True, num_steps=4)[name]
    ours, plain = (train_speed.measure(job, side, True) for side in (OURS, PLAIN))
    assert ours["losses"] == pytest.approx(plain["losses"], abs=5e-4)
    assert len(ours["losses"]) == 4 and len(ours["step_seconds"]) == 3
    assert ours["losses"][:2] != ours["losses"][2:]  # the same rows again, by a model that has moved

    rows = job.rows(job.loaded())
    num_clips = sum(clip is not None for _, clip in rows)
    assert len(rows) == 8 and num_clips == {"speech": 8, "mixed": 2, "text": 0}[name]
    assert ours["counts"]["num_encoded"] == num_clips  # before the first step
    assert plain["counts"]["num_encoded"] == 2 * num_clips  # once in each epoch

    lengths = [len(row) for row, _ in rows]
    assert ours["counts"]["num_logit_rows"] == 2 * sum(len(row.answer_ids) for row, _ in rows)
    assert plain["counts"]["num_logit_rows"] == 2 * 4 * (max(lengths[:4]) + max(lengths[4:]))
    for part in ("kept_bytes", "peak_bytes"):
        assert 0 < ours["counts"][part] < plain["counts"][part]


@pytest.mark.parametrize("name", ["speech", "text"])
def test_of_upper_layers_alone_both_sides_learn_the_same_and_only_ours_computes_less(name: str) -> None:
    import train_speed
    from sides import OURS, PLAIN

    job = train_speed.jobs_of([name], tiny=True, num_steps=4, first_layer=1)[name]
    whole = train_speed.jobs_of([name], tiny=True, num_steps=4)[name]
    ours, plain = (train_speed.measure(job, side, True) for side in (OURS, PLAIN))
    assert ours["losses"] == pytest.approx(plain["losses"], abs=5e-4)
    operations = train_speed.measure(whole, OURS, True)["counts"]["operations"]
    assert ours["counts"]["operations"] < 0.8 * operations


def test_operations_of_all_batches_are_counted() -> None:
    import train_speed
    from counts import count
    from sides import OURS, SIDES

    job = train_speed.jobs_of(["text"], tiny=True, num_steps=4)["text"]
    side = SIDES[OURS](job, "lora")
    one, two = (count(job, side, num_batches).operations for num_batches in (1, 2))
    assert 1.5 * one < two < 2.5 * one


def test_the_loss_part_is_what_lives_between_the_head_and_its_gradient() -> None:
    import torch
    from counts import LossMemory

    head = torch.nn.Linear(4, 1000, bias=False).requires_grad_(False)
    states = torch.randn(100, 4, requires_grad=True)
    memory = LossMemory()
    with memory.from_input_of(head), memory:
        states = states + 0.0  # before the head: not counted
        loss = torch.nn.functional.cross_entropy(head(states), torch.zeros(100, dtype=torch.long))
        assert memory.live == pytest.approx(4 * 100 * 1000, rel=0.01)  # of logits and their logarithms one is kept
        loss.backward()
    assert memory.peak == pytest.approx(3 * 4 * 100 * 1000, rel=0.01)  # their gradients, and what was kept


def test_a_run_writes_a_line_for_each_side(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    import train_speed

    monkeypatch.setattr(train_speed, "alone", lambda work, *arguments: work(*arguments))  # one process is quicker
    train_speed.main(
        ["--tiny", "--jobs", "text", "--rounds", "1", "--steps", "2", "--matrix", "64", "--out", str(tmp_path)]
    )
    content = json.loads((tmp_path / "results.json").read_text())
    assert [result["side"] for result in content["results"]] == ["sottovoce", "plain Trainer"]
    assert content["matrix_product"]["operations_per_second"] > 0 and set(content["losses_apart"]) == {"text"}
    lines = [line for line in (tmp_path / "table.md").read_text().splitlines() if line.startswith("|")]
    assert len(lines) == 2 + 2 and len({line.count("|") for line in lines}) == 1


def test_work_alone_returns_what_it_came_to() -> None:
    from own_process import alone, peak_bytes

    assert alone(dict, [("pid", 1)]) == {"pid": 1}
    assert peak_bytes() > 2**20
