"""What ``import sottovoce`` offers; heavy imports are inside the functions, so that it is fast."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

from sottovoce.core.errors import UserError

if TYPE_CHECKING:
    from sottovoce.core.recipe import Grammar, Recipe
    from sottovoce.core.types import Modality
    from sottovoce.inference.model import Model
    from sottovoce.report.html import Report
    from sottovoce.study.engines.base import Engine, Failure


def load(run: Path | str, grammar: Grammar | None = None) -> Model:
    """A trained run, ready to understand recordings and typed text.

    Args:
        run: its folder, STUDY/cells/CELL.
        grammar: `ontology` restricts answers to the intents and slot types of the training labels, `none` does not;
            None: as in the run's recipe.

    Returns:
        The model with the run's weights.

    Raises:
        UserError: the folder is not a run, or its training is not finished.

    Examples:
        >>> import sottovoce
        >>> model = sottovoce.load("runs/home-en/cells/curriculum-5pct")  # doctest: +SKIP
        >>> model.understand("clip.wav").frame  # doctest: +SKIP
        Frame(scenario='light', action='on', entities=(Entity(type='room', filler='kitchen'),))
    """
    from sottovoce.inference.model import load_model_of

    return load_model_of(run, grammar=grammar)


def score(
    predictions: Path | str,
    gold: Path | str | None = None,
    *,
    modality: Modality = "speech",
    split: str | None = None,
    by: Sequence[str] = (),
    intervals: bool = False,
    target_accuracy: float | None = None,
    dev: Path | str | None = None,
    say: Callable[[str], None] | None = None,
) -> dict[str, Any]:
    """Scores a prediction file as `sottovoce score` does; no model is loaded.

    Args:
        predictions: JSONL in SLURP's format, or a run (STUDY/cells/CELL).
        gold: a SLURP release file or a manifest; by default the gold of the study that the predictions are in.
        modality: of a run, its answers from `speech` or from gold `text`.
        split: only this split of a manifest.
        by: breakdowns, such as `intent`, `slot` or `speaker`.
        intervals: adds 95 % intervals over utterances.
        target_accuracy: of intents, 0..1: adds the confidence threshold that reaches it.
        dev: predictions for the manifest's dev split, on which that threshold is chosen.
        say: takes notes on rows that are missing, repeated or unknown, which `num_missing`, `num_duplicates` and
            `num_unknown` count in any case.

    Returns:
        What `sottovoce score --json` prints: the figures (0..1) as `official` and `strict`, and the extras asked for.

    Raises:
        UserError: a file cannot be read, they do not belong together, a breakdown does not exist, or no threshold
            reaches the target.

    Examples:
        >>> import sottovoce
        >>> report = sottovoce.score("predictions.jsonl", "manifest.jsonl", split="test")  # doctest: +SKIP
        >>> report["strict"]["slu_f1"]  # doctest: +SKIP
        0.739
    """
    from sottovoce.score.evaluate import read_answers, score_report
    from sottovoce.score.files import read_gold
    from sottovoce.study.answered import gold_of, predictions_of

    gold = gold_of(None if gold is None else Path(gold), [Path(predictions)])
    answers = read_answers(predictions_of(Path(predictions), modality), read_gold(gold, split), say or _quiet)
    dev_answers = None if dev is None else read_answers(Path(dev), read_gold(gold, "dev"), say or _quiet)
    return score_report(answers, by, intervals, target_accuracy, dev_answers)


def compare(
    systems: Sequence[Path | str | Sequence[Path | str]],
    gold: Path | str | None = None,
    *,
    modality: Modality = "speech",
    split: str | None = None,
    say: Callable[[str], None] | None = None,
) -> dict[str, Any]:
    """Compares prediction files as `sottovoce compare` does: which of them really differ; no model is loaded.

    Args:
        systems: two or more, each a prediction file or run, or a list of these with one for each seed; or a single
            study, whose cells are compared, seeds together.
        gold: a SLURP release file or a manifest; by default the gold of the study that the first system is in.
        modality: of runs, their answers from `speech` or from gold `text`.
        split: only this split of a manifest.
        say: takes notes on rows that are missing, repeated or unknown.

    Returns:
        What `sottovoce compare --json` prints: `systems` with their figures (0..1) and intervals, `pairs` with
        differences, p-values and which is better, and `sentences` that say it in words.

    Raises:
        UserError: a file cannot be read, or the files do not answer the same gold items.

    Examples:
        >>> import sottovoce
        >>> seeds = ["a-0.jsonl", "a-1.jsonl"]
        >>> sottovoce.compare([seeds, "b.jsonl"], "manifest.jsonl")["sentences"]  # doctest: +SKIP
    """
    from sottovoce.score.compare import compare_systems
    from sottovoce.score.files import read_gold
    from sottovoce.study.answered import gold_of, predictions_of, systems_of

    listed = [[each] if isinstance(each, Path | str) else each for each in systems]
    gold = gold_of(None if gold is None else Path(gold), [Path(listed[0][0])])
    found: list[list[Path]] = []
    for seeds in listed:
        paths = [Path(path) for path in seeds]
        several = len(paths) > 1
        found += [[predictions_of(path, modality) for path in paths]] if several else systems_of(paths[0], modality)
    names = [",".join(map(str, files)) for files in found]
    return compare_systems(names, read_gold(gold, split), say or _quiet)


def run_study(
    recipe: Path | str, overrides: Sequence[str] = (), *, on: str = "here", say: Callable[[str], None] = print
) -> Path:
    """Trains, decodes, scores and reports every scheme of a recipe; what an earlier call finished is kept.

    Args:
        recipe: a YAML file.
        overrides: `key=value`, such as `train.stage.learning_rate=1e-4`.
        on: where cells run, as for `sottovoce study --on`. With `auto` and `processes:2` cells run in processes that
            import the calling script again, which therefore needs `if __name__ == "__main__":`.
        say: takes lines on progress.

    Returns:
        The study's folder, with report.html, report.json and the runs in cells/.

    Raises:
        UserError: the recipe or its data is faulty; or cells failed, while the others are finished and reported.

    Examples:
        >>> import sottovoce
        >>> folder = sottovoce.run_study("recipes/quickstart.yaml", ["seed=1"])  # doctest: +SKIP
        >>> (folder / "report.json").exists()  # doctest: +SKIP
        True
    """
    from sottovoce.core.recipe_file import load_recipe
    from sottovoce.study.engines.select import engine_named

    settings = load_recipe(Path(recipe), list(overrides))
    _, failures = run_and_report(settings, Path(recipe), engine_named(on, None, 1.0), say)
    if failures:
        raise UserError(
            f"{settings.folder}: {len(failures)} cells failed: {', '.join(failure.cell for failure in failures)}",
            "each cell's log.txt says why; the same call tries them again",
        )
    return settings.folder


def run_and_report(
    recipe: Recipe, path: Path, engine: Engine, say: Callable[[str], None]
) -> tuple[Report | None, list[Failure]]:
    """Runs a study and writes its report, which only the main process returns, and the cells that failed."""
    from sottovoce.report.html import read_report, write_report
    from sottovoce.study.runner import run_study
    from sottovoce.train.processes import processes

    failures = run_study(recipe, path, say, engine)
    if not processes().is_main_process:
        return None, failures
    report = read_report(recipe.folder)
    write_report(report)
    return report, failures


def _quiet(line: str) -> None:
    """Ignores a line."""
