"""The command line. Each verb is a few lines of delegation; imports stand inside, so that --help is fast."""

from __future__ import annotations

import errno
import json
import sys
from pathlib import Path
from typing import Annotated, Any, Optional

import typer
from rich.console import Console

from sottovoce.errors import UserError

app = typer.Typer(
    name="sottovoce",
    help="Teach a large audio language model intents and slots with little speech, and learn how little is enough.",
    no_args_is_help=True,
    add_completion=False,
    pretty_exceptions_enable=False,
)
embedded = typer.Typer(
    help="The embedded model: where it is, how it was aligned, how well it hears.", no_args_is_help=True
)
app.add_typer(embedded, name="embedded")

USAGE_ERROR: Any = typer.BadParameter.__mro__[1]  # click's UsageError, which typer has no name for
INTERRUPTED = 130  # the exit status after Ctrl-C

RecipePath = Annotated[Path, typer.Argument(help="a recipe (YAML)")]
Overrides = Annotated[Optional[list[str]], typer.Argument(help="key=value, such as train.stage.learning_rate=1e-4")]  # noqa: UP045
AllowOutside = Annotated[bool, typer.Option(help="permit recordings outside the manifest's folder")]
Run = Annotated[Path, typer.Argument(help="a run: STUDY/cells/CELL")]


def say(line: str) -> None:
    """One line for the user, on standard error, so that standard output stays machine-readable."""
    # emoji=False: rich would turn the ":100:" of "manifest.jsonl:100: ..." into a picture.
    Console(stderr=True, highlight=False, soft_wrap=True).print(line, markup=False, emoji=False)


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
    manifest: Annotated[Path, typer.Argument(help="a manifest (JSONL)")],
    window_seconds: Annotated[float, typer.Option(help="clips beyond this are cut by the model")] = 8.0,
    allow_outside: AllowOutside = False,
    html: Annotated[Optional[Path], typer.Option(help="write the whole outcome there, as a page")] = None,  # noqa: UP045
) -> None:
    """Check a manifest; exit status 2 says that it is not fit to train."""
    from sottovoce.data.check import check_manifest
    from sottovoce.evaluate.table import table_of

    report = check_manifest(manifest, window_seconds=window_seconds, allow_outside=allow_outside)
    Console().print(table_of(report.table_rows()), table_of(report.coverage_rows()))
    for line in report.lines():
        say(line)
    if html is not None:
        from sottovoce.study.check_page import write_check_page

        say(f"page: {write_check_page(report, manifest, html)}")
    if not report.fit_to_train:
        raise UserError(f"{manifest} is not fit to train", "mend the faults above")


@app.command()
def train(recipe: RecipePath, overrides: Overrides = None) -> None:
    """Train the recipe's cells (schemes x budgets) without decoding them."""
    from sottovoce.recipe import load_recipe
    from sottovoce.study.run import train_study

    for folder in train_study(load_recipe(recipe, overrides), recipe, say):
        print(folder)


@app.command()
def decode(run: Run) -> None:
    """Decode a run's test utterances from speech and from gold text."""
    from sottovoce.study.run import decode_run

    for path in decode_run(run, say):
        print(path)


@app.command()
def score(
    predictions: Annotated[Path, typer.Argument(help="predictions in SLURP's format (JSONL)")],
    gold: Annotated[Path, typer.Option(help="a SLURP release file or a manifest")],
    split: Annotated[Optional[str], typer.Option(help="of a manifest, score this split only")] = None,  # noqa: UP045
    by: Annotated[Optional[list[str]], typer.Option(help="intent, slot, speaker, ... (repeatable)")] = None,  # noqa: UP045
    intervals: Annotated[bool, typer.Option(help="with 95 % intervals, utterances drawn")] = False,
    as_json: Annotated[bool, typer.Option("--json", help="one JSON object with official and strict")] = False,
) -> None:
    """Score a prediction file, as SLURP's official scorer does and strictly."""
    from sottovoce.evaluate.files import read_gold
    from sottovoce.evaluate.scoring import read_answers, score_report
    from sottovoce.evaluate.table import report_tables

    report = score_report(read_answers(predictions, read_gold(gold, split), say), by or [], intervals)
    if as_json:
        print(json.dumps(report))
    else:
        Console().print(*report_tables(report))


