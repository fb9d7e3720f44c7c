"""The verbs about whole studies: what they need, running them, their reports and plans; imports are inside them."""

from __future__ import annotations

import json
import sys
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer
from rich.console import Console

from sottovoce.cli.console import Overrides, RecipePath, say

if TYPE_CHECKING:
    from sottovoce.report.html import Report

studies = typer.Typer()


@studies.command()
def study(
    recipe: RecipePath,
    overrides: Overrides = None,
    dry_run: Annotated[bool, typer.Option("--dry-run", help="only print what there is to do, and its cost")] = False,
    on: Annotated[
        str,
        typer.Option(help="`auto`, `here`, `processes:NUMBER`, `ray`, `ray:ADDRESS`, `slurm` or `slurm:PARTITION`"),
    ] = "auto",
    gpus_per_cell: Annotated[
        float | None, typer.Option(min=0, help="not with --on here; default on Ray: 1 if it has any")
    ] = None,
    cpus_per_cell: Annotated[float, typer.Option(min=0, help="not with --on here")] = 1.0,
) -> None:
    """Train, decode, score and report every scheme of a recipe. A stopped study resumes where it stopped."""
    from sottovoce.api import run_and_report
    from sottovoce.core.recipe_file import load_recipe

    settings = load_recipe(recipe, overrides)
    # Before torch and transformers are imported, which takes seconds.
    say(f"{settings.name}: {', '.join(settings.schemes)} with {', '.join(settings.all_models)}, in {settings.folder}")
    from sottovoce.score.tables import table_of
    from sottovoce.study.engines.select import engine_named
    from sottovoce.study.runner import plan_study

    engine = engine_named(on, gpus_per_cell, cpus_per_cell)
    if dry_run:
        Console().print(table_of(plan_study(settings, recipe, say, engine)))
        return
    written, failures = run_and_report(settings, recipe, engine, say)
    if written:
        _print(written)
    if failures:
        names = ", ".join(failure.cell for failure in failures)
        say(f"{len(failures)} cells failed: {names}; rerun the same command to try them again")
        sys.exit(1)


@studies.command()
def recipe(
    schema: Annotated[bool, typer.Option("--schema", help="print the JSON schema instead, for editors")] = False,
) -> None:
    """Print every key of a recipe with its type, default and meaning, as Markdown."""
    from sottovoce.core.recipe_reference import recipe_page, recipe_schema

    print(json.dumps(recipe_schema(), indent=2) if schema else recipe_page().rstrip())


@studies.command("plan-memory")
def plan_memory(
    recipe: RecipePath,
    overrides: Overrides = None,
    num_tokens: Annotated[int | None, typer.Option(min=2, help="of the longest row, without the data")] = None,
    num_answer_tokens: Annotated[int, typer.Option(min=1, help="how many of these are the answer's")] = 64,
) -> None:
    """Estimate how much GPU memory a recipe needs, which cards it fits on, and how long an epoch takes."""
    from sottovoce.core.recipe_file import load_recipe
    from sottovoce.score.tables import table_of
    from sottovoce.study.resources.cards import plan_lines
    from sottovoce.study.resources.memory import longest_row, row_of

    settings = load_recipe(recipe, overrides)
    for own in map(settings.of_model, settings.all_models):
        given = row_of(own.model, num_tokens, num_answer_tokens) if num_tokens else None
        row, num_rows = (given, None) if given else longest_row(own)
        table, sentences = plan_lines(own, row, num_rows)
        Console().print(table_of(table))
        for sentence in sentences:
            Console(highlight=False, soft_wrap=True).print(sentence)


@studies.command()
def report(
    folder: Annotated[Path, typer.Argument(help="a study's folder")],
    watch: Annotated[bool, typer.Option(help="rewrite it whenever the study changes, until it is finished")] = False,
    published: Annotated[Path | None, typer.Option(help="published figures to draw as well (YAML)")] = None,
) -> None:
    """Print a study's table and write its report.html, .csv, .json, .md, .tex and its figure."""
    from sottovoce.report.html import read_report, write_report
    from sottovoce.report.watch import watch_report

    written = watch_report(folder, published, say) if watch else read_report(folder, published)
    if not watch:
        write_report(written)
    _print(written)


def _print(report: Report) -> None:
    from sottovoce.report.table import terminal_table

    Console().print(terminal_table(report.curves))
    say(f"report: {report.page}")


@studies.command()
def plan(
    folder: Annotated[Path, typer.Argument(help="a study's folder, with three budgets or more")],
    target: Annotated[list[str], typer.Option(help="slu_f1=0.75 or intent_accuracy=0.8 (repeatable)")],
    scheme: Annotated[str | None, typer.Option(help="only this scheme")] = None,
    cost_per_hour: Annotated[float | None, typer.Option(min=0, help="of recorded speech, in any currency")] = None,
    as_json: Annotated[bool, typer.Option("--json", help="one JSON object with every figure")] = False,
) -> None:
    """Estimate how much speech reaches a target, its cost, what more would bring, and which intents to record first."""
    from sottovoce.plan.planner import make_plan, parse_target
    from sottovoce.plan.text import plan_json, plan_sentences, plan_tables

    made = make_plan(folder, [parse_target(each) for each in target], scheme, cost_per_hour)
    if as_json:
        print(json.dumps(plan_json(made)))
        return
    Console().print(*plan_tables(made))
    for sentence in plan_sentences(made):
        Console(highlight=False, soft_wrap=True).print(sentence, markup=False, emoji=False)
