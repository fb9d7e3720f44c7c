"""The work behind `sottovoce compare`: several systems on the same gold, and which of them really differ.

A system is a prediction file, or the files of several seeds. Counts are averaged over seeds for each utterance, so that
intervals and tests are about the system and not about its luckiest run; the spread over seeds is reported separately.
Differences are in the strict view, as official may skip different items in each file.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from itertools import combinations, takewhile
from pathlib import Path
from typing import Any

from rich.table import Table
from rich.text import Text

from sottovoce.core.errors import UserError
from sottovoce.score.counts import CountsTable, counts_tables
from sottovoce.score.evaluate import read_answers
from sottovoce.score.files import Gold
from sottovoce.score.intervals import FEW_UTTERANCES, Difference, Floats, Scored, corrected_level, differences, figures
from sottovoce.score.matching import VIEWS
from sottovoce.score.metrics import registry
from sottovoce.score.metrics.metric import Metric
from sottovoce.score.statistics import LEVEL, holm, mcnemar_p_value, over_seeds
from sottovoce.score.tables import NONE, printable

_ALPHA = 1 - LEVEL


@dataclass
class _System:
    name: str
    files: list[Path]
    kind: str = ""
    tables: dict[str, list[CountsTable]] = field(default_factory=dict)

    def sums(self, view: str) -> Floats:
        """Counts of each utterance, averaged over the seeds."""
        tables = self.tables[view]
        return sum((table.per_utterance() for table in tables[1:]), tables[0].per_utterance()) / len(tables)

    def scored(self, view: str) -> Scored:
        """The figures of those counts."""
        return self.tables[view][0].scored(self.sums(view))


def compare_systems(systems: Sequence[str], gold: Gold, say: Callable[[str], None]) -> dict[str, Any]:
    """Scores each system and tests each pair of systems.

    Args:
        systems: a path each, or the paths of one system's seeds joined by commas.
        gold: the right answers.
        say: receives notes on missing, unknown and duplicate rows.

    Returns:
        ``systems``: name, files, ``official`` and ``strict`` figures (0..1), ``intervals`` of both views and, with
        several seeds, ``seeds`` with mean, deviation, lowest and highest of each strict figure. ``pairs``: first,
        second, ``mcnemar_intent``, and for each strict figure the ``difference`` (first minus second), its
        ``interval`` (95 %), ``p_value``, ``corrected_p_value``, ``corrected_interval`` and ``better``: "first",
        "second" or None if they cannot be told apart. ``sentences``: the conclusions in words. The correction is Holm's
        over the pairs, for each figure. A p-value is below 0.05 exactly if 0 is outside its interval.

    Raises:
        UserError: fewer than two systems, a file that cannot be read, or files with different kinds of keys.
    """
    if len(systems) < 2:
        raise UserError("there is nothing to compare with", "give two or more prediction files")
    read = [_read(name, files, gold, say) for name, files in _named(systems)]
    for system in read[1:]:
        if (system.kind == "file") != (read[0].kind == "file"):
            kinds = f"{system.files[0]} is keyed by {system.kind}, {read[0].files[0]} by {read[0].kind}"
            raise UserError(kinds, "compare files that answer the same items")
    table = read[0].tables["strict"][0]
    both = list(combinations(read, 2))
    gains = [differences([first.scored("strict") - second.scored("strict")]) for first, second in both]
    pairs = [_pair(*systems, of_pair) for systems, of_pair in zip(both, gains, strict=True)]
    _correct(pairs, gains)
    return {
        "num_items": len(table.rows),
        "num_utterances": table.num_utterances,
        "level": LEVEL,
        "correction": "holm" if len(pairs) > 1 else None,
        "systems": [_scores(system) for system in read],
        "pairs": pairs,
        "sentences": _sentences(pairs, table.num_utterances),
    }


def comparison_tables(comparison: Mapping[str, Any]) -> Iterator[Table]:
    """Each system's scores with intervals, then the differences of each pair, in percentage points."""
    metrics = registry.in_tables()
    columns = (metric.heading for metric in metrics)
    table = Table("system", "view", *columns, title="scores with 95 % intervals", title_justify="left")
    for system in comparison["systems"]:
        official, strict = system["official"], system["strict"]
        differ = any(official.get(metric.key, strict[metric.key]) != strict[metric.key] for metric in metrics)
        for view in VIEWS if differ else ("strict",):
            cells = [_with_interval(each, system[view], system["intervals"][view]) for each in metrics]
            table.add_row(printable(system["name"]), view if differ else "both", *cells)
        if "seeds" in system:
            spreads = [(each, system["seeds"][each.key]) for each in metrics]
            cells = [
                Text(f"{each.text(seen['mean'], 2)} ± {each.text(seen['deviation'], 2)}") for each, seen in spreads
            ]
            table.add_row("", f"{spreads[0][1]['num_seeds']} seeds", *cells)
    yield table
    corrected = comparison["correction"] is not None
    heads = ("95 %, Holm", "p", "p, Holm") if corrected else ("95 %", "p")
    title = "differences of strict scores (shares in points)"
    table = Table("pair", "metric", "first - second", *heads, "", title=title, title_justify="left")
    for pair in comparison["pairs"]:
        label = f"{pair['first']} - {pair['second']}"
        for metric in metrics:
            row = pair["figures"][metric.key]
            keys = ("p_value", "corrected_p_value") if corrected else ("p_value",)
            p_values = [p_words(row[key]).removeprefix("= ") for key in keys]
            verdict = "cannot be told apart" if row["better"] is None else f"{row['better']} is better"
            difference, bounds = metric.text(row["difference"], 2, "+"), metric.bounds(row["corrected_interval"], 2)
            table.add_row(printable(label), metric.label, difference, Text(bounds), *p_values, verdict)
            label = ""
    yield table


