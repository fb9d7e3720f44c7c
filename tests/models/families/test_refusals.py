"""Models that cannot be trained are refused on loading, in one line that says why."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest
from spoken_rows import utterance
from tiny_audio_flamingo import build_audio_flamingo
from tiny_gemma3n import build as build_gemma3n
from tiny_parts import LANGUAGE, byte_tokenizer
from tiny_qwen3_asr import build as build_qwen3_asr
from transformers import AutoModel, LlamaConfig, LlamaForCausalLM, Qwen3ASRForConditionalGeneration
from transformers.models.gemma3n import modeling_gemma3n
from transformers.utils import import_utils

from sottovoce.core.errors import UserError
from sottovoce.data.prompts import messages_of, slu_example
from sottovoce.models.families.registry import family_of
from sottovoce.models.load import load_model, load_skeleton
from sottovoce.models.processor import FamilyProcessor, fitted


def test_a_model_without_ears(tmp_path: Path) -> None:
    LlamaForCausalLM(LlamaConfig(**LANGUAGE, vocab_size=300)).save_pretrained(tmp_path)
    with pytest.raises(UserError, match=r"type 'llama' are not supported: no audio in, text out; docs/models\.md"):
        load_model(str(tmp_path), bf16=False)


def test_an_unregistered_model_whose_forward_does_more(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    build_qwen3_asr(tmp_path)
    assert load_model(str(tmp_path), bf16=False).family == family_of("qwen3_asr")
    forward = Qwen3ASRForConditionalGeneration.forward

    def louder(self: Any, *args: Any, **kwargs: Any) -> Any:
        out = forward(self, *args, **kwargs)
        out.logits = out.logits + out.logits.roll(1, -1)
        return out

    monkeypatch.setattr(Qwen3ASRForConditionalGeneration, "forward", louder)
    with pytest.raises(UserError, match=r"the logits differ from the model's own by \d+%"):
        load_model(str(tmp_path), bf16=False)


def test_transformers_that_is_too_old(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    build_audio_flamingo(tmp_path)
    monkeypatch.setattr("transformers.__version__", "5.1.0")
    with pytest.raises(UserError, match=r"^audioflamingo3 needs transformers 5\.23\.0, not 5\.1\.0; pip install"):
        load_model(str(tmp_path), bf16=False)


def test_a_package_that_is_missing(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    build_gemma3n(tmp_path)
    monkeypatch.setattr(modeling_gemma3n, "AutoModel", AutoModel)
    _, message = import_utils.BACKENDS_MAPPING["timm"]
    monkeypatch.setitem(import_utils.BACKENDS_MAPPING, "timm", (lambda: False, message))  # also where it is installed
    for load in (load_model, load_skeleton):
        with pytest.raises(UserError, match=r"requires the timm library .*; install the missing package$"):
            load(str(tmp_path))


def test_a_template_that_leaves_the_recording_out() -> None:
    deaf = "{% for message in messages %}{{ message['role'] }}{% endfor %}"
    with pytest.raises(UserError, match="does not write '<sound>' for a recording"):
        fitted(FamilyProcessor(byte_tokenizer(["<|im_end|>", "<sound>"]), None, deaf, "<sound>"))


def test_a_placeholder_that_the_tokenizer_lacks(tmp_path: Path) -> None:
    build_audio_flamingo(tmp_path)
    config = json.loads((tmp_path / "config.json").read_text())
    (tmp_path / "config.json").write_text(json.dumps(config | {"audio_token_id": 9999}))
    with pytest.raises(UserError, match="the tokenizer lacks token 9999, the model's audio placeholder"):
        load_model(str(tmp_path), bf16=False)


def test_a_checkpoint_without_chat_template(tmp_path: Path) -> None:
    build_audio_flamingo(tmp_path)
    (tmp_path / "chat_template.jinja").unlink()
    with pytest.raises(UserError, match="has no chat template"):
        load_model(str(tmp_path), bf16=False)


def test_content_is_given_in_the_form_that_a_template_takes() -> None:
    """Not refused: a template that wants a string gets one."""
    tokenizer = byte_tokenizer(["<|im_end|>", "<sound>"])
    as_string = "{% for message in messages %}{{ message['content'] + '|' }}{% endfor %}"
    processor = fitted(FamilyProcessor(tokenizer, None, as_string, "<sound>", wrap=("(", ")")))
    prompts = [
        processor.apply_chat_template(messages_of(slu_example(utterance("on"), modality)), add_generation_prompt=True)
        for modality in ("speech", "text")
    ]
    assert prompts == ["(<sound>)\nIntent and slots as JSON:|", "on\nIntent and slots as JSON:|"]
