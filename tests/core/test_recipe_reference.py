"""docs/recipe.md and the JSON schema say what the recipe's models do."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import jsonschema_rs
import pytest
import yaml
from command_line import run_main

from sottovoce.core.recipe import Recipe
from sottovoce.core.recipe_file import load_recipe
from sottovoce.core.recipe_reference import recipe_page, recipe_schema

ROOT = Path(__file__).parents[2]
SMALLEST: dict[str, Any] = {"name": "r", "model": "embedded", "corpus": {"builtin": "home", "locale": "en-US"}}


def test_the_committed_page_is_the_generated_one() -> None:
    committed = (ROOT / "docs" / "recipe.md").read_text(encoding="utf-8")
    assert committed == recipe_page(), "run `sottovoce recipe > docs/recipe.md`"


def test_every_key_says_what_it_is() -> None:
    schema = recipe_schema()
    entries = {
        f"{name}.{key}": entry
        for name, group in {**schema["$defs"], "Recipe": schema}.items()
        for key, entry in group["properties"].items()
    }
    assert {"Recipe.name", "Noise.drop", "SpeechHours.hours"} <= set(entries)
    assert [key for key, entry in entries.items() if not entry.get("description")] == []


def test_the_page_has_each_group_with_keys_defaults_and_bounds() -> None:
    page = recipe_page()
    for line in (
        "## `train.stage`, `train.first_stage`, `train.last_stage`",
        "## `sources.NAME`",
        "| `learning_rate` | number, > 0 | `5e-6` |",
        "| `first_stage` | [group](#trainstage-trainfirst_stage-trainlast_stage) | `num_train_epochs: 2` |",
        "`{utterances: integer, ≥ 1}`",
        "| `corpus` | [group](#corpus) | required |",
    ):
        assert line in page


@pytest.mark.parametrize("path", sorted((ROOT / "recipes").glob("*.yaml")), ids=lambda path: path.stem)
def test_the_schema_takes_the_shipped_recipes(path: Path) -> None:
    # As editors read YAML, 5e-6 is a number; PyYAML takes it for text, which load_recipe puts right.
    content = load_recipe(path).model_dump(mode="json", exclude_unset=True)
    assert set(content) == set(yaml.safe_load(path.read_text(encoding="utf-8")))
    jsonschema_rs.validate(recipe_schema(), content)


@pytest.mark.parametrize(
    "change",
    [
        {"bugdets": [0.1]},
        {"train": {"stage": {"learning_rat": 1}}},
        {"budgets": [2]},
        {"budgets": [{"utterances": 0}]},
        {"decode": {"grammar": "lark"}},
    ],
)
def test_the_schema_refuses_what_a_recipe_may_not_say(change: dict[str, Any]) -> None:
    assert jsonschema_rs.is_valid(recipe_schema(), SMALLEST)
    assert not jsonschema_rs.is_valid(recipe_schema(), SMALLEST | change)


def test_the_verb_prints_the_schema_or_the_page(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    schema = run_main(monkeypatch, capsys, "recipe", "--schema")
    assert (schema.code, json.loads(schema.out)["title"]) == (0, Recipe.__name__)
    assert run_main(monkeypatch, capsys, "recipe").out == recipe_page()
