"""The source's own recordings in the folder of takes: as second names of the same files, or as copies."""

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
    """Links recordings into a folder, which a manifest may not lead out of; or copies them where there are no links.

    Args:
        utterances: with recordings or without.
        names: of files, by id, without suffix.
        folder: holds nothing else; what is there and is none of these recordings is set aside.
        aside: takes such a file away.

    Returns:
        Where the recording of each utterance is that has one.

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
    """Whether a file is the other one or a copy of it."""
    one, other = source.stat(), target.stat()
    return os.path.samestat(one, other) or (one.st_size, one.st_mtime_ns) == (other.st_size, other.st_mtime_ns)


def link_or_copy(source: Path, target: Path) -> bool:
    """Gives a file a second name, or where the file system has none a whole copy; True if it is a second name."""
    try:
        os.link(source, target)
    except OSError:  # another file system, or one without links
        with durable_file(target) as temporary:
            shutil.copy2(source, temporary)
        return False
    return True
