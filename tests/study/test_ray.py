"""A study on a real local Ray cluster of two workers."""

import os
import signal
import threading
import time
from pathlib import Path
from typing import Any

import pytest
from tiny_study import results_of, write_recipe

from sottovoce.core.errors import UserError
from sottovoce.core.recipe_file import load_recipe
from sottovoce.data.load import load_data
from sottovoce.study.cells import plan_cells
from sottovoce.study.engines.base import HERE
from sottovoce.study.engines.jobs import shared_stages
from sottovoce.study.engines.select import engine_named
from sottovoce.study.runner import run_study
from sottovoce.study.workspace import Study

CELLS: dict[str, Any] = {"schemes": ["text_only", "direct_mixing", "curriculum"], "budgets": [0.1, 0.3]}


def test_stages_that_several_cells_need_are_found(tiny_model_dir: Path, tiny_corpus: Path, tmp_path: Path) -> None:
    recipe = load_recipe(write_recipe(tmp_path, tiny_model_dir, tiny_corpus, **CELLS, seeds=[0, 1]))
    data = load_data(recipe)
    cells = plan_cells(recipe, data)
    shared = shared_stages(Study(recipe, Path(), data, recipe.folder, print), cells)
    # In this recipe text_only's stage is curriculum's first one.
    assert [stage.cells for stage in shared] == [
        ("text_only", "curriculum-10pct", "curriculum-30pct"),
        ("text_only-seed1", "curriculum-10pct-seed1", "curriculum-30pct-seed1"),
    ]
    assert all(stage.parent_key == "" and stage.place == 0 for stage in shared)


def test_the_place_of_a_study_is_named() -> None:
    assert engine_named("here", None, 1.0) == HERE
    with pytest.raises(UserError, match="--on rey: unknown; did you mean 'ray'"):
        engine_named("rey", None, 1.0)


def _works(command_line: Path) -> bool:
    try:
        title = command_line.read_bytes()
    except OSError:  # it has ended
        return False
    return title.startswith(b"ray::") and b"task" in title  # not Ray's own agents


@pytest.mark.slow
def test_a_study_on_ray_whose_worker_is_killed_is_that_of_one_process(
    tiny_study: Path, tiny_model_dir: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    ray = pytest.importorskip("ray", reason="Ray is not installed (extra `ray`)")
    monkeypatch.setenv("PYTHONPATH", str(Path(__file__).parents[2] / "src"))
    corpus = Path(load_recipe(tiny_study / "recipe.yaml").corpus.manifest or "")
    path = write_recipe(tmp_path, tiny_model_dir, corpus, **CELLS)
    study, killed = tmp_path / "runs/tiny", list[int]()

    def kill_a_worker() -> None:
        """As soon as one trains a cell's own stage."""
        while not list(study.glob("cells/*/log.txt")):
            time.sleep(0.01)
        while not (busy := [path for path in Path("/proc").glob("[0-9]*/cmdline") if _works(path)]):
            time.sleep(0.01)
        killed.append(int(busy[0].parent.name))
        os.kill(killed[0], signal.SIGKILL)

    ray.init(num_cpus=2, log_to_driver=False, include_dashboard=False)
    thread = threading.Thread(target=kill_a_worker, daemon=True)
    thread.start()
    recipe = load_recipe(path)
    try:
        assert not run_study(recipe, path, print, engine_named("ray", None, 1.0))
    finally:
        ray.shutdown()
    thread.join(timeout=5)
    assert killed
    names = tuple(name.name for name in study.glob("cells/*"))
    assert results_of(study) == results_of(tiny_study, names) and len(names) == 5


@pytest.mark.slow
def test_a_cell_that_needs_more_than_the_cluster_has_is_refused(
    tiny_model_dir: Path, tiny_corpus: Path, tmp_path: Path
) -> None:
    ray = pytest.importorskip("ray", reason="Ray is not installed (extra `ray`)")
    path = write_recipe(tmp_path, tiny_model_dir, tiny_corpus, schemes=["zero_shot"])
    recipe = load_recipe(path)
    try:
        with pytest.raises(UserError, match=r"a cell needs 2 GPU, the cluster has 0; lower --gpus-per-cell"):
            run_study(recipe, path, print, engine_named("ray", 2.0, 1.0))
    finally:
        ray.shutdown()
