"""Everything that is worth knowing of a GPU, in one command of 8 minutes, on a machine with torch and no network.

    make gpu-wheels                                    # before, where there is a network
    python benchmarks/gpu_day.py --out OUT             # on the GPU machine
    python benchmarks/gpu_day.py --on-cpu              # real sizes on a CPU: 19 GiB, some minutes for each model
    python benchmarks/gpu_day.py --tiny [--on-cpu]     # shows that it works, and no more
    python benchmarks/gpu_day.py --write-docs OUT/gpu_day.json

What is missing is installed from .gpu-wheels into a folder that is thrown away. Each step is a process with a time
limit of its own; after each, gpu_day.json and gpu_day.md are written, so that what is cut off still counts. Nothing but
the standard library is imported here.
"""

from __future__ import annotations

import argparse
import json
import os
import sys
import tempfile
import time
from collections.abc import Sequence
from dataclasses import asdict, dataclass
from datetime import UTC, datetime
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path
from typing import Any

from day_docs import day_text, write_docs
from day_steps import TINY_LIMIT, Outcome, Step, cpu_steps, gpu_steps, run_step

ROOT = Path(__file__).parents[1]
WHEELS = ROOT / ".gpu-wheels"
JSON, MARKDOWN, LOG = "gpu_day.json", "gpu_day.md", "gpu_day.log"


def missing(wheels: Path) -> list[str]:
    """The carried packages that are not installed in the carried release."""
    names = []
    for wheel in sorted(wheels.glob("*.whl")):
        name, carried = wheel.name.split("-")[:2]
        try:
            installed = version(name)
        except PackageNotFoundError:
            installed = ""
        if installed != carried:
            names.append(name)
    return names


def install_step(names: Sequence[str], site: Path) -> Step:
    options = ["--quiet", "--disable-pip-version-check", "--no-index", "--no-deps", "--no-compile", "--no-cache-dir"]
    places = ["--find-links", str(WHEELS), "--target", str(site)]
    command = [sys.executable, "-m", "pip", "install", *options, *places, *names]
    return Step("install", f"Installed from {WHEELS.name}: {len(names)} packages", command, 60)


def environment(site: Path) -> dict[str, str]:
    """Of the steps: what was installed goes before what the machine has, and the package is the one of this tree."""
    return os.environ | {
        "PYTHONPATH": os.pathsep.join(filter(None, [str(site), str(ROOT / "src"), os.environ.get("PYTHONPATH")])),
        "PYTHONUNBUFFERED": "1",
        "HF_HUB_OFFLINE": "1",  # nothing is asked of a hub that cannot be reached
    }


@dataclass
class Day:
    """Runs steps one after the other until they are done or the time is up, and writes down how they went."""

    out: Path
    work: Path
    deadline: float
    content: dict[str, Any]

    def run(self, step: Step) -> Outcome:
        left = self.deadline - time.monotonic()
        if left < 5:
            outcome = Outcome(step.name, step.title, "not begun", "the time was up")
        else:
            print(f"{step.name}: at most {min(step.limit, left):.0f} s", flush=True)
            outcome = run_step(step, min(step.limit, left), self.work, self.out / LOG, environment(self.work / "site"))
        print(f"{step.name}: {outcome.status} after {outcome.seconds:.0f} s {outcome.reason}", flush=True)
        self.content["steps"].append(asdict(outcome))
        if outcome.name == "machine":
            self.content["machine"] = outcome.content
        self.write()
        return outcome

    def write(self) -> None:
        (self.out / JSON).write_text(json.dumps(self.content, indent=1) + "\n", encoding="utf-8")
        (self.out / MARKDOWN).write_text(day_text(self.content), encoding="utf-8")


def main(arguments: Sequence[str] | None = None) -> int:
    parser = argparse.ArgumentParser(description="One prepared session on a GPU, or of real sizes on a CPU.")
    parser.add_argument("--tiny", action="store_true", help="tiny models, on any machine")
    parser.add_argument("--on-cpu", action="store_true", help="real sizes on this machine's CPU")
    parser.add_argument("--models", nargs="+", help="with --on-cpu: some of those in real_sizes.py; all by default")
    parser.add_argument("--minutes", type=float, help="in all; 8, with --on-cpu 120")
    parser.add_argument("--out", type=Path, default=ROOT / "benchmarks" / "out")
    parser.add_argument("--write-docs", type=Path, metavar="JSON", help="fill the docs from a day, and do nothing else")
    options = parser.parse_args(arguments)
    if options.write_docs:
        for page in write_docs(json.loads(options.write_docs.read_text(encoding="utf-8")), ROOT / "docs"):
            print(f"written: {page}")
        return 0
    minutes = options.minutes or (120 if options.on_cpu else 8)
    options.out.mkdir(parents=True, exist_ok=True)
    (options.out / LOG).write_text("", encoding="utf-8")
    with tempfile.TemporaryDirectory() as folder:
        content = {
            "kind": "on-cpu" if options.on_cpu else "gpu-day", "tiny": options.tiny, "steps": [],
            "started": datetime.now(UTC).strftime("%Y-%m-%d %H:%M UTC"),
        }  # fmt: skip
        day = Day(options.out, Path(folder), time.monotonic() + 60 * minutes, content)
        if not options.on_cpu and (names := missing(WHEELS)):
            day.run(install_step(names, day.work / "site"))
        limit = TINY_LIMIT if options.tiny else 90
        machine = day.run(Step("machine", "The machine", [sys.executable, "benchmarks/day_machine.py"], limit)).content
        if not options.tiny and not options.on_cpu and not machine.get("gpu"):
            print("there is no GPU here, or torch does not run: --on-cpu and --tiny need none", file=sys.stderr)
            return 2
        gpu_bytes = machine.get("gpu_bytes", 0)
        steps = cpu_steps(options.tiny, options.models) if options.on_cpu else gpu_steps(options.tiny, gpu_bytes)
        outcomes = [day.run(step) for step in steps]
    print(day_text(day.content))
    return 0 if all(outcome.status in ("done", "left out") for outcome in outcomes) else 1


if __name__ == "__main__":
    sys.exit(main())
