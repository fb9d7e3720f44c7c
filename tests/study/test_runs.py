import shutil
from pathlib import Path

import pytest
import torch

from sottovoce.core.errors import UserError
from sottovoce.models.load import load_model
from sottovoce.study.runs import load_run


def silent(line: str) -> None:
    """Takes what is said to the user."""


@pytest.fixture
def run(tiny_study: Path) -> Path:
    return tiny_study / "cells/curriculum-30pct"


def fault(run: Path) -> str:
    with pytest.raises(UserError) as caught:
        load_run(run, silent)
    return str(caught.value)


def test_what_is_no_run_is_refused_with_the_runs_that_there_are(tiny_study: Path, tmp_path: Path) -> None:
    assert fault(tmp_path).endswith("is not a run folder (STUDY/cells/CELL); train one with `sottovoce study`")
    assert str(tiny_study / "cells/curriculum-30pct") in fault(tiny_study)
    stage = next((tiny_study / "stages").iterdir())
    assert "is not a run folder" in fault(stage)
    (tmp_path / "cells/text_only").mkdir(parents=True)
    shutil.copyfile(tiny_study / "recipe.yaml", tmp_path / "recipe.yaml")
    assert "is not a run folder" in fault(tmp_path / "cells/text_only")  # it has no card


def test_a_run_that_is_not_trained_is_refused_with_what_to_do(tiny_study: Path, tmp_path: Path) -> None:
    shutil.copyfile(tiny_study / "recipe.yaml", tmp_path / "recipe.yaml")
    cell = tmp_path / "cells/text_only"
    cell.mkdir(parents=True)
    shutil.copyfile(tiny_study / "cells/text_only/cell.json", cell / "cell.json")
    assert fault(cell) == f"{cell} is not trained yet; run `sottovoce study {tmp_path / 'recipe.yaml'}`"


def test_a_run_is_found_from_inside_its_folder(run: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(run)
    assert load_run(Path(), silent)[2].name == "tiny"


def test_a_trained_run_is_decoded_with_the_rotary_frequencies_that_it_was_trained_with(run: Path) -> None:
    loaded, model, recipe = load_run(run, silent)
    untouched = dict(load_model(recipe.model, recipe.train.bf16).model.named_buffers())
    rotary = {name: buffer for name, buffer in model.named_buffers() if "inv_freq" in name}
    assert rotary and all(torch.equal(buffer, untouched[name]) for name, buffer in rotary.items())
    assert {parameter.dtype for parameter in model.parameters()} == {loaded.model.dtype} == {torch.bfloat16}
