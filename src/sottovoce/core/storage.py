"""Files and folders that are complete or absent, and JSONL files that grow row by row during long work."""

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
    """Yields a temporary path beside ``path``, which is renamed to ``path`` when the block ends without an error.

    After an error ``path`` is unchanged, and an OSError names ``path`` instead of the temporary file.
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
    """Writes a text file in one rename: a reader never sees, and a killed process never leaves, half of it."""
    with whole_file(path) as temporary:
        temporary.write_text(text, encoding="utf-8")


@contextmanager
def durable_file(path: Path) -> Iterator[Path]:
    """As :func:`whole_file`, and flushed to disk after the block, so that a power cut does not lose it."""
    with whole_file(path) as temporary:
        yield temporary
        flush(temporary)
    flush(path.parent)


def append_row(path: Path, row: dict[str, Any]) -> None:
    """Appends a row to a JSONL file and flushes it to disk. After an error the file is unchanged."""
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
    """Flushes a file's content to disk, or a folder's entries (which Windows cannot)."""
    if path.is_dir() and os.name == "nt":
        return
    # Windows flushes only files that are open for writing.
    descriptor = os.open(path, os.O_RDONLY if path.is_dir() else os.O_RDWR)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)


@contextmanager
def alone_in(folder: Path, advice: str) -> Iterator[None]:
    """Holds the lock of a folder, which is made if it does not exist.

    Raises:
        UserError: another process holds it.
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

    Two processes may do this at once: the second to finish discards its copy. A killed process leaves only a temporary
    folder behind, never a half-written ``folder``.
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

    A killed process may leave half a line at the end: it is cut off, so that the next row starts on a new line. Lines
    end at line feeds only; U+2028 inside a transcript is an ordinary character.

    Raises:
        UserError: an earlier line is not a row; the message names it.
    """
    if not path.exists():
        return []
    content = path.read_bytes()
    whole = content[: content.rfind(b"\n") + 1]
    if len(whole) < len(content):
        os.truncate(path, len(whole))  # rewriting it could lose everything on a full disk
    return [_row(line, f"{path}:{number}") for number, line in enumerate(whole.split(b"\n")[:-1], 1)]


def damaged(where: str, error: object) -> UserError:
    """The error for a line (``file:line``) that cannot be read back."""
    return UserError(f"{where} is damaged: {error}", "fix that line, or remove it")


def _row(line: bytes, where: str) -> dict[str, Any]:
    try:
        row = json.loads(line)
    except ValueError as error:  # not JSON, or not UTF-8
        raise damaged(where, error) from error
    if not isinstance(row, dict):
        raise damaged(where, "not a JSON object")
    return row


def json_lines(rows: Iterable[dict[str, Any]]) -> str:
    """The rows as the text of a JSONL file, without ASCII escapes."""
    return "".join(json.dumps(row, ensure_ascii=False) + "\n" for row in rows)


def disk_is_full(error: Exception) -> bool:
    """Whether an error means that the disk, or a quota on it, is full."""
    if isinstance(error, OSError) and error.errno in (errno.ENOSPC, errno.EDQUOT):
        return True
    # safetensors repeats the system's message; torch.save only says that the file is shorter than what it wrote.
    return any(sign in str(error) for sign in ("No space left on device", "Disk quota exceeded", "] . unexpected pos "))
