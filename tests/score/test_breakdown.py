from __future__ import annotations

import pytest
from score_rows import answer, frame

from sottovoce.core.errors import UserError
from sottovoce.score.breakdown import BY, breakdown, confusions

ALARM, LAMP = frame("alarm set", "time:five am"), frame("lamp on", "room:hall")
ANSWERS = [
    answer(LAMP, LAMP, "lamp", speaker="anna", recording="1-headset.flac", locale="en-US", seconds=2.0),
    answer(ALARM, ALARM, "say me four words", speaker="ben", recording="2.flac", locale="en-US", seconds=2.1),
    answer(ALARM, LAMP, "three words only", speaker="ben", recording="3.flac", locale="en-US", seconds=60.0),
    answer(ALARM, None, "a b c d", recording="4.flac", locale="fr-FR"),
]


@pytest.mark.parametrize(
    ("by", "groups"),
    [
        ("intent", {"alarm_set": (3, 1 / 3, 1 / 2), "lamp_on": (1, 1.0, 1.0)}),
        ("scenario", {"alarm": (3, 1 / 3, 1 / 2), "lamp": (1, 1.0, 1.0)}),
        ("microphone", {"far-field": (3, 1 / 3, 1 / 2), "headset": (1, 1.0, 1.0)}),
        ("speaker", {"ben": (2, 1 / 2, 1 / 2), "anna": (1, 1.0, 1.0), "(unknown)": (1, 0.0, 0.0)}),
        ("locale", {"en-US": (3, 2 / 3, 2 / 3), "fr-FR": (1, 0.0, 0.0)}),
        ("length", {"up to 3 words": (2, 1 / 2, 1 / 2), "over 3 to 6 words": (2, 1 / 2, 1.0)}),
        (
            "seconds",
            {"up to 2 s": (1, 1.0, 1.0), "over 2 to 4 s": (1, 1.0, 1.0), "over 8 s": (1, 0.0, 0.0),
             "(unknown)": (1, 0.0, 0.0)},
        ),
    ],
)  # fmt: skip
def test_groups_their_order_and_their_scores(by: str, groups: dict[str, tuple[int, float, float]]) -> None:
    found = breakdown(ANSWERS, by)
    assert list(found) == list(groups)
    for name, (num_items, strict, official) in groups.items():
        assert found[name]["num_items"] == num_items
        assert found[name]["strict"]["intent_accuracy"] == pytest.approx(strict)
        assert found[name]["official"]["intent_accuracy"] == pytest.approx(official)


def test_a_slot_has_its_entities_alone_also_those_that_were_made_up() -> None:
    found = breakdown(ANSWERS, "slot")
    assert [(slot, group["num_entities"]) for slot, group in found.items()] == [("time", 3), ("room", 1)]
    time, room = found["time"]["strict"], found["room"]["strict"]
    assert (time["entity_precision"], time["entity_recall"]) == (1.0, pytest.approx(1 / 3))
    assert (room["entity_precision"], room["entity_recall"]) == (1 / 2, 1.0)
    assert found["time"]["official"]["entity_recall"] == 1 / 2
    assert not any("accuracy" in name or "exact" in name for name in time)


def test_confusions_are_counted_by_pair_and_name_what_was_no_answer() -> None:
    answers = [*ANSWERS, answer(ALARM, LAMP, "5"), answer(LAMP, LAMP, "6", status="unreadable")]
    assert confusions(answers) == [
        {"gold": "alarm_set", "predicted": "lamp_on", "count": 2, "share_of_gold": 2 / 4},
        {"gold": "alarm_set", "predicted": "(missing)", "count": 1, "share_of_gold": 1 / 4},
        {"gold": "lamp_on", "predicted": "(unreadable)", "count": 1, "share_of_gold": 1 / 2},
    ]
    assert confusions(ANSWERS[:2]) == []


def test_what_the_gold_file_does_not_say_is_refused() -> None:
    plain = [answer(frame("a b"), frame("a b"))]
    with pytest.raises(UserError, match=f"no breakdown by 'colour'; it is one of {', '.join(BY)}"):
        breakdown(plain, "colour")
    with pytest.raises(UserError, match="no recording's name shows the microphone"):
        breakdown([answer(frame("a b"), frame("a b"), recording="1.flac")], "microphone")
    for by in ("speaker", "seconds", "locale"):
        with pytest.raises(UserError, match=f"has no {by} for any item"):
            breakdown(plain, by)
    with pytest.raises(UserError, match="neither gold nor predictions have entities"):
        breakdown(plain, "slot")
