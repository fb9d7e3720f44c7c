"""How time and memory grow with the number of utterances, for all that a study does besides training and decoding.

Made-up utterances without recordings (their lengths stand in the manifest), no model. Every size of every task runs in
a process of its own; what is not timed, such as writing the files to read, in another one before.

    python benchmarks/scaling.py                       # 1,000 to 100,000 utterances; a manifest of 1,000,000 rows
    python benchmarks/scaling.py --sizes 100 1000 --largest 0
"""

from __future__ import annotations

import argparse
import json
import math
import os
import platform
import shutil
import sys
import tempfile
import time
from collections.abc import Callable, Iterator, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

from own_process import MIB, alone, peak_bytes
from written import write

REPOSITORY = Path(__file__).parents[1]
NUM_RECORDINGS = 100  # files that the planned study's utterances share
# 39 cells: text_only for each seed, the others for each seed and budget.
RECIPE = {
    "name": "scaling", "model": "none", "corpus": {"manifest": "manifest.jsonl"},
    "schemes": ["text_only", "direct_mixing", "curriculum"], "seeds": [0, 1, 2],
    "budgets": [0.01, 0.02, 0.05, 0.1, 0.2, 0.5],
    "train": {"stage": {"speech_repeats": 4, "perturb_repeats": True}, "last_stage": {"speech_repeats": 4}},
}  # fmt: skip


@dataclass(frozen=True)
class Result:
    """A task at a size: seconds by the clock and of the processor, the process's peak memory, and how much of it was
    there before the task began."""

    task: str
    size: int
    seconds: float
    cpu_seconds: float
    peak_bytes: int
    started_bytes: int


Work = Callable[[], Any]


@dataclass(frozen=True)
class Task:
    """What is measured.

    ``prepare`` writes what is read, into a folder, for so many utterances; ``begin`` imports and reads what does not
    count, and returns the work that does. Sizes above ``most`` are left out.
    """

    title: str
    prepare: Callable[[Path, int], None]
    begin: Callable[[Path], Work]
    most: int = 10**9


def rows(size: int, recording: Callable[[int], str]) -> Iterator[dict[str, Any]]:
    """Utterances of 126 intents; every tenth is for testing."""
    for number in range(size):
        yield {
            "id": f"u{number}", "locale": "en-US", "split": "train" if number % 10 else "test",
            "transcript": f"please turn on the lamp in room {number} now", "scenario": f"s{number % 18}",
            "action": f"a{number % 7}", "entities": [{"type": "room", "filler": f"room {number}"}],
            "audio": recording(number), "speaker": f"v{number % 50}", "seconds": 2.5,
        }  # fmt: skip


def write_manifest(folder: Path, size: int, recording: Callable[[int], str] = "audio/{}.wav".format) -> None:
    with (folder / "manifest.jsonl").open("w", encoding="utf-8") as file:
        file.writelines(json.dumps(row) + "\n" for row in rows(size, recording))


def write_answers(folder: Path, size: int) -> None:
    """A manifest, and answers to it, of which one in five is wrong."""
    write_manifest(folder, size)
    with (folder / "predictions.jsonl").open("w", encoding="utf-8") as file:
        for number, row in enumerate(rows(size, str)):
            answer = {key: row[key] for key in ("id", "scenario", "entities")}
            action = row["action"] if number % 5 else "a-other"
            file.write(json.dumps(answer | {"action": action, "text": "...", "status": "ok"}) + "\n")


def write_study(folder: Path, size: int) -> None:
    """A finished study of eight cells with so many test utterances, as the tests make one."""
    sys.path.insert(0, str(REPOSITORY / "tests" / "study"))
    from grid_folder import learning_rights, write_grid

    speech = {"direct_mixing-5pct": 0.7, "curriculum-5pct": 0.75}
    write_grid(folder, learning_rights(speech, num_seeds=2), num_test=size)


def write_recorded(folder: Path, size: int) -> None:
    """A manifest whose recordings exist, small files that many utterances share."""
    (folder / "audio").mkdir()
    for number in range(NUM_RECORDINGS):
        (folder / f"audio/{number}.wav").write_bytes(number.to_bytes(2, "big"))
    write_manifest(folder, size, lambda number: f"audio/{number % NUM_RECORDINGS}.wav")


def manifest(folder: Path) -> Work:
    from sottovoce.data.manifest import read_manifest

    return lambda: read_manifest(folder / "manifest.jsonl")


def budget(folder: Path) -> Work:
    from sottovoce.data.budget import choose_speech

    utterances = [utterance for utterance in manifest(folder)() if utterance.split == "train"]
    return lambda: choose_speech(utterances, share=0.05)


def mixture(folder: Path) -> Work:
    from sottovoce.data.mixture import TARGET, Part, examples_of

    utterances = manifest(folder)()
    kept = [utterance.id for utterance in utterances[::20]]
    parts = (Part("text", of="all"), Part("speech", of="budget", repeats=4, perturbed=True))
    return lambda: examples_of(parts, {TARGET: utterances}, {TARGET: kept})


