"""Releases that come as one zip or tar file: unpacked into the output folder, whole or not at all."""

from __future__ import annotations

import shutil
import tarfile
import zipfile
import zlib
from collections.abc import Callable, Iterator
from pathlib import Path, PurePosixPath
from typing import IO

from sottovoce.core.errors import UserError
from sottovoce.core.storage import written_whole

_TAR = (".tar.gz", ".tgz", ".tar")
_LINK = 0o120000  # the type of a symbolic link, in the upper half of a zip member's attributes
_TYPE = 0o170000

Member = tuple[str, Callable[[], IO[bytes] | None]]


def is_archive(source: Path) -> bool:
    """Whether a source is a zip or tar file by its name."""
    return source.is_file() and source.name.lower().endswith((".zip", *_TAR))


def unpacked(archive: Path, out: Path) -> Path:
    """Unpacks an archive into a folder of ``out`` named after it, unless that exists already.

    Returns:
        the folder, or its only subfolder if it contains nothing else.

    Raises:
        UserError: the archive cannot be read, or a member is outside the folder or neither file nor folder.
    """
    folder = out / f"{archive.name.split('.')[0]}-{archive.stat().st_size}"
    if not folder.is_dir():
        try:
            with written_whole(folder) as temporary:
                for name, opened in _members(archive):
                    _write(name, opened, temporary, archive)
        except (tarfile.TarError, zipfile.BadZipFile, EOFError, OSError, zlib.error, RuntimeError) as error:
            fault = " ".join(str(error).split())  # RuntimeError: a zip file with a password
            raise UserError(f"cannot unpack {archive}: {fault}", "fetch it again, or unpack it yourself") from error
    inner = [path for path in folder.iterdir() if not path.name.startswith((".", "__MACOSX"))]
    return inner[0] if len(inner) == 1 and inner[0].is_dir() else folder


def _members(archive: Path) -> Iterator[Member]:
    if archive.suffix.lower() == ".zip":
        with zipfile.ZipFile(archive) as zipped:
            for info in zipped.infolist():
                if info.external_attr >> 16 & _TYPE == _LINK:
                    raise _refused(archive, info.filename, "is a link")
                if not info.is_dir():
                    yield info.filename, lambda info=info: zipped.open(info)  # type: ignore[misc]
        return
    with tarfile.open(archive) as tarred:
        for member in tarred:
            if not (member.isfile() or member.isdir()):
                raise _refused(archive, member.name, "is a link or a device")
            if member.isfile():
                yield member.name, lambda member=member: tarred.extractfile(member)  # type: ignore[misc]


def _write(name: str, opened: Callable[[], IO[bytes] | None], folder: Path, archive: Path) -> None:
    parts = PurePosixPath(name.replace("\\", "/"))
    if parts.is_absolute() or ".." in parts.parts or ":" in parts.parts[0] or "\0" in name:
        raise _refused(archive, name, "points outside")
    target = folder.joinpath(*parts.parts)
    target.parent.mkdir(parents=True, exist_ok=True)
    stream = opened()
    if stream is None:
        raise _refused(archive, name, "is not a file")
    with stream, target.open("wb") as file:
        shutil.copyfileobj(stream, file)


def _refused(archive: Path, name: str, fault: str) -> UserError:
    return UserError(f"{archive}: the member {name} {fault}", "fetch the release again, from its own site")
