import json
from collections import Counter
from pathlib import Path
from typing import Any

import pytest
from tiny_study import tiny_recipe

from sottovoce.core.errors import UserError
from sottovoce.core.recipe import Recipe
from sottovoce.core.types import Frame, Utterance
from sottovoce.data.load import Data, limited, load_data
from sottovoce.study.cells import Cell, example_key, plan_cells
from sottovoce.study.work import cell_stage_plans
from sottovoce.study.workspace import Study
from sottovoce.train.stage import plan_stages


def utterances(**sizes: int) -> list[Utterance]:
    """So many of each intent, in turns; every third has speech."""
    made = []
    for intent, size in sizes.items():
        for number in range(size):
            audio = Path("a.wav") if number % 3 == 0 else None
            made.append(Utterance(f"{intent}{number}", "en-US", "x", Frame(intent, "do"), "train", audio))
    return sorted(made, key=lambda u: u.id[::-1])


def recipe(manifest: Path, model: Path = Path("m"), **changes: Any) -> Recipe:
    return Recipe.model_validate(tiny_recipe(Path("runs"), model, manifest, **changes))


def planned(manifest: Path, model: Path = Path("m"), **changes: Any) -> tuple[Recipe, Data, list[Cell]]:
    read = recipe(manifest, model, **changes)
    data = load_data(read)
    return read, data, plan_cells(read, data)


def stage_keys(manifest: Path, model: Path = Path("m"), **changes: Any) -> dict[str, list[str]]:
    read, data, cells = planned(manifest, model, **changes)
    return {cell.name: [plan.key for plan in cell_stage_plans(read, cell, cell.examples(data))] for cell in cells}


def root_of(read: Recipe, cell: Cell) -> str:
    """What names the stages of a cell besides what they show, written down once more."""
    others = {"stage", "first_stage", "last_stage", "noise", "logging_steps", "gradient_checkpointing"}
    common = read.train.model_dump(mode="json", exclude=others)
    return json.dumps([cell.model, cell.seed, common], sort_keys=True)


def edited(manifest: Path, change: Any) -> Path:
    """The manifest with ``change`` applied to its rows; rows that become None are left out."""
    rows = [change(json.loads(line)) for line in manifest.read_text().splitlines()]
    manifest.write_text("".join(json.dumps(row) + "\n" for row in rows if row))
    return manifest


def test_stages_are_named_the_same_for_a_cell_alone_and_among_others(tiny_corpus: Path, tmp_path: Path) -> None:
    read, data, cells = planned(tiny_corpus, seeds=[0, 1])
    study = Study(read, tmp_path / "tiny.yaml", data, tmp_path, print)
    together = [(item.cell.name, item.plan.key, item.examples) for item in study.work_of(cells)]
    alone = []
    for cell in cells:
        examples = cell.examples(load_data(read))  # none that another cell has seen
        plans = plan_stages(cell.stages, [[example_key(e) for e in part] for part in examples], root_of(read, cell))
        alone += [(cell.name, plan.key, part) for plan, part in zip(plans, examples, strict=True)]
    assert together == alone and len({key for _, key, _ in alone}) > 4


def test_a_limit_keeps_one_of_every_intent() -> None:
    kept = limited(utterances(common=200, rare=1, seldom=2), 5, seed=0)
    assert {"common_do", "rare_do", "seldom_do"} == {u.frame.intent for u in kept}
    assert len(kept) == 5


def test_a_limit_keeps_intents_and_speech_in_proportion() -> None:
    kept = limited(utterances(a=120, b=60, c=30), 70, seed=0)
    counts = Counter(u.frame.scenario for u in kept)
    spoken = Counter(u.frame.scenario for u in kept if u.audio)
    for scenario, size in (("a", 40), ("b", 20), ("c", 10)):
        assert counts[scenario] == pytest.approx(size, abs=1.5)
        assert spoken[scenario] == pytest.approx(size / 3, abs=1.5)


def test_a_limit_keeps_the_order_and_is_decided_by_the_seed() -> None:
    everything = utterances(a=50, b=50)
    kept = limited(everything, 20, seed=1)
    places = [everything.index(u) for u in kept]
    assert places == sorted(places)
    assert kept == limited(everything, 20, seed=1) != limited(everything, 20, seed=2)


