"""The verbs that use a trained run, predict and serve, and label; imports are inside them, so that --help is fast."""

from __future__ import annotations

import sys
from dataclasses import replace
from pathlib import Path
from typing import Annotated, Literal

import typer

from sottovoce.cli.console import AllowOutside, Run, say

serving = typer.Typer()

AnswerGrammar = Annotated[
    Literal["none", "ontology"] | None,
    typer.Option("--grammar", help="ontology: only known intents and slot types; default: the recipe's"),
]


@serving.command()
def predict(
    run: Run,
    source: Annotated[
        str | None,
        typer.Argument(help="a recording, a folder of recordings, or - for paths from standard input, one per line"),
    ] = None,
    text: Annotated[
        str | None,
        typer.Option(help="a typed text instead of recordings, or - for texts from standard input, one per line"),
    ] = None,
    out: Annotated[Path | None, typer.Option(help="write rows to this file; a rerun resumes from it")] = None,
    abstain_below: Annotated[float, typer.Option(min=0, max=1, help="mark answers below this confidence")] = 0.0,
    grammar: AnswerGrammar = None,
) -> None:
    """Understand recordings or typed texts; prints a line of JSON for each, in the format that `score` reads."""
    from sottovoce.inference.files import asked_of, kept_rows, predict_all

    asking = asked_of(source, text, sys.stdin.buffer)
    kept = kept_rows(out, asking, say)
    from sottovoce.inference.model import load_model_of  # only after the input has been checked

    model = replace(load_model_of(run, say, grammar), abstain_below=abstain_below)
    if predict_all(model, asking, model.settings.batch_size, out, kept, say, abstain_below):
        sys.exit(1)


@serving.command()
def serve(
    run: Run,
    host: Annotated[
        str, typer.Option(help="the address to listen on; 0.0.0.0: all addresses of this machine")
    ] = "127.0.0.1",
    port: Annotated[int, typer.Option(min=0, max=65535, help="0: any free port")] = 8765,
    token_file: Annotated[Path | None, typer.Option(help="file with the access token, on its first line")] = None,
    max_seconds: Annotated[float, typer.Option(min=0.1, help="longest recording")] = 30.0,
    max_megabytes: Annotated[float, typer.Option(min=0.001, help="largest upload of a recording")] = 10.0,
    max_queue: Annotated[int, typer.Option(min=1, help="requests that may wait")] = 64,
    timeout_seconds: Annotated[float, typer.Option(min=0.1, help="limit from a decoded request to its answer")] = 30.0,
    upload_seconds: Annotated[float, typer.Option(min=0.1, help="limit for receiving and decoding a request")] = 20.0,
    max_batch_size: Annotated[int, typer.Option(min=1, help="requests computed together")] = 8,
    abstain_below: Annotated[float, typer.Option(min=0, max=1, help="mark answers below this confidence")] = 0.0,
    transcripts: Annotated[
        bool | None,
        typer.Option(help="also transcribe; most models need a second copy [default: on for the embedded one]"),
    ] = None,
    grammar: AnswerGrammar = None,
) -> None:
    """Answer recordings and typed text over HTTP, with a page to try it on, until Ctrl-C (extra `serve`)."""
    from sottovoce.serve.server import refuse_without_packages

    refuse_without_packages()
    from sottovoce.serve.run import serve_run
    from sottovoce.serve.security import read_token
    from sottovoce.serve.settings import ServerSettings

    settings = ServerSettings(
        max_seconds=max_seconds, max_bytes=round(max_megabytes * 2**20), max_queue=max_queue, transcripts=transcripts,
        timeout_seconds=timeout_seconds, upload_seconds=upload_seconds, max_batch_size=max_batch_size,
        abstain_below=abstain_below, grammar=grammar,
    )  # fmt: skip
    serve_run(run, settings, host, port, read_token(token_file) if token_file else None, say)


@serving.command()
def label(
    manifest: Annotated[Path, typer.Argument(help="manifest with the utterances to record")],
    out: Annotated[Path, typer.Argument(help="folder for the recordings and their manifest")],
    split: Annotated[Literal["train", "dev", "test"], typer.Option(help="the split to record")] = "train",
    share: Annotated[float | None, typer.Option(min=0, max=1, help="share of the split; default: 0.05")] = None,
    num_utterances: Annotated[int | None, typer.Option(min=1, help="instead of a share")] = None,
    study: Annotated[Path | None, typer.Option(help="a study's folder: order by expected gain")] = None,
    speaker: Annotated[str | None, typer.Option(help="who speaks; default: the page asks")] = None,
    window_seconds: Annotated[float, typer.Option(min=1, help="longest recording that the model takes")] = 12.0,
    host: Annotated[str, typer.Option(help="the address to listen on")] = "127.0.0.1",
    port: Annotated[int, typer.Option(min=0, max=65535, help="0: any free port")] = 8765,
    token_file: Annotated[Path | None, typer.Option(help="file with the access token, on its first line")] = None,
    allow_outside: AllowOutside = False,
) -> None:
    """Collect recordings: a page asks for the most useful utterances and checks each recording, until Ctrl-C."""
    from sottovoce.serve.server import refuse_without_packages

    refuse_without_packages()
    from sottovoce.collect.run import label_manifest

    print(
        label_manifest(
            manifest, out, say, split=split, share=share, num_utterances=num_utterances, study=study, speaker=speaker,
            window_seconds=window_seconds, host=host, port=port, token_file=token_file, allow_outside=allow_outside,
        )
    )  # fmt: skip
