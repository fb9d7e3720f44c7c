import json
from pathlib import Path
from typing import Any

import pytest
from rich.progress import Progress

from sottovoce.core.recipe import Decode
from sottovoce.core.types import Frame, Utterance
from sottovoce.data.prompts import slu_example
from sottovoce.decode import batches as decoding
from sottovoce.decode.batches import RawAnswer
from sottovoce.models.audio_states import AudioStore
from sottovoce.models.load import LoadedModel

# The byte-level tokens of a prompt make its length: the batches are a, bb | ccc, dddd | eeeee.
EXAMPLES = [
    slu_example(Utterance(text, "en-US", text, Frame("s", "a"), "test"), "text")
    for text in ("eeeee", "bb", "a", "dddd", "ccc")
]


@pytest.fixture
def batches(monkeypatch: pytest.MonkeyPatch) -> list[int]:
    """The sizes of the batches that were decoded; every answer is a line with an unusual separator in it."""
    sizes: list[int] = []

    def answered(loaded: Any, model: Any, rows: list[Any], *settings: Any) -> list[tuple[str, None]]:
        sizes.append(len(rows))
        return [(f"é\u2028{len(row.prompt_ids)}", None) for row in rows]

    monkeypatch.setattr(decoding, "answered", answered)
    return sizes


def answers(loaded: LoadedModel, partial: Path) -> dict[str, RawAnswer]:
    with Progress(disable=True) as progress:
        settings = Decode(batch_size=2)
        return decoding.decode(loaded, None, EXAMPLES, AudioStore(loaded), settings, partial, progress, "test")


def test_what_a_stopped_run_decoded_is_kept(loaded: LoadedModel, tmp_path: Path, batches: list[int]) -> None:
    partial = tmp_path / "p"
    everything = answers(loaded, partial)
    assert batches == [2, 2, 1]
    assert answers(loaded, partial) == everything
    assert batches == [2, 2, 1]


# Among them cuts inside a letter of several bytes, and cuts that take whole lines along.
@pytest.mark.parametrize("missing_bytes", [1, 4, 6, 9, 12, 30, 40, 80, 120])
def test_wherever_the_file_was_cut_the_answers_come_out_the_same(
    loaded: LoadedModel, tmp_path: Path, batches: list[int], missing_bytes: int
) -> None:
    partial = tmp_path / "p"
    everything = answers(loaded, partial)
    partial.write_bytes(partial.read_bytes()[:-missing_bytes])
    assert answers(loaded, partial) == everything
    # And once more, from what the second run wrote behind the cut.
    assert {json.loads(line)["id"] for line in partial.read_text().split("\n")[:-1]} == set(everything)
    num_batches = len(batches)
    assert answers(loaded, partial) == everything
    assert len(batches) == num_batches


def test_a_batch_that_is_kept_in_part_is_decoded_as_a_whole(
    loaded: LoadedModel, tmp_path: Path, batches: list[int]
) -> None:
    partial = tmp_path / "p"
    answers(loaded, partial)
    lines = partial.read_text(encoding="utf-8").split("\n")
    partial.write_text("\n".join(lines[:3]) + "\n", encoding="utf-8")
    answers(loaded, partial)
    assert batches == [2, 2, 1, 2, 1]
