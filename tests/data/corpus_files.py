"""What the tests of the corpora share: files in a corpus's format, and the one line that a fault gives."""

import csv
import json
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import soundfile

from sottovoce.core.errors import UserError
from sottovoce.data.corpora.registry import prepare


def jsonl(path: Path, *rows: dict[str, Any]) -> Path:
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text("".join(json.dumps(row, ensure_ascii=False) + "\n" for row in rows), encoding="utf-8")
    return path


def table(path: Path, *rows: dict[str, str], delimiter: str = ",", end: str = "\n", bom: bool = False) -> Path:
    path.parent.mkdir(parents=True, exist_ok=True)
    with path.open("w", encoding="utf-8-sig" if bom else "utf-8", newline="") as file:
        writer = csv.DictWriter(file, list(rows[0]), delimiter=delimiter, lineterminator=end)
        writer.writeheader()
        writer.writerows(rows)
    return path


def clip(path: Path, seconds: float = 0.5) -> Path:
    path.parent.mkdir(parents=True, exist_ok=True)
    soundfile.write(path, np.zeros(round(16_000 * seconds)), 16_000)
    return path


def fault_of(name: str, source: Path | None, out: Path, **options: str | Path) -> str:
    with pytest.raises(UserError) as caught:
        prepare(name, source, out, **options)
    assert "\n" not in str(caught.value)
    return str(caught.value)
