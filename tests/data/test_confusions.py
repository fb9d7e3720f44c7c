from __future__ import annotations

from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from sottovoce.core.errors import UserError
from sottovoce.data.confusions import (
    ConfusionTable,
    confusions_of,
    misheard,
    read_confusions,
    shipped_confusions,
    write_confusions,
)

WORDS = st.lists(st.sampled_from(["light", "lights", "on", "in", "bath", "room", "bathroom", "the", "été"]), max_size=6)


@pytest.mark.parametrize(
    ("said", "written", "found"),
    [
        ("light on", "light on", []),
        ("light on", "lights on", [("light", "lights")]),
        ("light on in the hall", "light in the hall", [("on", "")]),
        ("light on", "the light on", [("", "the")]),
        ("in the bathroom please", "in the bath room please", [("bathroom", "bath room")]),
        ("kitchen", "a kitchen", [("", "a")]),
        ("lounge light", "a launch lied", [("", "a"), ("lounge", "launch"), ("light", "lied")]),
        ("lounge", "a lunch", [("", "a"), ("lounge", "lunch")]),
        ("living room", "livingroom", [("living", "livingroom"), ("room", "")]),
        ("lights on", "on light", [("lights", ""), ("", "light")]),
        ("", "you", [("", "you")]),
        ("light on", "", [("light", ""), ("on", "")]),
        ("", "", []),
    ],
)
def test_words_are_paired_with_what_was_written_for_them(said: str, written: str, found: list[tuple[str, str]]) -> None:
    assert misheard(said.split(), written.split()) == found


@given(WORDS, WORDS)
def test_every_word_is_paired_once(said: list[str], written: list[str]) -> None:
    pairs = misheard(said, written)
    kept_said, kept_written = list(said), list(written)
    for word, instead in pairs:
        assert word != instead
        if word:
            kept_said.remove(word)
        for part in instead.split():
            kept_written.remove(part)
    assert sorted(kept_said) == sorted(kept_written)  # the rest was heard as it was said


def test_a_table_counts_words_as_error_rates_do_and_its_rates_are_shares_of_the_spoken_words() -> None:
    pairs = [("Turn the LIGHT on!", "turn lights on"), ("e\u0301te\u0301", "ete"), ("light on", "light on you")]
    table = confusions_of(pairs, "en")
    assert table.num_words == 7
    assert table.heard == {"light": {"lights": 1}, "the": {"": 1}, "été": {"ete": 1}}
    assert table.inserted == {"you": 1}
    assert (table.replace_rate, table.drop_rate, table.insert_rate) == (2 / 7, 1 / 7, 1 / 7)


def test_an_empty_table_has_rates_of_zero() -> None:
    table = confusions_of([], "en")
    assert (table.replace_rate, table.drop_rate, table.insert_rate, table.num_words) == (0, 0, 0, 0)


def test_a_table_is_read_as_it_was_written(tmp_path: Path) -> None:
    table = ConfusionTable("fr", 9, {"été": {"était": 1, "et": 2, "": 1}, "à": {"a la": 1}}, {"euh": 2})
    write_confusions(table, tmp_path / "deep/fr.jsonl")
    assert read_confusions(tmp_path / "deep/fr.jsonl") == table
    turned = ConfusionTable("fr", 9, dict(reversed(table.heard.items())), table.inserted)
    write_confusions(turned, tmp_path / "turned.jsonl")
    assert (tmp_path / "turned.jsonl").read_bytes() == (tmp_path / "deep/fr.jsonl").read_bytes()


HEADER = '{"version": 1, "language": "en", "num_words": 5, "inserted": {}}\n'


@pytest.mark.parametrize(
    ("content", "line", "said"),
    [
        ("", 1, "the key 'version' is missing"),
        ('{"version": 2, "rows": []}\n', 1, "a confusion table of version 2, not 1"),
        ('{"version": "1b"}\n', 1, "a confusion table of version '1b', not 1"),
        ("half a line", 1, "not JSON"),
        ("[]\n", 1, "not a JSON object"),
        (HEADER.replace("5", "-5"), 1, "num_words"),
        (HEADER.replace("{}", '{"the": 0}'), 1, "inserted.the"),
        (HEADER + '{"word": "a", "heard": {"b": "many"}}\n', 2, "heard.b"),
        (HEADER + '{"word": "a", "heard": {"b": 1}, "more": 1}\n', 2, "more"),
        (HEADER + '{"word": "", "heard": {}}\n', 2, "word"),
        (HEADER + '{"word": "a", "heard": {"b": 1}}\n' * 2, 3, "the word 'a' is in the table twice"),
        (HEADER + '{"word": "a", "heard": {"b"', 2, "not JSON"),
    ],
)
def test_a_damaged_table_is_told_by_its_line(tmp_path: Path, content: str, line: int, said: str) -> None:
    path = tmp_path / "en.jsonl"
    path.write_text(content, encoding="utf-8")
    with pytest.raises(UserError) as caught:
        read_confusions(path)
    assert caught.value.what.startswith(f"{path}:{line}: ") and said in caught.value.what
    assert "\n" not in str(caught.value) and caught.value.advice


def test_what_is_not_text_or_not_there_is_refused(tmp_path: Path) -> None:
    (tmp_path / "en.jsonl").write_bytes(b"\xff\xfe")
    with pytest.raises(UserError, match="not UTF-8"):
        read_confusions(tmp_path / "en.jsonl")
    with pytest.raises(UserError, match=r"no such confusion table: .*fr\.jsonl"):
        read_confusions(tmp_path / "fr.jsonl")


def test_a_language_without_a_shipped_table_is_told_what_to_do() -> None:
    with pytest.raises(UserError, match="there is no built-in confusion table for the language 'tlh'") as caught:
        shipped_confusions("tlh")
    assert "train.noise.source" in caught.value.advice
