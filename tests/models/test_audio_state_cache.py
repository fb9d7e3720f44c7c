"""Audio states on disk: the same bits for whoever asks, and never a wrong one."""

from __future__ import annotations

import multiprocessing
import os
import shutil
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest
import torch
from rich.progress import Progress
from tiny_whisper_lm import save_tiny_whisper_lm

from sottovoce.core.downloads import sha256_of
from sottovoce.data.manifest import read_manifest
from sottovoce.data.prompts import slu_example
from sottovoce.models import audio_state_cache as feature_files
from sottovoce.models import audio_states as audio_store
from sottovoce.models.audio_state_cache import AudioStateCache, key_parts, state_key
from sottovoce.models.audio_states import BATCH_CLIPS, AudioStore, ClipCopy
from sottovoce.models.features import encode_clips
from sottovoce.models.load import LoadedModel, load_model

STATES = {"a": torch.randn(3, 5), "b": torch.randn(7, 5).bfloat16()}


@pytest.fixture
def heard(monkeypatch: pytest.MonkeyPatch) -> list[int]:
    """Gets the number of clips of each batch that goes through an audio tower."""
    batches: list[int] = []

    def counting(model: Any, processor: Any, clips: list[Any], *others: Any) -> Iterator[torch.Tensor]:
        batches.append(len(clips))
        yield from encode_clips(model, processor, clips, *others)

    monkeypatch.setattr(audio_store, "encode_clips", counting)
    return batches


@pytest.fixture
def clips(tiny_corpus: Path) -> list[ClipCopy]:
    """15 recordings, and two perturbed copies of the first three."""
    spoken = [utterance for utterance in read_manifest(tiny_corpus) if utterance.audio is not None]
    return [(utterance, 0) for utterance in spoken] + [(u, copy) for u in spoken[:3] for copy in (1, 2)]


def states_of(store: AudioStore, clips: list[ClipCopy]) -> list[torch.Tensor]:
    with Progress(disable=True) as progress:
        store.encode(clips, progress)
    found = [store.states_of(replace(slu_example(utterance, "speech"), copy=copy)) for utterance, copy in clips]
    return [states for states in found if states is not None]


def on_disk(loaded: LoadedModel, root: Path, **options: Any) -> AudioStateCache:
    return AudioStateCache(loaded, BATCH_CLIPS, root=root, **options)


def same(some: list[torch.Tensor], others: list[torch.Tensor]) -> bool:
    return all(a.dtype == b.dtype and torch.equal(a, b) for a, b in zip(some, others, strict=True))


@pytest.mark.parametrize("bf16", [False, True])
def test_each_clip_is_heard_once_and_read_back_bit_for_bit(
    tiny_model_dir: Path, tmp_path: Path, clips: list[ClipCopy], heard: list[int], bf16: bool
) -> None:
    loaded = load_model(str(tiny_model_dir), bf16)
    first = states_of(AudioStore(loaded, files=on_disk(loaded, tmp_path)), clips)
    assert heard == [BATCH_CLIPS] * 2  # the second one filled up
    again = load_model(str(tiny_model_dir), bf16)
    assert same(first, states_of(AudioStore(again, files=on_disk(again, tmp_path)), clips[::-1])[::-1])
    assert heard == [BATCH_CLIPS] * 2
    assert first[0].dtype == (torch.bfloat16 if bf16 else torch.float32)
    assert same(first, states_of(AudioStore(loaded), clips))


def test_states_do_not_depend_on_how_many_clips_were_heard_with_them(
    loaded: LoadedModel, tmp_path: Path, clips: list[ClipCopy]
) -> None:
    together = states_of(AudioStore(loaded, files=on_disk(loaded, tmp_path / "a")), clips)
    store = AudioStore(loaded, files=on_disk(loaded, tmp_path / "b"))
    assert same(together, [states_of(store, [clip])[0] for clip in clips])


def test_another_recording_copy_or_utterance_has_another_key(clips: list[ClipCopy]) -> None:
    utterance, _ = clips[0]
    namesake, twin = replace(utterance, id="other"), replace(utterance, audio=clips[1][0].audio)
    keys = [state_key(u, copy) for u in (utterance, namesake) for copy in (0, 1, 2)]
    assert keys[0] == keys[3] and len(set(keys)) == 5  # as it is a recording is the same, whoever speaks in it
    assert state_key(twin, 0) == state_key(clips[1][0], 0) != keys[0]
    assert utterance.audio is not None and clips[1][0].audio is not None
    shutil.copy(clips[1][0].audio, utterance.audio)
    assert state_key(utterance, 0) == state_key(twin, 0)


def test_one_recording_of_two_utterances_is_perturbed_for_each_in_its_own_way(
    loaded: LoadedModel, clips: list[ClipCopy]
) -> None:
    namesake = replace(clips[0][0], id="other")
    one, other = states_of(AudioStore(loaded), [(clips[0][0], 1), (namesake, 1)])
    assert one.shape != other.shape or not torch.equal(one, other)