def scoring(folder: Path) -> Work:
    from sottovoce.score.evaluate import score
    from sottovoce.score.files import read_gold, stream_predictions

    return lambda: score(read_gold(folder / "manifest.jsonl"), stream_predictions(folder / "predictions.jsonl"))


def report(folder: Path) -> Work:
    from sottovoce.report.html import read_report, write_report

    return lambda: write_report(read_report(folder))


def planning(folder: Path) -> Work:
    """The cells of a study, and all their stages with their names."""
    from sottovoce.core.recipe import Recipe
    from sottovoce.data.load import Data
    from sottovoce.data.manifest import read_manifest
    from sottovoce.study.cells import plan_cells
    from sottovoce.study.workspace import Study

    utterances = read_manifest(folder / "manifest.jsonl")
    train, test = ([u for u in utterances if u.split == split] for split in ("train", "test"))
    recipe = Recipe.model_validate(RECIPE)
    data = Data(folder / "manifest.jsonl", "", train, test)
    study = Study(recipe, folder / "recipe.yaml", data, folder, print)
    return lambda: study.work_of(plan_cells(recipe, data))


TASKS = (
    Task("reading a manifest", write_manifest, manifest),
    Task("choosing a speech budget", write_manifest, budget),
    Task("building a mixture", write_manifest, mixture),
    Task("scoring predictions", write_answers, scoring),
    Task("a report of 7 cells", write_study, report),
    Task("naming the stages of 39 cells", write_recorded, planning, most=10_000),
)


def prepared(place: int, folder: Path, size: int) -> dict[str, Any]:
    TASKS[place].prepare(folder, size)
    return {}


def measured(place: int, folder: Path) -> dict[str, Any]:
    """Does a task once."""
    work = TASKS[place].begin(folder)
    before, started, started_cpu = peak_bytes(), time.perf_counter(), time.process_time()
    result = work()
    seconds, cpu_seconds = time.perf_counter() - started, time.process_time() - started_cpu
    del result
    return {"seconds": seconds, "cpu_seconds": cpu_seconds, "peak_bytes": peak_bytes(), "started_bytes": before}


def run(sizes: Sequence[int], largest: int, say: Callable[[str], None]) -> list[Result]:
    """All tasks at all sizes, and the first of them, reading, at ``largest``, too."""
    results = []
    for place, task in enumerate(TASKS):
        for size in [*sizes, *([largest] if largest and not place else [])]:
            if size > task.most:
                continue
            folder = Path(tempfile.mkdtemp())
            try:
                alone(prepared, place, folder, size)
                results.append(Result(task.title, size, **alone(measured, place, folder)))
            finally:
                shutil.rmtree(folder)
            say(f"{task.title}, {size}: {results[-1].cpu_seconds:.2f} CPU s")
    return results


def exponent(before: Result | None, result: Result) -> str:
    """How the processor's time grows from one size to the next: 1 is linearly, 2 with the square."""
    if before is None or before.task != result.task:
        return ""
    return f"{math.log(result.cpu_seconds / before.cpu_seconds) / math.log(result.size / before.size):.2f}"


def table(results: Sequence[Result]) -> str:
    """The results as Markdown."""
    columns = ("task", "utterances", "seconds", "CPU seconds", "exponent", "peak MiB", "of it the task's")
    lines = ["| " + " | ".join(columns) + " |", "| --- |" + " ---: |" * (len(columns) - 1)]
    for before, result in zip([None, *results], results, strict=False):
        grown = (result.peak_bytes - result.started_bytes) / MIB
        lines.append(
            f"| {result.task} | {result.size:,} | {result.seconds:.3g} | {result.cpu_seconds:.3g} | "
            f"{exponent(before, result)} | {result.peak_bytes / MIB:.0f} | {grown:.0f} |"
        )
    return "\n".join(lines)


def main(arguments: Sequence[str] | None = None) -> None:
    parser = argparse.ArgumentParser(description="Time and memory by the number of utterances.")
    parser.add_argument("--sizes", nargs="+", type=int, default=[1_000, 10_000, 100_000])
    parser.add_argument("--largest", type=int, default=1_000_000, help="a manifest that is read, too; 0 for none")
    parser.add_argument("--note", default="", help="a word about the machine's state, such as: busy")
    parser.add_argument("--out", type=Path, default=Path("runs/scaling"))
    options = parser.parse_args(arguments)
    results = run(sorted(options.sizes), options.largest, print)
    machine = f"{os.cpu_count()} CPU cores, {platform.machine()}, Python {platform.python_version()}"
    said = ", ".join(part for part in (machine, options.note) if part)
    text = f"{said}\n\n{table(results)}"
    print(text)
    content = {"machine": said, "results": [asdict(result) for result in results]}
    write(options.out, text, content)


if __name__ == "__main__":
    main()