@pytest.mark.parametrize("limit", [None, 10, 11])
def test_a_limit_that_does_not_bind_keeps_everything(limit: int | None) -> None:
    everything = utterances(a=5, b=5)
    assert limited(everything, limit, seed=0) == everything


def test_only_schemes_that_hear_speech_have_a_cell_a_budget(tiny_corpus: Path) -> None:
    assert [cell.name for cell in planned(tiny_corpus)[2]] == [
        "zero_shot", "text_only", "direct_mixing-10pct", "direct_mixing-30pct", "curriculum-10pct", "curriculum-30pct",
    ]  # fmt: skip


def test_mixing_and_curriculum_hear_the_same_clips(tiny_corpus: Path) -> None:
    _, data, cells = planned(tiny_corpus)
    heard = {
        cell.name: {e.utterance.id for part in cell.examples(data) for e in part if e.modality == "speech"}
        for cell in cells
    }
    assert heard["zero_shot"] == heard["text_only"] == set()
    for percent, size in ((10, 2), (30, 5)):
        assert heard[f"direct_mixing-{percent}pct"] == heard[f"curriculum-{percent}pct"]
        assert len(heard[f"curriculum-{percent}pct"]) == size
    assert heard["curriculum-10pct"] < heard["curriculum-30pct"]


def test_every_scheme_reads_the_text_of_all_training_utterances(tiny_corpus: Path) -> None:
    _, data, cells = planned(tiny_corpus)
    for cell in cells[1:]:
        for part in cell.examples(data):
            assert {e.utterance.id for e in part if e.modality == "text"} == {u.id for u in data.train}


def test_the_first_stage_of_the_curriculum_is_shared_by_all_budgets(tiny_corpus: Path) -> None:
    keys = stage_keys(tiny_corpus)
    assert keys["curriculum-10pct"][0] == keys["curriculum-30pct"][0]
    assert keys["curriculum-10pct"][1] != keys["curriculum-30pct"][1]
    assert keys["text_only"] == keys["curriculum-10pct"][:1]  # in this recipe they have the same settings


def test_a_stage_is_not_reused_for_another_seed_model_or_other_settings(tiny_corpus: Path) -> None:
    train = tiny_recipe(Path("runs"), Path("m"), tiny_corpus)["train"]
    found = [
        stage_keys(tiny_corpus),
        stage_keys(tiny_corpus, seed=1),
        stage_keys(tiny_corpus, Path("n")),
        stage_keys(tiny_corpus, train={**train, "first_stage": {"learning_rate": 1e-3}}),
        stage_keys(tiny_corpus, train={**train, "per_device_train_batch_size": 2}),
        stage_keys(tiny_corpus, num_train_utterances=15),
    ]
    firsts = {next(keys[name] for name in keys if name.startswith("curriculum-10pct"))[0] for keys in found}
    assert len(firsts) == len(found)


def test_a_stage_is_reused_wherever_the_same_recordings_and_texts_lie(tiny_corpus: Path, tmp_path: Path) -> None:
    before = stage_keys(tiny_corpus)
    assert stage_keys(tiny_corpus.parent.rename(tmp_path / "moved") / tiny_corpus.name) == before


def test_a_stage_is_not_reused_when_a_transcript_or_a_recording_changed(tiny_corpus: Path) -> None:
    before = stage_keys(tiny_corpus)
    _, data, cells = planned(tiny_corpus)
    heard = [u.audio for u in data.train if cells[-1].budget and u.id in cells[-1].budget.ids]
    clip = next(path for path in heard if path)
    clip.write_bytes(clip.read_bytes()[:-2])
    recorded = stage_keys(tiny_corpus)
    assert recorded["curriculum-30pct"][0] == before["curriculum-30pct"][0]
    assert recorded["curriculum-30pct"][1] != before["curriculum-30pct"][1]
    edited(tiny_corpus, lambda row: row | {"transcript": row["transcript"] + "!"})
    assert stage_keys(tiny_corpus)["text_only"] != recorded["text_only"]


