"""The corpora by name: `sottovoce prepare NAME` turns each into a manifest."""

from __future__ import annotations

import inspect
from collections.abc import Callable
from pathlib import Path

from sottovoce.core.errors import UserError, nearest
from sottovoce.data.corpora import (
    chat,
    dataset,
    fluent,
    home,
    massive,
    minds14,
    picovoice,
    slurp,
    speech_massive,
    table,
    timers_and_such,
)

CORPORA: dict[str, Callable[..., Path]] = {
    "chat": chat.prepare,
    "dataset": dataset.prepare,
    "fluent": fluent.prepare,
    "home": home.prepare,
    "massive": massive.prepare,
    "minds14": minds14.prepare,
    "picovoice": picovoice.prepare,
    "slurp": slurp.prepare,
    "speech_massive": speech_massive.prepare,
    "table": table.prepare,
    "timers_and_such": timers_and_such.prepare,
}


def prepare(name: str, source: Path | None, out: Path, **options: str | Path | None) -> Path:
    """Turns a corpus into a manifest.

    Args:
        name: a key of `CORPORA`.
        source: the corpus's file or folder, or its name on the Hugging Face hub, if it has one; None for ``home``,
            which comes with the package.
        out: the folder for ``manifest.jsonl`` and recordings.
        options: the keyword arguments of the corpus's ``prepare``; None means the default.

    Returns:
        the path of the manifest.

    Raises:
        UserError: the name or an option is unknown, or the corpus cannot be read.
    """
    if name not in CORPORA:
        raise UserError(f"unknown corpus {name!r}", nearest(name, CORPORA))
    known = option_names(name)
    for option in options:
        if option not in known:
            raise UserError(f"the corpus {name} has no option {option!r}", nearest(option, known))
    if out.exists() and not out.is_dir():
        raise UserError(f"{out} is a file", "give a folder to write into")
    given = {option: value for option, value in options.items() if value is not None}
    return CORPORA[name](source, out, **given)


def option_names(name: str) -> list[str]:
    """A corpus's options, in the order of its ``prepare``."""
    parameters = inspect.signature(CORPORA[name]).parameters.values()
    return [parameter.name for parameter in parameters if parameter.kind is inspect.Parameter.KEYWORD_ONLY]
