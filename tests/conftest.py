"""What many tests share: the tiny model, loaded or on disk, and the tiny corpus."""

from __future__ import annotations

import os
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import TYPE_CHECKING

import pytest
from filelock import FileLock
from platformdirs import user_cache_path

if TYPE_CHECKING:
    import torch

    from sottovoce.models.load import LoadedModel

# Before torch is imported: a tiny model's threads wait for each other longer than they work.
os.environ.setdefault("OMP_NUM_THREADS", "1")
sys.path.insert(0, str(Path(__file__).parent))
pytest_plugins = ("pytester", "skips")


@pytest.fixture(scope="session", autouse=True)
def cache_of_its_own(tmp_path_factory: pytest.TempPathFactory) -> Iterator[None]:
    """A cache folder for the audio states that tests and their processes keep; what the user's holds is linked to."""
    real, ours = user_cache_path(), tmp_path_factory.mktemp("cache")
    for name in ("embedded", "registry"):  # what slow tests fetch and assemble is there the next time
        (real / "sottovoce" / name).mkdir(parents=True, exist_ok=True)
    (ours / "sottovoce").mkdir()
    for path in (*real.iterdir(), *(real / "sottovoce").iterdir()):
        if path.name not in ("sottovoce", "audio-states"):
            (ours / path.relative_to(real)).symlink_to(path)
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("XDG_CACHE_HOME", str(ours))
        yield


@pytest.fixture(scope="session")
def bf16_everywhere() -> Iterator[None]:
    """For tests in bfloat16: what they compute is small enough for processors that emulate it."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr("sottovoce.models.load.computes_bf16", lambda: True)
        yield


@pytest.fixture(params=["cpu", pytest.param("cuda", marks=pytest.mark.gpu)])
def device(request: pytest.FixtureRequest, monkeypatch: pytest.MonkeyPatch) -> torch.device:
    """The CPU, of which the code is told that there is nothing else, and the GPU, if there is one."""
    import torch

    if request.param == "cuda" and not torch.cuda.is_available():
        pytest.skip("no GPU")
    if request.param == "cpu":
        monkeypatch.setattr(torch.cuda, "is_available", lambda: False)
    return torch.device(request.param)


@pytest.fixture(scope="session")
def tiny_model_dir(tmp_path_factory: pytest.TempPathFactory, bf16_everywhere: None) -> Path:
    from tiny_model import save_tiny_model

    return save_tiny_model(tmp_path_factory.mktemp("tiny") / "model")


@pytest.fixture
def loaded(tiny_model_dir: Path) -> LoadedModel:
    """The tiny model in float32, freshly loaded, since training changes it."""
    from sottovoce.models.load import load_model

    return load_model(str(tiny_model_dir), bf16=False)


@pytest.fixture
def tiny_corpus(tmp_path: Path) -> Path:
    from tiny_model import save_corpus

    return save_corpus(tmp_path / "corpus")


@pytest.fixture(scope="session")
def tiny_study(tiny_model_dir: Path, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Path]:
    """The folder of one finished study of all schemes at two budgets; tests must leave it as it is."""
    from tiny_model import save_corpus
    from tiny_study import run_tiny_study

    shared = shared_folder(tmp_path_factory)
    done = shared / "study.done"
    with FileLock(shared / "study.lock"):  # the second of two workers waits for the first one's
        if not done.exists():
            (shared / "study").mkdir()
            done.write_text(str(run_tiny_study(shared / "study", tiny_model_dir, save_corpus(shared / "study/corpus"))))
    study = Path(done.read_text())
    before = written(study)
    yield study
    assert written(study) == before, "a test has written to the shared study"


def shared_folder(factory: pytest.TempPathFactory) -> Path:
    """A folder of this run, which all of pytest-xdist's workers share."""
    own = factory.getbasetemp()
    return own.parent if "PYTEST_XDIST_WORKER" in os.environ else own


def written(folder: Path) -> dict[str, int]:
    """When each file of a folder was last written, in nanoseconds."""
    return {str(path.relative_to(folder)): path.stat().st_mtime_ns for path in folder.rglob("*") if path.is_file()}
