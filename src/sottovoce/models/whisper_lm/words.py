"""Whisper's tokens as words, and words as the language model's tokens."""

from __future__ import annotations

import unicodedata
from collections import Counter
from collections.abc import Sequence
from typing import Any

import torch
from tokenizers import Tokenizer
from transformers.utils import cached_file

TOWER_TOKENIZER = "audio_tower_tokenizer"  # the folder next to the language model's tokenizer
SIGNS = "'’-"  # that occur in words


class Words:
    """
    Args:
        heard: Whisper's tokenizer.
        read: the language model's.
        num_heard: Whisper's vocabulary, which may be larger than its tokenizer's.

    Attributes:
        any_text, spoken_text: which of Whisper's tokens are text, and which of these are spoken words, (num_heard,).
        pieces, first_pieces: the language model's single token for the same text, after a space and at the start,
            (num_heard,); -1 if it needs several.
    """

    def __init__(self, heard: Tokenizer, read: Tokenizer, num_heard: int) -> None:
        self._heard, self._read = heard, read
        ids = heard.get_vocab()
        self.end, self.no_speech = ids["<|endoftext|>"], ids.get("<|nospeech|>", ids.get("<|nocaptions|>"))
        self._start, *self._task = (ids[f"<|{name}|>"] for name in ("startoftranscript", "transcribe", "notimestamps"))
        special = {token for text, token in ids.items() if text.startswith("<|")}
        texts = ["" if token in special else heard.decode([token]) for token in range(num_heard)]
        self.any_text = torch.tensor([bool(text.strip()) for text in texts])
        self.spoken_text = torch.tensor([bool(text.strip()) and _is_spoken(text) for text in texts])
        self.pieces, self.first_pieces = self._pieces(texts), self._pieces([text.lstrip() for text in texts])

    @classmethod
    def from_pretrained(cls, name: str, num_heard: int, **options: Any) -> Words | None:
        """Reads both tokenizers next to a model; None if they are missing."""
        places = ("tokenizer.json", f"{TOWER_TOKENIZER}/tokenizer.json")
        found = [cached_file(name, place, _raise_exceptions_for_missing_entries=False, **options) for place in places]
        if None in found:
            return None
        read, heard = (Tokenizer.from_file(path) for path in found)
        return cls(heard, read, num_heard)

    def prompt(self, language_id: int) -> list[int]:
        """The tokens before a transcript in this language."""
        return [self._start, language_id, *self._task]

    def text(self, heard_ids: Sequence[int]) -> str:
        """The words in lower case, like labelled text."""
        return " ".join(_lowered(self._heard.decode(list(heard_ids))).split())

    def ids(self, heard_ids: Sequence[int]) -> list[int]:
        """The words as the language model's tokens."""
        return list(self._read.encode(self.text(heard_ids), add_special_tokens=False).ids)

    def matches(self, heard_ids: Sequence[int]) -> list[tuple[int, int]]:
        """Index pairs (into Whisper's and the language model's tokens) of single tokens with the same text."""
        ends: dict[tuple[int, int], int] = {}
        text = ""
        for place in range(len(heard_ids)):
            start = len(text)
            text = _lowered(self._heard.decode(list(heard_ids[: place + 1]))).lstrip()
            ends[start, len(text)] = place
        if text != self.text(heard_ids):  # several spaces: positions are uncertain
            return []
        offsets = self._read.encode(text, add_special_tokens=False).offsets
        spans = Counter(offsets)  # tokens that together form one letter all have its span
        return [(ends[span], place) for place, span in enumerate(offsets) if span in ends and spans[span] == 1]

    def _pieces(self, texts: Sequence[str]) -> torch.Tensor:
        read = self._read.encode_batch([_lowered(text) for text in texts], add_special_tokens=False)
        return torch.tensor([each.ids[0] if len(each.ids) == 1 else -1 for each in read])


def _lowered(text: str) -> str:
    return text.lower().replace("’", "'")


def _is_spoken(text: str) -> bool:
    # U+FFFD is part of a letter made of several tokens.
    return all(sign in SIGNS or sign in " \ufffd" or unicodedata.category(sign)[0] in "LM" for sign in text)
