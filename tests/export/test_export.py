from __future__ import annotations

import json
import re
import shutil
import sys
from pathlib import Path
from typing import Any

import pytest
import torch
import yaml
from safetensors.torch import load_file, save_file
from tiny_model import save_corpus
from tiny_study import run_tiny_study
from tiny_whisper_lm import save_tiny_whisper_lm
from transformers import AutoModelForMultimodalLM, AutoProcessor

from sottovoce.core.errors import UserError
from sottovoce.data.prompts import SLU_INSTRUCTION
from sottovoce.export import export as exporting
from sottovoce.export.export import export_run
from sottovoce.study.runs import load_run

FILES = {"README.md", "config.json", "generation_config.json", "model.safetensors", "tokenizer.json"}


@pytest.fixture(scope="module")
def exported(tiny_study: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    said: list[str] = []
    out = tmp_path_factory.mktemp("export") / "model"
    export_run(tiny_study / "cells/curriculum-30pct", out, verify=True, say=said.append)
    assert said == ["verified: a fresh process gives the run's answers to 8 requests"]
    return out


def test_the_folder_holds_what_transformers_needs_and_no_pickle(exported: Path) -> None:
    names = {path.name for path in exported.iterdir()}
    assert names >= FILES
    assert not any(name.endswith((".bin", ".pt", ".pkl", ".py")) for name in names)
    assert not any("lora" in name for name in load_file(exported / "model.safetensors"))


@pytest.mark.slow
def test_a_model_of_our_own_class_brings_its_code(tmp_path: Path, bf16_everywhere: None) -> None:
    """Written as ``export`` writes it, and verified in a process that loads the code beside the weights."""
    save_tiny_whisper_lm(tmp_path / "model")
    study = run_tiny_study(tmp_path, tmp_path / "model", save_corpus(tmp_path / "corpus"), schemes=["text_only"])
    said: list[str] = []
    out = export_run(study / "cells/text_only", tmp_path / "out", verify=True, say=said.append)
    assert said[-1] == "verified: a fresh process gives the run's answers to 8 requests"
    assert {path.name for path in out.glob("*.py")} == {
        "configuration_whisper_lm.py", "modeling_whisper_lm.py", "processing_whisper_lm.py", "words.py",
    }  # fmt: skip
    assert (out / "audio_tower_tokenizer" / "tokenizer.json").is_file()
    assert not any("sottovoce" in path.read_text() for path in out.glob("*.py"))


def test_transformers_alone_loads_the_fine_tuned_weights(exported: Path, tiny_study: Path) -> None:
    model = AutoModelForMultimodalLM.from_pretrained(exported, dtype="auto")
    _, tuned, recipe = load_run(tiny_study / "cells/curriculum-30pct", print)
    expected = tuned.state_dict()
    assert all(torch.equal(tensor, expected[name]) for name, tensor in model.state_dict().items())
    settings = model.generation_config
    assert (settings.do_sample, settings.max_new_tokens) == (False, recipe.decode.max_new_tokens)
    processor = AutoProcessor.from_pretrained(exported)
    assert settings.eos_token_id == processor.tokenizer.convert_tokens_to_ids("<|im_end|>")
    chat = [{"role": "user", "content": [{"type": "audio", "audio": "a.wav"}, {"type": "text", "text": "?"}]}]
    assert processor.apply_chat_template(chat, tokenize=False).count(processor.audio_token) == 1


def test_the_card_says_what_the_run_s_files_say(exported: Path, tiny_study: Path) -> None:
    run = tiny_study / "cells/curriculum-30pct"
    _, header, body = (exported / "README.md").read_text(encoding="utf-8").split("---\n", 2)
    assert yaml.safe_load(header)["language"] == ["en"]
    cell = json.loads((run / "cell.json").read_text())
    for fact in ("scheme curriculum", cell["data"]["sha256"], *cell["stages"], "18 utterances", "Seed 0"):
        assert fact in body
    scores = json.loads((run / "scores.json").read_text())
    for source, name in (("speech", "speech"), ("text", "gold text")):
        row = re.search(rf"^\| {name} \| ([\d.]+) \[[\d.]+, [\d.]+\] \|", body, re.MULTILINE)
        assert row and float(row[1]) == pytest.approx(100 * scores[source]["strict"]["intent_accuracy"], abs=0.06)
    assert repr(SLU_INSTRUCTION) in body


def test_the_code_on_the_card_runs(exported: Path, tiny_corpus: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    code = (exported / "README.md").read_text(encoding="utf-8").split("```python\n")[1].split("```")[0]
    shutil.copyfile(tiny_corpus.parent / "audio/test-0.wav", tiny_corpus.parent / "clip.wav")
    monkeypatch.chdir(tiny_corpus.parent)
    said: list[Any] = []
    exec(code, {"FOLDER": str(exported), "print": said.append})
    assert len(said) == 1 and isinstance(said[0], str)


def test_an_export_that_answers_otherwise_is_refused_and_leaves_nothing(
    tiny_study: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(exporting, "model_card", spoil)
    with pytest.raises(UserError, match=r"\d of 8 answers of the exported model differ from the run's"):
        export_run(tiny_study / "cells/text_only", tmp_path / "model", verify=True, say=print)
    assert not list(tmp_path.iterdir())


def spoil(*_: Any) -> str:
    """In place of the model card: changes the weights that were just written."""
    frame = sys._getframe(1)
    file = frame.f_locals["temporary"] / "model.safetensors"
    weights = load_file(file)
    save_file({name: tensor * 1.5 for name, tensor in weights.items()}, file, metadata={"format": "pt"})
    return ""


def test_what_cannot_be_exported_is_refused(tiny_study: Path, tmp_path: Path) -> None:
    run = tiny_study / "cells/text_only"
    with pytest.raises(UserError, match="already exists"):
        export_run(run, tmp_path, verify=False, say=print)
    with pytest.raises(UserError, match="is not a run folder"):
        export_run(tiny_study, tmp_path / "out", verify=False, say=print)
    study = shutil.copytree(tiny_study, tmp_path / "study")
    (study / "cells/text_only/predictions-text.jsonl").unlink()
    with pytest.raises(UserError, match="is not decoded yet; run `sottovoce decode"):
        export_run(study / "cells/text_only", tmp_path / "out", verify=False, say=print)
    assert not (tmp_path / "out").exists()
