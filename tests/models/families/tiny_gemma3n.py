"""Gemma 3n.

Its picture part is timm's, and wants timm and torchvision. Neither text nor speech goes through it: where these are not
installed, the model is built with nothing in its place.
"""

from __future__ import annotations

from importlib.util import find_spec
from pathlib import Path
from typing import Any

import torch
from tiny_parts import LANGUAGE, Tiny, byte_tokenizer, save
from transformers import (
    AutoModel,
    Gemma3nAudioFeatureExtractor,
    Gemma3nConfig,
    Gemma3nForConditionalGeneration,
    Gemma3nProcessor,
)
from transformers.models.gemma3n import modeling_gemma3n

from sottovoce.data.audio import Samples
from sottovoce.models.load import LoadedModel

SPECIALS = ["<pad>", "<eos>", "<bos>", "<start_of_turn>", "<end_of_turn>", "<start_of_audio>"]
# As in the released models these have ids beyond the table of per-layer embeddings; the parts embed them themselves.
OF_PARTS = ["<end_of_image>", "<image_soft_token>", "<end_of_audio>", "<audio_soft_token>", "<unused>"]
TEMPLATE = (
    "<bos>{% for message in messages %}<start_of_turn>{{ message['role'] }}\n{% for part in message['content'] %}"
    "{% if part['type'] == 'audio' %}<audio_soft_token>{% else %}{{ part['text'] | trim }}{% endif %}{% endfor %}"
    "<end_of_turn>\n{% endfor %}{% if add_generation_prompt %}<start_of_turn>model\n{% endif %}"
)
NUM_PLACES = 40
HAS_TIMM = find_spec("timm") is not None and find_spec("torchvision") is not None


class WithoutPictures:
    """Stands for ``AutoModel`` where Gemma 3n builds its parts."""

    @staticmethod
    def from_config(config: Any) -> Any:
        return torch.nn.Identity() if config.model_type == "gemma3n_vision" else AutoModel.from_config(config)


if not HAS_TIMM:
    modeling_gemma3n.AutoModel = WithoutPictures


def build(folder: Path) -> None:
    tokenizer = byte_tokenizer(
        SPECIALS, eos="<eos>", pad="<pad>", last=OF_PARTS, audio_token="<audio_soft_token>",
        boa_token="<start_of_audio>", eoa_token="<end_of_audio>", image_token="<image_soft_token>",
        boi_token="<end_of_image>", eoi_token="<end_of_image>",
    )  # fmt: skip
    pictures, audio = (tokenizer.convert_tokens_to_ids(token) for token in ("<end_of_image>", "<end_of_audio>"))
    config = Gemma3nConfig(
        text_config=LANGUAGE
        | {
            "vocab_size": len(tokenizer), "vocab_size_per_layer_input": pictures, "head_dim": 16,
            "hidden_size_per_layer_input": 8, "num_hidden_layers": 4, "num_kv_shared_layers": 2, "sliding_window": 24,
            "layer_types": ["sliding_attention", "full_attention"] * 2, "laurel_rank": 4, "altup_num_inputs": 2,
            "activation_sparsity_pattern": [0.5, 0.0, 0.0, 0.0], "pad_token_id": 0, "eos_token_id": 1,
            "bos_token_id": 2,
        },
        audio_config={
            "vocab_size": len(tokenizer) - audio, "vocab_offset": audio, "input_feat_size": 16, "hidden_size": 16,
            "conf_num_attention_heads": 2, "conf_num_hidden_layers": 1, "sscp_conv_channel_size": (4, 4),
        },
        vision_config={
            "architecture": "test_vit", "hidden_size": 16, "vocab_size": audio - pictures, "vocab_offset": pictures,
        },
        audio_soft_tokens_per_image=NUM_PLACES,
        boa_token_id=tokenizer.boa_token_id, eoa_token_id=audio, audio_token_id=audio + 1,
        boi_token_id=pictures, eoi_token_id=pictures, image_token_id=pictures + 1,
    )  # fmt: skip
    model = Gemma3nForConditionalGeneration(config)
    for layer in model.model.language_model.layers:  # 0 in a new model, as if there were no embeddings per layer
        torch.nn.init.ones_(layer.altup.correct_output_scale)
    save(folder, model, tokenizer, Gemma3nAudioFeatureExtractor(feature_size=16), TEMPLATE)


def own_inputs(loaded: LoadedModel, prompt: str, clip: Samples) -> dict[str, torch.Tensor]:
    extractor, tokenizer = loaded.processor.feature_extractor, loaded.processor.tokenizer
    if not HAS_TIMM:  # the processor as a whole wants an image processor, and with it torchvision
        return dict(extractor([clip], return_tensors="pt"))
    from transformers import SiglipImageProcessor

    processor = Gemma3nProcessor(extractor, SiglipImageProcessor(), tokenizer, audio_seq_length=NUM_PLACES)
    token, (before, after) = processor.audio_token, loaded.processor.wrap
    bare = prompt.replace(before + token + after, token)  # the processor adds them itself
    own = processor(text=[bare], audio=[clip], return_tensors="pt")
    return {name: own[name] for name in ("input_ids", "input_features", "input_features_mask")}


GEMMA3N = Tiny("gemma3n", build, own_inputs, tokens=(NUM_PLACES, NUM_PLACES))
