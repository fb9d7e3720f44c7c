"""The source's own recordings in the folder of takes, as hard links or copies."""

from __future__ import annotations

import os
import shutil
from collections.abc import Callable, Iterable, Mapping
from pathlib import Path

from sottovoce.core.errors import UserError
from sottovoce.core.progress import Say, progress_bar
from sottovoce.core.storage import durable_file
from sottovoce.core.types import Utterance


def bring_recordings(
    utterances: Iterable[Utterance], names: Mapping[str, str], folder: Path, aside: Callable[[Path], object], say: Say
) -> dict[str, Path]:
    """Links recordings into a folder, since a manifest's must be inside its own; copies them if links are impossible.

    Args:
        utterances: with or without recordings.
        names: of files, by id, without suffix.
        folder: has nothing else; other files are set aside.
        aside: sets a file aside.

    Returns:
        The path of each recording, by utterance id.

    Raises:
        UserError: a recording is missing; the message names its line.
    """
    spoken = [utterance for utterance in utterances if utterance.audio is not None]
    brought, num_copied = dict[str, Path](), 0
    with progress_bar(disable=not spoken) as progress:
        for utterance in progress.track(spoken, description="linking recordings"):
            source = (utterance.audio or Path()).resolve()
            if not source.is_file():
                fault = f"{utterance.where}: no such recording: {utterance.audio}"
                raise UserError(fault, "correct the path in the manifest, or add the file")
            target = folder / f"{names[utterance.id]}{source.suffix}"
            if target.exists() and not _same(source, target):
                aside(target)
            if not target.exists():
                num_copied += not link_or_copy(source, target)
            brought[utterance.id] = target
    known = set(brought.values())
    for path in sorted(folder.iterdir()):
        if path not in known:
            aside(path)
    if spoken:
        how = f"linked, {num_copied} of them copied" if num_copied else "linked"
        say(f"{len(spoken)} recordings of the source are in {folder}, {how}")
    return brought


def _same(source: Path, target: Path) -> bool:
    """Whether two files are the same file or copies."""
    one, other = source.stat(), target.stat()
    return os.path.samestat(one, other) or (one.st_size, one.st_mtime_ns) == (other.st_size, other.st_mtime_ns)


def link_or_copy(source: Path, target: Path) -> bool:
    """Makes a hard link, or a copy if the file system cannot; returns True if it is a link."""
    try:
        os.link(source, target)
    except OSError:  # another file system, or one without links
        with durable_file(target) as temporary:
            shutil.copy2(source, temporary)
        return False
    return True
