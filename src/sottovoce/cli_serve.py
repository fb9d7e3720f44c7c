"""The verbs that use a trained run: predict, and more to come; imports stand inside, so that --help is fast."""

from __future__ import annotations

import sys
from dataclasses import replace
from pathlib import Path
from typing import Annotated

import typer

from sottovoce.console import Run, say

serving = typer.Typer()


@serving.command()
def predict(
    run: Run,
    source: Annotated[
        str | None,
        typer.Argument(help="a recording, a folder of them, or - for paths from standard input, one a line"),
    ] = None,
    text: Annotated[
        str | None,
        typer.Option(help="a typed text in place of recordings, or - for a text a line of standard input"),
    ] = None,
    out: Annotated[Path | None, typer.Option(help="write rows there, and go on with what is there")] = None,
    abstain_below: Annotated[float, typer.Option(min=0, max=1, help="mark answers of less confidence")] = 0.0,
) -> None:
    """Understand recordings or typed texts: a line of JSON each, in the format that `score` reads."""
    from sottovoce.serve.predict import asked_of, kept_rows, predict_all

    asking = asked_of(source, text, sys.stdin.buffer)
    kept = kept_rows(out, asking, say)
    from sottovoce.serve.model import load_model_of  # after what is asked is known to be there

    model = replace(load_model_of(run, say), abstain_below=abstain_below)
    if predict_all(model, asking, model.settings.batch_size, out, kept, say, abstain_below):
        sys.exit(1)
