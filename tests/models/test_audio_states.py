from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import pytest
import torch
from rich.progress import Progress

from sottovoce.core.errors import UserError
from sottovoce.data.manifest import read_manifest
from sottovoce.data.prompts import slu_example
from sottovoce.models.audio_states import AudioStore
from sottovoce.models.load import LoadedModel


def test_each_copy_is_heard_in_its_own_way_and_the_same_every_time(loaded: LoadedModel, tiny_corpus: Path) -> None:
    utterance = read_manifest(tiny_corpus)[0]
    examples = [replace(slu_example(utterance, "speech"), copy=copy) for copy in range(3)]
    heard = []
    for _ in range(2):
        store = AudioStore(loaded)
        with Progress(disable=True) as progress:
            store.encode([(utterance, copy) for copy in range(3)], progress)
        heard.append([states for e in examples if (states := store.states_of(e)) is not None])
    assert all(torch.equal(first, second) for first, second in zip(*heard, strict=True))
    plain, *copies = heard[0]
    assert all(copy.shape != plain.shape or not torch.equal(copy, plain) for copy in copies)
    assert copies[0].shape != copies[1].shape or not torch.equal(*copies)
    assert AudioStore(loaded).states_of(slu_example(utterance, "text")) is None


def test_a_recording_that_is_gone_is_named_with_its_line(loaded: LoadedModel, tiny_corpus: Path) -> None:
    utterance = read_manifest(tiny_corpus)[0]
    assert utterance.audio is not None
    utterance.audio.unlink()
    with Progress(disable=True) as progress, pytest.raises(UserError, match=r"manifest\.jsonl:1: no such recording"):
        AudioStore(loaded).encode([(utterance, 1)], progress)
