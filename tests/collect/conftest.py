"""Where most tests of takes record from, and to."""

from __future__ import annotations

from pathlib import Path

import pytest
from take_folders import save_source


@pytest.fixture
def source(tmp_path: Path) -> Path:
    """A manifest with utterances that wait for a recording."""
    return save_source(tmp_path / "source")


@pytest.fixture
def out(tmp_path: Path) -> Path:
    """The folder for takes, not there yet."""
    return tmp_path / "out"
