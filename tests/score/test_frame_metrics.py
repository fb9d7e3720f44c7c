from __future__ import annotations

import pytest
from score_rows import frame, matched

from sottovoce.score.counts import counts_table
from sottovoce.score.metrics.frame import same_frame

GOLD = frame("lights set", "room:kitchen", "level:ten", "level:ten")


@pytest.mark.parametrize(
    ("predicted", "same"),
    [
        (GOLD, True),
        (frame("lights set", "level:ten", "level:ten", "room:kitchen"), True),
        (frame("lights set", "room:kitchen", "level:ten"), False),
        (frame("lights set", "room:kitchen", "level:ten", "level:ten", "level:ten"), False),
        (frame("lights set", "room:kitchen", "room:kitchen", "level:ten"), False),
        (frame("lights set", "room:Kitchen", "level:ten", "level:ten"), False),
        (frame("lights off", "room:kitchen", "level:ten", "level:ten"), False),
        (frame("lamps set", "room:kitchen", "level:ten", "level:ten"), False),
        (None, False),
    ],
)
def test_a_frame_is_right_only_as_a_whole_in_any_order(predicted: object, same: bool) -> None:
    assert same_frame(GOLD, predicted) is same  # type: ignore[arg-type]


def test_accuracy_is_the_share_of_right_frames_as_on_fluent_speech_commands() -> None:
    # Action, object and location must all be right there; one wrong makes the recording wrong.
    gold = frame("lights activate", "location:kitchen")
    wrong = [frame("lights activate", "location:bedroom"), frame("lights deactivate", "location:kitchen"), None]
    table = counts_table(matched([gold] * 4, [gold, *wrong]).all, "strict")
    assert table.figures()["frame_accuracy"] == 1 / 4
