"""The scheme cascade in whole studies of the tiny model: by a recogniser, by a file of transcripts, and refused."""

import json
import shutil
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from tiny_model import save_corpus
from tiny_recogniser import save_tiny_recogniser
from tiny_study import results_of, run_tiny_study, write_recipe

from sottovoce import load
from sottovoce.core.errors import UserError
from sottovoce.core.recipe import Recipe
from sottovoce.core.recipe_file import load_recipe
from sottovoce.data.load import load_data
from sottovoce.data.manifest import read_manifest
from sottovoce.export.export import export_run
from sottovoce.report.error_source import measure_gap
from sottovoce.report.results import read_study
from sottovoce.serve.run import serve_run
from sottovoce.serve.settings import ServerSettings
from sottovoce.study import cell as cell_run
from sottovoce.study import runner as running
from sottovoce.study import transcripts
from sottovoce.study.cells import Cell, plan_cells
from sottovoce.study.engines.jobs import portable
from sottovoce.study.engines.processes import InProcesses
from sottovoce.train import stage

BOTH: dict[str, Any] = {"schemes": ["text_only", "cascade"]}


def silent(line: str) -> None:
    """Takes what is said to the user."""


def content(path: Path) -> Any:
    return json.loads(path.read_text(encoding="utf-8"))


def write_transcripts(path: Path, manifest: Path, key: str = "text", **changes: str) -> Path:
    """The test set's gold transcripts and a row of another id; ``changes`` by number of the test utterance."""
    rows = [{"id": u.id, key: u.transcript} for u in read_manifest(manifest) if u.split == "test"]
    for number, text in changes.items():
        rows[int(number.removeprefix("test"))][key] = text
    rows.append({"id": "nobody", key: "hello"})
    path.write_text("".join(json.dumps(row) + "\n" for row in rows), encoding="utf-8")
    return path


