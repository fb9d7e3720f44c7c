"""Reads recipes: YAML files with ``key=value`` overrides; unknown keys are refused with the nearest name."""

from __future__ import annotations

import difflib
from pathlib import Path
from typing import Any, get_args

import yaml
from pydantic import ValidationError

from sottovoce.core.errors import UserError, first_fault, key_path
from sottovoce.core.recipe import Recipe


def load_recipe(path: Path, overrides: list[str] | None = None) -> Recipe:
    """Reads a recipe.

    Args:
        path: the YAML file.
        overrides: ``key=value`` with dotted keys, such as ``train.stage.learning_rate=1e-4``; values are YAML.

    Raises:
        UserError: no such file, not YAML, an unknown key (with the nearest valid one), or a value out of range.
    """
    if not path.is_file():
        near = sorted(str(other) for other in path.parent.glob("*.yaml")) if path.parent.is_dir() else []
        raise UserError(f"no such recipe: {path}", f"found instead: {', '.join(near)}" if near else "correct the path")
    try:
        content = yaml.safe_load(path.read_text(encoding="utf-8"))
    except UnicodeDecodeError as error:
        raise UserError(f"{path}: not UTF-8 text ({error.reason})", "save the file as UTF-8") from error
    except yaml.YAMLError as error:
        mark = getattr(error, "problem_mark", None)
        where = f"{path}:{mark.line + 1}" if mark else str(path)
        raise UserError(f"{where}: not valid YAML ({getattr(error, 'problem', error)})", "correct that line") from error
    if not isinstance(content, dict):
        raise UserError(f"{path}: a recipe is a mapping of keys to values", "see recipes/quickstart.yaml")
    for override in overrides or []:
        _apply(content, override)
    try:
        return Recipe.model_validate(_floats(content))
    except ValidationError as error:
        raise UserError(f"{path}: {_fault(error)}", "correct it, or see recipes/quickstart.yaml") from error


def _apply(content: dict[str, Any], override: str) -> None:
    key, equals, value = override.partition("=")
    if not equals:
        raise UserError(f"{override!r} is not key=value", "write for example seed=1")
    *parents, last = key.split(".")
    for parent in parents:
        content = content.setdefault(parent, {})
        if not isinstance(content, dict):
            raise UserError(f"{override!r}: {parent} is not a group of keys")
    try:
        content[last] = yaml.safe_load(value)
    except yaml.YAMLError as error:
        raise UserError(f"{override!r}: the value is not valid YAML", "put it in quotes") from error


def _floats(value: Any) -> Any:
    """Turns text such as 5e-6 into a number, which YAML 1.1 does not."""
    if isinstance(value, dict):
        return {key: _floats(inner) for key, inner in value.items()}
    if isinstance(value, list):
        return [_floats(inner) for inner in value]
    if isinstance(value, str) and value[:1] in "0123456789.-" and "e" in value:
        try:
            return float(value)
        except ValueError:
            return value
    return value


def _fault(error: ValidationError) -> str:
    """One line, with the nearest valid key for an unknown one."""
    if error.errors()[0]["type"] != "extra_forbidden":
        return first_fault(error)
    *parents, last = key_path(error)
    group: Any = Recipe
    for parent in parents:  # a mapping with the user's own names has one type for all its values
        group = group.model_fields[parent].annotation if hasattr(group, "model_fields") else get_args(group)[-1]
    valid = list(group.model_fields)
    near = difflib.get_close_matches(last, valid, n=1, cutoff=0.5)
    hint = f"did you mean {near[0]!r}?" if near else f"valid keys: {', '.join(valid)}"
    return f"{first_fault(error)}; {hint}"
