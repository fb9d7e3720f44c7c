"""SLURM's path, on submitit's executor for processes of this machine; a real SLURM is not at hand."""

from pathlib import Path
from typing import Any

import pytest
from tiny_study import results_of, write_recipe

from sottovoce.core.errors import UserError
from sottovoce.core.recipe_file import load_recipe
from sottovoce.study.engines.slurm import OnSlurm
from sottovoce.study.runner import run_study

CELLS: dict[str, Any] = {"schemes": ["text_only", "curriculum"], "budgets": [0.3]}


@pytest.mark.slow
def test_jobs_give_what_one_process_gives(
    tiny_study: Path, tiny_model_dir: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    pytest.importorskip("submitit", reason="submitit is not installed (extra `slurm`)")
    monkeypatch.setenv("PYTHONPATH", str(Path(__file__).parents[2] / "src"))
    corpus = Path(load_recipe(tiny_study / "recipe.yaml").corpus.manifest or "")
    path = write_recipe(tmp_path, tiny_model_dir, corpus, **CELLS)
    said: list[str] = []
    assert not run_study(load_recipe(path), path, said.append, OnSlurm(cluster="local"))
    assert any(line.startswith("1 jobs for shared stages and 2 for cells") for line in said)
    assert results_of(tmp_path / "runs/tiny") == results_of(tiny_study, ("text_only", "curriculum-30pct"))


def test_without_slurm_there_is_one_clear_line(tiny_model_dir: Path, tiny_corpus: Path, tmp_path: Path) -> None:
    pytest.importorskip("submitit", reason="submitit is not installed (extra `slurm`)")
    path = write_recipe(tmp_path, tiny_model_dir, tiny_corpus, **CELLS)
    with pytest.raises(UserError, match="no SLURM here"):
        run_study(load_recipe(path), path, lambda line: None, OnSlurm())
