"""Whole studies of the tiny model: complete, interrupted, killed, asked for again."""

import json
import os
import shutil
import signal
import subprocess
import sys
import time
from collections.abc import Callable
from importlib.metadata import version
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import soundfile
from tiny_study import SCHEMES, results_of, run_tiny_study, write_recipe

from sottovoce.cli import main as cli
from sottovoce.core.downloads import sha256_of
from sottovoce.core.errors import UserError
from sottovoce.core.recipe_file import load_recipe
from sottovoce.data.load import load_data
from sottovoce.decode import batches as decoding
from sottovoce.study import cell as cell_run
from sottovoce.study import runner as running
from sottovoce.study import work as work_of_cells
from sottovoce.study.cells import plan_cells
from sottovoce.study.workspace import cut_clips_lines
from sottovoce.train.trainer import AnswerTrainer

CELLS = (
    "zero_shot", "text_only", "direct_mixing-10pct", "direct_mixing-30pct", "curriculum-10pct", "curriculum-30pct",
)  # fmt: skip
FEWER: dict[str, Any] = {"schemes": ["text_only", "curriculum"], "budgets": [0.3]}
FEWER_CELLS = ("text_only", "curriculum-30pct")


def content(path: Path) -> Any:
    return json.loads(path.read_text(encoding="utf-8"))


def rows(path: Path) -> list[dict[str, Any]]:
    return [json.loads(line) for line in path.read_text(encoding="utf-8").splitlines()]


def corpus_of(study: Path) -> Path:
    return Path(load_recipe(study / "recipe.yaml").corpus.manifest or "")


@pytest.mark.parametrize("name", CELLS)
def test_every_cell_has_weights_predictions_scores_and_provenance(tiny_study: Path, name: str) -> None:
    cell = tiny_study / "cells" / name
    assert (cell / "weights/adapter_model.safetensors").exists() == (name != "zero_shot")
    card = content(cell / "cell.json")
    scheme, _, percent = name.partition("-")
    assert (card["scheme"], card["budget_share"]) == (scheme, float(percent.removesuffix("pct") or 0) / 100)
    assert card["versions"] == {key: version(key) for key in ("sottovoce", "torch", "transformers", "peft")}
    assert card["data"]["sha256"] == sha256_of(corpus_of(tiny_study))
    assert len(card["speech_ids"]) == {"": 0, "10pct": 2, "30pct": 5}[percent]
    assert set(content(cell / "scores.json")) == {"speech", "text"}
    for modality in ("speech", "text"):
        answers = rows(cell / f"predictions-{modality}.jsonl")
        assert [answer["id"] for answer in answers] == [f"test-{number}" for number in range(6)]
        for answer in answers:
            assert set(answer) == {"id", "scenario", "action", "entities", "text", "status"}
            assert answer["status"] in ("ok", "unreadable")


