"""Tables for the terminal."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

from rich.table import Table


def score_table(scores: Mapping[str, Mapping[str, float | int]]) -> Table:
    """Official and strict figures side by side: shares as percentages, counts as they are."""
    table = Table("", *scores)
    for name in next(iter(scores.values())):
        values = [figures[name] for figures in scores.values()]
        shown = [f"{value:.0f}" if name.startswith("num_") else f"{value:.2%}" for value in values]
        table.add_row(name.replace("_", " "), *shown)
    return table


def table_of(rows: Sequence[Sequence[str]]) -> Table:
    """Rows of text as a table; the first row is the header."""
    table = Table(*rows[0])
    for row in rows[1:]:
        table.add_row(*row)
    return table
