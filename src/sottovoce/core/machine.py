"""What of this machine a process may use, its cores and its memory, and how memory is kept."""

from __future__ import annotations

import ctypes
import os
import platform
from collections.abc import Iterator
from pathlib import Path

M_TRIM_THRESHOLD, M_MMAP_MAX = -1, -4  # of glibc's mallopt
MOST = 2**31 - 1  # bytes
_PROCESS, _CGROUPS = Path("/proc/self/cgroup"), Path("/sys/fs/cgroup")


def num_cores() -> int:
    """The cores that this process may run on: with ``taskset`` or in a batch job fewer than there are."""
    if hasattr(os, "sched_getaffinity"):  # not on macOS and Windows
        return len(os.sched_getaffinity(0))
    return os.cpu_count() or 1


def machine_bytes() -> float:
    """The memory that this process may take: the machine's, or the limit of its control groups if that is lower."""
    physical = os.sysconf("SC_PAGE_SIZE") * os.sysconf("SC_PHYS_PAGES")
    return float(min([physical, *_limits(_PROCESS, _CGROUPS)]))


def keep_freed_memory() -> None:
    """Has the C library keep the memory that this process frees, up to 2 GiB, instead of handing it back at once.

    Training and decoding free large tensors and take as large ones again at every step, and the system zeroes every
    page that it hands out anew. Of other libraries than glibc nothing is asked.
    """
    if platform.libc_ver()[0] == "glibc":
        library = ctypes.CDLL(None)
        library.mallopt(M_MMAP_MAX, 0)
        library.mallopt(M_TRIM_THRESHOLD, MOST)


def _limits(process: Path, mounted: Path) -> Iterator[int]:
    """The memory limits, in bytes, of a process's control groups and of those around them, version 2 or 1.

    Args:
        process: a line for each hierarchy, ``number:controllers:group``; version 2 has no controllers.
        mounted: where the groups are folders. A container sees its own group at the top, whatever its line says.
    """
    lines = process.read_text(encoding="utf-8").splitlines() if process.is_file() else []
    for line in lines:
        _, controllers, group = line.split(":", 2)
        if controllers and "memory" not in controllers.split(","):
            continue
        top, name = (mounted / "memory", "memory.limit_in_bytes") if controllers else (mounted, "memory.max")
        own = top / group.lstrip("/")
        for folder in (own, *own.parents):
            if not folder.is_relative_to(top):
                break
            limit = folder / name
            if limit.is_file() and (text := limit.read_text(encoding="utf-8").strip()).isdecimal():  # else "max"
                yield int(text)
