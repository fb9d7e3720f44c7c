"""Confusion tables: what a recogniser writes instead of a word, counted over transcripts of recordings.

A table is a JSONL file: a header line, then a line for each word that was misheard::

    {"version": 1, "language": "en", "num_words": 5120, "inserted": {"the": 4}}
    {"word": "bathroom", "heard": {"bath room": 3, "barroom": 1, "": 1}}

where ``heard`` counts what was written for the word: another word, two words, or nothing.
"""

from __future__ import annotations

from collections import Counter, defaultdict
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from importlib import resources
from pathlib import Path
from typing import Annotated, Any, TypeVar

from pydantic import BaseModel, ConfigDict, Field, ValidationError
from rapidfuzz.distance import Levenshtein

from sottovoce.core.errors import UserError, first_fault
from sottovoce.core.storage import json_lines, write_whole
from sottovoce.data.manifest import json_object, numbered_lines
from sottovoce.data.words import words_of

VERSION = 1
_REMAKE = "make it again with `sottovoce embedded confusions`"
_Counts = dict[str, Annotated[int, Field(strict=True, ge=1)]]


@dataclass(frozen=True)
class ConfusionTable:
    """How a recogniser mishears one language.

    Args:
        num_words: number of spoken words.
        heard: by spoken word, counts of what was written instead: another word, two words separated by a space, or ""
            for nothing. Words that were always recognised correctly are missing.
        inserted: counts of written words that nobody spoke.
    """

    language: str
    num_words: int = 0
    heard: Mapping[str, Mapping[str, int]] = field(default_factory=dict)
    inserted: Mapping[str, int] = field(default_factory=dict)

    @property
    def replace_rate(self) -> float:
        """The share of spoken words that were written as something else."""
        return self._rate(n for counts in self.heard.values() for written, n in counts.items() if written)

    @property
    def drop_rate(self) -> float:
        """The share of spoken words for which nothing was written."""
        return self._rate(counts.get("", 0) for counts in self.heard.values())

    @property
    def insert_rate(self) -> float:
        """The number of inserted words relative to spoken words."""
        return self._rate(self.inserted.values())

    def _rate(self, counts: Iterable[int]) -> float:
        return sum(counts) / self.num_words if self.num_words else 0.0


def confusions_of(pairs: Iterable[tuple[str, str]], language: str) -> ConfusionTable:
    """Counts a table from pairs of gold and recognised transcripts."""
    heard: defaultdict[str, Counter[str]] = defaultdict(Counter)
    inserted: Counter[str] = Counter()
    num_words = 0
    for said, written in pairs:
        num_words += len(words_of(said))
        for word, instead in misheard(words_of(said), words_of(written)):
            if word:
                heard[word][instead] += 1
            else:
                inserted[instead] += 1
    return ConfusionTable(language, num_words, heard, inserted)


def misheard(said: Sequence[str], written: Sequence[str]) -> list[tuple[str, str]]:
    """The words that differ, in order: ``(said, written instead)``, with "" if nothing was written or nothing said.

    Words are aligned by edit distance; those between two matches are then paired by their letters.
    """
    found: list[tuple[str, str]] = []
    first_said = first_written = 0
    matches = Levenshtein.opcodes(said, written)
    for op in [*(op for op in matches if op.tag == "equal"), None]:
        end_said, end_written = (op.src_start, op.dest_start) if op else (len(said), len(written))
        pairs = _paired(said[first_said:end_said], written[first_written:end_written])
        found += [(word, instead) for word, instead in pairs if word != instead]
        if op:
            first_said, first_written = op.src_end, op.dest_end
    return found


