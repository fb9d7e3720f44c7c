import math
from collections import Counter
from collections.abc import Sequence
from dataclasses import replace
from itertools import pairwise
from pathlib import Path
from random import Random

import numpy as np
import pytest
import soundfile

from sottovoce.core.errors import UserError
from sottovoce.core.types import Frame, Split, Utterance
from sottovoce.data.budget import Budget, choose_speech, priority_order

SIZES = {
    "lamp_on": 400,
    "lamp_off": 200,
    "heat_up": 96,
    "heat_down": 60,
    "door_lock": 33,
    "door_open": 8,
    "bell_ring": 3,
}
SEEDS = range(5)


def utterance(number: int, intent: str, audio: bool = True, split: Split = "train") -> Utterance:
    scenario, action = intent.split("_")
    clip = Path(f"audio/{number}.wav") if audio else None
    seconds = 1.003 + number % 7 / 10 if audio else None
    return Utterance(f"u{number}", "en-US", f"words {number}", Frame(scenario, action), split, clip, None, seconds)


def corpus(sizes: dict[str, int] | None = None) -> list[Utterance]:
    intents = [intent for intent, size in (sizes or SIZES).items() for _ in range(size)]
    return [utterance(number, intent) for number, intent in enumerate(intents)]


def silenced(utterances: Sequence[Utterance], every: int) -> list[Utterance]:
    return [utterance(n, u.frame.intent, audio=n % every == 0) for n, u in enumerate(utterances)]


@pytest.mark.parametrize("seed", SEEDS)
def test_a_smaller_budget_lies_inside_a_larger_one(seed: int) -> None:
    train = corpus()
    budgets = [choose_speech(train, share=share, seed=seed) for share in (0.01, 0.02, 0.05, 0.1, 0.2, 0.5, 1.0)]
    for small, large in pairwise(budgets):
        assert small.ids == large.ids[: small.num_utterances]
        assert small.num_utterances < large.num_utterances
    assert sorted(budgets[-1].ids) == sorted(u.id for u in train)


def test_the_seed_decides_and_the_order_of_the_manifest_does_not() -> None:
    train = corpus()
    shuffled = list(train)
    Random(9).shuffle(shuffled)
    choices = [choose_speech(train, num_utterances=80, seed=seed) for seed in SEEDS]
    assert len({budget.ids for budget in choices}) == len(SEEDS)
    for seed, budget in zip(SEEDS, choices, strict=True):
        assert choose_speech(shuffled, num_utterances=80, seed=seed) == budget
    first_heard = {next(id for id in b.ids if 0 <= int(id[1:]) < SIZES["lamp_on"]) for b in choices}
    assert len(first_heard) > 1, "within an intent, too, the seed must decide"


def test_a_new_intent_leaves_the_others_order_as_it_was() -> None:
    old, new = corpus(), corpus({**SIZES, "bell_mute": 20})
    ids = [u.id for u in priority_order(new, seed=3) if u.frame.intent != "bell_mute"]
    by_intent = [[u.id for u in priority_order(old, seed=3) if u.frame.intent == intent] for intent in SIZES]
    assert [[id for id in ids if id in set(members)] for members in by_intent] == by_intent


@pytest.mark.parametrize("seed", SEEDS)
def test_every_prefix_is_proportional_to_the_intents_rounded_up(seed: int) -> None:
    counts: Counter[str] = Counter()
    for size, chosen in enumerate(priority_order(corpus(), seed), start=1):
        counts[chosen.frame.intent] += 1
        # One scale fits all intents: count - 1 < size / scale <= count, the definition of rounding up.
        lowest = max((counts[intent] - 1) / total for intent, total in SIZES.items())
        highest = min(counts[intent] / total for intent, total in SIZES.items())
        assert lowest <= highest, f"prefix of {size}: {counts}"


@pytest.mark.parametrize("seed", SEEDS)
def test_as_many_intents_as_possible_are_heard_early(seed: int) -> None:
    order = priority_order(corpus(), seed)
    for size in range(1, len(SIZES) + 1):
        assert len({u.frame.intent for u in order[:size]}) == size
    assert [u.frame.intent for u in order[: len(SIZES)]] == list(SIZES), "the larger intents first"