@app.command()
def compare(
    systems: Annotated[list[str], typer.Argument(help="prediction files; one system's seeds joined by commas")],
    gold: Annotated[Path, typer.Option(help="a SLURP release file or a manifest")],
    split: Annotated[Optional[str], typer.Option(help="of a manifest, compare on this split only")] = None,  # noqa: UP045
    num_resamples: Annotated[int, typer.Option(min=100, help="resamples behind intervals and p-values")] = 2000,
    seed: Annotated[int, typer.Option(min=0, help="of the resamples")] = 0,
    as_json: Annotated[bool, typer.Option("--json", help="one JSON object with every figure")] = False,
) -> None:
    """Compare prediction files: scores with intervals, and which of them really differ."""
    from sottovoce.evaluate.compare import compare_systems, comparison_tables
    from sottovoce.evaluate.files import read_gold
    from sottovoce.evaluate.table import printable

    comparison = compare_systems(systems, read_gold(gold, split), say, num_resamples, seed)
    if as_json:
        print(json.dumps(comparison))
    else:
        Console().print(*comparison_tables(comparison))
        for sentence in comparison["sentences"]:
            Console(highlight=False, soft_wrap=True).print(printable(sentence), emoji=False)


@app.command()
def study(recipe: RecipePath, overrides: Overrides = None) -> None:
    """Train, decode, score and report every scheme of a recipe. Stopped and started again it goes on."""
    from sottovoce.recipe import load_recipe
    from sottovoce.study.run import run_study

    folder = run_study(load_recipe(recipe, overrides), recipe, say)
    report(folder)


@app.command()
def report(folder: Annotated[Path, typer.Argument(help="a study's folder")]) -> None:
    """Print a study's table and write its report.html, report.csv, report.md and figure."""
    from sottovoce.study.report import write_report
    from sottovoce.study.results import read_study
    from sottovoce.study.table import terminal_table

    page = write_report(folder)
    Console().print(terminal_table(read_study(folder)))
    say(f"report: {page}")


@app.command()
def predict(run: Run, clip: Annotated[Path, typer.Argument(help="a recording")]) -> None:
    """Print the frame of a recording as JSON."""
    from sottovoce.study.predict import predict_clip

    line = json.dumps(predict_clip(run, clip, say), ensure_ascii=False)
    print(line.encode("utf-8", "backslashreplace").decode())  # an answer can hold half a surrogate pair


@embedded.command("path")
def embedded_path() -> None:
    """Assemble the embedded model if needed, and print its folder."""
    from sottovoce.models.embedded import embedded_model_dir

    print(embedded_model_dir(say))


@embedded.command("speak-home")
def embedded_speak_home(
    out: Annotated[Path, typer.Argument(help="the folder for LOCALE.jsonl and audio/LOCALE")],
    locale: Annotated[str, typer.Argument(help="en-US or fr-FR")],
    workers: Annotated[int, typer.Option(help="processes")] = 2,
) -> None:
    """Make the built-in corpus: its sentences, and their speech (extra `speech`, espeak-ng)."""
    from sottovoce.speech.home_speech import speak_home

    _count(speak_home(out, locale, workers), "spoken")


