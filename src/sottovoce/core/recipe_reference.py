"""Reference of the recipe's keys: docs/recipe.md and the JSON schema, both made from ``recipe``."""

from __future__ import annotations

import json
import re
from typing import Any

from sottovoce.core.recipe import Recipe

HEAD = """# Recipe keys

A recipe is a YAML file with these keys and no others; [quickstart.yaml](../recipes/quickstart.yaml) is the one to copy.
You can also set keys on the command line: `sottovoce study mine.yaml seed=1 train.lora.r=32`. This page is what
`sottovoce recipe` prints.

**In an editor.** Write the JSON schema to a file next to your recipes,

```
sottovoce recipe --schema > recipe.schema.json
```

and name it in a recipe's first line. Editors with the YAML language server (in VS Code the extension "YAML" by Red Hat)
then complete keys, show their meaning and underline what is unknown or out of range:

```yaml
# yaml-language-server: $schema=recipe.schema.json
name: mine
```

The schema does not cover rules across keys, such as `model` or `models` but not both; `sottovoce` checks them.
"""
COUNTED = "Speech"  # first word of the groups that are written on one line, such as {utterances: 20}


def recipe_schema() -> dict[str, Any]:
    """The JSON schema of a recipe (draft 2020-12)."""
    return {"$schema": "https://json-schema.org/draft/2020-12/schema", **Recipe.model_json_schema()}


def recipe_page() -> str:
    """The reference page in Markdown, with a table for each group of keys."""
    schema = recipe_schema()
    sections = [HEAD]
    for name, paths in _groups(schema).items():
        group = schema["$defs"][name] if paths else schema
        title = ", ".join(f"`{path}`" for path in paths) if paths else "The recipe"
        rows = ["| key | type | default | meaning |", "| --- | --- | --- | --- |"]
        for key, entry in group["properties"].items():
            default = _default(entry, schema) if key not in group.get("required", ()) else "required"
            rows.append(f"| `{key}` | {_type(entry, schema)} | {default} | {entry['description']} |")
        text = group["description"].replace("``", "`")
        sections.append(f"## {title}\n\n{text}\n\n" + "\n".join(rows) + "\n")
    return "\n".join(sections)


def _groups(schema: dict[str, Any]) -> dict[str, list[str]]:
    """Groups of keys by name, each with its dotted keys; the recipe itself comes first, with none."""
    found: dict[str, list[str]] = {"": []}
    todo = [("", schema)]
    while todo:
        path, group = todo.pop(0)
        for key, entry in group["properties"].items():
            named = entry.get("additionalProperties", entry)
            if "$ref" not in named:
                continue
            name = _name(named)
            place = f"{path}{key}" if named is entry else f"{path}{key}.NAME"
            found.setdefault(name, []).append(place)
            todo.append((f"{place}.", schema["$defs"][name]))
    return found


def _type(entry: dict[str, Any], schema: dict[str, Any]) -> str:
    if "$ref" in entry:
        name = _name(entry)
        if not name.startswith(COUNTED):
            return "[group](#" + "-".join(re.sub(r"[^a-z_]", "", path.lower()) for path in _groups(schema)[name]) + ")"
        [(key, inner)] = schema["$defs"][name]["properties"].items()
        return f"`{{{key}: {_type(inner, schema)}}}`"
    if "anyOf" in entry:
        return " or ".join(_type(each, schema) for each in entry["anyOf"] if each != {"type": "null"})
    if "const" in entry or "enum" in entry:
        return ", ".join(f"`{_yaml(each)}`" for each in entry.get("enum", [entry.get("const")]))
    kind = entry["type"]
    if kind == "array":
        return f"list of {_type(entry['items'], schema)}"
    if kind == "object":
        return f"names, each with a {_type(entry['additionalProperties'], schema)}"
    named = {"string": "text", "boolean": "`true` or `false`"}.get(kind, kind)
    return ("path" if entry.get("format") == "path" else named) + _bounds(entry)


def _bounds(entry: dict[str, Any]) -> str:
    low, high = entry.get("minimum"), entry.get("maximum")
    if low is not None and high is not None:
        return f" {low:g}..{high:g}"
    words = {"exclusiveMinimum": ">", "minimum": "≥", "maximum": "≤"}
    return "".join(f", {sign} {entry[key]:g}" for key, sign in words.items() if key in entry)


def _default(entry: dict[str, Any], schema: dict[str, Any]) -> str:
    """The default as written in a recipe; for a group, only what differs from the group's own defaults."""
    value = entry["default"]
    if "$ref" in entry:
        own = {key: inner.get("default") for key, inner in schema["$defs"][_name(entry)]["properties"].items()}
        return ", ".join(f"`{key}: {_yaml(each)}`" for key, each in value.items() if each != own[key])
    return f"`{_yaml(value)}`" if value not in (None, "", [], {}) else ""


def _yaml(value: Any) -> str:
    if isinstance(value, float):
        return f"{value:g}".replace("e-0", "e-")
    if isinstance(value, list):
        return f"[{', '.join(map(_yaml, value))}]"
    return value if isinstance(value, str) else json.dumps(value)


def _name(entry: dict[str, Any]) -> str:
    return str(entry["$ref"]).rpartition("/")[2]
