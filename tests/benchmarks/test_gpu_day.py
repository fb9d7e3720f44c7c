"""The prepared session: its steps run with tiny models, within their limits, and the docs are filled from its JSON."""

from __future__ import annotations

import json
import re
import sys
import time
from importlib.metadata import requires
from pathlib import Path

import pytest
from packaging.requirements import Requirement
from packaging.utils import canonicalize_name

ROOT = Path(__file__).parents[2]
# What torch brings or is worked with, and what nothing that is run there needs (see gpu_wheels.txt).
NOT_CARRIED = ("torch", "numpy", "matplotlib", "tensorboard", "hf-xet", "pydantic-core")


@pytest.fixture(autouse=True)
def importable(monkeypatch: pytest.MonkeyPatch) -> None:
    """As for ``python benchmarks/gpu_day.py``."""
    monkeypatch.syspath_prepend(str(ROOT / "benchmarks"))


def steps_of(out: Path) -> dict[str, dict[str, object]]:
    content = json.loads((out / "gpu_day.json").read_text())
    assert content["machine"]["cores"] >= 1
    return {step["name"]: step for step in content["steps"]}


@pytest.mark.slow
def test_the_whole_gpu_day_runs_with_tiny_models(tmp_path: Path) -> None:
    from gpu_day import main

    assert main(["--tiny", "--minutes", "30", "--out", str(tmp_path)]) == 0, (tmp_path / "gpu_day.log").read_text()
    found = steps_of(tmp_path)
    assert [name for name in found if name != "install"] == ["machine", "tests", "lora", "decoding", "ways", "full"]
    assert all(step["status"] == "done" for step in found.values())
    assert found["tests"]["content"] == {"counts": {"passed": 2}, "failed": []}
    assert {r["way"] for r in found["ways"]["content"]["results"] if not r["failure"]} == {
        "flash attention only", "no fused attention", "eager attention", "torch.compile",
    }  # fmt: skip
    answers = {(r["modality"], r["side"]): r["ids"] for r in found["decoding"]["content"]["results"]}
    assert len(answers) == 5
    for modality, _ in answers:
        assert len({json.dumps(ids) for (other, _), ids in answers.items() if other == modality}) == 1
    text = (tmp_path / "gpu_day.md").read_text()
    assert "figures mean nothing" in text and "| lora | as it is | plain Trainer |" in text


@pytest.mark.slow
def test_the_cpu_day_trains_and_answers_with_each_tiny_model(tmp_path: Path) -> None:
    from day_steps import TINY_MODELS
    from gpu_day import main

    assert main(["--tiny", "--on-cpu", "--out", str(tmp_path)]) == 0, (tmp_path / "gpu_day.log").read_text()
    found = steps_of(tmp_path)
    for name in TINY_MODELS:
        (result,) = found[name]["content"]["results"]
        assert len(result["losses"]) == 4 and result["text_row_seconds"] > 0 and result["answer_seconds"] > 0
        assert result["peak_bytes"] > result["forecast_bytes"] > 0  # the interpreter weighs more than the model
        assert result["text_only_hours"] == pytest.approx(1200 * result["text_row_seconds"] / 3600)


def test_the_models_of_a_cpu_day_are_those_whose_sizes_are_known() -> None:
    from day_steps import MODELS, TINY_MODELS
    from real_sizes import REAL, TINIES

    assert tuple(size.name for size in REAL) == MODELS and tuple(size.name for size in TINIES) == TINY_MODELS


def test_what_is_stopped_at_its_limit_or_fails_has_left_what_it_wrote(tmp_path: Path) -> None:
    from day_steps import Step, run_step

    (tmp_path / "benchmarks").mkdir()
    script = tmp_path / "benchmarks" / "slow.py"
    script.write_text(
        "import sys, time\nfrom pathlib import Path\nout = Path(sys.argv[-1])\n"
        "(out / 'table.md').write_text('| a |')\n(out / 'results.json').write_text('{\"a\": 1}')\n"
        "print('begun')\nprint('no such kernel')\nsys.exit(3) if 'fail' in sys.argv else time.sleep(600)\n"
    )
    stopped = Step("slow", "Slow", [sys.executable, str(script)], 60)
    failing = Step("failing", "Failing", [sys.executable, str(script), "fail"], 60)
    began = time.monotonic()
    outcomes = [run_step(step, 20, tmp_path, tmp_path / "log", {}) for step in (failing, stopped)]
    assert time.monotonic() - began < 300
    assert [outcome.status for outcome in outcomes] == ["failed", "stopped"]
    assert outcomes[0].reason == "no such kernel" and outcomes[1].reason == "at its limit of 20 s"
    assert all((outcome.text, outcome.content) == ("| a |", {"a": 1}) for outcome in outcomes)
    assert (tmp_path / "log").read_text().count("begun") >= 1
    left_out = run_step(Step("x", "X", [], 1, left_out="too small"), 1, tmp_path, tmp_path / "log", {})
    assert (left_out.status, left_out.reason) == ("left out", "too small")


