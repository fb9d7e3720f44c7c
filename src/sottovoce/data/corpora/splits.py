"""Draws splits for recordings without any, by a seed, with the same shares for every intent."""

from __future__ import annotations

from collections.abc import Sequence
from random import Random

from sottovoce.core.errors import UserError
from sottovoce.core.types import Split, Utterance


def drawn_splits(
    utterances: Sequence[Utterance], dev: str | float, test: str | float, seed: str | int
) -> dict[str, Split]:
    """The split of each id; every intent of every locale is split with the same shares.

    Args:
        dev: the share of each intent that becomes dev, 0 to 1, as text or number.
        test: the share that becomes test; the rest is train.
        seed: for drawing rows; the same seed and rows give the same splits in any order of rows.

    Raises:
        UserError: a share or the seed is out of range, or the shares leave nothing for train.
    """
    shares = _share(dev, "dev"), _share(test, "test")
    if sum(shares) >= 1:
        raise UserError(f"dev and test are {sum(shares):g} of the rows", "leave some for train")
    if not str(seed).isdecimal():
        raise UserError(f"seed is {seed!r}", "give a whole number")
    groups: dict[str, list[str]] = {}
    for row in utterances:
        groups.setdefault(f"{row.locale} {row.frame.intent}", []).append(row.id)
    splits: dict[str, Split] = {}
    for name, ids in groups.items():
        ids.sort()
        Random(f"{seed} {name}").shuffle(ids)
        num_dev, num_test = (round(share * len(ids)) for share in shares)
        for place, key in enumerate(ids):
            splits[key] = "dev" if place < num_dev else "test" if place < num_dev + num_test else "train"
    return splits


def _share(value: str | float, option: str) -> float:
    try:
        share = float(value)
    except ValueError as error:
        raise UserError(f"{option} is {value!r}", "give a share of the rows, such as 0.1") from error
    if not 0 <= share < 1:
        raise UserError(f"{option} is {value!r}", "give a share of the rows, such as 0.1")
    return share