@pytest.mark.parametrize("seed", SEEDS)
def test_random_corpora_stay_within_one_utterance_of_the_proportion_where_intents_are_alike(seed: int) -> None:
    rng = Random(seed)
    num_intents, each = rng.randint(2, 20), rng.randint(3, 30)
    train = corpus({f"scene_{chr(97 + number)}": each for number in range(num_intents)})
    for size in rng.sample(range(1, len(train)), 10 if len(train) > 10 else 3):
        counts = choose_speech(train, num_utterances=size, seed=seed).speech_per_intent.values()
        assert sum(counts) == size
        assert max(counts) - min(counts) <= 1


@pytest.mark.parametrize(
    ("share", "total", "expected"),
    [(0.05, 1600, 80), (0.01, 1600, 16), (0.01, 1151, 12), (0.07, 100, 7), (0.001, 100, 1), (0.0, 100, 0), (1.0, 7, 7)],
)
def test_the_share_is_of_all_train_utterances(share: float, total: int, expected: int) -> None:
    budget = choose_speech(corpus({"lamp_on": total}), share=share)
    assert budget.num_utterances == expected
    assert budget.share == pytest.approx(expected / total)


def test_the_share_counts_utterances_without_audio_but_never_chooses_them() -> None:
    train = silenced(corpus(), every=4)
    budget = choose_speech(train, share=0.1)
    assert budget.num_utterances == 80
    assert all(int(id[1:]) % 4 == 0 for id in budget.ids)
    assert budget.train_per_intent == dict(sorted(SIZES.items()))


def test_too_few_recordings_are_refused_with_their_number() -> None:
    train = silenced(corpus(), every=4)
    assert choose_speech(train, num_utterances=200).num_utterances == 200
    for sizes in ({"share": 0.5}, {"num_utterances": 201}):
        with pytest.raises(UserError, match="of 800 train utterances, but only 200 have audio"):
            choose_speech(train, **sizes)  # type: ignore[arg-type]


@pytest.mark.parametrize("seed", SEEDS)
@pytest.mark.parametrize("seconds", [1.6, 10.0, 123.4, 600.0])
def test_seconds_take_the_longest_prefix_that_does_not_exceed_them(seconds: float, seed: int) -> None:
    train = corpus()
    budget = choose_speech(train, seconds=seconds, seed=seed)
    one_more = choose_speech(train, num_utterances=budget.num_utterances + 1, seed=seed)
    assert budget.seconds <= seconds < one_more.seconds
    assert budget.ids == one_more.ids[:-1]


def test_all_seconds_can_be_taken_and_not_one_more() -> None:
    train = corpus()
    total = math.fsum(u.seconds or 0 for u in train)
    assert choose_speech(train, seconds=total).num_utterances == len(train)
    with pytest.raises(UserError, match=f"the 800 train utterances with audio have {total:g}"):
        choose_speech(train, seconds=total + 1)
    with pytest.raises(UserError, match=f"no recording fits .*; give at least {priority_order(train)[0].seconds:g}"):
        choose_speech(train, seconds=0.5)
    nothing = choose_speech(train, seconds=0.0)
    assert (nothing.num_utterances, nothing.seconds) == (0, 0.0)
    assert choose_speech(silenced(train, every=1000)[1:], seconds=0.0).num_utterances == 0


def test_seconds_are_summed_without_rounding() -> None:
    """A tenth of a second ten times is one second; floating-point numbers would fall short of it."""
    train = [replace(u, seconds=0.1) for u in corpus({"lamp_on": 10})]
    assert choose_speech(train, num_utterances=10).seconds == 1.0 != sum([0.1] * 10)
    assert choose_speech(train, seconds=1.0).num_utterances == 10


def test_seconds_that_the_manifest_leaves_out_come_from_the_recording(tmp_path: Path) -> None:
    clip = tmp_path / "a.wav"
    soundfile.write(clip, np.zeros(8000), 16_000)
    row = Utterance("a", "en-US", "lamp on", Frame("lamp", "on"), "train", clip, where="m.jsonl:4")
    assert choose_speech([row], num_utterances=1).seconds == pytest.approx(0.5)
    clip.unlink()
    with pytest.raises(UserError, match=r"m\.jsonl:4: no such recording"):
        choose_speech([row], num_utterances=1)


