"""The real embedded model: assembled (from the hub or the package index), it still speaks, and it hears."""

from __future__ import annotations

from pathlib import Path

import pytest
import torch

from sottovoce.data.corpora.home import home_manifest
from sottovoce.errors import UserError
from sottovoce.evaluate.transcribe import transcribe_manifest
from sottovoce.models.embedded import embedded_model_dir
from sottovoce.models.load import LoadedModel, load_model

pytestmark = pytest.mark.slow


@pytest.fixture(scope="module")
def embedded() -> LoadedModel:
    try:
        return load_model("embedded")
    except UserError as error:
        pytest.skip(f"the embedded model cannot be assembled here: {error}")


def test_a_second_start_finds_the_assembled_model(embedded: LoadedModel) -> None:
    said: list[str] = []
    assert embedded_model_dir(said.append).is_dir()
    assert said == []


def test_it_kept_its_language(embedded: LoadedModel) -> None:
    tokenizer = embedded.processor.tokenizer
    chat = [{"role": "user", "content": "What is the capital of France?"}]
    prompt = embedded.processor.apply_chat_template(chat, add_generation_prompt=True, tokenize=False)
    inputs = tokenizer(prompt, return_tensors="pt")
    with torch.inference_mode():
        ids = embedded.model.generate(**inputs, max_new_tokens=20, do_sample=False)
    assert "Paris" in tokenizer.decode(ids[0][inputs["input_ids"].shape[1] :])


def test_it_hears_most_words_of_voices_it_never_heard(embedded: LoadedModel, tmp_path: Path) -> None:
    lines = [line for line in home_manifest("en-US").read_text().splitlines() if '"split": "test"' in line][::10]
    folder = home_manifest("en-US").parent
    manifest = tmp_path / "manifest.jsonl"
    manifest.write_text("\n".join(line.replace('"audio/', f'"{folder}/audio/') for line in lines))
    said = transcribe_manifest(manifest, "test", None, lambda line: None, allow_outside=True)
    assert said["num_utterances"] == len(lines) > 30
    assert said["word_error_rate"] < 0.08
