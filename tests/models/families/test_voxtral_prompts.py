"""Voxtral's tokenizer comes from tekken.json, and its prompt is what mistral-common would write."""

from __future__ import annotations

import base64
import json
from pathlib import Path

import pytest
import soundfile
import torch
from spoken_rows import tone, utterance
from tiny_voxtral import build
from transformers import AutoConfig, TokenizersBackend

from sottovoce.data.collate import tokenize
from sottovoce.data.prompts import slu_example
from sottovoce.models.families.registry import FAMILIES
from sottovoce.models.processor import FamilyProcessor

NAMES = [
    "<unk>", "<s>", "</s>", "[INST]", "[/INST]", "[AVAILABLE_TOOLS]", "[/AVAILABLE_TOOLS]", "[TOOL_RESULTS]",
    "[/TOOL_RESULTS]", "[TOOL_CALLS]", "[IMG]", "<pad>", "[IMG_BREAK]", "[IMG_END]", "[PREFIX]", "[MIDDLE]", "[SUFFIX]",
    "[SYSTEM_PROMPT]", "[/SYSTEM_PROMPT]", "[TOOL_CONTENT]", *(f"<SPECIAL_{n}>" for n in range(20, 24)), "[AUDIO]",
    "[BEGIN_AUDIO]", *(f"<SPECIAL_{n}>" for n in range(26, 34)), "[TRANSCRIBE]",
]  # fmt: skip


@pytest.fixture
def checkpoint(tmp_path: Path) -> Path:
    """A folder as Voxtral's are: in place of a tokenizer a file with bytes and Mistral's special tokens."""
    build(tmp_path)
    for path in tmp_path.glob("tokenizer*"):
        path.unlink()
    encoded = [base64.b64encode(bytes([n])).decode() for n in range(256)]
    content = {
        "config": {
            "pattern": r"[^\s]+|\s+", "num_vocab_tokens": 256, "default_vocab_size": 256 + len(NAMES),
            "default_num_special_tokens": len(NAMES), "version": "v7",
        },
        "vocab": [{"rank": rank, "token_bytes": token, "token_str": None} for rank, token in enumerate(encoded)],
        "special_tokens": [{"rank": n, "token_str": name, "is_control": True} for n, name in enumerate(NAMES)],
        "audio": {
            "sampling_rate": 16_000, "frame_rate": 12.5, "chunk_length_s": 2.0,
            "audio_encoding_config": {"num_mel_bins": 8, "hop_length": 160, "window_size": 400},
        },
    }  # fmt: skip
    (tmp_path / "tekken.json").write_text(json.dumps(content))
    return tmp_path


@pytest.fixture
def processor(checkpoint: Path) -> FamilyProcessor:
    found = FAMILIES["voxtral"].load_processor(str(checkpoint), AutoConfig.from_pretrained(checkpoint))
    assert isinstance(found, FamilyProcessor)
    return found


def test_the_tokenizer_is_read_from_tekken_json(processor: FamilyProcessor) -> None:
    assert isinstance(processor.tokenizer, TokenizersBackend) and processor.audio_token == "[AUDIO]"
    row = tokenize(slu_example(utterance("hé!"), "text"), processor, None)
    assert row.prompt_ids[:2] == [1, 3] and row.prompt_ids[-1] == 4 and row.answer_ids[-1] == 2
    assert bytes(token - len(NAMES) for token in row.prompt_ids[2:-1]).decode() == "hé!\nIntent and slots as JSON:"


def test_the_prompt_is_the_one_of_mistral_common(checkpoint: Path, processor: FamilyProcessor) -> None:
    mistral = pytest.importorskip("mistral_common.tokens.tokenizers.mistral", reason="mistral-common writes the prompt")
    from mistral_common.protocol.instruct.chunk import AudioChunk, RawAudio, TextChunk
    from mistral_common.protocol.instruct.messages import UserMessage
    from mistral_common.protocol.instruct.request import ChatCompletionRequest

    own = mistral.MistralTokenizer.from_file(checkpoint / "tekken.json")
    soundfile.write(checkpoint / "clip.wav", tone(0.5), 16_000)
    clip = RawAudio(data=base64.b64encode((checkpoint / "clip.wav").read_bytes()).decode(), format="wav")
    instruction = TextChunk(text="\nIntent and slots as JSON:")
    written = UserMessage(content="light on" + instruction.text)
    spoken = UserMessage(content=[AudioChunk(input_audio=clip), instruction])
    expected = [own.encode_chat_completion(ChatCompletionRequest(messages=[m])).tokens for m in (written, spoken)]
    assert [ids.count(24) for ids in expected] == [0, 25]
    said = utterance("light on")
    found = [
        tokenize(slu_example(said, "text"), processor, None).prompt_ids,
        tokenize(slu_example(said, "speech"), processor, torch.zeros(25, 32)).prompt_ids,
    ]
    assert found == expected
