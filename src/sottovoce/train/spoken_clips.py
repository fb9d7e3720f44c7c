"""Clips and the tokens spoken in them, as the training of the audio tower takes them."""

from __future__ import annotations

import random
from collections.abc import Sequence
from dataclasses import dataclass
from functools import cached_property
from typing import Any

import torch
from torch.nn.functional import pad
from torch.utils.data import Dataset

from sottovoce.data.audio import load_audio
from sottovoce.data.perturb import perturb
from sottovoce.models.qwen2_audio import short_mel
from sottovoce.types import Utterance

SHARPNESS = 2.0  # of the softmax over distances; two tokens lie about 3.5 apart, which is then 12 nats
Clip = dict[str, torch.Tensor]


@dataclass(frozen=True)
class Vocabulary:
    """The tokens that training transcripts hold, the blank first.

    Args:
        ids: the language model's ids, (num_tokens,).
        embeddings: of these, (num_tokens, hidden_size), float32.
    """

    ids: torch.Tensor
    embeddings: torch.Tensor

    @cached_property
    def half_squares(self) -> torch.Tensor:
        """Half of each embedding's squared length, (num_tokens,)."""
        return self.embeddings.square().sum(-1) / 2

    def positions(self, token_ids: Sequence[int]) -> torch.Tensor:
        """Where token ids stand in ``ids``."""
        return torch.searchsorted(self.ids[1:].contiguous(), torch.tensor(token_ids)) + 1

    def log_probabilities(self, projected: torch.Tensor) -> torch.Tensor:
        """(..., num_tokens) of projected states, (..., hidden_size): a softmax over squared distances."""
        nearness = projected @ self.embeddings.T - self.half_squares
        return (SHARPNESS * nearness.float()).log_softmax(-1)


def vocabulary_of(utterances: Sequence[Utterance], tokenizer: Any, embeddings: torch.Tensor) -> Vocabulary:
    """The vocabulary of the utterances' transcripts.

    Args:
        embeddings: the language model's, (vocabulary, hidden_size).
    """
    used = sorted({token for u in utterances for token in spoken_ids(u, tokenizer)})
    ids = torch.tensor([*_blank(tokenizer), *used])
    return Vocabulary(ids, embeddings[ids].detach().float())


def spoken_ids(utterance: Utterance, tokenizer: Any) -> list[int]:
    """The tokens of a transcript as they stand within a text, behind a space; a space that is a token of its own, as
    before a letter that the tokenizer spells in bytes, is left out, because nobody says it."""
    blank = _blank(tokenizer)
    return [token for token in tokenizer(f" {utterance.transcript}").input_ids if token not in blank]


def _blank(tokenizer: Any) -> list[int]:
    ids: list[int] = tokenizer(" ").input_ids
    return ids


class SpokenClips(Dataset[Clip]):
    """Clips in training order; every other time a clip is heard perturbed, each time in another way.

    Args:
        order: for each example its utterance's index and how often it was heard before.
    """

    def __init__(
        self, utterances: Sequence[Utterance], order: Sequence[tuple[int, int]], processor: Any,
        vocabulary: Vocabulary, seed: int,
    ) -> None:  # fmt: skip
        self._utterances, self._order, self._processor = utterances, order, processor
        self._vocabulary, self._seed = vocabulary, seed

    def __len__(self) -> int:
        return len(self._order)

    def __getitem__(self, place: int) -> Clip:
        index, times = self._order[place]
        utterance = self._utterances[index]
        assert utterance.audio is not None
        clip = load_audio(utterance.audio, utterance.where)
        if (index + times) % 2:
            clip = perturb(clip, random.Random(f"{self._seed}/{times}/{utterance.id}"))
        mel, num_heard = short_mel(self._processor, [clip])
        ids = self._vocabulary.positions(spoken_ids(utterance, self._processor.tokenizer))
        return {
            "mel": mel[0],
            "num_frames": num_heard[0],
            "labels": ids,
        }


def collate_clips(examples: Sequence[Clip]) -> Clip:
    """mel (batch, bins, frames), padded to the longest clip with silence; num_frames and num_labels (batch,); labels,
    those of all clips in a row."""
    longest = max(example["mel"].shape[-1] for example in examples)
    return {
        "mel": torch.stack([_padded(example["mel"], longest) for example in examples]),
        "num_frames": torch.stack([example["num_frames"] for example in examples]),
        "labels": torch.cat([example["labels"] for example in examples]),
        "num_labels": torch.tensor([len(example["labels"]) for example in examples]),
    }


def _padded(mel: torch.Tensor, num_frames: int) -> torch.Tensor:
    return pad(mel, (0, num_frames - mel.shape[-1]), value=float(mel.min()))
