import errno
import json
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from command_line import Outcome, run_main
from safetensors import SafetensorError

from sottovoce.core.errors import UserError
from sottovoce.data.corpora import registry

VERBS = (
    "prepare", "check", "train", "decode", "score", "compare", "study", "report", "predict", "serve", "export", "gap",
    "recipe", "embedded", "embedded path", "embedded speak-home", "embedded speak", "embedded wer",
    "embedded confusions",
)  # fmt: skip
FIGURES = {
    "scenario_accuracy", "action_accuracy", "intent_accuracy", "entity_f1", "slu_precision", "slu_recall", "slu_f1",
    "num_scored", "num_missing",
}  # fmt: skip
# One utterance with two recordings, in the format of SLURP's release files.
RELEASE: dict[str, Any] = {
    "slurp_id": 13804, "sentence": "wake me up at Five am", "sentence_annotation": "wake me up at [time : Five am]",
    "intent": "alarm_set", "action": "set", "scenario": "alarm",
    "tokens": [{"surface": word, "id": place} for place, word in enumerate(["wake", "me", "up", "at", "Five", "am"])],
    "recordings": [{"file": "audio-1.flac", "wer": 0.0}, {"file": "audio-2.flac", "wer": 0.1}],
    "entities": [{"span": [4, 5], "type": "time"}],
}  # fmt: skip
MASSIVE = {
    "id": "1", "locale": "en-US", "partition": "train", "scenario": "lamp", "intent": "lamp_on", "utt": "lamp on",
    "annot_utt": "lamp on", "worker_id": "1",
}  # fmt: skip


Run = Callable[..., Outcome]


