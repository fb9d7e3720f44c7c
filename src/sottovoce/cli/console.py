"""What the verbs share: a line for the user, and options that several of them have."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer
from rich.console import Console

RecipePath = Annotated[Path, typer.Argument(help="a recipe (YAML)")]
Run = Annotated[Path, typer.Argument(help="a run: STUDY/cells/CELL")]
Overrides = Annotated[list[str] | None, typer.Argument(help="key=value, such as train.stage.learning_rate=1e-4")]
AllowOutside = Annotated[bool, typer.Option(help="permit recordings outside the manifest's folder")]


def say(line: str) -> None:
    """One line for the user, on standard error, so that standard output stays machine-readable."""
    # emoji=False: rich would turn the ":100:" of "manifest.jsonl:100: ..." into an emoji.
    Console(stderr=True, highlight=False, soft_wrap=True).print(line, markup=False, emoji=False)