@embedded.command("speak")
def embedded_speak(
    manifests: Annotated[list[Path], typer.Argument(help="manifests whose training transcripts are spoken")],
    out: Annotated[Path, typer.Option(help="the folder for manifest.jsonl and audio")],
    exclude: Annotated[Optional[list[Path]], typer.Option(help="manifests whose sentences must not be used")] = None,  # noqa: UP045
    num_phrases: Annotated[int, typer.Option(help="made-up phrases a locale, beside the transcripts")] = 3000,
    clips: Annotated[Optional[list[str]], typer.Option(help="at most so many of a locale: en-US=4000")] = None,  # noqa: UP045
    workers: Annotated[int, typer.Option(help="processes")] = 2,
    seed: int = 0,
) -> None:
    """Speak transcripts in many synthetic voices, for alignment (extra `speech`, espeak-ng, flite)."""
    from sottovoce.speech.align_text import align_text, take_clips
    from sottovoce.speech.synthesis import speak_manifest

    rows = take_clips(align_text(manifests, exclude or [], num_phrases, seed), clips or [])
    _count(speak_manifest(rows, out, cast="align", seed=seed, workers=workers), f"spoken of {len(rows)}")


@embedded.command("align")
def embedded_align(
    speech: Annotated[Path, typer.Argument(help="a folder made by `sottovoce embedded speak`")],
    out: Annotated[Path, typer.Argument(help="checkpoints, encoded speech and alignment.safetensors")],
    start: Annotated[Optional[Path], typer.Option(help="an earlier alignment.safetensors to go on from")] = None,  # noqa: UP045
    num_train_epochs: int = 4,
    learning_rate: float = 6e-4,
    per_device_train_batch_size: int = 16,
    seed: int = 0,
) -> None:
    """Train projector and LoRA on transcription. Stopped and started again it goes on from its last checkpoint."""
    from sottovoce.train.align import Alignment, align

    settings = Alignment(
        speech, out, num_train_epochs, learning_rate, per_device_train_batch_size, start=start, seed=seed
    )
    print(align(settings, say))


@embedded.command("wer")
def embedded_wer(
    manifest: Annotated[Path, typer.Argument(help="a manifest with recordings")],
    split: Annotated[str, typer.Option(help="which split to transcribe")] = "test",
    out: Annotated[Optional[Path], typer.Option(help="write the transcripts there (JSONL)")] = None,  # noqa: UP045
    allow_outside: AllowOutside = False,
) -> None:
    """Word error rate of the embedded model's transcripts."""
    from sottovoce.evaluate.transcribe import transcribe_manifest

    rates = transcribe_manifest(manifest, split, out, say, allow_outside=allow_outside)
    print(json.dumps(rates, ensure_ascii=False))


def main() -> None:
    """Runs the command line; a user's mistake is one line and exit status 2, an interruption 130."""
    try:
        # Newer typers return the status of an interruption instead of raising it.
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
        say("stopped; start the same command again to go on")
        sys.exit(INTERRUPTED)
    except _writing_errors() as error:
        if not _disk_is_full(error):
            raise
        place = getattr(error, "filename", None) or "while writing"
        say(f"error: the disk is full ({place}); free some space and start again")
        sys.exit(2)


def _writing_errors() -> tuple[type[Exception], ...]:
    """What the libraries raise when they cannot write; safetensors' own error only if that was imported."""
    safetensors = sys.modules.get("safetensors")
    return (OSError, RuntimeError, safetensors.SafetensorError) if safetensors else (OSError, RuntimeError)


def _disk_is_full(error: Exception) -> bool:
    if isinstance(error, OSError) and error.errno in (errno.ENOSPC, errno.EDQUOT):
        return True
    # safetensors passes the system's words on; torch.save only says that the file is shorter than what it wrote.
    return any(sign in str(error) for sign in ("No space left on device", "Disk quota exceeded", "] . unexpected pos "))


def _count(numbers, what: str) -> None:  # type: ignore[no-untyped-def]
    from sottovoce.progress import progress_bar

    with progress_bar() as progress:
        task = progress.add_task(what, total=None)
        for number in numbers:
            progress.update(task, completed=number)


def _key_value(option: str) -> tuple[str, str]:
    key, equals, value = option.partition("=")
    if not equals:
        raise UserError(f"{option!r} is not key=value", "write for example locale=fr-FR")
    return key, value
