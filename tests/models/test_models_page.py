"""docs/models.md and the registry say the same of every family."""

from __future__ import annotations

import re
from pathlib import Path

import pytest

from sottovoce.models.families.base import Family
from sottovoce.models.families.registry import FAMILIES

PAGE = Path(__file__).parents[2] / "docs" / "models.md"
REGISTERED = {family.model_type: family for family in FAMILIES.values()}


def rows() -> dict[str, dict[str, str]]:
    """The cells of the tables whose first column is ``model_type``, by that and by column."""
    found: dict[str, dict[str, str]] = {}
    header: list[str] = []
    for line in PAGE.read_text(encoding="utf-8").splitlines():
        if not line.startswith("|"):
            header = []
            continue
        first, *cells = (cell.strip().replace("\\|", "|") for cell in re.split(r"(?<!\\)\|", line)[1:-1])
        if first == "`model_type`":
            header = cells
        elif header and not first.startswith("---"):
            found.setdefault(first.strip("`"), {}).update(zip(header, cells, strict=True))
    return found


def expected(family: Family) -> dict[str, str]:
    window = "any length" if family.window_seconds is None else f"{family.window_seconds:g} s"
    return {
        "released (read)": ", ".join(family.released),
        "transformers class": f"`{family.model_class}`",
        "since": family.minimum_transformers,
        "audio tower": f"`{family.audio_tower}`",
        "projector": f"`{family.projector}`",
        "language model": f"`{family.text_model}`",
        "audio token": f"`{family.audio_token}`",
        "Hz": f"{family.sampling_rate:,}",
        "tokens a second": f"{family.tokens_per_second:g}" + (", whole windows" if family.fills_windows else ""),
        "window": window if family.max_windows == 1 else f"{family.max_windows} of {window}",
    }


def test_the_page_names_the_families_of_the_registry() -> None:
    assert list(rows()) == list(REGISTERED)


@pytest.mark.parametrize("model_type", REGISTERED)
def test_what_the_page_says_of_a_family_is_what_the_registry_holds(model_type: str) -> None:
    said = rows()[model_type]
    said.pop("family")
    assert said == expected(REGISTERED[model_type])


@pytest.mark.parametrize(
    ("model_type", "seconds", "num_tokens"),
    [
        ("qwen2_audio", 2.0, 50),
        ("qwen2_audio", 31.0, 750),  # what is beyond the window is cut
        ("voxtral", 2.0, 375),
        ("voxtral", 31.0, 750),
        ("gemma3n", 2.0, 188),
        ("gemma3n", 40.0, 188),
        ("granite_speech", 100.0, 1000),
    ],
)
def test_audio_tokens_of_a_clip(model_type: str, seconds: float, num_tokens: int) -> None:
    assert REGISTERED[model_type].num_audio_tokens(seconds) == num_tokens
