from __future__ import annotations

from collections import Counter
from dataclasses import replace

import pytest
from spoken_rows import utterance

from sottovoce.core.recipe import Noise
from sottovoce.core.types import Utterance
from sottovoce.data.mixture import Part, SharedExamples, examples_of
from sottovoce.study.cells import example_key

MAIN = [utterance(f"words {number}", f"m{number}") for number in range(10)]
OTHER = [replace(u, id=u.id.replace("m", "o")) for u in MAIN[:4]]
CORPORA = {"main": MAIN, "other": OTHER}
BUDGET = {"main": ("m7", "m2", "m5"), "other": ("o1",)}
TEXT_AND_SPEECH = (Part("text", of="all"), Part("speech", of="budget", repeats=3))


def test_shared_examples_are_made_once_and_are_the_same() -> None:
    shared = SharedExamples()
    perturbed = (Part("text", of="all"), Part("speech", of="budget", repeats=3, perturbed=True))
    for mixture in (TEXT_AND_SPEECH, perturbed):
        assert examples_of(mixture, CORPORA, BUDGET, shared) == examples_of(mixture, CORPORA, BUDGET)
    first, again = (examples_of(perturbed, CORPORA, BUDGET, shared) for _ in range(2))
    assert [id(example) for example in first] == [id(example) for example in again]
    relabelled = [replace(u, transcript="other words") for u in MAIN]
    shown = examples_of(TEXT_AND_SPEECH, {"main": relabelled}, BUDGET, shared)
    assert {e.utterance.transcript for e in shown} == {"other words"}


def test_text_of_all_and_speech_of_the_budget_as_often_as_asked() -> None:
    counts = Counter((e.modality, e.utterance.id) for e in examples_of(TEXT_AND_SPEECH, CORPORA, BUDGET))
    speech = {("speech", identity): 3 for identity in BUDGET["main"]}
    assert counts == {("text", u.id): 1 for u in MAIN} | speech


def test_the_composition_is_the_same_every_time_and_follows_the_corpus() -> None:
    examples = examples_of(TEXT_AND_SPEECH, CORPORA, BUDGET)
    assert examples == examples_of(TEXT_AND_SPEECH, CORPORA, {"main": ("m5", "m2", "m7")})
    assert [e.utterance.id for e in examples] == [u.id for u in MAIN] + ["m2", "m5", "m7"] * 3


def test_without_a_budget_there_is_no_speech() -> None:
    assert {e.modality for e in examples_of(TEXT_AND_SPEECH, CORPORA, {})} == {"text"}


def test_each_part_draws_on_its_own_corpus_and_budget() -> None:
    mixture = (
        Part("text", of="all", corpus="other"),
        Part("speech", of="budget", corpus="other"),
        Part("text", "budget"),
    )
    found = [(e.modality, e.utterance.id) for e in examples_of(mixture, CORPORA, BUDGET)]
    assert found == [("text", u.id) for u in OTHER] + [("speech", "o1")] + [("text", f"m{n}") for n in (2, 5, 7)]


def test_a_recording_without_a_transcript_is_heard_and_never_shown_as_text() -> None:
    corpora = {"main": [replace(u, transcript="" if u.id in ("m2", "m4") else u.transcript) for u in MAIN]}
    found = Counter(e.modality for e in examples_of(TEXT_AND_SPEECH, corpora, BUDGET))
    assert found == {"text": 8, "speech": 9}
    halved = examples_of((Part("text", of="all", share=0.5),), corpora, BUDGET)
    assert len(halved) == 4 and all(e.utterance.transcript for e in halved)


def test_the_repeats_of_a_recording_are_copies_of_their_own_if_asked_for() -> None:
    mixture = (Part("text", of="budget"), Part("speech", of="budget", repeats=3, perturbed=True))
    found = [(e.modality, e.utterance.id, e.copy) for e in examples_of(mixture, CORPORA, {"main": ("m2", "m5")})]
    copies = [("speech", identity, copy) for copy in range(3) for identity in ("m2", "m5")]
    assert found == [("text", "m2", 0), ("text", "m5", 0), *copies]


def test_a_share_takes_the_first_of_the_budget_and_spreads_evenly_over_all() -> None:
    mixture = (Part("speech", of="budget", share=2 / 3), Part("text", of="all", share=0.25))
    found = [(e.modality, e.utterance.id) for e in examples_of(mixture, CORPORA, BUDGET)]
    assert found == [("speech", "m2"), ("speech", "m7"), ("text", "m3"), ("text", "m7")]
    assert len(examples_of((Part("speech", of="budget", share=1 / 3),), CORPORA, BUDGET)) == 1


