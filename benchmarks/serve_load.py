"""Requests a second and latency of ``sottovoce serve`` under 1, 4 and 16 clients, with dynamic batching and without.

The server has a process of its own; each client sends its next request when it has the answer to the last one.

    python benchmarks/serve_load.py runs/home-en/cells/curriculum-5pct
"""

from __future__ import annotations

import argparse
import os
import platform
import re
import signal
import subprocess
import sys
import time
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any

import httpx
import numpy as np
from written import write

from sottovoce.core.types import MODALITIES, Modality, Utterance
from sottovoce.study.locate import gold_utterances

OFF, ON = "off", "on"
COLUMNS = ("asked by", "clients", "batching", "requests/s", "ratio", "p50 ms", "p95 ms", "mean batch", "as without")
Request = dict[str, Any]


@dataclass
class Result:
    """All turns of a side: their seconds, every request's latency and the answers of the last turn, in order."""

    modality: Modality
    num_clients: int
    batching: str
    seconds: list[float] = field(default_factory=list)
    latencies: list[float] = field(default_factory=list)
    num_batches: int = 0
    answers: list[Any] = field(default_factory=list)

    @property
    def requests_per_second(self) -> float:
        return len(self.latencies) / sum(self.seconds)

    def milliseconds(self, percent: float) -> float:
        return 1000 * float(np.percentile(self.latencies, percent))


def requests_of(utterances: Sequence[Utterance], modality: Modality) -> list[Request]:
    """What httpx sends for each utterance."""
    if modality == "text":
        return [{"json": {"text": utterance.transcript}} for utterance in utterances]
    files = [utterance.audio for utterance in utterances if utterance.audio]
    return [{"files": {"audio": (file.name, file.read_bytes())}} for file in files]


def load(url: str, requests: Sequence[Request], result: Result) -> None:
    """One turn: the requests, sent by as many clients as the result says."""
    answers: list[Any] = [None] * len(requests)

    def be_client(first: int) -> list[float]:
        latencies = []
        with httpx.Client(base_url=url, timeout=300) as client:
            for number in range(first, len(requests), result.num_clients):
                started = time.perf_counter()
                response = client.post("/v1/understand", **requests[number])
                latencies.append(time.perf_counter() - started)
                answer = response.raise_for_status().json()
                answers[number] = [answer["intent"], answer["entities"], answer["status"]]
        return latencies

    before, started = _num_batches(url), time.perf_counter()
    with ThreadPoolExecutor(result.num_clients) as clients:
        latencies = list(clients.map(be_client, range(result.num_clients)))
    result.seconds.append(time.perf_counter() - started)
    result.latencies += [each for own in latencies for each in own]
    result.num_batches += _num_batches(url) - before
    result.answers = answers


def _num_batches(url: str) -> int:
    page = httpx.get(f"{url}/metrics").text
    return int(float(re.findall(r'^sottovoce_batch_size_count\{work="understand"\} (\S+)', page, re.MULTILINE)[0]))


@contextmanager
def serving(run: Path, max_batch_size: int) -> Iterator[str]:
    """The address of a server of the run that is warm."""
    command = [sys.executable, "-m", "sottovoce", "serve", str(run), "--port", "0", "--timeout-seconds", "300"]
    command += ["--max-batch-size", str(max_batch_size)]
    with subprocess.Popen(command, stderr=subprocess.PIPE, text=True) as process:
        try:
            assert process.stderr
            said = ""
            for line in process.stderr:
                said += line
                if line.startswith("serving "):
                    break
            else:
                raise SystemExit(f"the server ended:\n{said}")
            url = re.findall(r"http://\S+:\d+", line)[0]
            while httpx.get(f"{url}/healthz").status_code != 200:
                time.sleep(0.05)
            yield url
        finally:
            process.send_signal(signal.SIGTERM)
            process.wait()


def measure(
    run: Path, clients: Sequence[int], num_requests: int, num_rounds: int, max_batch_size: int,
    say: Callable[[str], None],
) -> list[Result]:  # fmt: skip
    """The sides by turns, each in a new process; a first request of each client is not timed."""
    gold = gold_utterances(run.resolve().parent.parent)
    results = {
        (modality, number, side): Result(modality, number, side)
        for modality in MODALITIES
        for number in clients
        for side in (OFF, ON)
    }
    for _ in range(num_rounds):
        for side, size in ((OFF, 1), (ON, max_batch_size)):
            with serving(run, size) as url:
                for modality in MODALITIES:
                    requests = requests_of([gold[n % len(gold)] for n in range(num_requests)], modality)
                    for number in clients:
                        load(url, requests[:number], Result(modality, number, side))
                        result = results[modality, number, side]
                        load(url, requests, result)
                        say(f"{modality}, {number} clients, batching {side}: {result.seconds[-1]:.1f} s")
    return list(results.values())


def table(results: Sequence[Result]) -> str:
    """The results as Markdown; ``as without`` counts the answers that are those without batching."""
    lines = ["| " + " | ".join(COLUMNS) + " |", "| --- | ---: | --- |" + " ---: |" * (len(COLUMNS) - 3)]
    base = {(each.modality, each.num_clients): each for each in results if each.batching == OFF}
    for each in results:
        plain = base[each.modality, each.num_clients]
        same = sum(mine == its for mine, its in zip(each.answers, plain.answers, strict=True))
        cells = [
            each.modality, str(each.num_clients), each.batching, f"{each.requests_per_second:.2f}",
            f"{each.requests_per_second / plain.requests_per_second:.2f}", f"{each.milliseconds(50):.0f}",
            f"{each.milliseconds(95):.0f}", f"{len(each.latencies) / each.num_batches:.2f}",
            f"{same} of {len(each.answers)}",
        ]  # fmt: skip
        lines.append("| " + " | ".join(cells) + " |")
    return "\n".join(lines)


def main(arguments: Sequence[str] | None = None) -> None:
    parser = argparse.ArgumentParser(description="A served run under load, with dynamic batching and without.")
    parser.add_argument("run", type=Path, help="the folder of a trained cell")
    parser.add_argument("--clients", type=int, nargs="+", default=[1, 4, 16])
    parser.add_argument("--requests", type=int, default=96, help="of a turn")
    parser.add_argument("--rounds", type=int, default=2, help="turns of each side")
    parser.add_argument("--batch", type=int, default=8, help="requests computed together at most")
    parser.add_argument("--note", default="", help="a word about the machine's state, such as: busy")
    parser.add_argument("--out", type=Path, default=Path("runs/serve_load"))
    options = parser.parse_args(arguments)
    results = measure(options.run, options.clients, options.requests, options.rounds, options.batch, print)
    machine = f"{os.cpu_count()} CPU cores, {platform.machine()}, Python {platform.python_version()}"
    said = ", ".join(part for part in (machine, f"batches of up to {options.batch}", options.note) if part)
    text = f"{said}; {options.requests} requests a turn, {options.rounds} turns a side\n\n{table(results)}"
    print(text)
    content = {"machine": said, "run": options.run.name, "results": [asdict(result) for result in results]}
    write(options.out, text, content)


if __name__ == "__main__":
    main()
