"""What a benchmark leaves: a table for people and the figures for programs."""

from __future__ import annotations

import json
from collections.abc import Sequence
from pathlib import Path
from typing import Any


def markdown(columns: Sequence[str], rows: Sequence[Sequence[str]]) -> str:
    """A Markdown table."""
    lines = [columns, ["---"] * len(columns), *rows]
    return "\n".join("| " + " | ".join(cells) + " |" for cells in lines)


def write(out: Path, text: str, content: dict[str, Any]) -> None:
    """Writes ``table.md`` and ``results.json`` into a folder, which is made if it is not there."""
    out.mkdir(parents=True, exist_ok=True)
    (out / "table.md").write_text(text + "\n", encoding="utf-8")
    (out / "results.json").write_text(json.dumps(content, indent=1) + "\n", encoding="utf-8")
