from pathlib import Path
from typing import Any

import pytest
import yaml

from sottovoce.core.errors import UserError
from sottovoce.core.recipe import Recipe
from sottovoce.core.recipe_file import load_recipe

SHIPPED = sorted((Path(__file__).parents[2] / "recipes").glob("*.yaml"))
SMALLEST: dict[str, Any] = {"name": "r", "model": "embedded", "corpus": {"builtin": "home", "locale": "en-US"}}


def recipe(folder: Path, overrides: list[str] | None = None, **changes: Any) -> Recipe:
    path = folder / "r.yaml"
    path.write_text(yaml.safe_dump(SMALLEST | changes), encoding="utf-8")
    return load_recipe(path, overrides)


def fault(folder: Path, overrides: list[str] | None = None, **changes: Any) -> str:
    with pytest.raises(UserError) as caught:
        recipe(folder, overrides, **changes)
    assert "\n" not in str(caught.value)
    return str(caught.value)


def text_fault(folder: Path, content: str | bytes) -> str:
    path = folder / "r.yaml"
    path.write_bytes(content.encode() if isinstance(content, str) else content)
    with pytest.raises(UserError) as caught:
        load_recipe(path)
    return str(caught.value)


@pytest.mark.parametrize("path", SHIPPED, ids=lambda path: path.stem)
def test_a_shipped_recipe_can_be_read_and_says_what_it_costs_and_gives(path: Path) -> None:
    assert load_recipe(path).schemes
    header = path.read_text(encoding="utf-8").partition("\nname:")[0]
    assert all(line.startswith("#") for line in header.splitlines())
    for word in ("Command:", "Cost:", "Expected:"):
        assert word in header
        assert "TODO" not in header.split(word)[1].splitlines()[0], f"{word} is not filled in"


def test_recipes_are_shipped() -> None:
    assert "quickstart" in [path.stem for path in SHIPPED]
    assert len(PAPER) == 6


def test_the_defaults_are_the_settings_of_the_paper(tmp_path: Path) -> None:
    train = recipe(tmp_path).train
    assert train.language_model == "full"
    assert (train.per_device_train_batch_size * train.gradient_accumulation_steps, train.bf16) == (128, True)
    assert train.lr_scheduler_type == "cosine"
    stages = {
        name: (stage.num_train_epochs, stage.learning_rate, stage.warmup_ratio)
        for name, stage in (("only", train.stage), ("first", train.first_stage), ("last", train.last_stage))
    }
    assert stages == {"only": (3, 5e-6, 0.04), "first": (2, 5e-6, 0.04), "last": (1, 3e-6, 0.02)}


PAPER = [path for path in SHIPPED if "_qwen2_audio_" in path.stem]


@pytest.mark.parametrize("path", PAPER, ids=lambda path: path.stem)
def test_the_papers_recipes_have_its_batch_and_keep_its_settings(path: Path, tmp_path: Path) -> None:
    found, default = load_recipe(path), recipe(tmp_path).train
    assert found.train.per_device_train_batch_size * found.train.gradient_accumulation_steps == 128
    for stage in ("stage", "first_stage", "last_stage"):
        assert getattr(found.train, stage) == getattr(default, stage)
    own, *others = found.schemes
    assert own == path.stem.partition("_qwen2_audio_")[2]
    # What an engineer would do instead stands beside the weights that it reads with.
    assert others == (["cascade"] if own == "text_only" else []) and bool(found.asr) == bool(others)
    assert (found.train.language_model, found.model) == ("full", "Qwen/Qwen2-Audio-7B-Instruct")


@pytest.mark.parametrize(
    ("changes", "said"),
    [
        ({"bugdets": [0.1]}, "unknown key 'bugdets'; did you mean 'budgets'?"),
        ({"train": {"stage": {"learning_rat": 1}}}, "'train.stage.learning_rat'; did you mean 'learning_rate'?"),
        ({"train": {"lora": {"rank": 4}}}, "'train.lora.rank'; valid keys: r, lora_alpha"),
        ({"train": {"noise": {"row": 1}}}, "'train.noise.row'; did you mean 'rows'?"),
        ({"decode": {"batchsize": 4}}, "'decode.batchsize'; did you mean 'batch_size'?"),
    ],
)
def test_an_unknown_key_is_refused_with_the_nearest_name(tmp_path: Path, changes: dict[str, Any], said: str) -> None:
    message = fault(tmp_path, **changes)
    assert message.startswith(f"{tmp_path / 'r.yaml'}: unknown key ")
    assert said in message


