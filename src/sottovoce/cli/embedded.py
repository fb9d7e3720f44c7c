"""The verbs `sottovoce embedded ...`; imports are inside them, so that --help is fast."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Annotated

import typer

from sottovoce.cli.console import AllowOutside, say

embedded = typer.Typer(help="The embedded model: its folder, word error rates and training data.", no_args_is_help=True)


@embedded.command("path")
def embedded_path() -> None:
    """Assemble the embedded model if needed, and print its folder."""
    from sottovoce.models.embedded import embedded_model_dir

    print(embedded_model_dir(say))


@embedded.command("speak-home")
def embedded_speak_home(
    out: Annotated[Path, typer.Argument(help="the folder for LOCALE.jsonl and audio/LOCALE")],
    locale: Annotated[str, typer.Argument(help="en-US or fr-FR")],
    workers: Annotated[int, typer.Option(help="number of processes")] = 2,
) -> None:
    """Make the built-in corpus: its sentences, and their speech (extra `speech`, espeak-ng)."""
    from sottovoce.core.progress import show_count
    from sottovoce.speech.home_speech import speak_home

    show_count(speak_home(out, locale, workers), "spoken")


@embedded.command("speak")
def embedded_speak(
    manifests: Annotated[list[Path], typer.Argument(help="manifests with the training transcripts to speak")],
    out: Annotated[Path, typer.Option(help="the folder for manifest.jsonl and audio")],
    exclude: Annotated[list[Path] | None, typer.Option(help="manifests whose sentences must not be used")] = None,
    clips: Annotated[list[str] | None, typer.Option(help="at most this many for a locale: en-US=4000")] = None,
    quick_voices: Annotated[bool, typer.Option(help="only piper, flite and espeak-ng, which are fast")] = False,
    workers: Annotated[int, typer.Option(help="number of processes")] = 2,
    seed: int = 0,
) -> None:
    """Speak transcripts in many synthetic voices (extra `speech`, espeak-ng, flite)."""
    from sottovoce.core.progress import show_count
    from sottovoce.speech.synthesis import speak_manifest
    from sottovoce.speech.training_sentences import take_clips, training_sentences

    rows = take_clips(training_sentences(manifests, exclude or [], seed), clips or [])
    cast = "quick" if quick_voices else "many"
    show_count(speak_manifest(rows, out, cast=cast, seed=seed, workers=workers), f"spoken of {len(rows)}")


@embedded.command("wer")
def embedded_wer(
    manifest: Annotated[
        Path | None,
        typer.Argument(help="a manifest with recordings; default: the four sets of docs/evidence/embedded-model.md"),
    ] = None,
    split: Annotated[str, typer.Option(help="which split of the manifest to transcribe")] = "test",
    out: Annotated[Path | None, typer.Option(help="write the manifest's transcripts to this file (JSONL)")] = None,
    data: Annotated[Path, typer.Option(help="the folder with massive, speech and barista")] = Path("../shared/data"),
    as_json: Annotated[bool, typer.Option("--json", help="print only the rates of the four sets")] = False,
    allow_outside: AllowOutside = False,
) -> None:
    """Word error rates of the embedded model's transcripts."""
    from rich.console import Console

    from sottovoce.embedded.hearing_sets import HEARING_SETS, hearing_rates, hearing_table
    from sottovoce.embedded.transcripts import transcribe_manifest

    if manifest:
        rates = transcribe_manifest(manifest, split, out, say, allow_outside=allow_outside)
        print(json.dumps(rates, ensure_ascii=False))
        return
    found = dict(hearing_rates(data, say))
    if as_json:
        print(json.dumps({name: rates[HEARING_SETS[name].figure] for name, rates in found.items()}))
    else:
        Console().print(hearing_table(found))


@embedded.command("confusions")
def embedded_confusions(
    manifests: Annotated[list[Path], typer.Argument(help="manifests with the training recordings to transcribe")],
    out: Annotated[Path, typer.Option(help="the confusion table (JSONL)")],
    model: Annotated[str, typer.Option(help="`embedded`, or a hub id or folder of another recogniser")] = "embedded",
    allow_outside: AllowOutside = False,
) -> None:
    """Count what a recogniser mishears, for recognition noise on training text."""
    from sottovoce.embedded.mishearings import make_confusions

    print(json.dumps(make_confusions(manifests, model, out, say, allow_outside)))
