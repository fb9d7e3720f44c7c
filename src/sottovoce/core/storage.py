"""Files and folders that are whole or not there, and JSONL files that grow line by line while long work runs."""

from __future__ import annotations

import errno
import json
import os
import shutil
import tempfile
from collections.abc import Iterable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from filelock import FileLock, Timeout

from sottovoce.core.errors import UserError

LOCK = ".lock"


@contextmanager
def whole_file(path: Path) -> Iterator[Path]:
    """Yields the path of a sibling to write, which becomes ``path`` in one rename when the block ends without an error.

    After an error ``path`` is as it was, and an OSError that names the sibling names ``path`` instead.
    """
    temporary = path.with_name(f".{path.name}.{os.getpid()}.part")
    try:
        yield temporary
        temporary.replace(path)
    except OSError as error:
        if error.filename == str(temporary):
            error.filename = str(path)
        raise
    finally:
        temporary.unlink(missing_ok=True)


def write_whole(path: Path, text: str) -> None:
    """Writes a text file in one rename, so that a reader or a killed process never leaves half of it."""
    with whole_file(path) as temporary:
        temporary.write_text(text, encoding="utf-8")


@contextmanager
def durable_file(path: Path) -> Iterator[Path]:
    """As :func:`whole_file`, and after the block the disk has the file under its name: a power cut does not lose it."""
    with whole_file(path) as temporary:
        yield temporary
        flush(temporary)
    flush(path.parent)


def append_row(path: Path, row: dict[str, Any]) -> None:
    """Adds a row to a JSONL file and returns when the disk has it. After an error the file is as it was."""
    line = json_lines([row]).encode("utf-8")
    with path.open("ab", buffering=0) as file:
        num_bytes = file.tell()
        try:
            if file.write(line) < len(line):
                raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC), str(path))
            os.fsync(file.fileno())
        except OSError:
            file.truncate(num_bytes)
            raise


def flush(path: Path) -> None:
    """Waits until the disk has a file's content, or a folder's entries where the system can say so (not on Windows)."""
    if path.is_dir() and os.name == "nt":
        return
    # Windows flushes files that are open for writing only.
    descriptor = os.open(path, os.O_RDONLY if path.is_dir() else os.O_RDWR)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)


@contextmanager
def alone_in(folder: Path, advice: str) -> Iterator[None]:
    """Keeps other processes that ask from working on a folder meanwhile; it is made if it is not there.

    Raises:
        UserError: one does already.
    """
    folder.mkdir(parents=True, exist_ok=True)
    try:
        with FileLock(folder / LOCK).acquire(timeout=0):
            yield
    except Timeout:
        raise UserError(f"another process is working on {folder}", advice) from None


@contextmanager
def written_whole(folder: Path) -> Iterator[Path]:
    """Yields an empty sibling folder that becomes ``folder`` in one rename when the block ends without an error.

    Two processes may do this at once: the second to finish throws its copy away. A killed process leaves only a
    temporary folder behind, never a half-written ``folder``.
    """
    folder.parent.mkdir(parents=True, exist_ok=True)
    temporary = Path(tempfile.mkdtemp(prefix=f".{folder.name}-", dir=folder.parent))
    try:
        yield temporary
        temporary.chmod(0o755)
        try:
            temporary.rename(folder)
        except OSError:
            if not folder.exists():
                raise
    finally:
        shutil.rmtree(temporary, ignore_errors=True)


def whole_rows(path: Path) -> list[dict[str, Any]]:
    """The rows written so far, none if there is no file.

    A killed process may leave half a line at the end, or half a letter: it is cut off, so that the next row starts on
    a line of its own. Lines end at line feeds only; U+2028 inside a transcript is a letter like any other.

    Raises:
        UserError: a line before the end is no row; the message names it.
    """
    if not path.exists():
        return []
    content = path.read_bytes()
    whole = content[: content.rfind(b"\n") + 1]
    if len(whole) < len(content):
        os.truncate(path, len(whole))  # to write it anew would lose it all where the disk is full
    return [_row(line, f"{path}:{number}") for number, line in enumerate(whole.split(b"\n")[:-1], 1)]


def damaged(where: str, error: object) -> UserError:
    """The error of a line, ``file:line``, that is none of those that are written there."""
    return UserError(f"{where} is damaged: {error}", "fix that line, or remove it")


def _row(line: bytes, where: str) -> dict[str, Any]:
    try:
        row = json.loads(line)
    except ValueError as error:  # no JSON, or no UTF-8
        raise damaged(where, error) from error
    if not isinstance(row, dict):
        raise damaged(where, "no JSON object")
    return row


def json_lines(rows: Iterable[dict[str, Any]]) -> str:
    """The rows as the text of a JSONL file, letters as they are."""
    return "".join(json.dumps(row, ensure_ascii=False) + "\n" for row in rows)


def disk_is_full(error: Exception) -> bool:
    """Whether an error says that nothing more can be written."""
    if isinstance(error, OSError) and error.errno in (errno.ENOSPC, errno.EDQUOT):
        return True
    # safetensors passes the system's words on; torch.save only says that the file is shorter than what it wrote.
    return any(sign in str(error) for sign in ("No space left on device", "Disk quota exceeded", "] . unexpected pos "))