@pytest.mark.parametrize(
    ("change", "said"),
    [
        (lambda row: row | {"split": "test"}, "no utterance has split train"),
        (lambda row: row if row["split"] == "train" else None, "no utterance of split test has a recording"),
        (
            lambda row: {key: row[key] for key in row if key not in ("audio", "seconds") or row["split"] == "train"},
            "no utterance of split test has a recording",
        ),
        (
            lambda row: row | ({"action": "strange"} if row["id"] in ("test-0", "test-1") else {}),
            "intents in test but not in train: light_strange",
        ),
    ],
    ids=["no train", "no test", "silent test", "unseen intent"],
)
def test_data_that_cannot_be_studied_are_refused_by_the_name_of_the_manifest(
    tiny_corpus: Path, change: Any, said: str
) -> None:
    with pytest.raises(UserError) as caught:
        load_data(recipe(edited(tiny_corpus, change)))
    assert caught.value.what == f"{tiny_corpus}: {said}"
    assert caught.value.advice


def test_a_stage_with_nothing_to_train_on_is_refused(tiny_corpus: Path, tmp_path: Path) -> None:
    unsaid = {"transcript": ""}
    edited(tiny_corpus, lambda row: row | unsaid if row["split"] == "train" and "audio" in row else row)
    edited(tiny_corpus, lambda row: row if row["split"] == "test" or "audio" in row else None)
    read, data, cells = planned(tiny_corpus)
    study = Study(read, tmp_path / "tiny.yaml", data, tmp_path, print)
    with pytest.raises(UserError, match="text_only: the stage text has nothing to train on"):
        study.work_of(cells)


def test_a_missing_recording_is_named(tiny_corpus: Path) -> None:
    for clip in (tiny_corpus.parent / "audio").glob("train-*.wav"):
        clip.unlink()
    edited(tiny_corpus, lambda row: {key: row[key] for key in row if key != "seconds"} | {"locale": "en-US"})
    with pytest.raises(UserError, match=r"no such recording: .*train-\d+\.wav"):
        planned(tiny_corpus)


def test_the_budget_all_keeps_every_recording(tiny_corpus: Path) -> None:
    _, data, (cell,) = planned(tiny_corpus, schemes=["curriculum"], budgets=["all"])
    assert cell.name == "curriculum-all"
    assert cell.budget is not None
    assert sorted(cell.budget.ids) == sorted(u.id for u in data.train if u.audio is not None)
    assert cell.share == cell.budget.share == data.num_spoken / len(data.train)


def test_budgets_are_counted_in_utterances_and_seconds_too(tiny_corpus: Path) -> None:
    _, data, cells = planned(tiny_corpus, schemes=["curriculum"], budgets=[{"utterances": 3}, {"seconds": 2.5}, "all"])
    assert [cell.name for cell in cells] == ["curriculum-3utterances", "curriculum-2.5seconds", "curriculum-all"]
    three, seconds, everything = (cell.budget for cell in cells)
    assert three and seconds and everything
    assert three.num_utterances == 3 and cells[0].share == 3 / len(data.train)
    assert 0 < seconds.seconds <= 2.5
    assert everything.num_utterances == data.num_spoken


@pytest.mark.parametrize("budget", [{"utterances": 0}, {"seconds": 0}, {"minutes": 3}, {"utterances": 3, "seconds": 1}])
def test_a_budget_that_makes_no_sense_is_refused(tiny_corpus: Path, budget: dict[str, float]) -> None:
    with pytest.raises(ValueError, match="budgets"):
        recipe(tiny_corpus, budgets=[budget])


def test_only_utterances_with_a_recording_are_used_if_asked_for(tiny_corpus: Path) -> None:
    corpus = {"manifest": str(tiny_corpus)}
    whole = load_data(recipe(tiny_corpus, corpus=corpus))
    spoken = load_data(recipe(tiny_corpus, corpus=corpus | {"only_spoken": True}))
    assert 0 < len(spoken.train) < len(whole.train)
    assert spoken.train == [u for u in whole.train if u.audio is not None]
    assert spoken.test == whole.test


def test_a_corpus_without_training_recordings_has_no_spoken_ones(tiny_corpus: Path) -> None:
    edited(tiny_corpus, lambda row: {k: row[k] for k in row if row["split"] == "test" or k not in ("audio", "seconds")})
    with pytest.raises(UserError, match="no training utterance has a recording"):
        load_data(recipe(tiny_corpus, corpus={"manifest": str(tiny_corpus), "only_spoken": True}))
