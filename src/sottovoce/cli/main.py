"""The command line. Each verb is a few lines of delegation; imports are inside them, so that --help is fast."""

from __future__ import annotations

import json
import sys
from pathlib import Path
from typing import Annotated, Any, Literal

import typer
from rich.console import Console

from sottovoce.cli.console import AllowOutside, Overrides, RecipePath, Run, say
from sottovoce.cli.embedded import embedded
from sottovoce.cli.serve import serving
from sottovoce.cli.study import studies
from sottovoce.core.errors import UserError
from sottovoce.core.storage import disk_is_full
from sottovoce.core.types import Modality

Input = Annotated[Modality, typer.Option("--input", help="of a run, its answers from speech or from gold text")]

app = typer.Typer(
    name="sottovoce",
    help="Teach a large audio language model intents and slots with little speech, and find out how little is enough.",
    no_args_is_help=True,
    add_completion=False,
    pretty_exceptions_enable=False,
)
app.add_typer(studies)
app.add_typer(serving)
app.add_typer(embedded, name="embedded")

USAGE_ERROR: Any = typer.BadParameter.__mro__[1]  # click's UsageError, which typer does not export
INTERRUPTED = 130  # the exit status after Ctrl-C


@app.command()
def prepare(
    name: Annotated[
        str, typer.Argument(help="the corpus: home, massive, slurp, table, chat ...; docs/data-formats.md lists them")
    ],
    source: Annotated[Path, typer.Argument(help="its file, folder or hub name; `-` for the built-in home")],
    out: Annotated[Path, typer.Argument(help="the folder to write manifest.jsonl and recordings into")],
    options: Overrides = None,
) -> None:
    """Turn a corpus into a manifest."""
    from sottovoce.data.corpora.registry import prepare as prepare_corpus

    given = dict(_key_value(option) for option in options or [])
    say(f"wrote {prepare_corpus(name, None if str(source) == '-' else source, out, **given)}")


@app.command()
def check(
    manifest: Annotated[Path | None, typer.Argument(help="a manifest (JSONL)")] = None,
    model: Annotated[str | None, typer.Option(help="check that this model trains and decodes")] = None,
    window_seconds: Annotated[float, typer.Option(help="the model cuts clips that are longer than this")] = 12.0,
    allow_outside: AllowOutside = False,
    html: Annotated[Path | None, typer.Option(help="write the full result to this page")] = None,
) -> None:
    """Check a manifest, or with --model that a model trains and decodes correctly; exit status 2: not fit to train."""
    if manifest is None and model is None:
        raise UserError("nothing to check", "name a manifest, or a model with --model")
    if model is not None:
        from sottovoce.models.precision import precision_lines
        from sottovoce.study.preflight import check_model

        for line in precision_lines(bf16=True):
            say(line)
        for proof in check_model(model, manifest, allow_outside):
            say(f"holds: {proof}")
    if manifest is None:
        return
    from sottovoce.check.manifest import check_manifest
    from sottovoce.score.tables import table_of

    report = check_manifest(manifest, window_seconds=window_seconds, allow_outside=allow_outside)
    Console().print(table_of(report.table_rows()), table_of(report.coverage_rows()))
    for line in report.lines():
        say(line)
    if html is not None:
        from sottovoce.check.page import write_check_page

        say(f"page: {write_check_page(report, manifest, html)}")
    if not report.fit_to_train:
        raise UserError(f"{manifest} is not fit to train", "fix the faults above")


@app.command()
def train(recipe: RecipePath, overrides: Overrides = None) -> None:
    """Train the recipe's cells (schemes x budgets) without decoding them."""
    from sottovoce.core.recipe_file import load_recipe
    from sottovoce.study.runner import train_study

    for folder in train_study(load_recipe(recipe, overrides), recipe, say):
        print(folder)


@app.command()
def decode(
    run: Run,
    grammar: Annotated[
        Literal["none", "ontology"] | None,
        typer.Option(help="override the recipe's grammar; writes separate files and compares the results"),
    ] = None,
    confidence: Annotated[
        bool, typer.Option("--confidence", help="measure how confident the model is of each intent")
    ] = False,
) -> None:
    """Decode a run's test utterances from speech and from gold text."""
    from sottovoce.report.decodings import decodings_table
    from sottovoce.score.tables import table_of
    from sottovoce.study.runner import decode_run

    for path in decode_run(run, say, grammar, confidence):
        print(path)
    if grammar:
        Console().print(table_of(decodings_table(run)))


@app.command()
def score(
    predictions: Annotated[Path, typer.Argument(help="a run, or predictions in SLURP's format (JSONL)")],
    gold: Annotated[Path | None, typer.Option(help="a SLURP release file or a manifest; a run knows its own")] = None,
    modality: Input = "speech",
    split: Annotated[str | None, typer.Option(help="score only this split of a manifest")] = None,
    by: Annotated[list[str] | None, typer.Option(help="intent, slot, speaker, ... (repeatable)")] = None,
    intervals: Annotated[bool, typer.Option(help="add 95 % intervals over utterances")] = False,
    target_accuracy: Annotated[
        float | None,
        typer.Option(min=0, max=1, help="of intents, 0..1: find the confidence threshold that reaches it"),
    ] = None,
    dev: Annotated[
        Path | None, typer.Option(help="predictions for the manifest's dev split, to choose that threshold on")
    ] = None,
    as_json: Annotated[bool, typer.Option("--json", help="one JSON object with official and strict")] = False,
) -> None:
    """Score a run or a prediction file, as SLURP's scorer does and strictly, with confidences if it has any."""
    from sottovoce import api
    from sottovoce.score.tables import report_tables

    report = api.score(
        predictions, gold, modality=modality, split=split, by=by or [], intervals=intervals,
        target_accuracy=target_accuracy, dev=dev, say=say,
    )  # fmt: skip
    if as_json:
        print(json.dumps(report))
    else:
        Console().print(*report_tables(report))