@pytest.fixture
def run(monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> Run:
    """Runs the command line in this process, as its entry point does."""

    def run_in_process(*arguments: str | Path) -> Outcome:
        return run_main(monkeypatch, capsys, *arguments)

    return run_in_process


def lines(path: Path, *rows: dict[str, Any]) -> Path:
    path.write_text("".join(json.dumps(row) + "\n" for row in rows), encoding="utf-8")
    return path


def prediction(**key: Any) -> dict[str, Any]:
    return {**key, "scenario": "alarm", "action": "set", "entities": [{"type": "time", "filler": "five am"}]}


@pytest.mark.parametrize(
    ("code", "light"),
    [
        ("import sottovoce", ("numpy", "pydantic", "rich")),
        ("from sottovoce.cli.main import main; main()", ()),
        ("from sottovoce.cli.main import main; sys.argv[1:] = ['recipe', '--schema']; main()", ("numpy",)),
    ],
    ids=["package", "help", "recipe"],
)
def test_neither_the_package_nor_its_help_nor_its_recipe_loads_torch(code: str, light: tuple[str, ...]) -> None:
    heavy = {"torch", "transformers", "matplotlib", "onnxruntime", *light}
    script = f"""
import sys
sys.argv = ["sottovoce", "--help"]
try:
    {code}
finally:
    print(*sorted({heavy} & set(sys.modules)), file=sys.stderr)
"""
    done = subprocess.run([sys.executable, "-c", script], capture_output=True, text=True, check=True)
    assert done.stderr == "\n"


@pytest.mark.parametrize("verb", VERBS)
def test_every_verb_has_help(run: Run, verb: str) -> None:
    outcome = run(*verb.split(), "--help")
    assert outcome.code == 0
    assert f"sottovoce {verb} " in outcome.out


def test_help_lists_every_verb(run: Run) -> None:
    listed = run("--help").out
    assert all(verb in listed for verb in VERBS[:9])


def test_a_mistake_is_one_line_on_standard_error_and_exit_status_2(run: Run, tmp_path: Path) -> None:
    outcome = run("study", tmp_path / "nowhere.yaml")
    assert (outcome.code, outcome.out) == (2, "")
    assert outcome.err == f"error: no such recipe: {tmp_path / 'nowhere.yaml'}; correct the path\n"


def test_a_mistake_with_line_breaks_is_one_line_too(run: Run, monkeypatch: pytest.MonkeyPatch) -> None:
    def refuse(*arguments: Any, **options: Any) -> None:
        raise UserError("first\nsecond", "third")

    monkeypatch.setattr(registry, "prepare", refuse)
    assert run("prepare", "home", "-", "out").err == "error: first second; third\n"


def test_a_place_in_a_file_is_printed_as_it_is(run: Run, tmp_path: Path) -> None:
    # rich would print the line numbers 100 and 1234 as pictures, [a] as a style, and break long lines.
    folder = tmp_path / "[a]" / ("long" * 50)
    folder.mkdir(parents=True)
    path = lines(folder / "m.jsonl", *[{}] * 120)
    path.write_text("\n" * 99 + "no JSON\n")
    assert run("check", path).err.startswith(f"error: {path}:100: ")


@pytest.mark.parametrize(
    ("arguments", "said"),
    [(["stduy"], "No such command 'stduy'."), (["score"], "PREDICTIONS"), (["check", "m", "--all"], "--all")],
)
def test_a_wrong_call_is_one_line_and_exit_status_2(run: Run, arguments: list[str], said: str) -> None:
    outcome = run(*arguments)
    assert outcome.code == 2
    assert outcome.err.startswith("error: ") and outcome.err.count("\n") == 1
    assert said.lower() in outcome.err.lower()


def test_without_a_verb_the_help_is_shown(run: Run) -> None:
    outcome = run()
    assert outcome.code == 2
    assert "Usage: sottovoce" in outcome.out


def test_ctrl_c_is_one_line_and_exit_status_130(run: Run, monkeypatch: pytest.MonkeyPatch) -> None:
    def stop(*arguments: Any, **options: Any) -> None:
        raise KeyboardInterrupt

    monkeypatch.setattr(registry, "prepare", stop)
    outcome = run("prepare", "home", "-", "out")
    assert (outcome.code, outcome.out) == (130, "")
    assert outcome.err.strip() == "stopped; rerun the same command to resume"


def test_a_full_disk_is_one_line_and_exit_status_2(run: Run, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    source = lines(tmp_path / "massive.jsonl", MASSIVE)

    def full(path: Path, *arguments: Any, **options: Any) -> None:
        raise OSError(errno.ENOSPC, "No space left on device", str(path))

    monkeypatch.setattr(Path, "write_text", full)
    outcome = run("prepare", "massive", source, tmp_path / "out")
    assert outcome.code == 2
    manifest = tmp_path / "out/manifest.jsonl"
    assert outcome.err == f"error: the disk is full ({manifest}); free some space and rerun\n"


@pytest.mark.parametrize(
    "error",
    [
        RuntimeError("[enforce fail at inline_container.cc:672] . unexpected pos 163264 vs 163156"),
        SafetensorError("Error while serializing: I/O error: No space left on device (os error 28)"),
    ],
    ids=["torch", "safetensors"],
)
def test_a_disk_that_is_full_at_a_checkpoint_is_one_line_too(
    run: Run, monkeypatch: pytest.MonkeyPatch, error: Exception
) -> None:
    def full(*arguments: Any, **options: Any) -> None:
        raise error

    monkeypatch.setattr(registry, "prepare", full)
    outcome = run("prepare", "home", "-", "out")
    assert outcome.code == 2
    assert outcome.err == "error: the disk is full (while writing); free some space and rerun\n"


def test_another_fault_of_the_system_is_not_taken_for_a_full_disk(run: Run, monkeypatch: pytest.MonkeyPatch) -> None:
    def broken(*arguments: Any, **options: Any) -> None:
        raise OSError(errno.EIO, "Input/output error")

    monkeypatch.setattr(registry, "prepare", broken)
    with pytest.raises(OSError, match="Input/output error"):
        run("prepare", "home", "-", "out")


def test_score_prints_one_json_object_against_a_slurp_release_file(run: Run, tmp_path: Path) -> None:
    gold = lines(tmp_path / "test.jsonl", RELEASE)
    outcome = run("score", lines(tmp_path / "p", prediction(file="audio-1.flac")), "--gold", gold, "--json")
    scores = json.loads(outcome.out)
    assert (outcome.code, list(scores)) == (0, ["official", "strict"])
    assert all(scores[view].keys() >= FIGURES for view in scores)
    # One of two recordings is answered, and rightly: the official scorer skips the other.
    assert (scores["official"]["intent_accuracy"], scores["official"]["slu_f1"]) == (1.0, 1.0)
    assert (scores["strict"]["intent_accuracy"], scores["strict"]["slu_recall"]) == (0.5, 0.5)
    assert (scores["official"]["num_scored"], scores["strict"]["num_scored"]) == (1, 2)
    assert scores["strict"]["num_missing"] == 1


def test_score_reads_a_manifest_and_prints_a_table(run: Run, tmp_path: Path) -> None:
    row = {key: MASSIVE[key] for key in ("id", "locale")} | {
        "split": "test", "transcript": "lamp on", "scenario": "alarm", "action": "off", "entities": [],
    }  # fmt: skip
    gold = lines(tmp_path / "m.jsonl", row, {**row, "id": "2", "split": "dev"})
    outcome = run("score", lines(tmp_path / "p", prediction(id="1")), "--gold", gold, "--split", "test")
    assert outcome.code == 0
    assert [line.split()[-1] for line in outcome.out.splitlines() if "scenario accuracy" in line] != []
    assert "100.00%" in next(line for line in outcome.out.splitlines() if "scenario accuracy" in line)
    assert "0.00%" in next(line for line in outcome.out.splitlines() if "action accuracy" in line)


def test_prepare_writes_a_manifest_and_names_the_nearest_corpus(run: Run, tmp_path: Path) -> None:
    source = lines(tmp_path / "massive.jsonl", MASSIVE)
    assert run("prepare", "massive", source, tmp_path / "out").code == 0
    assert json.loads((tmp_path / "out/manifest.jsonl").read_text())["transcript"] == "lamp on"
    outcome = run("prepare", "masive", source, tmp_path / "out")
    assert outcome.code == 2
    assert outcome.err.startswith("error: unknown corpus 'masive'; did you mean 'massive'?")


def test_an_option_of_prepare_is_key_and_value(run: Run, tmp_path: Path) -> None:
    source = lines(tmp_path / "massive.jsonl", MASSIVE)
    assert "'speech' is not key=value" in run("prepare", "massive", source, tmp_path, "speech").err
    assert (
        "has no option 'speach'; did you mean 'speech'?" in run("prepare", "massive", source, tmp_path, "speach=x").err
    )


def test_check_prints_a_table_and_passes_a_sound_manifest(run: Run, tiny_corpus: Path) -> None:
    outcome = run("check", tiny_corpus)
    assert outcome.code == 0
    train = next(line for line in outcome.out.splitlines() if "train" in line)
    assert [cell.strip() for cell in train.split("│")[1:4]] == ["train", "18", "9"]


def test_check_lists_faults_and_exits_2(run: Run, tiny_corpus: Path) -> None:
    clip = tiny_corpus.parent / "audio/train-0.wav"
    clip.unlink()
    outcome = run("check", tiny_corpus)
    assert outcome.code == 2
    assert "train" in outcome.out
    faults = [line for line in outcome.err.splitlines() if line.startswith("fault: ")]
    assert faults == [f"fault: {tiny_corpus}:1: no such recording: {clip}"]
    assert outcome.err.splitlines()[-1] == f"error: {tiny_corpus} is not fit to train; fix the faults above"


def test_check_warns_of_clips_beyond_the_window(run: Run, tiny_corpus: Path) -> None:
    assert "longer than the window" not in run("check", tiny_corpus).err
    assert "longer than the window of 0.6 s" in run("check", tiny_corpus, "--window-seconds", "0.6").err
