import json
from collections import Counter
from pathlib import Path
from typing import Any

import pytest

from sottovoce.core.errors import UserError
from sottovoce.speech.training_sentences import plain, take_clips, training_sentences

NUMBERS = ("one", "two", "three", "four", "five", "six", "seven", "eight", "nine", "ten")


def manifest(path: Path, *rows: dict[str, Any]) -> Path:
    path.write_text("".join(json.dumps(row) + "\n" for row in rows), encoding="utf-8")
    return path


def row(identity: str, transcript: str, split: str = "train", locale: str = "en-US", **more: Any) -> dict[str, Any]:
    return {
        "id": identity, "locale": locale, "split": split, "transcript": transcript, "scenario": "s", "action": "a",
        **more,
    }  # fmt: skip


def many(locale: str, count: int) -> list[dict[str, Any]]:
    words = [f"{a} {b} {c}" for a in NUMBERS for b in NUMBERS for c in NUMBERS]
    return [row(f"{locale}{place}", f"{locale[:2]} {text}", locale=locale) for place, text in enumerate(words[:count])]


def spoken(manifests: list[Path], exclude: tuple[Path, ...] = (), seed: int = 0) -> list[str]:
    return [each["transcript"] for each in training_sentences(manifests, exclude, seed)]


def test_only_training_sentences_without_a_recording_are_spoken(tmp_path: Path) -> None:
    path = manifest(
        tmp_path / "m",
        row("1", "Turn it on"),
        row("2", "turn it off", "dev"),
        row("3", "make it blue", "test"),
        row("4", "make it red", audio="a.wav"),
    )
    assert spoken([path]) == ["turn it on"]


@pytest.mark.parametrize("split", ["dev", "test"])
def test_a_sentence_that_is_held_out_anywhere_is_never_spoken(tmp_path: Path, split: str) -> None:
    # However it is written, in whichever manifest, in whichever language, before or after.
    first = manifest(tmp_path / "a", row("1", "Lampe an, bitte!"), row("2", "stay here"), row("3", "who’s there"))
    second = manifest(tmp_path / "b", row("1", "lampe AN bitte", split, "de-DE"), row("2", "go away", locale="de-DE"))
    assert sorted(spoken([first, second])) == ["go away", "stay here", "who s there"]
    assert sorted(spoken([second, first])) == ["go away", "stay here", "who s there"]


def test_no_sentence_of_an_excluded_manifest_is_spoken_whatever_its_split(tmp_path: Path) -> None:
    path = manifest(tmp_path / "a", row("1", "turn it on"), row("2", "turn it off"), row("3", "make it blue"))
    other = manifest(tmp_path / "b", row("7", "Turn it on."), row("8", "make it blue", "test"))
    assert spoken([path], (other,)) == ["turn it off"]


def test_the_text_of_an_utterance_with_a_recording_is_not_spoken_from_another_row(tmp_path: Path) -> None:
    path = manifest(tmp_path / "m", row("1", "turn it on"), row("2", "turn it on!", audio="a.wav"), row("3", "go on"))
    assert spoken([path]) == ["go on"]


def test_what_cannot_be_spoken_well_and_repetitions_are_left_out(tmp_path: Path) -> None:
    rows = [
        row("1", "stop"),
        row("2", "wake me at 7 am"),
        row("3", "very " * 20 + "long"),
        row("4", "turn it on"),
        row("5", "Turn it on!"),
    ]
    assert spoken([manifest(tmp_path / "m", *rows)]) == ["turn it on"]


def test_any_prefix_mixes_the_locales_in_proportion(tmp_path: Path) -> None:
    path = manifest(tmp_path / "m", *many("en-US", 300), *many("fr-FR", 100))
    rows = training_sentences([path], [], seed=0)
    assert len(rows) == 400
    for size in range(1, 401):
        french = Counter(each["locale"] for each in rows[:size])["fr-FR"]
        assert abs(french - size / 4) <= 1


def test_the_seed_decides_the_order_and_nothing_else(tmp_path: Path) -> None:
    path = manifest(tmp_path / "m", *many("en-US", 50))
    assert spoken([path]) == spoken([path])
    assert spoken([path]) != spoken([path], seed=1)
    assert sorted(spoken([path])) == sorted(spoken([path], seed=1))


def test_plain_keeps_words_and_apostrophes() -> None:
    assert plain("  L'Été, c'est  «chaud» — non ? ") == "l'été c'est chaud non"


def test_of_a_locale_the_first_clips_are_taken_as_many_as_asked_for(tmp_path: Path) -> None:
    path = manifest(tmp_path / "m", *many("en-US", 30), *many("fr-FR", 10), *many("de-DE", 5))
    rows = training_sentences([path], [], seed=0)
    taken = take_clips(rows, ["en-US=7", "fr-FR=0"])
    assert Counter(each["locale"] for each in taken) == {"en-US": 7, "de-DE": 5}
    english = [each for each in rows if each["locale"] == "en-US"]
    assert [each for each in taken if each["locale"] == "en-US"] == english[:7]
    assert take_clips(rows, []) == rows


@pytest.mark.parametrize(
    ("clips", "fault"),
    [
        ("en-US", "write LOCALE=NUMBER"),
        ("en-US=many", "write LOCALE=NUMBER"),
        ("en-US=-1", "write LOCALE=NUMBER"),
        ("en-UK=3", "there are en-US"),
    ],
)
def test_a_number_of_clips_that_makes_no_sense_is_refused(tmp_path: Path, clips: str, fault: str) -> None:
    rows = training_sentences([manifest(tmp_path / "m", *many("en-US", 3))], [], seed=0)
    with pytest.raises(UserError, match=fault):
        take_clips(rows, [clips])
