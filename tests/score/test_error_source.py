from __future__ import annotations

from typing import Any

import pytest
from rich.console import Console
from score_rows import frame, matched

from sottovoce.core.types import Frame
from sottovoce.score.error_source import INPUTS, Input, gap_report, gap_tables

GOLD = frame("alarm set", "time:five")
OTHER_INTENT, OTHER_FILLER = frame("alarm query", "time:five"), frame("alarm set", "time:nine")


def report(*rows: tuple[Frame | None, Frame | None, Frame | None]) -> dict[str, Any]:
    """Of items whose right answer is GOLD: what was answered from text, through the cascade and from speech."""
    inputs = zip(INPUTS, zip(*rows, strict=True), strict=True)
    answers: dict[Input, Any] = {name: matched([GOLD] * len(rows), list(predicted)) for name, predicted in inputs}
    return gap_report(answers)


def shown(found: dict[str, Any]) -> str:
    console = Console(width=140)
    with console.capture() as captured:
        for table in gap_tables(found):
            console.print(table)
    return captured.get()


def test_each_error_on_speech_has_one_cause() -> None:
    found = report(
        (GOLD, GOLD, GOLD),  # no error
        (GOLD, GOLD, OTHER_INTENT),  # heard wrong, though the transcript is good enough
        (GOLD, OTHER_INTENT, OTHER_INTENT),  # heard wrong
        (GOLD, OTHER_INTENT, OTHER_FILLER),  # the intent is right; of the frame, heard wrong
        (OTHER_INTENT, OTHER_INTENT, OTHER_INTENT),  # understood wrong
        (OTHER_INTENT, GOLD, OTHER_INTENT),  # understood wrong: a lucky transcript does not make it a matter of hearing
        (OTHER_INTENT, OTHER_INTENT, GOLD),  # right on speech, however wrong elsewhere
    )
    counts = {
        part: [row[key] for key in ("errors", "heard_wrong", "heard_wrong_in_cascade_right", "understood_wrong")]
        for part, row in found["errors"].items()
    }
    assert counts == {"intent": [4, 2, 1, 2], "frame": [5, 3, 1, 2]}
    assert [found["inputs"][name]["intent_accuracy"] for name in INPUTS] == [pytest.approx(n / 7) for n in (4, 3, 3)]
    losses = {name: loss["intent_accuracy"]["difference"] for name, loss in found["losses"].items()}
    assert losses == {
        "hearing": pytest.approx(1 / 7), "using_what_was_heard": pytest.approx(0), "all": pytest.approx(1 / 7)
    }  # fmt: skip
    for part, cells in (("intent", ("2 (50 %)", "1 (25 %)")), ("frame", ("3 (60 %)", "1 (20 %)", "2 (40 %)"))):
        line = next(line for line in shown(found).splitlines() if line.lstrip("│ ").startswith(part))
        assert all(cell in line for cell in cells)


def test_an_answer_that_is_missing_or_unreadable_is_an_error() -> None:
    found = report((GOLD, GOLD, None), (None, None, None))
    assert [found["errors"]["intent"][key] for key in ("errors", "heard_wrong", "understood_wrong")] == [2, 1, 1]


@pytest.mark.parametrize(
    ("num_heard", "num_understood", "sentence"),
    [
        (30, 5, "more recordings will help most"),
        (5, 30, "more labelled text will help most"),
        (4, 4, "do not show whether"),
    ],
)
def test_the_advice_follows_the_larger_part_if_it_is_clearly_larger(
    num_heard: int, num_understood: int, sentence: str
) -> None:
    heard, understood = (GOLD, OTHER_INTENT, OTHER_INTENT), (OTHER_INTENT, OTHER_INTENT, OTHER_INTENT)
    found = report(*[heard] * num_heard, *[understood] * num_understood)
    assert sentence in found["sentences"][-1]
    low, high = found["errors"]["intent"]["heard_wrong_interval"]
    assert low < num_heard / (num_heard + num_understood) < high


def test_without_errors_there_is_nothing_to_buy() -> None:
    found = report((GOLD, GOLD, GOLD))
    assert found["sentences"] == ["No intent is wrong on speech."]
    assert found["errors"]["intent"]["heard_wrong_interval"] is None
    assert "0 (–)" in shown(found)


def test_answers_to_other_items_are_refused() -> None:
    few, many = (matched([GOLD] * number, [GOLD] * number) for number in (1, 2))
    with pytest.raises(ValueError, match="different items"):
        gap_report({"text": many, "cascade": many, "speech": few})
