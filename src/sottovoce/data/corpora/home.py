"""The built-in corpus `home`: voice commands in parallel locales, sentences and recordings shipped with the package."""

from __future__ import annotations

import shutil
from dataclasses import replace
from importlib import resources
from pathlib import Path

from sottovoce.core.errors import UserError, nearest
from sottovoce.core.types import Utterance
from sottovoce.data.manifest import read_manifest, write_manifest


def prepare(source: Path | None, out: Path, *, locale: str = "en-US") -> Path:
    """As `prepare_home`; the corpus comes with the package, so it takes no source."""
    if source is not None:
        raise UserError(f"the corpus home comes with the package and takes no source ({source})", "leave it out")
    return prepare_home(out, locale)


def prepare_home(out: Path, locale: str) -> Path:
    """Copies one locale into ``out`` as ``manifest.jsonl`` and ``audio/``, and returns the manifest's path.

    Raises:
        UserError: the locale is unknown, or the installed package lacks the corpus or one of its recordings.
    """
    packaged = home_manifest(locale)
    if packaged.parent.resolve() == out.resolve():
        raise UserError(f"{out} is the package's own folder", "choose another output folder")
    utterances = [_copied(utterance, packaged.parent, out) for utterance in read_manifest(packaged)]
    write_manifest(utterances, out / "manifest.jsonl")
    return out / "manifest.jsonl"


def home_manifest(locale: str) -> Path:
    """The packaged manifest of a locale, for use in place.

    Raises:
        UserError: the locale is unknown, or the package was installed without the corpus.
    """
    folder = _assets_folder()
    locales = [path.stem for path in folder.glob("*.jsonl")]
    if not locales:
        raise UserError(f"the corpus home is not installed: no manifest in {folder}", "install sottovoce again")
    if locale not in locales:
        raise UserError(f"the corpus home has no locale {locale!r}", nearest(locale, locales))
    return folder / f"{locale}.jsonl"


def _assets_folder() -> Path:
    return Path(str(resources.files("sottovoce") / "assets" / "home"))


def _copied(utterance: Utterance, folder: Path, out: Path) -> Utterance:
    if utterance.audio is None:
        return utterance
    if not utterance.audio.is_file():
        raise UserError(f"{utterance.where}: no such recording: {utterance.audio}", "install sottovoce again")
    target = out / utterance.audio.relative_to(folder)
    target.parent.mkdir(parents=True, exist_ok=True)
    shutil.copyfile(utterance.audio, target)
    return replace(utterance, audio=target)
