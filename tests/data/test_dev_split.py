"""A dev split taken from train: whose sentences and speakers it keeps apart."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

from sottovoce.core.types import Frame, Utterance
from sottovoce.data.dev_split import split_off_dev


def rows(number: int, num_intents: int = 2) -> list[Utterance]:
    return [
        Utterance(f"u{n}", "en-US", f"sentence {n}", Frame("a", str(n % num_intents)), "train") for n in range(number)
    ]


def spoken(utterance: Utterance, speaker: str) -> Utterance:
    return replace(utterance, audio=Path(f"{utterance.id}.wav"), speaker=speaker)


def test_a_tenth_and_every_row_once() -> None:
    train = rows(100)
    rest, dev, line = split_off_dev(train, seed=0)
    assert len(dev) == 10 and sorted(rest + dev, key=train.index) == train
    assert "10 of 100" in line and "sentence or speaker" in line
    assert split_off_dev(train, seed=0)[1] == dev != split_off_dev(train, seed=1)[1]


def test_at_most_two_hundred() -> None:
    assert len(split_off_dev(rows(5000), seed=0)[1]) == 200


def test_no_sentence_and_no_speaker_is_in_both() -> None:
    said_twice = [replace(row, id=f"{row.id}-again", transcript=row.transcript.upper()) for row in rows(60)]
    train = [spoken(row, f"s{n % 20}") for n, row in enumerate(rows(60))] + said_twice
    rest, dev, _ = split_off_dev(train, seed=3)
    assert dev
    assert not {row.transcript.lower() for row in rest} & {row.transcript.lower() for row in dev}
    assert not {row.speaker for row in rest if row.speaker} & {row.speaker for row in dev if row.speaker}


def test_one_speaker_of_nearly_all_is_in_both() -> None:
    train = [spoken(row, "anna") for row in rows(60)]
    _, dev, line = split_off_dev(train, seed=0)
    assert len(dev) == 6 and line.endswith("no sentence is in both")


def test_an_intent_keeps_a_training_utterance() -> None:
    rest, dev, _ = split_off_dev(rows(40, num_intents=20), seed=0)
    assert {row.frame for row in rest} == {row.frame for row in rows(40, num_intents=20)} and dev