@pytest.mark.parametrize("seed", SEEDS)
def test_speakers_keep_all_they_recorded_and_fewer_are_among_more(seed: int) -> None:
    train = [replace(u, speaker=f"s{number % 4}") for number, u in enumerate(silenced(corpus(), every=3))]
    heard: list[set[str]] = []
    for number in range(5):
        budget = choose_speech(train, num_speakers=number, seed=seed)
        speakers = {u.speaker for u in train if u.id in set(budget.ids)}
        assert len(speakers) == number
        assert set(budget.ids) == {u.id for u in train if u.audio and u.speaker in speakers}
        heard.append(set(budget.ids))
    assert all(less < more for less, more in pairwise(heard))
    for number in (-1, 5):
        with pytest.raises(UserError, match=f"asks for {number} speakers, but there are 4"):
            choose_speech(train, num_speakers=number, seed=seed)


def test_rows_at_fault_are_named_by_their_line_or_else_by_their_id() -> None:
    nameless = utterance(1, "lamp_on")
    with pytest.raises(UserError, match=r"^utterance 'u1': the recording has no speaker"):
        choose_speech([nameless], num_speakers=1)
    with pytest.raises(UserError, match=r"^m\.jsonl:4: the recording has no speaker"):
        choose_speech([replace(nameless, where="m.jsonl:4")], num_speakers=1)
    with pytest.raises(UserError, match=r"^utterance 'u1': id 'u1' occurs twice"):
        choose_speech([nameless, nameless], share=1.0)
    with pytest.raises(UserError, match=r"^m\.jsonl:5: id 'u1' occurs twice"):
        choose_speech([nameless, replace(nameless, where="m.jsonl:5")], share=1.0)


def test_exactly_one_size_is_given() -> None:
    for sizes in ({}, {"share": 0.1, "num_utterances": 3}, {"share": 0.0, "seconds": 0.0}):
        with pytest.raises(UserError, match="exactly one of share, num_utterances, seconds and num_speakers"):
            choose_speech(corpus(), **sizes)  # type: ignore[arg-type]


@pytest.mark.parametrize(
    "sizes",
    [
        {"share": 1.01}, {"share": -0.1}, {"share": float("nan")}, {"share": 5},
        {"num_utterances": -1}, {"seconds": -1.0}, {"seconds": float("nan")}, {"seconds": float("inf")},
    ],
)  # fmt: skip
def test_sizes_out_of_range_are_refused(sizes: dict[str, float]) -> None:
    with pytest.raises(UserError, match=r"share is|num_utterances is|seconds are"):
        choose_speech(corpus(), **sizes)  # type: ignore[arg-type]


def test_other_splits_repeated_ids_and_nothing_are_refused() -> None:
    with pytest.raises(UserError, match="not test"):
        choose_speech([utterance(1, "lamp_on", split="test")], share=1.0)
    with pytest.raises(UserError, match="'u1' occurs twice"):
        choose_speech([utterance(1, "lamp_on")] * 2, share=1.0)
    with pytest.raises(UserError, match="no train utterances"):
        choose_speech([], share=1.0)


def test_the_report_names_the_intents_without_speech() -> None:
    train = [*corpus(), utterance(900, "mail_send", audio=False)]
    budget = choose_speech(train, num_utterances=5, seed=2)
    assert budget.intents_without_speech == ("bell_ring", "door_open", "mail_send")
    assert dict(budget.speech_per_intent) == {i: int(i in list(SIZES)[:5]) for i in sorted([*SIZES, "mail_send"])}
    lines = budget.lines()
    assert lines[0].startswith("speech budget: 5 of 801 train utterances (0.6%)")
    assert "5 of 8 intents have speech, 1 to 1 utterances each" in lines
    assert "intents without speech: bell_ring, door_open, mail_send" in lines
    assert not any("without" in line for line in choose_speech(corpus(), share=0.5).lines())
    hour = [replace(u, seconds=600.0) for u in corpus({"lamp_on": 4, "lamp_off": 2})]
    assert choose_speech(hour, num_utterances=3, seed=7).lines() == [
        "speech budget: 3 of 6 train utterances (50.0%), 30.0 minutes, seed 7",
        "2 of 2 intents have speech, 1 to 2 utterances each",
    ]


def test_a_budget_of_nothing_is_a_budget() -> None:
    budget = choose_speech([utterance(1, "lamp_on", audio=False)], num_utterances=0)
    assert isinstance(budget, Budget)
    assert (budget.ids, budget.seconds, budget.share) == ((), 0, 0)
    assert budget.lines()[1] == "0 of 1 intents have speech"
