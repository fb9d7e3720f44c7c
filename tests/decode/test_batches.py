from __future__ import annotations

import json
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
import torch
from rich.progress import Progress
from spoken_rows import mixed_rows

from sottovoce.core.recipe import Decode
from sottovoce.core.types import Example
from sottovoce.data.manifest import read_manifest
from sottovoce.data.prompts import slu_example
from sottovoce.decode import batches as module
from sottovoce.decode.batches import answered, decode, generate
from sottovoce.models.audio_states import AudioStore
from sottovoce.models.load import LoadedModel


class Stopped(Exception):  # noqa: N818
    """Stands for whatever ends a process."""


SETTINGS = Decode(batch_size=4, max_new_tokens=10)


@pytest.fixture
def lively(loaded: LoadedModel) -> LoadedModel:
    """The tiny model with larger weights, so that its answers depend on what it hears."""
    torch.manual_seed(3)
    for parameter in [*loaded.model.model.language_model.parameters(), *loaded.model.lm_head.parameters()]:
        if parameter.ndim == 2:
            parameter.data.normal_(std=0.3)
    return loaded


@pytest.fixture
def examples(tiny_corpus: Path) -> list[Example]:
    """Fifteen spoken and twelve written examples."""
    spoken = [slu_example(u, "speech") for u in read_manifest(tiny_corpus) if u.audio]
    return spoken + [slu_example(replace(e.utterance, id=f"text-{e.utterance.id}"), "text") for e in spoken[3:]]


def decoded(loaded: LoadedModel, examples: list[Example], partial: Path, settings: Decode = SETTINGS) -> dict[str, str]:
    store = AudioStore(loaded)
    with Progress(disable=True) as progress:
        store.encode([(e.utterance, 0) for e in examples if e.modality == "speech"], progress)
        answers = decode(loaded, loaded.model, examples, store, settings, partial, progress, "decoding")
    return {identity: answer.text for identity, answer in answers.items()}


def count_decoded(monkeypatch: pytest.MonkeyPatch, stop_after: int = 10**9) -> list[int]:
    """The sizes of the batches decoded from now on; a batch after ``stop_after`` of them ends in an exception."""
    sizes: list[int] = []

    def counted(loaded: LoadedModel, model: Any, rows: list[Any], *settings: Any) -> Any:
        if len(sizes) == stop_after:
            raise Stopped
        sizes.append(len(rows))
        return answered(loaded, model, rows, *settings)

    monkeypatch.setattr(module, "answered", counted)
    return sizes


def test_a_batch_is_answered_as_its_rows_one_by_one(lively: LoadedModel) -> None:
    rows = mixed_rows(lively)
    alone = [generate(lively, lively.model, [row], 12)[0] for row in rows]
    assert generate(lively, lively.model, rows, 12) == alone
    assert len(set(alone)) == len(rows)  # else this would not tell the rows apart


def test_decoding_in_batches_equals_decoding_one_by_one(
    lively: LoadedModel, examples: list[Example], tmp_path: Path
) -> None:
    together = decoded(lively, examples, tmp_path / "some")
    assert together == decoded(lively, examples, tmp_path / "one", Decode(batch_size=1, max_new_tokens=10))
    assert together.keys() == {e.utterance.id for e in examples} and len(set(together.values())) > 5


def test_answers_are_greedy_and_end_before_the_end_of_turn(lively: LoadedModel) -> None:
    row = mixed_rows(lively)[2]
    answer = generate(lively, lively.model, [row], 12)[0]
    tokenizer, ids = lively.processor.tokenizer, list(row.prompt_ids)
    with torch.inference_mode():
        for _ in range(12):
            ids.append(int(lively.model(input_ids=torch.tensor([ids])).logits[0, -1].argmax()))
            if ids[-1] == tokenizer.convert_tokens_to_ids("<|im_end|>"):
                break
    assert answer == tokenizer.decode(ids[len(row.prompt_ids) :], skip_special_tokens=True).strip()
    assert generate(lively, lively.model, [row], 3)[0] != answer


def test_the_end_of_turn_stops_an_answer(lively: LoadedModel) -> None:
    end = lively.processor.tokenizer.convert_tokens_to_ids("<|im_end|>")
    lively.model.lm_head.register_forward_hook(lambda _, __, logits: logits.index_fill(-1, torch.tensor([end]), 1e9))
    assert generate(lively, lively.model, mixed_rows(lively), 12) == [""] * 4


def test_a_stopped_run_goes_on_to_the_answers_of_one_that_was_not(
    lively: LoadedModel, examples: list[Example], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    whole, partial = decoded(lively, examples, tmp_path / "whole"), tmp_path / "partial"
    for _ in range(2):  # two stops, each in the midst of a letter
        sizes = count_decoded(monkeypatch, stop_after=2)
        with pytest.raises(Stopped):
            decoded(lively, examples, partial)
        assert sizes == [4, 4]
        with partial.open("ab") as stream:
            stream.write('{"id": "test-1", "text": "é'.encode()[:-1])
    sizes = count_decoded(monkeypatch)
    assert decoded(lively, examples, partial) == whole
    assert sum(sizes) == len(examples) - 16
    kept = [json.loads(line) for line in partial.read_bytes().splitlines()]
    assert {row["id"]: row["text"] for row in kept} == whole and len(kept) == len(whole)