def test_an_override_reaches_nested_keys_and_wins_over_the_file(tmp_path: Path) -> None:
    given = ["train.stage.learning_rate=5e-6", "budgets=[0.01, 0.1]", "seed=7", "train.bf16=false"]
    read = recipe(tmp_path, given, seed=3, budgets=[0.5])
    assert (read.train.stage.learning_rate, read.budgets, read.seed, read.train.bf16) == (5e-6, (0.01, 0.1), 7, False)


@pytest.mark.parametrize(
    ("override", "said"),
    [
        ("seed", "'seed' is not key=value"),
        ("sead=1", "unknown key 'sead'; did you mean 'seed'?"),
        ("train.noise.drop=2", "train.noise.drop: Input should be less than or equal to 1"),
        ("train.noise.drop=0.95", "train.noise: replace, drop and insert add up to more than 1"),
        ("name.first=x", "name is not a group of keys"),
        ("title=[", "'title=[': the value is not valid YAML"),
        ("train.stage.num_train_epochs=0", "train.stage.num_train_epochs: "),
    ],
)
def test_a_bad_override_is_refused(tmp_path: Path, override: str, said: str) -> None:
    assert said in fault(tmp_path, [override])


@pytest.mark.parametrize(
    ("changes", "said"),
    [
        ({"schemes": ["text_only", "text_only"]}, "schemes must not repeat"),
        ({"budgets": [0.05, 0.05]}, "budgets must not repeat"),
        ({"schemes": []}, "schemes is empty"),
        ({"budgets": [5]}, "budgets.0: "),
        ({"budgets": [-0.1]}, "budgets.0: "),
        ({"corpus": {"builtin": "home"}}, "corpus: a built-in corpus needs its locale"),
        ({"corpus": {"builtin": "home", "locale": "en-US", "manifest": "m"}}, "corpus: give either builtin"),
        ({"corpus": {"locale": "en-US"}}, "corpus: give either builtin"),
        ({"name": ".."}, "name: "),
        ({"name": "a/b"}, "name: "),
    ],
)
def test_a_value_out_of_range_is_refused(tmp_path: Path, changes: dict[str, Any], said: str) -> None:
    assert fault(tmp_path, **changes).startswith(f"{tmp_path / 'r.yaml'}: {said}")


def test_schemes_without_speech_need_no_budget(tmp_path: Path) -> None:
    assert recipe(tmp_path, budgets=[], schemes=["zero_shot", "text_only"]).budgets == ()


def test_a_number_without_a_point_before_its_exponent_is_a_number(tmp_path: Path) -> None:
    # YAML 1.1, which PyYAML reads, takes 5e-6 for text.
    path = tmp_path / "r.yaml"
    path.write_text(yaml.safe_dump(SMALLEST) + "train: {stage: {learning_rate: 5e-6}}\n")
    assert load_recipe(path).train.stage.learning_rate == 5e-6


def test_what_is_not_yaml_is_named_by_its_line(tmp_path: Path) -> None:
    assert text_fault(tmp_path, "name: r\nmodel: [\n").startswith(f"{tmp_path / 'r.yaml'}:3: not valid YAML")
    assert "a recipe is a mapping" in text_fault(tmp_path, "- name\n")
    assert "not UTF-8" in text_fault(tmp_path, b"name: caf\xe9\n")


def test_a_missing_recipe_lists_those_that_are_there(tmp_path: Path) -> None:
    recipe(tmp_path)
    with pytest.raises(UserError) as caught:
        load_recipe(tmp_path / "s.yaml")
    assert str(caught.value) == f"no such recipe: {tmp_path / 's.yaml'}; found instead: {tmp_path / 'r.yaml'}"


def test_a_recipe_read_back_from_what_a_study_wrote_is_the_same(tmp_path: Path) -> None:
    first = recipe(tmp_path, train={"stage": {"learning_rate": 3e-6}}, num_test_utterances=5)
    assert recipe(tmp_path, **first.model_dump(mode="json")) == first
