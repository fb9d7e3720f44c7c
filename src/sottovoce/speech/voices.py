"""The synthetic voices and their casts: training, development and test voices never overlap."""

from __future__ import annotations

import random
from dataclasses import dataclass

from sottovoce.core.errors import UserError, nearest


@dataclass(frozen=True)
class Voice:
    """A synthetic voice: ``engine`` speaks it, ``name`` is the engine's own name (``a+b``: the mean of two styles)."""

    engine: str
    name: str

    @property
    def speaker(self) -> str:
        return f"{self.engine}:{self.name}"


ENGINES = ("kokoro", "piper", "flite", "espeak")
CAST_LOCALES = ("en-US", "fr-FR")  # which the casts below can speak


def voice_named(name: str) -> Voice:
    """A voice by ``ENGINE:NAME``, such as ``kokoro:af_sky``, ``espeak:de`` or ``piper:voices/de.onnx``.

    Raises:
        UserError: there is no such engine, or no name.
    """
    engine, _, own_name = name.partition(":")
    if engine not in ENGINES or not own_name:
        raise UserError(f"{name!r} is not a voice (ENGINE:NAME)", nearest(engine, ENGINES))
    return Voice(engine, own_name)


# fmt: off
KOKORO_TRAIN = (
    "af_alloy", "af_aoede", "af_heart", "af_jessica", "af_nicole", "af_nova", "af_river", "af_sarah", "af_sky",
    "am_adam", "am_echo", "am_eric", "am_liam", "am_michael", "am_onyx", "am_santa",
    "bf_alice", "bf_isabella", "bf_lily", "bm_daniel", "bm_fable", "bm_lewis",
)
KOKORO_ROMANCE = ("im_nicola", "ef_dora", "pm_alex", "em_santa", "pm_santa")
KOKORO_DEV = ("em_alex", "pf_dora", "if_sara", "hm_omega")
KOKORO_TEST = ("af_bella", "af_kore", "am_fenrir", "am_puck", "bf_emma", "bm_george")
FLITE = ("slt", "rms", "awb", "kal16")
ESPEAK_EN = ("en-us", "en-us+f2", "en-us+m3", "en-us+f4", "en-us+m7", "en-gb", "en-gb+f3", "en-gb-scotland",
             "en-gb-x-rp")
ESPEAK_FR = ("fr-fr", "fr-fr+f2", "fr-fr+m3", "fr-fr+f4", "fr-fr+m7", "fr-be", "fr-be+f3", "fr-ch", "fr-ch+f5")
# fmt: on


def _kokoro(names: tuple[str, ...]) -> list[Voice]:
    return [Voice("kokoro", name) for name in names]


def draw_voice(cast: str, locale: str, rng: random.Random) -> Voice:
    """Draws the voice of one utterance.

    Args:
        cast: ``many`` (training voices of all engines, mixed styles too), ``quick`` (the fast ones of these: all but
            Kokoro's), ``train`` (Kokoro training voices), ``dev`` or ``test``.
        locale: ``en-US`` or ``fr-FR``; Kokoro's English voices also speak French phonemes, with an accent.

    Raises:
        KeyError: an unknown cast or locale.
    """
    french = {"en-US": False, "fr-FR": True}[locale]
    romance = KOKORO_ROMANCE if french else ()
    if cast == "many":
        return _any_voice(french, romance, rng)
    if cast == "quick":
        return _quick_voice(french, rng.random(), rng)
    casts = {
        "train": KOKORO_TRAIN + romance,
        "dev": KOKORO_DEV,
        "test": KOKORO_TEST + (("ff_siwis", "ff_siwis") if french else ()),
    }
    return rng.choice(_kokoro(casts[cast]))


def _any_voice(french: bool, romance: tuple[str, ...], rng: random.Random) -> Voice:
    kokoro = KOKORO_TRAIN + romance * 2
    draw = rng.random()
    if draw < 0.50:
        return Voice("kokoro", rng.choice(kokoro))
    if draw < 0.72:
        return Voice("kokoro", "+".join(rng.sample(sorted(set(kokoro)), 2)))
    return _quick_voice(french, (draw - 0.72) / 0.28, rng)


def _quick_voice(french: bool, draw: float, rng: random.Random) -> Voice:
    if french:
        return Voice("espeak", rng.choice(ESPEAK_FR))
    if draw < 5 / 14:
        return Voice("piper", "joe")
    return Voice("flite", rng.choice(FLITE)) if draw < 11 / 14 else Voice("espeak", rng.choice(ESPEAK_EN))
