"""The forecast of a study's time: cells at once on one machine."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
from tiny_study import write_recipe

from sottovoce.core.recipe_file import load_recipe
from sottovoce.data.load import load_data
from sottovoce.data.prompts import slu_example
from sottovoce.models.load import family_named
from sottovoce.study.cells import plan_cells
from sottovoce.study.engines.processes import InProcesses
from sottovoce.study.resources import costs
from sottovoce.study.resources import time as module
from sottovoce.study.resources.costs import Costs
from sottovoce.study.resources.time import Job, makespan
from sottovoce.study.runner import plan_study
from sottovoce.study.workspace import Study

COSTS = Costs(
    starting=2.0, training=0.01, lower=0.0, reading=0.001, writing=0.5, num_rows=4, confidence=0.0, trained_bytes=10
)  # fmt: skip


@pytest.mark.parametrize(
    ("jobs", "seconds"),
    [
        ([], [0.0, 0.0]),
        ([Job(5.0), Job(3.0), Job(4.0)], [12.0, 7.0]),  # the third begins when the second has ended
        ([Job(5.0), Job(3.0, (0,)), Job(4.0)], [12.0, 8.0]),  # the third does not wait for the first
        ([Job(2.0), Job(2.0, (0,)), Job(2.0, (1,))], [6.0, 6.0]),  # none is faster than what it waits for
        ([Job(9.0), Job(1.0), Job(1.0), Job(1.0)], [12.0, 9.0]),
    ],
)
def test_processes_take_the_jobs_that_can_begin(jobs: list[Job], seconds: list[float]) -> None:
    assert [makespan(jobs, number) for number in (1, 2)] == seconds


def test_a_step_of_more_answers_costs_more_and_never_less_than_reading_them() -> None:
    assert [COSTS.step(number) for number in (1, 4, 14)] == pytest.approx([0.497, 0.5, 0.51])
    assert replace(COSTS, reading=1.0).step(1) == 1.0


def test_a_dry_run_forecasts_processes_with_their_threads(
    tiny_model_dir: Path, tiny_corpus: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    path = write_recipe(tmp_path, tiny_model_dir, tiny_corpus, schemes=["curriculum"])
    recipe, said, numbers = load_recipe(path), list[str](), list[int]()
    kept = costs.threads_of_one

    @contextmanager
    def noted(number: int) -> Iterator[None]:
        numbers.append(number)
        with kept(number):
            yield

    monkeypatch.setattr(costs, "threads_of_one", noted)
    plan_study(recipe, path, said.append, InProcesses(8))
    assert numbers == [2]  # there are no more cells
    assert any("on this machine with 2 cells at once (one after the other: training" in line for line in said)
    plan_study(recipe, path, said.append)
    assert any("on this machine (training" in line for line in said)
    assert not recipe.folder.exists()  # nothing is done in a dry run


def test_the_forecast_is_that_of_the_study_s_own_rows(
    tiny_model_dir: Path, tiny_corpus: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Training of twice the epochs takes twice as long, speech as long as its audio tokens, what is done no time."""
    monkeypatch.setattr(module, "measure", lambda *_: COSTS)
    path = write_recipe(tmp_path, tiny_model_dir, tiny_corpus, schemes=["text_only", "curriculum"], budgets=[0.3])

    def study_of(*changes: str) -> Study:
        recipe = load_recipe(path, list(changes))
        return Study(recipe, path, load_data(recipe), recipe.folder, lambda line: None)

    def training(study: Study) -> dict[str, float]:
        cells = plan_cells(study.recipe, study.data)
        return {item.plan.stage.name: module._training_seconds(study, item, COSTS) for item in study.work_of(cells)}

    once, twice = training(study_of()), training(study_of("train.first_stage.num_train_epochs=2"))
    assert twice["text"] - COSTS.starting == pytest.approx(2 * (once["text"] - COSTS.starting))
    study = study_of()
    clips = [u for u in study.data.train if u.audio]
    store, family = study.store(study.recipe.model), family_named(study.recipe.model)
    examples = [slu_example(utterance, "speech") for utterance in clips]
    rows, shown = store.rows_of(examples), module._mean_length(study, study.recipe.model, examples)
    assert shown.prompt == pytest.approx(sum(len(row.prompt_ids) for row in rows) / len(rows), abs=2)
    assert shown.answer == sum(len(row.answer_ids) for row in rows) / len(rows)
    assert family.num_audio_tokens(clips[0].seconds or 0.0) > 0


def test_only_recordings_that_are_not_heard_yet_take_time(
    tiny_model_dir: Path, tiny_corpus: Path, tmp_path: Path
) -> None:
    recipe = load_recipe(path := write_recipe(tmp_path, tiny_model_dir, tiny_corpus, schemes=["zero_shot"]))
    study = Study(recipe, path, load_data(recipe), recipe.folder, lambda line: None)
    clips = [(utterance, 0) for utterance in study.data.test]
    store = study.store(recipe.model)
    missing = store.missing(clips + clips)
    assert len(missing) in (0, len(clips))  # other tests may have heard them before
    module._encoding_seconds(study, recipe.model, ())
    assert not store.missing(clips)
    assert module._encoding_seconds(study, recipe.model, ()) == 0.0


@pytest.mark.parametrize("by_steps", [True, False])
def test_confidences_take_their_time_where_they_are_asked_for(
    tiny_model_dir: Path, tiny_corpus: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, by_steps: bool
) -> None:
    """A clock by which anything takes 1 s, and 4 s if confidences are measured along."""
    measured: list[int] = []

    def noted(loaded: Any, model: Any, rows: list[Any], number: int, form: Any, tree: Any = None) -> None:
        if tree:
            measured.append(len(rows))
        else:
            form.times += [0.0] * 2

    def clock(action: Callable[[], object]) -> float:
        before = len(measured)
        action()
        return 1.0 + 3.0 * (len(measured) - before)

    monkeypatch.setattr(costs, "answered", noted)
    monkeypatch.setattr(costs, "_timed", clock)
    monkeypatch.setattr(costs.time, "monotonic", lambda: -1.0)
    monkeypatch.setattr(costs, "supports_steps", lambda *_: by_steps)
    path = write_recipe(tmp_path, tiny_model_dir, tiny_corpus, schemes=["text_only", "zero_shot"])
    found: list[float] = []
    for wanted in ("false", "true"):
        recipe = load_recipe(path, [f"decode.confidence={wanted}"])
        study = Study(recipe, path, load_data(recipe), recipe.folder, lambda line: None)
        found.append(module._costs(study, recipe.model, study.work_of(plan_cells(recipe, study.data)), 1).confidence)
    # 3 s for a batch of four, beside reading the prompts, which took 1 s.
    assert found == [0.0, pytest.approx((4.0 - 1.0) / 4) if by_steps else 0.0]
    assert measured == ([4] if by_steps else [])
