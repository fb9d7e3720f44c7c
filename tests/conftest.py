"""What many tests share: the tiny model, loaded or on disk, and the tiny corpus."""

from __future__ import annotations

import sys
from pathlib import Path

import pytest

sys.path.insert(0, str(Path(__file__).parent))


@pytest.fixture(scope="session")
def tiny_model_dir(tmp_path_factory: pytest.TempPathFactory) -> Path:
    from tiny_model import save_tiny_model

    return save_tiny_model(tmp_path_factory.mktemp("tiny") / "model")


@pytest.fixture
def tiny_corpus(tmp_path: Path) -> Path:
    from tiny_model import save_corpus

    return save_corpus(tmp_path / "corpus")
