"""Cells of made-up studies, told by their names alone."""

from __future__ import annotations

import re
from typing import Any

_NAME = re.compile(
    r"(?P<scheme>[^-]+)(?:-from-(?P<sources>[A-Za-z0-9_+]+))?"
    r"(?:-(?P<size>all|\d[\d.e+-]*(?:pct|utterances|seconds|hours|speakers)))?(?:-seed(?P<seed>\d+))?(?:-(?P<model>.+))?"
)


def cell_named(name: str, models: tuple[str, ...]) -> dict[str, Any]:
    """The facts of a cell by its name, such as "curriculum-from-en-5pct-seed1-Qwen2-Audio-7B"."""
    found = _NAME.fullmatch(name)
    assert found
    size, tail = found["size"] or "", re.sub(r"\W+", "_", found["model"] or "")
    return {
        "name": name,
        "scheme": found["scheme"],
        "size": size,
        "budget_share": float(size[:-3]) / 100 if size.endswith("pct") else 0.0,
        "seed": int(found["seed"] or 0),
        "sources": tuple((found["sources"] or "").split("+")) if found["sources"] else (),
        "model_name": next((m for m in models if tail and re.sub(r"\W+", "_", m).endswith(tail)), models[0]),
    }