def test_the_study_tells_what_was_asked_and_has_a_report(
    tiny_study: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    study = shutil.copytree(tiny_study, tmp_path / "study")
    assert content(study / "study.json")["cells"] == list(CELLS)
    monkeypatch.setattr(sys, "argv", ["sottovoce", "report", str(study)])
    cli.main()
    assert "Curriculum" in capsys.readouterr().out
    for name in ("html", "csv", "json", "md", "tex"):
        assert (study / f"report.{name}").stat().st_size > 100
    for name in ("figure.svg", "figure.png"):
        assert (study / name).stat().st_size


def test_training_teaches_each_cell_something_else(tiny_study: Path) -> None:
    weights = [tiny_study / "cells" / name / "weights/adapter_model.safetensors" for name in CELLS[1:]]
    assert len({path.read_bytes() for path in weights}) == len(weights)


def test_the_shared_first_stage_is_trained_once_for_all_budgets(tiny_study: Path) -> None:
    firsts = {content(tiny_study / "cells" / name / "cell.json")["stages"][0] for name in CELLS if "curr" in name}
    assert len(firsts) == 1
    # The text stage (here text_only's too), and a stage with speech for each scheme and budget.
    done = list(tiny_study.glob("stages/*/done.json"))
    assert len(done) == len([path for path in (tiny_study / "stages").iterdir() if path.is_dir()]) == 5
    assert not list(tiny_study.glob("stages/*/checkpoint-*"))


@pytest.fixture
def copy(tiny_study: Path, tmp_path: Path) -> Path:
    """The finished study in a folder of its own, for tests that start it again."""
    return Path(shutil.copytree(tiny_study, tmp_path / "tiny"))


def test_a_finished_study_is_neither_trained_nor_decoded_again(copy: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    before = {path: path.stat().st_mtime_ns for path in (copy / "cells").rglob("*")}
    for name in ("run_stage", "write_answers"):
        monkeypatch.setattr(cell_run, name, lambda *_, name=name: pytest.fail(f"{name} was called"))
    path = copy / "recipe.yaml"
    said: list[str] = []
    assert running.run_study(load_recipe(path, [f"out={copy.parent}"]), path, said.append) == []
    assert "everything is already finished" in said
    assert {path: path.stat().st_mtime_ns for path in (copy / "cells").rglob("*")} == before


def test_a_cell_s_stages_are_named_once_for_all_that_asks(
    tiny_study: Path, tiny_model_dir: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    kept, named = work_of_cells.cell_stage_plans, list[str]()

    def noted(recipe: Any, cell: Any, *rest: Any) -> Any:
        named.append(cell.name)
        return kept(recipe, cell, *rest)

    monkeypatch.setattr(work_of_cells, "cell_stage_plans", noted)
    run_tiny_study(tmp_path, tiny_model_dir, corpus_of(tiny_study), **FEWER)
    assert sorted(named) == sorted(FEWER_CELLS)


def test_a_study_folder_refuses_other_settings_and_stays_as_it_was(copy: Path) -> None:
    path = copy / "recipe.yaml"
    before = path.read_bytes()
    changes = [f"out={copy.parent}", "train.stage.learning_rate=1e-3"]
    with pytest.raises(UserError, match="results of other settings"):
        running.run_study(load_recipe(path, changes), path, lambda line: None)
    assert path.read_bytes() == before


def after(calls: int, action: Callable[..., Any]) -> Callable[..., Any]:
    """The action, but Ctrl-C in place of its call number ``calls`` (from 0)."""
    left = iter(range(calls, -1, -1))

    def interrupted(*args: Any, **kwargs: Any) -> Any:
        if next(left, -1) == 0:
            raise KeyboardInterrupt
        return action(*args, **kwargs)

    return interrupted


# text_only is decoded in 4 batches, timed on 2 recordings and trained in 5 steps; both counts stop in the middle of the
# curriculum.
@pytest.mark.parametrize(
    ("where", "name", "calls"), [(decoding, "answered", 7), (AnswerTrainer, "compute_loss", 8)], ids=["decode", "train"]
)
def test_an_interrupted_study_ends_bit_for_bit_like_an_uninterrupted_one(
    tiny_study: Path, tiny_model_dir: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch,
    where: Any, name: str, calls: int,
) -> None:  # fmt: skip
    with monkeypatch.context() as patch:
        patch.setattr(where, name, after(calls, getattr(where, name)))
        with pytest.raises(KeyboardInterrupt):
            run_tiny_study(tmp_path, tiny_model_dir, corpus_of(tiny_study), **FEWER)
    stopped = tmp_path / "runs/tiny"
    assert (stopped / "cells/text_only/scores.json").exists()
    assert not (stopped / "cells/curriculum-30pct/scores.json").exists()
    study = run_tiny_study(tmp_path, tiny_model_dir, corpus_of(tiny_study), **FEWER)
    assert results_of(study) == results_of(tiny_study, FEWER_CELLS)


def command(recipe: Path) -> list[str]:
    return [sys.executable, "-c", "from sottovoce.cli.main import main; main()", "study", str(recipe)]


@pytest.mark.slow
@pytest.mark.parametrize("seen", ["stages/text-*/checkpoint-2/trainer_state.json", "cells/*/*.partial"])
def test_a_killed_study_ends_bit_for_bit_like_an_uninterrupted_one(
    tiny_study: Path, tiny_model_dir: Path, tmp_path: Path, seen: str
) -> None:
    recipe = write_recipe(tmp_path, tiny_model_dir, corpus_of(tiny_study), **FEWER)
    environment = os.environ | {"OMP_NUM_THREADS": "1"}
    process = subprocess.Popen(command(recipe), env=environment, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
    study = tmp_path / "runs/tiny"
    while process.poll() is None and not list(study.glob(seen)):
        time.sleep(0.002)
    process.send_signal(signal.SIGKILL)
    assert process.wait() == -signal.SIGKILL
    finished = subprocess.run(command(recipe), env=environment, capture_output=True, text=True)
    assert finished.returncode == 0, finished.stderr
    assert results_of(study) == results_of(tiny_study, FEWER_CELLS)


def test_training_and_decoding_one_by_one_gives_what_the_study_gives(
    tiny_study: Path, tiny_model_dir: Path, tmp_path: Path
) -> None:
    path = write_recipe(tmp_path, tiny_model_dir, corpus_of(tiny_study), schemes=["direct_mixing"], budgets=[0.3])
    (folder,) = running.train_study(load_recipe(path), path, lambda line: None)
    assert not list(folder.glob("predictions*"))
    running.decode_run(folder, lambda line: None)
    assert results_of(tmp_path / "runs/tiny") == results_of(tiny_study, ("direct_mixing-30pct",))


def test_schemes_can_be_added_to_a_study(tiny_study: Path, tiny_model_dir: Path, tmp_path: Path) -> None:
    study = run_tiny_study(tmp_path, tiny_model_dir, corpus_of(tiny_study), schemes=["zero_shot"])
    kept = results_of(study)
    study = run_tiny_study(tmp_path, tiny_model_dir, corpus_of(tiny_study), schemes=list(SCHEMES[:2]))
    assert results_of(study, ("zero_shot",)) == kept
    assert results_of(study) == results_of(tiny_study, SCHEMES[:2])


@pytest.mark.parametrize("modality", ["speech", "text"])
def test_scores_follow_from_the_prediction_files_alone(
    tiny_study: Path, modality: str, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    cell = tiny_study / "cells/curriculum-30pct"
    predictions, gold = cell / f"predictions-{modality}.jsonl", tiny_study / "gold.jsonl"
    monkeypatch.setattr(sys, "argv", ["sottovoce", "score", str(predictions), "--gold", str(gold), "--json"])
    cli.main()
    assert json.loads(capsys.readouterr().out) == content(cell / "scores.json")[modality]


@pytest.mark.parametrize("fault", ["missing", "empty", "text"])
def test_a_test_recording_that_cannot_be_read_is_named_before_anything_is_trained(
    tiny_model_dir: Path, tiny_corpus: Path, tmp_path: Path, fault: str
) -> None:
    clip = tiny_corpus.parent / "audio/test-3.wav"
    clip.unlink()
    if fault != "missing":
        clip.write_text("" if fault == "empty" else "no sound at all")
    with pytest.raises(UserError, match=r"manifest\.jsonl:\d+: .*test-3\.wav"):
        run_tiny_study(tmp_path, tiny_model_dir, tiny_corpus, schemes=["text_only"])
    assert not (tmp_path / "runs").exists()


@pytest.mark.parametrize(
    ("part", "fault"), [("test", "results of other settings, data or recordings"), ("train", "other training data")]
)
def test_results_are_not_kept_when_a_recording_was_replaced(
    tiny_model_dir: Path, tiny_corpus: Path, tmp_path: Path, part: str, fault: str
) -> None:
    settings: dict[str, Any] = {"schemes": ["direct_mixing"], "budgets": ["all"]}
    before = results_of(run_tiny_study(tmp_path, tiny_model_dir, tiny_corpus, **settings))
    clip = next((tiny_corpus.parent / "audio").glob(f"{part}-*.wav"))
    samples, rate = soundfile.read(clip)
    soundfile.write(clip, samples[::-1], rate)
    with pytest.raises(UserError, match=fault):
        run_tiny_study(tmp_path, tiny_model_dir, tiny_corpus, **settings)
    assert results_of(tmp_path / "runs/tiny") == before


def test_clips_longer_than_the_window_are_counted_in_one_warning_each_for_training_and_test(
    tiny_model_dir: Path, tiny_corpus: Path, tmp_path: Path
) -> None:
    for name in ("train-0", "train-1", "test-3"):
        soundfile.write(tiny_corpus.parent / f"audio/{name}.wav", np.zeros(16_000 * 3, np.float32), 16_000)
    listed = rows(tiny_corpus)
    for row in listed:  # one length is read off the recording, the others off the manifest
        if row["id"] in ("train-0", "test-3"):
            row["seconds"] = 3.0
        if row["id"] == "train-1":
            del row["seconds"]
    tiny_corpus.write_text("".join(json.dumps(row) + "\n" for row in listed))
    path = write_recipe(tmp_path, tiny_model_dir, tiny_corpus, budgets=[0.1, 0.5])
    recipe = load_recipe(path)
    data = load_data(recipe)
    said: list[str] = []
    running.open_study(recipe, path, data, plan_cells(recipe, data), said.append)
    assert said == [
        "warning: 2 of 9 training recordings are cut to 2 s",
        "warning: 1 of 6 test recordings are cut to 2 s",
    ]


def test_training_clips_that_no_budget_uses_are_not_warned_of(
    tiny_model_dir: Path, tiny_corpus: Path, tmp_path: Path
) -> None:
    path = write_recipe(tmp_path, tiny_model_dir, tiny_corpus, schemes=["text_only"])
    recipe = load_recipe(path)
    data = load_data(recipe)
    assert cut_clips_lines(data, plan_cells(recipe, data), window_seconds=0.1) == [
        "warning: 6 of 6 test recordings are cut to 0.1 s"
    ]
