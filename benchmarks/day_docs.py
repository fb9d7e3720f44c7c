"""What a day came to as Markdown, and into the docs, between two markers."""

from __future__ import annotations

import sys
from collections.abc import Mapping
from pathlib import Path
from typing import Any

PAGES = {"gpu-day": "evidence/benchmarks.md", "on-cpu": "evidence/models.md"}  # where each kind of day is written up
NOT_YET = "Not run yet."


def day_text(content: Mapping[str, Any]) -> str:
    """The steps with their tables. The same for a file and for the docs."""
    option = " --on-cpu" if content["kind"] == "on-cpu" else ""
    tiny = " --tiny" if content["tiny"] else ""
    lines = [f"`python benchmarks/gpu_day.py{option}{tiny}`, {content['started']}."]
    if content["tiny"]:
        lines.append("Tiny models: it shows that the steps work; the figures mean nothing.")
    for step in content["steps"]:
        status = step["status"] + (f": {step['reason']}" if step["reason"] else "")
        lines.append(f"**{step['title']}** ({step['seconds']:.0f} s, {status})")
        if step["text"].strip():
            lines.append(step["text"].strip())
    return "\n\n".join(lines) + "\n"


def write_docs(content: Mapping[str, Any], docs: Path) -> list[Path]:
    """Fills the page of that kind of day; what was run with tiny models is refused. Returns the pages."""
    if content["tiny"]:
        sys.exit("these are figures of tiny models: run it without --tiny")
    page = docs / PAGES[content["kind"]]
    page.write_text(filled(page.read_text(encoding="utf-8"), content["kind"], day_text(content)), encoding="utf-8")
    return [page]


def filled(page: str, name: str, text: str) -> str:
    """A page with a text between the markers of that name."""
    begin, end = f"<!-- {name}: filled by benchmarks/gpu_day.py --write-docs -->\n", f"<!-- {name}: end -->\n"
    before, found, rest = page.partition(begin)
    _, closed, after = rest.partition(end)
    if not found or not closed:
        sys.exit(f"the page has no markers {begin.strip()} and {end.strip()}")
    return before + begin + text + end + after