def _paired(said: Sequence[str], written: Sequence[str]) -> list[tuple[str, str]]:
    """The cheapest alignment: a pair costs the share of letters that differ, an unpaired word costs 1; two written
    words can pair with one spoken word if together they are closer to it than either alone."""
    best: dict[tuple[int, int], tuple[float, list[tuple[str, str]]]] = {(0, 0): (0.0, [])}
    for row in range(len(said) + 1):
        for column in range(len(written) + 1):
            ways = []
            if row:
                ways.append((row - 1, column, 1.0, (said[row - 1], "")))
            if column:
                ways.append((row, column - 1, 1.0, ("", written[column - 1])))
            if row and column:
                cost = _difference(said[row - 1], written[column - 1])
                ways.append((row - 1, column - 1, cost, (said[row - 1], written[column - 1])))
            if row and column > 1:
                word, two = said[row - 1], written[column - 2 : column]
                cost = _difference(word, "".join(two))
                if cost < min(_difference(word, part) for part in two):
                    ways.append((row - 1, column - 2, cost, (word, " ".join(two))))
            if ways:
                reached = [(best[r, c][0] + cost, [*best[r, c][1], pair]) for r, c, cost, pair in ways]
                best[row, column] = min(reached, key=lambda way: way[0])
    return best[len(said), len(written)][1]


def _difference(word: str, other: str) -> float:
    return float(Levenshtein.normalized_distance(word, other))


class _Header(BaseModel):
    model_config = ConfigDict(extra="forbid")
    version: int
    language: str
    num_words: Annotated[int, Field(strict=True, ge=0)]
    inserted: _Counts


class _WordRow(BaseModel):
    model_config = ConfigDict(extra="forbid")
    word: Annotated[str, Field(min_length=1)]
    heard: _Counts


_Row = TypeVar("_Row", _Header, _WordRow)


def read_confusions(path: Path) -> ConfusionTable:
    """Reads a table.

    Raises:
        UserError: no such file, another version, or an invalid line (with file:line).
    """
    if not path.is_file():
        raise UserError(f"no such confusion table: {path}", "correct the path, or " + _REMAKE)
    lines = numbered_lines(path)
    where, first = next(lines, (f"{path}:1", "{}"))
    header = json_object(first, where)
    if header.get("version", VERSION) != VERSION:
        raise UserError(f"{where}: a confusion table of version {header['version']!r}, not {VERSION}", _REMAKE)
    table = _row(_Header, header, where)
    heard: dict[str, dict[str, int]] = {}
    for where, line in lines:
        row = _row(_WordRow, json_object(line, where), where)
        if row.word in heard:
            raise UserError(f"{where}: the word {row.word!r} is in the table twice", _REMAKE)
        heard[row.word] = row.heard
    return ConfusionTable(table.language, table.num_words, heard, table.inserted)


def _row(model: type[_Row], values: dict[str, Any], where: str) -> _Row:
    try:
        return model.model_validate(values)
    except ValidationError as error:
        raise UserError(f"{where}: not a line of a confusion table ({first_fault(error)})", _REMAKE) from error


def write_confusions(table: ConfusionTable, path: Path) -> None:
    """Writes a table, words in alphabetical order; equal tables give equal files."""
    header = {"version": VERSION, "language": table.language, "num_words": table.num_words}
    rows: list[dict[str, Any]] = [{**header, "inserted": _ordered(table.inserted)}]
    rows += [{"word": word, "heard": _ordered(table.heard[word])} for word in sorted(table.heard)]
    path.parent.mkdir(parents=True, exist_ok=True)
    write_whole(path, json_lines(rows))


def _ordered(counts: Mapping[str, int]) -> dict[str, int]:
    return dict(sorted(counts.items(), key=lambda item: (-item[1], item[0])))


def shipped_confusions(language: str) -> ConfusionTable:
    """The table that comes with the package for a language.

    Raises:
        UserError: there is none.
    """
    path = Path(str(resources.files("sottovoce") / "assets" / "confusions" / f"{language}.jsonl"))
    if not path.is_file():
        fault = f"there is no built-in confusion table for the language {language!r}"
        raise UserError(fault, "set train.noise.source to spelling, or to budget in a scheme with speech")
    return read_confusions(path)
