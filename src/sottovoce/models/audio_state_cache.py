"""Audio states on disk: a frozen audio part encodes a recording once, and all studies share the result.

It is a cache: a fault in it costs time and never changes a result. One folder holds the states of one audio part on one
kind of device; each file holds those of a few recordings, as memory-mapped safetensors.
"""

from __future__ import annotations

import hashlib
import json
import os
import shutil
from collections.abc import Callable, Iterable, Iterator
from contextlib import suppress
from importlib.metadata import version
from inspect import getfile
from pathlib import Path
from typing import Any

import torch
from safetensors import SafetensorError, safe_open
from safetensors.torch import save

from sottovoce.core.downloads import cache_dir, sha256_of
from sottovoce.core.storage import whole_file, write_whole
from sottovoce.core.types import Utterance
from sottovoce.data.audio import audio_sha256
from sottovoce.models.load import LoadedModel

FOLDER = "audio-states"
LIMIT_BYTES = 20 * 2**30  # for all folders together
COMPUTED_BY = ("torch", "transformers", "numpy", "soundfile", "soxr")


class AudioStateCache:
    """The cached states of a model's frozen audio part.

    Args:
        loaded: the model as loaded, before any training.
        batch_size: how many clips are always encoded together; a matrix product's rounding may depend on it.
        say: receives one line if states cannot be stored, and one for each damaged file.
        root: the folder of all audio parts' folders; None: in the user's cache folder.
        limit_bytes: how much all of them may take, but never more than half of the free disk space. The least recently
            used files are removed first. Processes that write at the same time may exceed it by a file each.
    """

    def __init__(
        self,
        loaded: LoadedModel,
        batch_size: int,
        say: Callable[[str], None] = lambda line: None,
        root: Path | None = None,
        limit_bytes: int = LIMIT_BYTES,
    ) -> None:
        self._what = key_parts(loaded, batch_size)
        self._root = root or cache_dir() / FOLDER
        name = hashlib.sha256(json.dumps(self._what, sort_keys=True).encode()).hexdigest()[:16]
        self.folder = self._root / f"{loaded.family.model_type}-{name}"
        self._say, self._limit_bytes, self._keeps = say, limit_bytes, True
        self._listed: dict[Path, list[str]] = {}
        self._places: dict[str, Path] = {}
        self._used: set[Path] = set()

    def read(self, keys: Iterable[str]) -> dict[str, torch.Tensor]:
        """The cached states for these keys, including what other processes have written meanwhile.

        A damaged or truncated file is removed and reported; its recordings are encoded again.
        """
        self._list()
        wanted: dict[Path, list[str]] = {}
        for key in keys:
            if key in self._places:
                wanted.setdefault(self._places[key], []).append(key)
        return {key: states for path, held in wanted.items() for key, states in self._read(path, held).items()}

    def missing(self, keys: Iterable[str]) -> set[str]:
        """The keys that have no cached states."""
        self._list()
        return set(keys) - self._places.keys()

    def write(self, states: dict[str, torch.Tensor]) -> None:
        """Stores states by key, as one file; if they cannot be written, nothing more is stored from then on."""
        if not (states and self._keeps):
            return
        digests = {key: _digest(key, tensor) for key, tensor in states.items()}
        content = save({key: tensor.contiguous() for key, tensor in states.items()}, digests)
        path = self.folder / f"{hashlib.sha256(' '.join(sorted(states)).encode()).hexdigest()[:32]}.safetensors"
        try:
            if not self._make_room(len(content)):
                self._keeps = False
                self._say(f"{self._root} has no room for more audio states; the next study will encode the rest again")
                return
            self.folder.mkdir(parents=True, exist_ok=True)
            if not (self.folder / "what.json").exists():
                write_whole(self.folder / "what.json", json.dumps(self._what, indent=1, sort_keys=True))
            with whole_file(path) as temporary:
                temporary.write_bytes(content)
        except OSError as error:
            self._keeps = False
            self._say(f"cannot store audio states: {error}")
            return
        self._listed[path] = list(states)
        self._places |= dict.fromkeys(states, path)
        self._used.add(path)

    def _list(self) -> None:
        for path in set(self.folder.glob("*.safetensors")) - self._listed.keys():
            self._listed[path] = keys = self._opened(path, lambda file: list(file.keys())) or []
            self._places |= dict.fromkeys(keys, path)

    def _read(self, path: Path, keys: list[str]) -> dict[str, torch.Tensor]:
        def checked(file: Any) -> dict[str, torch.Tensor] | None:
            digests, there = file.metadata() or {}, set(file.keys())
            tensors = {key: file.get_tensor(key) for key in keys if key in there}
            if any(key not in tensors or digests.get(key) != _digest(key, tensors[key]) for key in keys):
                self._damaged(path)
                return None
            return tensors

        states: dict[str, torch.Tensor] | None = self._opened(path, checked)
        if states is None:
            for key in self._listed.pop(path):
                if self._places.get(key) == path:
                    del self._places[key]
            return {}
        self._used.add(path)
        with suppress(OSError):  # the cache may belong to another user
            os.utime(path)
        return states

    def _opened(self, path: Path, look: Callable[[Any], Any]) -> Any:
        """What ``look`` returns of the open file; None if it is damaged or gone."""
        try:
            with safe_open(path, "pt") as file:
                return look(file)
        except FileNotFoundError:  # another process has removed it
            pass
        except SafetensorError:
            self._damaged(path)
        except OSError as error:
            self._say(f"{path} cannot be read ({error}); its recordings are encoded again")
        return None

    def _damaged(self, path: Path) -> None:
        self._say(f"{path} is damaged; its recordings are encoded again")
        with suppress(OSError):
            path.unlink()

    def _make_room(self, num_bytes: int) -> bool:
        """Removes the least recently used files that this process does not use; returns whether there is room then."""
        files = sorted(_files(self._root))
        total = sum(size for _, size, _ in files)
        home = next(folder for folder in (self._root, *self._root.absolute().parents) if folder.exists())
        limit = min(self._limit_bytes, total + shutil.disk_usage(home).free // 2)
        for _, size, path in files:
            if total + num_bytes <= limit:
                break
            if path not in self._used:
                path.unlink(missing_ok=True)
                total -= size
        return total + num_bytes <= limit


def state_key(utterance: Utterance, copy: int) -> str:
    """Identifies the states of a recording: by its bytes and locale, and the seed of a perturbed copy.

    Raises:
        UserError: there is no such recording; the message names the manifest's file:line.
    """
    seed = [utterance.id, copy] if copy else []
    content = json.dumps([audio_sha256(utterance.audio or Path(), utterance.where), utterance.locale, *seed])
    return hashlib.sha256(content.encode()).hexdigest()


def key_parts(loaded: LoadedModel, batch_size: int) -> dict[str, Any]:
    """Everything that a recording's states depend on, to the last bit.

    Weights are identified by their bytes, not by the model's name: a hub id may get other weights, models that differ
    only in the language model can share states, and a trained audio part must not find any. The number of threads is
    left out: with one and with two, the embedded model's states were identical.
    """
    model, extractor = loaded.model, loaded.processor.feature_extractor
    config = {name: value for name, value in model.config.to_dict().items() if not name.startswith("_")}
    settings = extractor.to_dict() if hasattr(extractor, "to_dict") else vars(extractor)
    # Not relevant to the audio part: the language model, and the model's path.
    identity = {"config": config, "extractor": settings, "attention": model.config._attn_implementation}
    identity["family"] = repr(loaded.family)  # its registry entry
    for name in ("text_config", "name_or_path"):
        config.pop(name, None)
    return {
        "weights": _weights_sha256(loaded),
        "settings": hashlib.sha256(json.dumps(identity, sort_keys=True, default=str).encode()).hexdigest(),
        "dtype": str(model.dtype),
        "in 4 bits": bool(getattr(model, "is_loaded_in_4bit", False)),
        "device": torch.cuda.get_device_name(model.device) if model.device.type == "cuda" else model.device.type,
        "batch size": batch_size,
        "code": hashlib.sha256("".join(map(sha256_of, code_files(loaded))).encode()).hexdigest(),
        **loaded.family.key_parts(loaded.processor),
        **{name: version(name) for name in COMPUTED_BY},
    }


def _weights_sha256(loaded: LoadedModel) -> str:
    """Of everything in the model except what is trained with the whole language model."""
    parts = loaded.family.trained_parts(loaded.model)
    language = {id(tensor) for part in parts for tensor in (*part.parameters(), *part.buffers())}
    digest = hashlib.sha256()
    for name, tensor in (*loaded.model.named_parameters(), *loaded.model.named_buffers()):
        if id(tensor) not in language:
            digest.update(_digest(name, tensor.detach().cpu()).encode())
    return digest.hexdigest()


def code_files(loaded: LoadedModel) -> list[Path]:
    """Our own files that process a clip: the version alone would miss changes during development.

    They are those of the family's class and its bases, of the model if its code is ours, and those that read, perturb,
    batch and encode clips.
    """
    ours = __name__.partition(".")[0] + "."
    files = {Path(getfile(kind)) for kind in type(loaded.family).__mro__ if kind.__module__.startswith(ours)}
    if loaded.family.brings_code:
        files |= set(Path(getfile(type(loaded.model))).parent.glob("*.py"))
    models = Path(__file__).parent
    files |= {models / "features.py", models / "audio_states.py"}
    return sorted(files | {models.parent / "data" / name for name in ("audio.py", "perturb.py")})


def _digest(name: str, tensor: torch.Tensor) -> str:
    digest = hashlib.sha256(f"{name} {tensor.dtype} {tuple(tensor.shape)}".encode())
    digest.update(tensor.contiguous().reshape(-1).view(torch.uint8).numpy().data)
    return digest.hexdigest()


def _files(root: Path) -> Iterator[tuple[int, int, Path]]:
    """Each file's last use in ns, size and path, including files that a killed process left half written."""
    for path in root.glob("*/*"):
        with suppress(FileNotFoundError):
            state = path.stat()
            if path.suffix in (".safetensors", ".part"):
                yield state.st_mtime_ns, state.st_size, path
