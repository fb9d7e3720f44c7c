from collections import Counter
from pathlib import Path

import pytest

from sottovoce.train.align import Alignment, training_order_of

NUM_UTTERANCES, NUM_REPLAY = 200, 7


def orders(**settings: object) -> list[list[int]]:
    """The order, an epoch each."""
    alignment = Alignment(speech=Path("speech"), out=Path("out"), **settings)  # type: ignore[arg-type]
    order = training_order_of(NUM_UTTERANCES, NUM_REPLAY, alignment)
    size = len(order) // alignment.num_train_epochs
    return [order[start : start + size] for start in range(0, len(order), size)]


def test_every_utterance_is_heard_once_an_epoch_clean_and_perturbed_in_turn() -> None:
    for epoch, order in enumerate(orders(num_train_epochs=3)):
        spoken = [row for row in order if row < 4 * NUM_UTTERANCES]
        assert sorted(row % NUM_UTTERANCES for row in spoken) == list(range(NUM_UTTERANCES))
        for row in spoken:
            perturbed = row // NUM_UTTERANCES % 2
            assert perturbed == (row % NUM_UTTERANCES + epoch) % 2


@pytest.mark.parametrize("share", [0.0, 0.2, 1.0])
def test_as_many_rows_ask_about_words_as_were_asked_for(share: float) -> None:
    tasks = [
        2 * NUM_UTTERANCES <= row < 4 * NUM_UTTERANCES
        for order in orders(num_train_epochs=5, task_share=share)
        for row in order
        if row < 4 * NUM_UTTERANCES
    ]
    assert sum(tasks) / len(tasks) == pytest.approx(share, abs=0.05)


def test_texts_of_three_kinds_are_sprinkled_in() -> None:
    for order in orders(num_train_epochs=2, replay_share=0.1):
        texts = Counter(row // NUM_UTTERANCES for row in order if row >= 4 * NUM_UTTERANCES)
        assert texts == {4: 20, 5: 20, 6: 20}
        assert max(order) < 6 * NUM_UTTERANCES + NUM_REPLAY


def test_the_order_is_decided_by_the_seed() -> None:
    assert orders() == orders()
    assert orders() != orders(seed=1)


def test_rows_of_all_kinds_are_spread_over_an_epoch() -> None:
    for order in orders(num_train_epochs=2):
        transcriptions = [row // NUM_UTTERANCES in (0, 1) for row in order[: len(order) // 2]]
        assert 0.6 < sum(transcriptions) / len(transcriptions) < 0.85
