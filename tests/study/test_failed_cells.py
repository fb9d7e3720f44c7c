"""Cells that fail, folders that vanish, two studies at once."""

import errno
import json
import shutil
import sys
from pathlib import Path
from typing import Any

import pytest
import soundfile
from filelock import FileLock
from tiny_study import results_of, run_tiny_study, write_recipe

from sottovoce.cli import main as cli
from sottovoce.core.errors import UserError
from sottovoce.core.recipe_file import load_recipe
from sottovoce.core.storage import LOCK
from sottovoce.report.results import read_study
from sottovoce.study import cell as cell_run
from sottovoce.study.engines.base import Failure
from sottovoce.study.runner import run_study

CELLS: dict[str, Any] = {"schemes": ["text_only", "direct_mixing", "curriculum"], "budgets": [0.3]}


def failing(monkeypatch: pytest.MonkeyPatch, error: Exception, scheme: str = "direct_mixing") -> None:
    """Has the decoding of one scheme's cells fail."""
    decode = cell_run.decode_cell

    def broken(study: Any, cell: Any) -> None:
        if cell.scheme == scheme:
            raise error
        decode(study, cell)

    monkeypatch.setattr(cell_run, "decode_cell", broken)


@pytest.mark.parametrize(
    ("error", "said"),
    [
        (UserError("the recording is silent", "record it again"), "the recording is silent; record it again"),
        (RuntimeError("CUDA out of memory. Tried to allocate 2 GiB"), "out of memory; `sottovoce plan-memory RECIPE`"),
        (MemoryError(), "out of memory; "),
        (RuntimeError("shapes do not fit"), "shapes do not fit"),
    ],
)
def test_a_failed_cell_keeps_its_log_and_the_others_are_finished(
    tiny_study: Path, tiny_model_dir: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, error: Exception, said: str
) -> None:
    corpus = Path(load_recipe(tiny_study / "recipe.yaml").corpus.manifest or "")
    path = write_recipe(tmp_path, tiny_model_dir, corpus, **CELLS)
    lines: list[str] = []
    with monkeypatch.context() as patch:
        failing(patch, error)
        (failure,) = run_study(load_recipe(path), path, lines.append)
    assert failure == Failure("direct_mixing-30pct", failure.what) and failure.what.startswith(said)
    study = tmp_path / "runs/tiny"
    cell = study / "cells/direct_mixing-30pct"
    log = (cell / "log.txt").read_text()
    assert "Traceback" in log and type(error).__name__ in log and "speech budget: 5 of 18" in log
    assert any("continuing with the other cells" in line for line in lines)
    assert {c.name: c.failed for c in read_study(study).cells if c.failed} == {cell.name: failure.what}
    assert results_of(study, ("curriculum-30pct", "text_only")) == results_of(
        tiny_study, ("curriculum-30pct", "text_only")
    )
    assert not run_study(load_recipe(path), path, lines.append)  # the same command tries it once more
    assert results_of(study, (cell.name,)) == results_of(tiny_study, (cell.name,))
    assert not any(c.failed for c in read_study(study).cells)


def test_the_command_line_reports_a_failed_cell_and_ends_with_status_1(
    tiny_model_dir: Path, tiny_corpus: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:  # fmt: skip
    path = write_recipe(tmp_path, tiny_model_dir, tiny_corpus, **CELLS)
    failing(monkeypatch, RuntimeError("shapes do not fit"), "text_only")
    monkeypatch.setattr(sys, "argv", ["sottovoce", "study", str(path), "--on", "here"])
    with pytest.raises(SystemExit) as stopped:
        cli.main()
    assert stopped.value.code == 1
    assert "1 cells failed: text_only" in capsys.readouterr().err
    assert (tmp_path / "runs/tiny/report.html").exists()


@pytest.mark.parametrize(
    "error", [OSError(errno.ENOSPC, "No space left on device"), RuntimeError("x: No space left on device")]
)
def test_a_full_disk_stops_the_study(
    tiny_model_dir: Path, tiny_corpus: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, error: Exception
) -> None:
    failing(monkeypatch, error, "text_only")
    with pytest.raises(type(error), match="No space left"):
        run_tiny_study(tmp_path, tiny_model_dir, tiny_corpus, **CELLS)
    assert not (tmp_path / "runs/tiny/cells/direct_mixing-30pct/log.txt").exists()


def test_a_second_study_on_the_same_folder_is_refused(tiny_model_dir: Path, tiny_corpus: Path, tmp_path: Path) -> None:
    folder = tmp_path / "runs/tiny"
    folder.mkdir(parents=True)
    with FileLock(folder / LOCK), pytest.raises(UserError, match=r"another process is working on .*runs/tiny"):
        run_tiny_study(tmp_path, tiny_model_dir, tiny_corpus, schemes=["zero_shot"])
    run_tiny_study(tmp_path, tiny_model_dir, tiny_corpus, schemes=["zero_shot"])


@pytest.mark.parametrize("lost", ["cells/curriculum-30pct", "stages", "cells/curriculum-30pct/scores.json"])
def test_what_was_deleted_is_made_again_bit_for_bit(
    tiny_model_dir: Path, tiny_corpus: Path, tmp_path: Path, lost: str
) -> None:
    study = run_tiny_study(tmp_path, tiny_model_dir, tiny_corpus, schemes=["curriculum"], budgets=[0.3])
    before = results_of(study)
    path = study / lost
    shutil.rmtree(path) if path.is_dir() else path.unlink()
    assert (
        results_of(run_tiny_study(tmp_path, tiny_model_dir, tiny_corpus, schemes=["curriculum"], budgets=[0.3]))
        == before
    )


def test_a_cell_says_what_it_is_before_it_is_trained(
    tiny_model_dir: Path, tiny_corpus: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(cell_run, "train_stage", lambda *_: (_ for _ in ()).throw(KeyboardInterrupt))
    with pytest.raises(KeyboardInterrupt):
        run_tiny_study(tmp_path, tiny_model_dir, tiny_corpus, schemes=["direct_mixing"], budgets=[0.3], seeds=[3])
    card = json.loads((tmp_path / "runs/tiny/cells/direct_mixing-30pct-seed3/cell.json").read_text())
    assert (card["scheme"], card["seed"], card["budget_share"], card["seconds"]) == ("direct_mixing", 3, 0.3, None)


def test_answers_of_an_earlier_start_on_other_recordings_are_not_kept(
    tiny_model_dir: Path, tiny_corpus: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    cells: dict[str, Any] = {"schemes": ["direct_mixing"], "budgets": ["all"]}
    with monkeypatch.context() as patch, pytest.raises(KeyboardInterrupt):
        patch.setattr(cell_run, "score_cell", lambda *_: (_ for _ in ()).throw(KeyboardInterrupt))
        run_tiny_study(tmp_path, tiny_model_dir, tiny_corpus, **cells)
    predictions = tmp_path / "runs/tiny/cells/direct_mixing-all/predictions-speech.jsonl"
    predictions.write_text("{}")
    clip = next((tiny_corpus.parent / "audio").glob("train-*.wav"))
    samples, rate = soundfile.read(clip)
    soundfile.write(clip, samples[::-1], rate)
    study, anew = run_tiny_study(tmp_path, tiny_model_dir, tiny_corpus, **cells), tmp_path / "anew"
    anew.mkdir()
    assert predictions.read_text() != "{}"
    assert results_of(study) == results_of(run_tiny_study(anew, tiny_model_dir, tiny_corpus, **cells))
