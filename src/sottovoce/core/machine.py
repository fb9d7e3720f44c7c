"""How many cores and how much memory this process may use, and how it keeps freed memory."""

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
    """The number of cores this process may run on; under ``taskset`` or in a batch job fewer than the machine has."""
    if hasattr(os, "sched_getaffinity"):  # not on macOS and Windows
        return len(os.sched_getaffinity(0))
    return os.cpu_count() or 1


def machine_bytes() -> float:
    """The memory this process may use: the machine's, or the limit of its control groups if that is lower."""
    physical = os.sysconf("SC_PAGE_SIZE") * os.sysconf("SC_PHYS_PAGES")
    return float(min([physical, *_limits(_PROCESS, _CGROUPS)]))


def keep_freed_memory() -> None:
    """Makes glibc keep freed memory, up to 2 GiB, instead of returning it at once; other C libraries are left alone.

    Training and decoding free and allocate large tensors at every step, and the system zeroes every page it hands out.
    """
    if platform.libc_ver()[0] == "glibc":
        library = ctypes.CDLL(None)
        library.mallopt(M_MMAP_MAX, 0)
        library.mallopt(M_TRIM_THRESHOLD, MOST)


def _limits(process: Path, mounted: Path) -> Iterator[int]:
    """The memory limits, in bytes, of a process's control groups (version 2 or 1) and of their parents.

    Args:
        process: a line for each hierarchy, ``number:controllers:group``; version 2 has no controllers.
        mounted: the folder of the groups. A container sees its own group at the top, regardless of its line.
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