def test_whatever_decides_the_states_decides_the_folder(
    loaded: LoadedModel, tiny_model_dir: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    here = on_disk(loaded, tmp_path).folder
    copied = shutil.copytree(tiny_model_dir, tmp_path / "elsewhere")
    assert on_disk(load_model(str(copied), bf16=False), tmp_path).folder == here  # it is no matter where a model lies
    parts = loaded.model.model
    parts.language_model.layers[0].mlp.up_proj.weight.data += 1
    loaded.model.lm_head.weight.data += 1
    assert on_disk(loaded, tmp_path).folder == here
    others = {on_disk(load_model(str(tiny_model_dir), bf16=True), tmp_path).folder}
    others.add(AudioStateCache(loaded, 8, root=tmp_path).folder)
    parts.audio_tower.layers[0].fc1.weight.data[0, 0] += 1e-3
    others.add(on_disk(loaded, tmp_path).folder)
    loaded.processor.feature_extractor.hop_length += 1
    others.add(on_disk(loaded, tmp_path).folder)
    monkeypatch.setattr(feature_files, "version", lambda name: "99")
    others.add(on_disk(loaded, tmp_path).folder)
    assert len(others | {here}) == 6


@pytest.mark.parametrize("brings_code", [False, True])
def test_only_code_that_a_clip_goes_through_decides_the_folder(
    loaded: LoadedModel, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, brings_code: bool
) -> None:
    if brings_code:
        save_tiny_whisper_lm(tmp_path / "model")
        loaded = load_model(str(tmp_path / "model"), bf16=False)
    package = Path(feature_files.__file__).parent.parent
    own = "whisper_lm" if brings_code else "qwen2_audio"
    there = set(package.rglob("*.py"))
    through = {
        package / f"models/{name}.py" for name in (f"families/{own}", "families/base", "features", "audio_states")
    }
    through |= {package / "data/audio.py", package / "data/perturb.py"}
    if brings_code:
        through |= set(package.glob("models/whisper_lm/*.py"))

    def folder_after(edited: set[Path]) -> Path:
        with monkeypatch.context() as patch:
            patch.setattr(feature_files, "sha256_of", lambda path: "edited" if path in edited else sha256_of(path))
            return on_disk(loaded, tmp_path).folder

    before = folder_after(set())
    assert through < there and folder_after(there - through) == before
    assert all(folder_after({path}) != before for path in through)


def test_another_entry_of_the_same_family_class_has_another_folder(loaded: LoadedModel, tmp_path: Path) -> None:
    renamed = replace(loaded, family=replace(loaded.family, mask_name="mask"))
    assert on_disk(loaded, tmp_path).folder != on_disk(renamed, tmp_path).folder


def test_what_decides_the_states_is_written_beside_them(loaded: LoadedModel, tmp_path: Path) -> None:
    files = on_disk(loaded, tmp_path)
    files.write(STATES)
    assert key_parts(loaded, BATCH_CLIPS)["weights"] in (files.folder / "what.json").read_text()


@pytest.mark.parametrize("harm", ["cut", "empty", "garbage", "bit"])
def test_a_damaged_file_is_said_and_its_recordings_are_heard_again(
    loaded: LoadedModel, tmp_path: Path, clips: list[ClipCopy], heard: list[int], harm: str
) -> None:
    good = states_of(AudioStore(loaded, files=on_disk(loaded, tmp_path)), clips[:3])
    (path,) = tmp_path.glob("*/*.safetensors")
    content = bytearray(path.read_bytes())
    content[-1] ^= 1
    path.write_bytes({"cut": content[:-9], "empty": b"", "garbage": b"\xff" * 900, "bit": bytes(content)}[harm])
    said: list[str] = []
    files = on_disk(loaded, tmp_path, say=said.append)
    assert same(good, states_of(AudioStore(loaded, files=files), clips[:3]))
    assert len(heard) == 2 and len(said) == 1 and f"{path} is damaged; its recordings are encoded again" in said[0]
    assert same(good, states_of(AudioStore(loaded, files=on_disk(loaded, tmp_path)), clips[:3]))
    assert len(heard) == 2


def test_states_that_stand_under_another_key_are_not_taken(loaded: LoadedModel, tmp_path: Path) -> None:
    files = on_disk(loaded, tmp_path)
    files.write({"a": STATES["a"]})
    (path,) = tmp_path.glob("*/*.safetensors")
    content = path.read_bytes()
    path.write_bytes(content.replace(b'"a"', b'"z"'))
    assert path.read_bytes() != content
    assert on_disk(loaded, tmp_path).read(["a", "z"]) == {}


def size_of(loaded: LoadedModel, root: Path) -> int:
    """The bytes of a file with one state, whose key is one letter."""
    on_disk(loaded, root).write({"x": STATES["a"]})
    (path,) = root.glob("*/*.safetensors")
    return path.stat().st_size


def test_what_was_used_longest_ago_makes_room(loaded: LoadedModel, tmp_path: Path) -> None:
    limit, root = 3 * size_of(loaded, tmp_path / "apart"), tmp_path / "states"
    for age, key in enumerate("abc"):
        on_disk(loaded, root, limit_bytes=limit).write({key: STATES["a"]})
        newest = max(root.glob("*/*.safetensors"), key=lambda path: path.stat().st_mtime_ns)
        os.utime(newest, (age, age))  # all of them long ago, the first one longest
    assert on_disk(loaded, root).read("a").keys() == {"a"}  # which is a use
    on_disk(loaded, root, limit_bytes=limit).write({"d": STATES["a"]})
    assert on_disk(loaded, root).read("abcd").keys() == set("acd")
    half = next(root.glob("*/")) / ".half.safetensors.1.part"  # of a process that was killed
    half.write_bytes(b"0" * limit)
    os.utime(half, (0, 0))
    on_disk(loaded, root, limit_bytes=limit).write({"e": STATES["a"]})
    assert not half.exists()
    assert sum(path.stat().st_size for path in root.glob("*/*.safetensors")) <= limit


def test_what_a_study_uses_is_not_removed_for_more_of_it(loaded: LoadedModel, tmp_path: Path) -> None:
    said: list[str] = []
    limit, root = size_of(loaded, tmp_path / "apart"), tmp_path / "states"
    files = on_disk(loaded, root, limit_bytes=limit, say=said.append)
    for key in "abc":
        files.write({key: STATES["a"]})
    assert on_disk(loaded, root).read("abc").keys() == {"a"}
    assert len(said) == 1 and "no room for more audio states" in said[0]


def test_no_more_is_kept_than_half_of_what_the_disk_has_left(
    loaded: LoadedModel, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    size = size_of(loaded, tmp_path / "apart")
    for num_free, keys in ((2 * size - 2, set()), (2 * size, {"a"})):
        monkeypatch.setattr(shutil, "disk_usage", lambda path, free=num_free: SimpleNamespace(free=free))
        on_disk(loaded, tmp_path / "states").write({"a": STATES["a"]})
        assert on_disk(loaded, tmp_path / "states").read("a").keys() == keys


def test_a_full_disk_or_a_folder_that_cannot_be_written_costs_nothing_but_time(
    loaded: LoadedModel, tmp_path: Path, clips: list[ClipCopy], monkeypatch: pytest.MonkeyPatch
) -> None:
    def full(path: Path, content: bytes) -> int:
        raise OSError(28, "No space left on device")

    said: list[str] = []
    with monkeypatch.context() as patch:
        patch.setattr(Path, "write_bytes", full)
        store = AudioStore(loaded, files=on_disk(loaded, tmp_path, say=said.append))
        assert same(states_of(store, clips), states_of(AudioStore(loaded), clips))
    assert said == ["cannot store audio states: [Errno 28] No space left on device"]
    (tmp_path / "file").write_text("in the way")
    states_of(AudioStore(loaded, files=on_disk(loaded, tmp_path / "file", say=said.append)), clips)
    assert len(said) == 2 and not list(tmp_path.glob("*/*.safetensors"))


def test_a_file_that_another_process_removed_is_heard_again(
    loaded: LoadedModel, tmp_path: Path, clips: list[ClipCopy], heard: list[int]
) -> None:
    said: list[str] = []
    files = on_disk(loaded, tmp_path, say=said.append)
    good = states_of(AudioStore(loaded, files=files), clips[:2])
    kept = states_of(AudioStore(loaded, files=files), clips[:2])
    for path in tmp_path.glob("*/*.safetensors"):
        path.unlink()
    assert same(good, kept)  # what is mapped stays
    assert same(good, states_of(AudioStore(loaded, files=files), clips[:2]))
    assert len(heard) == 2 and not said


def _writing(loaded: LoadedModel, root: Path, clips: list[ClipCopy], together: Any) -> None:
    together.wait()
    states_of(AudioStore(loaded, files=on_disk(loaded, root)), clips)


def test_two_processes_that_write_at_once_leave_whole_files(
    loaded: LoadedModel, tiny_corpus: Path, tmp_path: Path, heard: list[int]
) -> None:
    spoken = [utterance for utterance in read_manifest(tiny_corpus) if utterance.audio is not None]
    clips = [(utterance, copy) for utterance in spoken for copy in range(6)]
    context = multiprocessing.get_context("fork")  # a new Python would import torch for long
    arguments = (loaded, tmp_path / "states", clips, context.Barrier(2))
    writers = [context.Process(target=_writing, args=arguments) for _ in range(2)]
    for process in writers:
        process.start()
    for process in writers:
        process.join(timeout=120)
    assert [process.exitcode for process in writers] == [0, 0]
    said: list[str] = []
    files = on_disk(loaded, tmp_path / "states", say=said.append)
    found = states_of(AudioStore(loaded, files=files), clips)
    assert not heard and not said and not list(tmp_path.glob("states/*/*.part"))
    assert same(found, states_of(AudioStore(loaded), clips))


def test_an_audio_part_that_is_trained_shares_nothing(loaded: LoadedModel, tmp_path: Path) -> None:
    with pytest.raises(ValueError, match="cannot share states"):
        AudioStore(loaded, keeps_inputs=True, files=on_disk(loaded, tmp_path))
