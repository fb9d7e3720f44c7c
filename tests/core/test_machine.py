"""Cores and memory that this process may use."""

from __future__ import annotations

import os
import platform
import subprocess
import sys
from pathlib import Path

import pytest

from sottovoce.core import machine
from sottovoce.core.machine import machine_bytes, num_cores


def test_cores_are_those_that_the_process_may_run_on(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(os, "cpu_count", lambda: 64)
    monkeypatch.setattr(os, "sched_getaffinity", lambda process: {3, 5}, raising=False)
    assert num_cores() == 2
    monkeypatch.delattr(os, "sched_getaffinity")
    assert num_cores() == 64
    monkeypatch.setattr(os, "cpu_count", lambda: None)
    assert num_cores() == 1


@pytest.fixture
def groups(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A folder of control groups, and beside it what tells this process's own; the machine has 2**30 bytes."""
    monkeypatch.setattr(os, "sysconf", lambda name: 2**12 if name == "SC_PAGE_SIZE" else 2**18)
    monkeypatch.setattr(machine, "_PROCESS", tmp_path / "own")
    monkeypatch.setattr(machine, "_CGROUPS", tmp_path / "groups")
    return tmp_path / "groups"


def put(path: Path, text: str) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(text)


def test_without_control_groups_memory_is_the_machines(groups: Path) -> None:
    assert machine_bytes() == 2**30


def test_memory_is_the_lowest_limit_of_groups_and_machine(groups: Path) -> None:
    put(groups.parent / "own", "0::/user/job\n")
    put(groups / "user/job/memory.max", "max\n")
    assert machine_bytes() == 2**30
    put(groups / "user/memory.max", "5000\n")
    assert machine_bytes() == 5000
    put(groups / "user/job/memory.max", "4000\n")
    assert machine_bytes() == 4000
    put(groups / "user/job/memory.max", f"{2**40}\n")
    put(groups / "user/memory.max", "max\n")
    assert machine_bytes() == 2**30
    put(groups.parent / "memory.max", "7\n")  # above the mount is nothing of ours
    assert machine_bytes() == 2**30


def test_version_1_limits_and_those_that_a_container_sees_at_the_top_count(groups: Path) -> None:
    put(groups.parent / "own", "5:cpu,cpuacct:/docker/ab\n4:hugetlb,memory:/docker/ab\n0::/\n")
    put(groups / "memory/memory.limit_in_bytes", "6000\n")
    put(groups / "cpu/docker/ab/memory.limit_in_bytes", "1\n")
    assert machine_bytes() == 6000
    put(groups / "memory/docker/ab/memory.limit_in_bytes", "9223372036854771712\n")
    assert machine_bytes() == 6000


def page_faults(before: str) -> int:
    """How many pages another process is handed for thirty arrays of 16 MB, one after the other."""
    count = "resource.getrusage(resource.RUSAGE_SELF).ru_minflt"
    lines = ["import resource", "import numpy as np", before, "np.ones(2**21)", f"start = {count}"]
    code = "\n".join([*lines, "for _ in range(30): np.ones(2**21)", f"print({count} - start)"])
    return int(subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True).stdout)


@pytest.mark.skipif(platform.libc_ver()[0] != "glibc", reason="nothing is asked of other C libraries")
def test_memory_that_was_freed_is_taken_again_without_new_pages() -> None:
    kept = page_faults("from sottovoce.core.machine import keep_freed_memory; keep_freed_memory()")
    assert 20 * kept < page_faults("")