@pytest.fixture(scope="module")
def recogniser(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return save_tiny_recogniser(tmp_path_factory.mktemp("asr") / "ctc")


@pytest.fixture(scope="module")
def by_recogniser(tiny_model_dir: Path, recogniser: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The folder of a finished study of text_only and its cascade; tests must leave it as it is."""
    folder = tmp_path_factory.mktemp("cascade")
    return run_tiny_study(folder, tiny_model_dir, save_corpus(folder / "corpus"), asr=str(recogniser), **BOTH)


def corpus_of(study: Path) -> Path:
    return Path(load_recipe(study / "recipe.yaml").corpus.manifest or "")


def test_the_stage_is_trained_once_and_only_the_answers_to_speech_differ(by_recogniser: Path) -> None:
    cascade, text_only = by_recogniser / "cells/cascade", by_recogniser / "cells/text_only"
    assert len(list(by_recogniser.glob("stages/*/done.json"))) == 1
    cards = [content(cell / "cell.json") for cell in (cascade, text_only)]
    assert cards[0]["stages"] == cards[1]["stages"]
    weights = [(cell / "weights/adapter_model.safetensors").read_bytes() for cell in (cascade, text_only)]
    assert weights[0] == weights[1]
    for modality, alike in (("text", True), ("speech", False)):
        answers = [(cell / f"predictions-{modality}.jsonl").read_bytes() for cell in (cascade, text_only)]
        assert (answers[0] == answers[1]) == alike
    assert set(content(cascade / "scores.json")) == {"speech", "text"}


def test_the_cell_names_its_recogniser_with_its_word_errors_and_keeps_its_transcripts_once(
    by_recogniser: Path, recogniser: Path
) -> None:
    (kept,) = by_recogniser.glob("transcripts-ctc-*.jsonl")
    rows = [json.loads(line) for line in kept.read_text(encoding="utf-8").splitlines()]
    assert [row["id"] for row in rows] == [f"test-{number}" for number in range(6)]
    card = content(by_recogniser / "cells/cascade/cell.json")
    assert card["asr"] == str(recogniser) and card["recogniser"].startswith("ctc-")
    assert card["word_error_rate"] > 0
    assert "asr" not in content(by_recogniser / "cells/text_only/cell.json")


def test_every_cell_says_what_an_answer_costs(by_recogniser: Path, recogniser: Path) -> None:
    from transformers import AutoModelForCTC

    cards = {name: content(by_recogniser / f"cells/{name}/cell.json") for name in ("text_only", "cascade")}
    assert all(card["seconds_per_utterance"] > 0 for card in cards.values())
    extra = AutoModelForCTC.from_pretrained(recogniser).num_parameters()
    assert cards["cascade"]["num_parameters"] == cards["text_only"]["num_parameters"] + extra


def test_gap_takes_the_transcripts_that_the_cascade_was_answered_from(
    by_recogniser: Path, recogniser: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    study = shutil.copytree(by_recogniser, tmp_path / "tiny")
    gold = [json.loads(line) for line in (study / "gold.jsonl").read_text().splitlines()]
    for row in gold:
        row["audio"] = str((by_recogniser / row["audio"]).resolve())
    (study / "gold.jsonl").write_text("".join(json.dumps(row) + "\n" for row in gold))
    monkeypatch.setattr(transcripts, "transcribe", lambda *_: pytest.fail("transcribed again"))
    found = measure_gap(study / "cells/text_only", str(recogniser), silent)
    scores = content(study / "cells/cascade/scores.json")["speech"]["strict"]
    assert found["inputs"]["cascade"]["slu_f1"] == scores["slu_f1"]
    assert round(found["word_error_rate"], 4) == content(study / "cells/cascade/cell.json")["word_error_rate"]


@pytest.mark.parametrize("key", ["text", "transcript", "heard"])
def test_a_file_of_the_gold_transcripts_makes_speech_the_same_as_text(
    tiny_model_dir: Path, tiny_corpus: Path, tmp_path: Path, key: str
) -> None:
    given = write_transcripts(tmp_path / "heard.jsonl", tiny_corpus, key)
    path = write_recipe(tmp_path, tiny_model_dir, tiny_corpus, asr=str(given), **BOTH)
    recipe, said = load_recipe(path), list[str]()
    assert not running.run_study(recipe, path, said.append)
    cell = recipe.folder / "cells/cascade"
    assert (cell / "predictions-speech.jsonl").read_bytes() == (cell / "predictions-text.jsonl").read_bytes()
    card = content(cell / "cell.json")
    assert (card["word_error_rate"], card["asr"]) == (0, str(given))
    assert card["seconds_per_utterance"] is None and card["num_parameters"] is None  # nobody knows who wrote it
    assert f"warning: cascade: the transcripts of {given} match the gold ones word for word" in said
    assert not list(recipe.folder.glob("transcripts-*"))


FAULTS: dict[str, tuple[Callable[[str], str], str]] = {
    "missing ids": (
        lambda text: "".join(text.splitlines(True)[4:]),
        r"heard\.jsonl: 4 of 6 test utterances have no transcript: test-0, test-1, test-2 and 1 more; add a row",
    ),
    "one missing": (
        lambda text: "".join(text.splitlines(True)[1:]), r"1 of 6 test utterances have no transcript: test-0; add a row"
    ),
    "an id twice": (lambda text: text + text, r"heard\.jsonl:8: id 'test-0' is already in .*heard\.jsonl:1"),
    "no JSON": (lambda text: text + "{\n", r"heard\.jsonl:8: not JSON"),
    "no text": (lambda text: text + '{"id": "a"}\n', r"heard\.jsonl:8: not a row with an id and a text; write"),
    "no id": (lambda text: text + '{"text": "a"}\n', r"heard\.jsonl:8: not a row with an id and a text"),
    "a number as text": (lambda text: text + '{"id": "a", "text": 1}\n', r"heard\.jsonl:8: not a row"),
    "a list": (lambda text: text + "[]\n", r"heard\.jsonl:8: not a row"),
    "not UTF-8": (lambda text: text + '{"id": "a", "text": "\udcff"}\n', r"heard\.jsonl:8: .*UTF-8"),
    "empty": (lambda text: "", r"6 of 6 test utterances have no transcript"),
}  # fmt: skip


@pytest.mark.parametrize("fault", FAULTS)
def test_transcripts_that_cannot_be_used_are_refused_before_any_training(
    tiny_model_dir: Path, tiny_corpus: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, fault: str
) -> None:
    change, told = FAULTS[fault]
    given = write_transcripts(tmp_path / "heard.jsonl", tiny_corpus)
    given.write_bytes(change(given.read_text(encoding="utf-8")).encode("utf-8", "surrogateescape"))
    monkeypatch.setattr(cell_run, "run_stage", lambda *_: pytest.fail("something was trained"))
    path = write_recipe(tmp_path, tiny_model_dir, tiny_corpus, asr=str(given), **BOTH)
    for start in (running.run_study, running.plan_study, running.train_study):
        with pytest.raises(UserError, match=told):
            start(load_recipe(path), path, silent)


@pytest.mark.parametrize(
    ("asr", "told"),
    [
        ("nowhere.jsonl", r"no such file of transcripts: nowhere\.jsonl; correct asr"),
        ("./nowhere", r"cannot load '\./nowhere' for speech recognition"),
    ],
)
def test_a_recogniser_that_is_not_there_is_refused_before_any_training(
    tiny_model_dir: Path, tiny_corpus: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, asr: str, told: str
) -> None:
    monkeypatch.setattr(cell_run, "run_stage", lambda *_: pytest.fail("something was trained"))
    with pytest.raises(UserError, match=told):
        run_tiny_study(tmp_path, tiny_model_dir, tiny_corpus, asr=asr, **BOTH)


def planned(manifest: Path, **changes: Any) -> list[Cell]:
    content = {"name": "tiny", "model": "embedded", "corpus": {"manifest": str(manifest)}, **changes}
    recipe = Recipe.model_validate(content)
    return plan_cells(recipe, load_data(recipe))


def test_asr_without_the_scheme_is_refused(tiny_corpus: Path) -> None:
    with pytest.raises(UserError, match="asr is given, but no scheme reads transcripts; add cascade to schemes"):
        planned(tiny_corpus, schemes=["text_only"], asr="embedded")


def test_the_cascade_is_in_the_default_schemes_but_where_it_is_the_model_itself(tiny_corpus: Path) -> None:
    def cascades(**changes: Any) -> list[tuple[str, str, str]]:
        return [(c.name, c.model, c.asr) for c in planned(tiny_corpus, budgets=[0.3], **changes) if c.asr]

    assert cascades() == cascades(asr="embedded") == []
    assert cascades(asr="a/b") == [("cascade", "embedded", "a/b")]
    assert cascades(model="some/model") == [("cascade", "some/model", "embedded")]
    both = {"model": "", "models": ["embedded", "some/model"]}
    assert cascades(**both) == [("cascade-model", "some/model", "embedded")]
    with pytest.raises(
        UserError, match="is the same as text_only tested on speech; list text_only, or name another recogniser"
    ):
        planned(tiny_corpus, schemes=["cascade"])


def test_a_study_says_in_one_line_that_it_leaves_the_cascade_out(
    tiny_model_dir: Path, tiny_corpus: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("sottovoce.study.cells.EMBEDDED", str(tiny_model_dir))  # which then stands for it
    path = write_recipe(tmp_path, tiny_model_dir, tiny_corpus, **BOTH)
    for start in (running.plan_study, running.run_study):
        said: list[str] = []
        start(load_recipe(path), path, said.append)
        assert sum("the embedded model's cascade" in line for line in said) == 1
    assert [cell.name for cell in read_study(tmp_path / "runs/tiny").cells] == ["text_only"]


def test_seeds_and_mixtures_have_cascades_of_their_own_and_budgets_have_not(tiny_corpus: Path) -> None:
    sources = {"sources": {"en": {"manifest": str(tiny_corpus)}}, "mixtures": [[], ["en"]], "seeds": [0, 1]}
    cells = planned(tiny_corpus, schemes=["cascade"], asr="a/b", budgets=[0.1, 0.3], **sources)
    names = ["cascade", "cascade-seed1", "cascade-from-en", "cascade-from-en-seed1"]
    assert [cell.name for cell in cells] == names


def test_another_recogniser_is_refused_where_a_cascade_is_finished(
    by_recogniser: Path, tiny_model_dir: Path, tmp_path: Path
) -> None:
    manifest = corpus_of(by_recogniser)
    given = write_transcripts(tmp_path / "heard.jsonl", manifest, test0="quite another")
    before = results_of(run_tiny_study(tmp_path, tiny_model_dir, manifest, asr=str(given), **BOTH))
    for other in ("the words", "other words"):  # of what no cell reads it does not matter
        given.write_text(given.read_text(encoding="utf-8").replace("hello", other), encoding="utf-8")
    run_tiny_study(tmp_path, tiny_model_dir, manifest, asr=str(given), **BOTH)
    write_transcripts(given, manifest, test0="quite another still")
    told = "cells/cascade holds results from another recogniser or other transcripts; delete that folder"
    with pytest.raises(UserError, match=told):
        run_tiny_study(tmp_path, tiny_model_dir, manifest, asr=str(given), **BOTH)
    assert results_of(tmp_path / "runs/tiny") == before
    shutil.rmtree(tmp_path / "runs/tiny/cells/cascade")
    study = run_tiny_study(tmp_path, tiny_model_dir, manifest, asr=str(given), **BOTH)
    assert results_of(study, ("text_only",)).items() <= before.items()
    assert len(list(study.glob("stages/*/done.json"))) == 1


def test_an_unfinished_cascade_is_decoded_anew_with_another_recogniser(
    by_recogniser: Path, tiny_model_dir: Path, recogniser: Path, tmp_path: Path
) -> None:
    manifest = corpus_of(by_recogniser)
    given = write_transcripts(tmp_path / "heard.jsonl", manifest)
    study = run_tiny_study(tmp_path, tiny_model_dir, manifest, asr=str(given), **BOTH)
    (study / "cells/cascade/scores.json").unlink()
    study = run_tiny_study(tmp_path, tiny_model_dir, manifest, asr=str(recogniser), **BOTH)
    assert results_of(study) == results_of(by_recogniser)
    card = content(study / "cells/cascade/cell.json")
    assert card["asr"] == str(recogniser) and card["word_error_rate"] > 0 and card["num_parameters"]


def test_a_stopped_cascade_is_resumed_without_transcribing_or_measuring_again(
    by_recogniser: Path, tiny_model_dir: Path, recogniser: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    settings, manifest = {"asr": str(recogniser), **BOTH}, corpus_of(by_recogniser)
    scored = cell_run.score_cell

    def stop(folder: Path, name: str, *rest: Any) -> Any:
        if name == "cascade":
            raise KeyboardInterrupt
        return scored(folder, name, *rest)

    with monkeypatch.context() as patch:
        patch.setattr(cell_run, "score_cell", stop)
        with pytest.raises(KeyboardInterrupt):
            run_tiny_study(tmp_path, tiny_model_dir, manifest, **settings)
    (tmp_path / "runs/tiny/cells/cascade/predictions-speech.jsonl").unlink()
    before = content(tmp_path / "runs/tiny/cells/cascade/cell.json")
    for module, name in ((transcripts, "transcribe"), (stage, "with_weights")):
        monkeypatch.setattr(module, name, lambda *_, name=name: pytest.fail(f"{name} was called"))
    monkeypatch.setattr("sottovoce.study.answer_cost.answer_cost", lambda *_: pytest.fail("measured again"))
    study = run_tiny_study(tmp_path, tiny_model_dir, manifest, **settings)
    assert results_of(study) == results_of(by_recogniser)
    after = content(study / "cells/cascade/cell.json")
    assert {**after, "seconds": 0} == {**before, "seconds": 0}


def test_a_cost_that_cannot_be_measured_loses_no_cell(
    by_recogniser: Path, tiny_model_dir: Path, recogniser: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def short_of_memory(*_: Any) -> Any:
        raise RuntimeError("out of\nmemory")

    monkeypatch.setattr("sottovoce.study.answer_cost.load_recogniser", short_of_memory)
    said: list[str] = []
    path = write_recipe(tmp_path, tiny_model_dir, corpus_of(by_recogniser), asr=str(recogniser), **BOTH)
    assert not running.run_study(load_recipe(path), path, said.append)
    assert "the cost of an answer was not measured: out of memory" in said
    cells = {cell.name: cell for cell in read_study(tmp_path / "runs/tiny").cells}
    assert cells["cascade"].finished and cells["cascade"].num_parameters is None
    assert cells["text_only"].num_parameters


def test_transcripts_of_other_recordings_are_not_kept(
    tiny_model_dir: Path, tiny_corpus: Path, recogniser: Path, tmp_path: Path
) -> None:
    path = write_recipe(tmp_path, tiny_model_dir, tiny_corpus, asr=str(recogniser), num_test_utterances=3, **BOTH)
    assert not running.run_study(load_recipe(path), path, silent)
    for scores in (tmp_path / "runs/tiny").glob("cells/*/scores.json"):
        scores.unlink()
    study = run_tiny_study(tmp_path, tiny_model_dir, tiny_corpus, asr=str(recogniser), **BOTH)
    (kept,) = study.glob("transcripts-*.jsonl")
    assert len(kept.read_text(encoding="utf-8").splitlines()) == 6


def test_other_processes_find_the_transcripts_and_the_models_from_another_folder(
    tiny_corpus: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    write_transcripts(tmp_path / "heard.jsonl", tiny_corpus)
    monkeypatch.chdir(tmp_path)
    made = {"name": "tiny", "models": ["a/b", "c/d"], "corpus": {"manifest": str(tiny_corpus)}}
    for asr, there in (("heard.jsonl", str(tmp_path / "heard.jsonl")), ("", ""), ("a/asr", "a/asr")):
        recipe = Recipe.model_validate_json(portable(Recipe.model_validate({**made, "asr": asr})))
        assert (recipe.asr, recipe.model, recipe.models) == (there, "", ("a/b", "c/d"))


@pytest.mark.slow
def test_two_processes_give_what_one_gives(
    by_recogniser: Path, tiny_model_dir: Path, recogniser: Path, tmp_path: Path
) -> None:
    settings: dict[str, Any] = {"asr": str(recogniser), **BOTH}
    path = write_recipe(tmp_path, tiny_model_dir, corpus_of(by_recogniser), **settings)
    assert not running.run_study(load_recipe(path), path, silent, InProcesses(2))
    assert results_of(tmp_path / "runs/tiny") == results_of(by_recogniser)


def test_what_needs_one_model_refuses_a_cascade_and_names_the_run_with_its_weights(
    by_recogniser: Path, tmp_path: Path
) -> None:
    run = by_recogniser / "cells/cascade"
    told = r"cells/cascade is a cascade: .*; use .*cells/text_only, which has the same weights"
    with pytest.raises(UserError, match=told):
        load(run)
    with pytest.raises(UserError, match=told):
        export_run(run, tmp_path / "out", False, silent)
    with pytest.raises(UserError, match=told):
        measure_gap(run, None, silent)
    with pytest.raises(UserError, match=told):
        serve_run(run, ServerSettings(), "127.0.0.1", 0, None, silent)
    alone = shutil.copytree(by_recogniser, tmp_path / "alone")
    shutil.rmtree(alone / "cells/text_only")
    with pytest.raises(UserError, match="add text_only, which has the same weights, to the study's schemes"):
        load(alone / "cells/cascade")


def test_decode_answers_a_cascade_again(by_recogniser: Path, tmp_path: Path) -> None:
    study = shutil.copytree(by_recogniser, by_recogniser.parent / "again")
    (study / "cells/cascade/predictions-speech.jsonl").unlink()
    running.decode_run(study / "cells/cascade", silent)
    assert results_of(study) == results_of(by_recogniser)