def _named(systems: Sequence[str]) -> Iterator[tuple[str, list[Path]]]:
    """Names each system after its first file, without a trailing "predictions"; if that is not unique, after the parts
    in which the paths differ: cells/X/predictions-speech.jsonl and cells/Y/predictions-speech.jsonl become X and Y."""
    files = [[Path(part)] if Path(part).exists() else [Path(each) for each in part.split(",")] for part in systems]
    stems = [each[0].stem.removesuffix("predictions").rstrip("-_.") or each[0].stem for each in files]
    parts = _differing_parts([each[0] for each in files])
    for stem, part, paths in zip(stems, parts, files, strict=True):
        yield (stem if stems.count(stem) == 1 else part), paths


def _differing_parts(paths: Sequence[Path]) -> list[str]:
    ahead = _num_common([path.parts for path in paths])
    behind = _num_common([path.parts[:ahead:-1] for path in paths])
    if any(len(path.parts) == ahead + behind for path in paths):
        behind = 0  # the common parts overlap in this path: keep its end
    return ["/".join(path.parts[ahead : len(path.parts) - behind]) or str(path) for path in paths]


def _num_common(sequences: Sequence[Sequence[str]]) -> int:
    return sum(1 for _ in takewhile(lambda same: len(set(same)) == 1, zip(*sequences, strict=False)))


def _read(name: str, files: list[Path], gold: Gold, say: Callable[[str], None]) -> _System:
    system = _System(name, files)
    for path in files:
        answers = read_answers(path, gold, say)
        if system.kind and (system.kind == "file") != (answers.kind == "file"):
            raise UserError(
                f"{path} is keyed by {answers.kind}, {files[0]} by {system.kind}", "use the same key in all files"
            )
        system.kind = answers.kind
        for view, table in counts_tables(answers.all).items():
            system.tables.setdefault(view, []).append(table)
    return system


def _scores(system: _System) -> dict[str, Any]:
    scores: dict[str, Any] = {"name": system.name, "files": [str(path) for path in system.files], "intervals": {}}
    for view, (table, *_) in system.tables.items():
        found = figures([system.scored(view)])
        scores[view] = table.named(each.value for each in found)
        scores["intervals"][view] = table.named(list(each.bounds(LEVEL)) for each in found)
    if len(system.files) > 1:
        spreads = over_seeds([table.figures() for table in system.tables["strict"]])
        names = ("mean", "deviation", "lowest", "highest", "num_seeds")
        scores["seeds"] = {
            figure: {name: getattr(spread, name) for name in names} for figure, spread in spreads.items()
        }
    return scores