def test_when_the_time_is_up_steps_are_not_begun(tmp_path: Path) -> None:
    from day_steps import Step
    from gpu_day import Day

    day = Day(tmp_path, tmp_path, time.monotonic() + 1, {"kind": "gpu-day", "tiny": True, "started": "", "steps": []})
    assert day.run(Step("x", "X", ["false"], 60)).status == "not begun"
    assert "the time was up" in (tmp_path / "gpu_day.md").read_text()


def test_a_card_that_is_too_small_is_not_given_the_whole_language_model() -> None:
    from day_steps import gpu_steps

    assert [step.name for step in gpu_steps(False, 79 * 2**30) if step.left_out] == ["full"]
    assert not [step for step in gpu_steps(False, 139 * 2**30) if step.left_out]
    assert sum(step.limit for step in gpu_steps(False, 0.0)) <= 480
    tests = [argument for argument in gpu_steps(False, 0.0)[0].command if argument.startswith("tests/")]
    assert tests == ["tests/models/families/test_on_gpu.py", "tests/train/test_stage_on_gpu.py"]


def test_what_pytest_printed_before_it_was_stopped_counts() -> None:
    from day_steps import tests_text

    printed = (
        "tests/a.py::test_x[qwen2-cuda] PASSED [ 1%]\ntests/a.py::test_y[1.5 s] FAILED [ 2%]\n"
        "tests/a.py::test_z SKIPPED (no GPU) [ 3%]\ntests/a.py::test_under_way "
    )
    text, content = tests_text(printed)
    assert content == {"counts": {"passed": 1, "failed": 1, "skipped": 1}, "failed": ["tests/a.py::test_y[1.5 s]"]}
    assert text == "1 failed, 1 passed, 1 skipped\n- failed: `tests/a.py::test_y[1.5 s]`\n"


@pytest.mark.parametrize(("kind", "page"), [("gpu-day", "benchmarks.md"), ("on-cpu", "models.md")])
def test_docs_are_filled_between_their_markers_and_not_with_tiny_figures(tmp_path: Path, kind: str, page: str) -> None:
    from day_docs import write_docs

    before = (ROOT / "docs" / page).read_text(encoding="utf-8")
    (tmp_path / page).write_text(before, encoding="utf-8")
    step = {"title": "LoRA", "status": "stopped", "reason": "at its limit of 9 s", "seconds": 9.2, "text": "| a |\n"}
    content = {"kind": kind, "tiny": False, "started": "2026-11-28 12:00 UTC", "steps": [step]}
    assert write_docs(content, tmp_path) == [tmp_path / page]
    once = (tmp_path / page).read_text(encoding="utf-8")
    assert "**LoRA** (9 s, stopped: at its limit of 9 s)\n\n| a |\n<!-- " + kind + ": end -->\n" in once
    write_docs(content, tmp_path)
    assert (tmp_path / page).read_text(encoding="utf-8") == once
    outside = re.compile(rf"<!-- {kind}: filled.*?<!-- {kind}: end -->", re.DOTALL)
    assert outside.sub("", once) == outside.sub("", before)
    with pytest.raises(SystemExit, match="tiny"):
        write_docs(content | {"tiny": True}, tmp_path)


def test_all_that_the_package_and_its_tests_need_is_carried() -> None:
    lines = (ROOT / "benchmarks" / "gpu_wheels.txt").read_text().splitlines()
    carried = {canonicalize_name(Requirement(line).name) for line in lines if not line.startswith("#")}
    given = set(NOT_CARRIED[:1]) | needs_of("torch")
    roots = ["sottovoce", "pytest", "pytest-timeout", "llguidance"]
    needed = set().union(*map(needs_of, roots)) | set(roots[1:])
    assert needed - given - set(NOT_CARRIED) <= carried
    assert carried <= needed | {"pydantic-core"}


def needs_of(name: str) -> set[str]:
    """What an installed package needs, and what that needs, without what is not carried."""
    found: set[str] = set()
    todo = [name]
    while todo:
        for line in requires(todo.pop()) or []:
            requirement = Requirement(line)
            other = canonicalize_name(requirement.name)
            if other in found or (requirement.marker and not requirement.marker.evaluate({"extra": ""})):
                continue
            found.add(other)
            todo += [] if other in NOT_CARRIED else [other]
    return found
