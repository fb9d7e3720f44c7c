"""Rows of CSV and TSV files: four delimiters, quoted cells, byte-order mark, Windows or Unix line ends."""

from __future__ import annotations

import csv
from collections.abc import Iterator, Sequence
from pathlib import Path

from sottovoce.core.errors import UserError, nearest
from sottovoce.data.corpora.source import SourceRow
from sottovoce.data.manifest import decoded_lines

_DELIMITERS = {"comma": ",", "semicolon": ";", "tab": "\t", "bar": "|"}


def read_csv(path: Path, needed: Sequence[str] = (), delimiter: str | None = None) -> Iterator[SourceRow]:
    """The rows below the header line, one in memory at a time, each with the ``file:line`` where it starts.

    Args:
        path: a UTF-8 file whose first line names the columns.
        needed: required columns.
        delimiter: "comma", "semicolon", "tab", "bar" or the character itself; if not given, a tab for a ``.tsv`` file,
            else the most frequent one in the header line.

    Raises:
        UserError: no such file, no header, a column is missing or named twice, a row has too many or too few cells, a
            quote is not closed, or the file is not UTF-8.
    """
    if not path.is_file():
        raise UserError(f"no such file: {path}", "correct the path")
    with path.open("rb") as file:
        lines = (text for _, text in decoded_lines(file, str(path)))
        head = next(lines, "")
        if not head.strip():
            raise UserError(f"{path}:1: no header line", "name the columns in the first line")
        split_at = _delimiter(path, head, delimiter)
        cells = csv.reader(_with_first(head, lines), delimiter=split_at, strict=True)
        line = 1
        try:
            header = [name.strip() for name in next(cells)]
            _check_header(header, needed, path)
            line = cells.line_num + 1
            for row in cells:
                where, line = f"{path}:{line}", cells.line_num + 1
                if not any(cell.strip() for cell in row):
                    continue
                if len(row) != len(header):
                    fault = f"{where}: {len(row)} cells, but {len(header)} columns"
                    raise UserError(fault, "quote cells that contain the delimiter, or choose another delimiter")
                yield SourceRow(dict(zip(header, row, strict=True)), where)
        except csv.Error as error:
            raise UserError(f"{path}:{line}: {error}", "close each quote, and end lines as usual") from error


def _with_first(head: str, lines: Iterator[str]) -> Iterator[str]:
    yield head
    yield from lines


def _delimiter(path: Path, head: str, given: str | None) -> str:
    if given is not None:
        chosen = _DELIMITERS.get(given, given)
        if chosen not in _DELIMITERS.values():
            raise UserError(f"delimiter is {given!r}", nearest(given, _DELIMITERS))
        return chosen
    if path.suffix.lower() in (".tsv", ".tab"):
        return "\t"
    return max(_DELIMITERS.values(), key=head.count)  # a comma if there is none


def _check_header(header: list[str], needed: Sequence[str], path: Path) -> None:
    if twice := {name for name in header if header.count(name) > 1}:
        raise UserError(f"{path}:1: the column {min(twice)!r} is named twice", "rename one of them")
    for name in needed:
        if name not in header:
            raise UserError(f"{path}:1: no column {name!r}", nearest(name, header))
