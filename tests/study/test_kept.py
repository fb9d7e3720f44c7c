"""What a study has proven and measured before: kept in its folder, and done again where it does not hold any more."""

from __future__ import annotations

import json
from functools import partial
from pathlib import Path
from typing import Any

import pytest
from tiny_study import write_recipe

from sottovoce.core.recipe import Recipe
from sottovoce.core.recipe_file import load_recipe
from sottovoce.study import kept, ready
from sottovoce.study.engines.base import HERE, Here
from sottovoce.study.kept import circumstances_of
from sottovoce.study.resources import costs
from sottovoce.study.runner import run_study


class Making:
    """Counts what it makes."""

    def __init__(self) -> None:
        self.number = 0

    def __call__(self) -> dict[str, Any]:
        self.number += 1
        return {"number": self.number}


def test_values_are_made_once_in_the_same_circumstances(tmp_path: Path) -> None:
    make = Making()
    assert [kept.kept(tmp_path, "a", {"model": "x"}, make) for _ in range(2)] == [{"number": 1}] * 2
    assert kept.kept(tmp_path, "a", {"model": "y"}, make) == {"number": 2}
    assert kept.kept(tmp_path, "b", {"model": "y"}, make) == {"number": 3}
    assert kept.kept(tmp_path, "a", {"model": "y"}, make) == {"number": 2}  # beside b
    assert [path.name for path in tmp_path.iterdir()] == ["preflight.json"]


@pytest.mark.parametrize(
    "damage",
    [
        lambda text: text[: len(text) // 2],
        lambda text: text.replace('"number": 1', '"number": 9'),
        lambda text: "[]",
        lambda text: json.dumps({"a": 3}),
        lambda text: "",
    ],
    ids=["cut", "changed", "a list", "a number", "empty"],
)
def test_what_is_damaged_is_made_again(tmp_path: Path, damage: Any) -> None:
    make = Making()
    kept.kept(tmp_path, "a", {}, make)
    path = tmp_path / "preflight.json"
    path.write_text(damage(path.read_text(encoding="utf-8")), encoding="utf-8")
    assert [kept.kept(tmp_path, "a", {}, make) for _ in range(2)] == [{"number": 2}] * 2


def test_without_a_folder_nothing_is_kept(tmp_path: Path) -> None:
    make = Making()
    assert [kept.kept(tmp_path / "none", "a", {}, make)["number"] for _ in range(2)] == [1, 2]
    assert not list(tmp_path.iterdir())


def test_circumstances_are_the_model_s_files_and_what_trains_it_but_not_how_long(
    tiny_model_dir: Path, tiny_corpus: Path, tmp_path: Path
) -> None:
    recipe = load_recipe(write_recipe(tmp_path, tiny_model_dir, tiny_corpus))

    def of(**changes: Any) -> dict[str, Any]:
        return circumstances_of(recipe, recipe.train.model_copy(update=changes))

    assert (
        of() == of(save_steps=7) == of(first_stage=recipe.train.first_stage.model_copy(update={"num_train_epochs": 9}))
    )
    others = [of(per_device_train_batch_size=2), of(bf16=False), of(lora=recipe.train.lora.model_copy(update={"r": 3}))]
    template = tiny_model_dir / "note.json"
    try:
        template.write_text("{}", encoding="utf-8")
        others.append(of())
    finally:
        template.unlink()
    assert of() not in others and len({json.dumps(each) for each in others}) == 4


def test_a_study_that_is_started_again_proves_and_times_nothing_anew(
    tiny_model_dir: Path, tiny_corpus: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    path = write_recipe(tmp_path, tiny_model_dir, tiny_corpus, schemes=["text_only"])
    recipe, said = load_recipe(path), list[list[str]]()
    done = {"prove": 0, "_decoding_seconds": 0}
    for module, name in ((ready, "prove"), (costs, "_decoding_seconds")):

        def counted(real: Any, name: str, *args: Any) -> Any:
            done[name] += 1
            return real(*args)

        monkeypatch.setattr(module, name, partial(counted, getattr(module, name), name))

    def start(recipe: Recipe) -> None:
        said.append([])
        run_study(recipe, path, said[-1].append, HERE)

    monkeypatch.setattr(Here, "run", lambda here, study, cells: iter(()))  # stopped before the first cell
    start(recipe)
    start(recipe)
    assert done == {"prove": 1, "_decoding_seconds": 1}
    held = [line for line in said[0] if "proofs passed" in line or "LoRA on" in line or "encoding recordings" in line]
    assert len(held) == 3 and set(held[:2]) < set(said[1])
    start(recipe.model_copy(update={"train": recipe.train.model_copy(update={"per_device_train_batch_size": 2})}))
    assert done == {"prove": 2, "_decoding_seconds": 2}
