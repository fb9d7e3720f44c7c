"""The verbs that use a trained run: predict, and more to come; imports stand inside, so that --help is fast."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Annotated

import typer

from sottovoce.console import Run, say

serving = typer.Typer()


@serving.command()
def predict(run: Run, clip: Annotated[Path, typer.Argument(help="a recording")]) -> None:
    """Print the frame of a recording as JSON."""
    from sottovoce.study.predict import predict_clip

    line = json.dumps(predict_clip(run, clip, say), ensure_ascii=False)
    print(line.encode("utf-8", "backslashreplace").decode())  # an answer can hold half a surrogate pair
