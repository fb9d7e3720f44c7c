"""A checkpoint folder of every family's tiny model."""

from __future__ import annotations

from pathlib import Path

import pytest
from test_families import GENERIC, TINY
from tiny_parts import Tiny


@pytest.fixture(scope="module", params=[None, *TINY, *GENERIC], ids=lambda tiny: tiny.model_type if tiny else "qwen2")
def folder(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory, tiny_model_dir: Path) -> Path:
    """The tiny model of Qwen2-Audio or of another family; tests leave it as it is."""
    tiny: Tiny | None = request.param
    if tiny is None:
        return tiny_model_dir
    made = tmp_path_factory.mktemp(tiny.model_type)
    tiny.build(made)
    return made