def _pair(first: _System, second: _System, gains: Sequence[Difference]) -> dict[str, Any]:
    one, other, table = first.sums("strict"), second.sums("strict"), first.tables["strict"][0]
    right, other_right = (sums[:, table.columns["intent"]] for sums in (one, other))
    return {
        "first": first.name,
        "second": second.name,
        "figures": table.named(
            {"difference": each.value, "interval": list(each.bounds(LEVEL)), "p_value": each.p_value} for each in gains
        ),
        "mcnemar_intent": {
            "num_first_better": int((right > other_right).sum()),
            "num_second_better": int((right < other_right).sum()),
            "p_value": mcnemar_p_value(right, other_right),
        },
    }


def _correct(pairs: Sequence[dict[str, Any]], gains: Sequence[Sequence[Difference]]) -> None:
    """Adds Holm's p-values and, by them, the intervals and which system is better."""
    for place, key in enumerate(pairs[0]["figures"]):
        rows = [pair["figures"][key] for pair in pairs]
        for row, of_pair, p_value in zip(rows, gains, holm([row["p_value"] for row in rows]), strict=True):
            first = (row["difference"] > 0) == registry.metric_named(key).higher_is_better
            row["corrected_p_value"] = p_value
            row["corrected_interval"] = list(of_pair[place].bounds(corrected_level(LEVEL, row["p_value"], p_value)))
            row["better"] = ("first" if first else "second") if p_value < _ALPHA else None
    tests = [pair["mcnemar_intent"] for pair in pairs]
    for row, p_value in zip(tests, holm([row["p_value"] for row in tests]), strict=True):
        row["corrected_p_value"] = p_value


def _sentences(pairs: Sequence[Mapping[str, Any]], num_utterances: int) -> list[str]:
    sentences, metrics = [], registry.in_tables()
    for pair in pairs:
        sides = {"first": (pair["first"], pair["second"]), "second": (pair["second"], pair["first"])}
        for side, (better, worse) in sides.items():
            if names := [each.label for each in metrics if pair["figures"][each.key]["better"] == side]:
                sentences.append(f"{better} is better than {worse} in {listed(names)}.")
        if names := [each.label for each in metrics if pair["figures"][each.key]["better"] is None]:
            sentences.append(f"{pair['first']} and {pair['second']} cannot be told apart in {listed(names)}.")
        test = pair["mcnemar_intent"]
        counts = f"{pair['first']} has more intents right in {test['num_first_better']} utterances, {pair['second']}"
        p_value = p_words(test["corrected_p_value"])
        sentences.append(f"{counts} in {test['num_second_better']} (McNemar's exact test: p {p_value}).")
    if len(pairs) > 1:
        sentences.append(f"The p-values and intervals of differences are corrected for {len(pairs)} pairs (Holm).")
    if num_utterances < FEW_UTTERANCES:
        sentences.append(few_utterances(num_utterances))
    return sentences


def few_utterances(number: int) -> str:
    """What to know of intervals from fewer than FEW_UTTERANCES."""
    return f"{number} test utterances are few: below {FEW_UTTERANCES}, the intervals of F1 figures are rough."


def listed(names: Sequence[str]) -> str:
    """Names in a sentence: a, b and c."""
    return names[0] if len(names) == 1 else f"{', '.join(names[:-1])} and {names[-1]}"


def _with_interval(metric: Metric, figures: Mapping[str, float], bounds: Mapping[str, Sequence[float]]) -> Text:
    """A figure with its interval; a dash if the view lacks the metric."""
    if metric.key not in figures:
        return Text(NONE)
    return Text(f"{metric.text(figures[metric.key], 2)}\n{metric.bounds(bounds[metric.key], 2)}")


def p_words(p_value: float) -> str:
    """A p-value as it follows "p" in a sentence."""
    return f"= {p_value:.4f}" if p_value >= 0.0001 else "< 0.0001"
