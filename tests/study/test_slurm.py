"""SLURM's path: on a real SLURM of this one machine, and on submitit's executor for processes."""

from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from small_slurm import DAEMONS, path_of, small_slurm
from tiny_study import results_of, write_recipe

from sottovoce.core.errors import UserError
from sottovoce.core.recipe_file import load_recipe
from sottovoce.study.engines.slurm import OnSlurm
from sottovoce.study.runner import run_study

CELLS: dict[str, Any] = {"schemes": ["text_only", "curriculum"], "budgets": [0.3]}


@pytest.fixture
def submitit() -> None:
    pytest.importorskip("submitit", reason="submitit is not installed (extra `slurm`)")


@pytest.fixture
def cluster(
    request: pytest.FixtureRequest, submitit: None, tmp_path_factory: pytest.TempPathFactory,
    monkeypatch: pytest.MonkeyPatch,
) -> Iterator[str]:  # fmt: skip
    """What submitit is to use, started if it is SLURM."""
    monkeypatch.setenv("PYTHONPATH", str(Path(__file__).parents[2] / "src"))
    if request.param == "local":
        yield "local"
        return
    if not all(map(path_of, DAEMONS)):
        pytest.skip("SLURM is not installed (Debian's slurmctld, slurmd, slurm-client and munge)")
    with small_slurm(tmp_path_factory.mktemp("slurm")) as conf:
        monkeypatch.setenv("SLURM_CONF", str(conf))
        yield "slurm"


@pytest.mark.slow
@pytest.mark.parametrize("cluster", ["local", "slurm"], indirect=True)
def test_jobs_give_what_one_process_gives(cluster: str, tiny_study: Path, tiny_model_dir: Path, tmp_path: Path) -> None:
    corpus = Path(load_recipe(tiny_study / "recipe.yaml").corpus.manifest or "")
    path = write_recipe(tmp_path, tiny_model_dir, corpus, **CELLS)
    said: list[str] = []
    assert not run_study(load_recipe(path), path, said.append, OnSlurm(cluster=cluster))
    assert any(line.startswith("1 jobs for shared stages and 2 for cells") for line in said)
    assert results_of(tmp_path / "runs/tiny") == results_of(tiny_study, ("text_only", "curriculum-30pct"))


def test_without_slurm_there_is_one_clear_line(
    submitit: None, tiny_model_dir: Path, tiny_corpus: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("PATH", str(tmp_path))  # where there is no srun
    path = write_recipe(tmp_path, tiny_model_dir, tiny_corpus, **CELLS)
    with pytest.raises(UserError, match="no SLURM here"):
        run_study(load_recipe(path), path, lambda line: None, OnSlurm())