@pytest.mark.parametrize(("share", "ids"), [(0.01, ["m7"]), (0.34, ["m2", "m7"]), (0.5, ["m2", "m7"])])
def test_a_share_of_the_budget_is_rounded_up(share: float, ids: list[str]) -> None:
    """Of three recordings half are two, and the smallest share is one: no stage that asks for speech has none."""
    assert [e.utterance.id for e in examples_of((Part("speech", of="budget", share=share),), CORPORA, BUDGET)] == ids


NOISE = Noise(rows=1)


def heard(part: Part, utterance: Utterance, copy: int) -> str:
    return f"{utterance.transcript} heard {copy}" if utterance.id != "m3" else utterance.transcript


def test_text_with_noise_is_heard_anew_in_each_repeat_and_keeps_its_answer() -> None:
    mixture = (Part("text", of="all", repeats=2, noise=NOISE), Part("text", of="all"))
    shared = SharedExamples()
    examples = examples_of(mixture, CORPORA, BUDGET, shared, heard)
    texts = [e.utterance.transcript for e in examples]
    assert texts == [heard(mixture[0], u, copy) for copy in range(2) for u in MAIN] + [u.transcript for u in MAIN]
    assert [e.answer for e in examples] == [e.answer for e in examples_of(mixture[1:], CORPORA, BUDGET)] * 3
    again = examples_of(mixture, CORPORA, BUDGET, shared, heard)
    assert [id(example) for example in again] == [id(example) for example in examples]
    assert len({id(e) for e in examples if e.utterance.id == "m3"}) == 1  # it was heard as it was said
    assert all(e.utterance is u for e, u in zip(examples[20:], MAIN, strict=True)), "no copy where nothing differs"
    assert len({example_key(e) for e in examples if e.utterance.id == "m4"}) == 3


def test_noise_without_what_hears_it_or_on_speech_is_refused() -> None:
    with pytest.raises(ValueError, match="noisy_text was not given"):
        examples_of((Part("text", of="all", noise=NOISE),), CORPORA, BUDGET)
    with pytest.raises(ValueError, match="noise is for text"):
        Part("speech", of="budget", noise=NOISE)


@pytest.mark.parametrize(
    ("max_share", "num_repeats"),
    [(None, 4), (0.9, 4), (0.5, 3), (0.4, 2), (0.1, 1)],  # of 3 clips beside 10 texts
)
def test_recordings_are_repeated_less_often_where_they_would_be_too_large_a_share(
    max_share: float | None, num_repeats: int
) -> None:
    mixture = (Part("text", of="all"), Part("speech", of="budget", repeats=4, perturbed=True, max_rows_share=max_share))
    speech = [e for e in examples_of(mixture, CORPORA, BUDGET) if e.modality == "speech"]
    assert len(speech) == 3 * num_repeats
    assert {e.copy for e in speech} == set(range(num_repeats))


def test_as_many_repeats_are_kept_as_come_to_the_share_exactly() -> None:
    """Of 3 clips beside 10 texts 5 repeats are 15 of 25 rows: the 60 % that are asked for, though 0.6 / 0.4 < 1.5."""
    speech = Part("speech", of="budget", repeats=6, max_rows_share=0.6)
    assert len(examples_of((Part("text", of="all"), speech), CORPORA, BUDGET)) == 10 + 15


def test_a_limit_of_rows_bears_an_empty_budget() -> None:
    speech = Part("speech", of="budget", repeats=4, max_rows_share=0.5)
    assert len(examples_of((Part("text", of="all"), speech), CORPORA, {})) == 10


def test_only_parts_without_a_limit_count_as_the_others() -> None:
    """Beside 4 texts shown twice 4 rows of a limited part are a third: 3 clips are shown once, 1 clip 4 times."""
    limited = [Part("speech", of="budget", repeats=9, max_rows_share=1 / 3, corpus=name) for name in ("main", "other")]
    found = examples_of((Part("text", of="all", repeats=2, corpus="other"), *limited), CORPORA, BUDGET)
    assert Counter(e.utterance.id[0] for e in found if e.modality == "speech") == {"m": 3, "o": 4}
