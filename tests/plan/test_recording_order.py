import random
from collections import Counter
from dataclasses import replace
from itertools import pairwise
from pathlib import Path

import pytest

from sottovoce.core.types import Entity, Frame, Utterance
from sottovoce.data.budget import priority_order
from sottovoce.plan.recording_order import ToRecord, to_record

SLOTS, FILLERS = ("room", "time", "person"), ("a", "b", "c", "d")


def utterance(identity: str, action: str, *entities: tuple[str, str], spoken: bool = False) -> Utterance:
    frame = Frame("light", action, tuple(Entity(*entity) for entity in entities))
    audio = Path(f"{identity}.wav") if spoken else None
    return Utterance(identity, "en-US", f"say {identity}", frame, "train", audio)


def corpus(seed: int = 0, num_spoken: int = 0) -> list[Utterance]:
    """90 utterances of three intents, 60, 20 and 10 of them, with up to three entities each."""
    rng = random.Random(seed)
    actions = ["on"] * 60 + ["off"] * 20 + ["dim"] * 10
    made = [
        utterance(f"u{n}", action, *((rng.choice(SLOTS), rng.choice(FILLERS)) for _ in range(rng.randrange(4))))
        for n, action in enumerate(actions)
    ]
    spoken = set(rng.sample(range(90), num_spoken))
    return [replace(each, audio=Path("a.wav")) if n in spoken else each for n, each in enumerate(made)]


def ids(listed: list[ToRecord]) -> list[str]:
    return [each.utterance.id for each in listed]


def intents(listed: list[ToRecord]) -> list[str]:
    return [each.utterance.frame.action for each in listed]


def novelty(each: Utterance, before: list[Utterance]) -> tuple[int, int, int]:
    """As the module has it, counted anew from all that was there before."""
    heard = {entity for other in before for entity in other.frame.entities}
    mine = set(each.frame.entities)
    new_types = {entity.type for entity in mine} - {entity.type for entity in heard}
    return len(new_types), len(mine - heard), int(each.transcript not in {other.transcript for other in before})


@pytest.mark.parametrize("num_spoken", [0, 12, 89])
def test_every_utterance_without_a_recording_is_listed_once(num_spoken: int) -> None:
    given = corpus(num_spoken=num_spoken)
    assert sorted(ids(to_record(given))) == sorted(each.id for each in given if each.audio is None)


def test_every_beginning_of_the_list_covers_the_intents_as_a_budget_of_that_size_does() -> None:
    given = corpus()
    budget = priority_order([replace(each, audio=Path("a.wav")) for each in given], seed=3)
    listed = to_record(given, seed=3)
    for number in range(1, 91):
        assert Counter(intents(listed)[:number]) == Counter(each.frame.action for each in budget[:number])


def test_intents_that_have_recordings_wait_for_the_others() -> None:
    spoken = [utterance(f"s{n}", "on", spoken=True) for n in range(3)]
    silent = [utterance(f"{action}{n}", action) for action in ("on", "off") for n in range(3)]
    assert intents(to_record([*spoken, *silent])) == ["off", "off", "on", "on", "off", "on"]


@pytest.mark.parametrize("seed", range(5))
def test_within_an_intent_the_most_novel_comes_first(seed: int) -> None:
    given = corpus(seed, num_spoken=7)
    heard = [each for each in given if each.audio is not None]
    left = [each for each in given if each.audio is None]
    for listed in to_record(given):
        chosen = listed.utterance
        rivals = [each for each in left if each.frame.intent == chosen.frame.intent]
        assert novelty(chosen, heard) == max(novelty(each, heard) for each in rivals)
        heard.append(chosen)
        left.remove(chosen)


def test_a_new_slot_type_counts_for_more_than_new_fillers_and_case_for_nothing() -> None:
    heard = utterance("heard", "on", ("room", "Attic"), spoken=True)
    same = utterance("same", "on", ("room", "attic"))
    fillers = utterance("fillers", "on", ("room", "hall"), ("room", "study"))
    new_type = utterance("type", "on", ("time", "noon"))
    listed = to_record([heard, same, fillers, new_type])
    assert ids(listed) == ["type", "fillers", "same"]
    assert listed[0].reason == "the first recording with time"
    assert listed[1].reason == "adds 'hall' as room and 'study' as room"
    assert listed[2].reason == "light_on: recording 4 of 4 utterances"
    assert to_record([same])[0].reason == "the first recording of light_on"


def test_a_sentence_that_was_read_comes_last() -> None:
    twins = [replace(utterance(name, "on"), transcript="light on") for name in ("a", "b")]
    listed = to_record([*twins, utterance("c", "on")])
    assert ids(listed)[2] in ("a", "b")


def test_a_studys_gains_give_the_turns_and_what_has_nothing_to_win_comes_last() -> None:
    gains = {"light_on": 0.0, "light_off": 0.01, "light_dim": 0.02}
    listed = to_record(corpus(), gains)
    assert intents(listed)[:6] == ["dim", "off", "dim", "dim", "off", "dim"]
    assert set(intents(listed)[30:]) == {"on"} and "on" not in intents(listed)[:30]
    assert listed[0].reason.endswith("; light_dim could raise intent accuracy by 2.0 points")
    assert "points" not in listed[-1].reason


def test_intents_that_a_study_does_not_know_are_listed_by_coverage() -> None:
    assert intents(to_record(corpus(), {"light_dim": 0.5}))[10:12] == ["on", "off"]


def test_the_order_of_the_manifest_does_not_matter_but_the_seed_does() -> None:
    given = corpus()
    shuffled = random.Random(1).sample(given, len(given))
    assert ids(to_record(shuffled)) == ids(to_record(given))
    assert ids(to_record(given, seed=1)) != ids(to_record(given))


def test_what_is_recorded_from_the_top_leaves_the_rest_of_the_turns_as_they_were() -> None:
    given = corpus()
    listed = to_record(given)
    done = set(ids(listed)[:10])
    again = to_record([replace(each, audio=Path("a.wav")) if each.id in done else each for each in given])
    assert intents(again) == intents(listed)[10:]
    assert all(one.reason for one, _ in pairwise(again))