@app.command()
def compare(
    systems: Annotated[
        list[str],
        typer.Argument(help="a study, or runs or prediction files; join the seeds of one system with commas"),
    ],
    gold: Annotated[Path | None, typer.Option(help="a SLURP release file or a manifest; runs know their own")] = None,
    modality: Annotated[
        Modality, typer.Option("--input", help="of runs, their answers from speech or text")
    ] = "speech",
    split: Annotated[str | None, typer.Option(help="compare on only this split of a manifest")] = None,
    as_json: Annotated[bool, typer.Option("--json", help="one JSON object with every figure")] = False,
) -> None:
    """Compare runs, prediction files or a study's cells: scores with intervals, and which of them really differ."""
    from sottovoce import api
    from sottovoce.score.compare import comparison_tables
    from sottovoce.score.tables import printable

    named = [each if Path(each).exists() else each.split(",") for each in systems]
    comparison = api.compare(named, gold, modality=modality, split=split, say=say)
    if as_json:
        print(json.dumps(comparison))
    else:
        Console().print(*comparison_tables(comparison))
        for sentence in comparison["sentences"]:
            Console(highlight=False, soft_wrap=True).print(printable(sentence), emoji=False)


@app.command()
def speak(
    manifest: Annotated[Path, typer.Argument(help="manifest with the training transcripts to speak")],
    out: Annotated[Path, typer.Argument(help="the folder for manifest.jsonl and audio")],
    voice: Annotated[list[str] | None, typer.Option(help="ENGINE:NAME; engines: kokoro, espeak, flite, piper")] = None,
    workers: Annotated[int, typer.Option(min=1, help="number of processes")] = 2,
    seed: int = 0,
) -> None:
    """Speak training transcripts in synthetic voices, for the scheme synthetic_curriculum (extra `speech`)."""
    from sottovoce.core.progress import show_count
    from sottovoce.speech.training_speech import speak_training

    show_count(speak_training(manifest, out, voice or [], seed, workers), "spoken")


@app.command()
def export(
    run: Run,
    out: Annotated[Path, typer.Argument(help="a folder that does not exist yet")],
    verify: Annotated[bool, typer.Option(help="load it in a fresh process and compare its answers")] = False,
) -> None:
    """Write a run as a folder that transformers loads by itself: merged weights, processor, model card."""
    from sottovoce.export.export import export_run

    print(export_run(run, out, verify, say))


@app.command()
def gap(
    run: Run,
    asr: Annotated[str | None, typer.Option(help="recogniser or file of transcripts; default: the run's model")] = None,
    as_json: Annotated[bool, typer.Option("--json", help="one JSON object with every figure")] = False,
) -> None:
    """Split a run's errors into misheard and misunderstood, by means of a recogniser's transcripts."""
    from sottovoce.report.error_source import measure_gap
    from sottovoce.score.error_source import gap_tables

    measured = measure_gap(run, asr, say)
    if as_json:
        print(json.dumps(measured))
        return
    for table in gap_tables(measured):
        Console().print(table)
    rate = f"Word error rate of {measured['asr']}: {measured['word_error_rate']:.1%}."
    for sentence in (rate, *measured["sentences"]):
        Console(highlight=False, soft_wrap=True).print(sentence, markup=False, emoji=False)


def main() -> None:
    """Runs the command line. A user's mistake prints one line and exits with status 2, an interruption with 130."""
    try:
        # Newer versions of typer return the status of an interruption instead of raising it.
        if app(standalone_mode=False, prog_name="sottovoce") == INTERRUPTED:
            raise KeyboardInterrupt
    except UserError as error:
        say(f"error: {' '.join(str(error).splitlines())}")
        sys.exit(2)
    except USAGE_ERROR as error:  # a verb or option that does not exist, or is missing
        if len(lines := error.format_message().splitlines()) == 1:
            say(f"error: {lines[0]}; see `sottovoce --help`")
        elif lines:  # called without a verb, which shows the help
            print(*lines, sep="\n")
        sys.exit(2)
    except (typer.Abort, KeyboardInterrupt):
        say("stopped; rerun the same command to resume")
        sys.exit(INTERRUPTED)
    except _writing_errors() as error:
        if not disk_is_full(error):
            raise
        place = getattr(error, "filename", None) or "while writing"
        say(f"error: the disk is full ({place}); free some space and rerun")
        sys.exit(2)


def _writing_errors() -> tuple[type[Exception], ...]:
    """What the libraries raise when they cannot write; safetensors' own error only if that was imported."""
    safetensors = sys.modules.get("safetensors")
    return (OSError, RuntimeError, safetensors.SafetensorError) if safetensors else (OSError, RuntimeError)


def _key_value(option: str) -> tuple[str, str]:
    key, equals, value = option.partition("=")
    if not equals:
        raise UserError(f"{option!r} is not key=value", "write for example locale=fr-FR")
    return key, value
