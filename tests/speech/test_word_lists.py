from __future__ import annotations

from collections import Counter
from pathlib import Path

import pytest

from sottovoce.errors import UserError
from sottovoce.speech import word_lists as module
from sottovoce.speech.align_text import list_rows
from sottovoce.speech.word_lists import word_lists

ENGLISH = ["the", "of", "Kitchen", "shirt", "pdf", "lamp", "tomato", "it's", "b2b", "lamp", "harbor", "idea", "yes"]
FIT = {"the", "kitchen", "shirt", "lamp", "tomato", "harbor", "idea", "yes"}


@pytest.fixture(autouse=True)
def archive(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """The package of words, with a few of them."""
    folder = tmp_path / "package/build/resources"
    folder.mkdir(parents=True)
    (folder / "english.txt").write_text("\n".join(ENGLISH) + "\n", encoding="utf-8")
    (folder / "french.txt").write_text("étage\nœuf\nlampe\n", encoding="utf-8")
    monkeypatch.setattr(module, "fetch_archive", lambda file: tmp_path)
    module._words.cache_clear()


def test_every_word_occurs_once_before_any_occurs_twice() -> None:
    spoken = [word for words in word_lists("en-US", 30, seed=0) for word in words.split()]
    for start in range(0, len(spoken) - len(FIT), len(FIT)):
        assert set(spoken[start : start + len(FIT)]) == FIT
    assert max(Counter(spoken).values()) - min(Counter(spoken).values()) <= 1


def test_lists_have_three_to_six_words_and_are_decided_by_the_seed() -> None:
    lists = word_lists("en-US", 40, seed=0)
    assert {len(words.split()) for words in lists} == {3, 4, 5, 6}
    assert lists == word_lists("en-US", 40, seed=0) != word_lists("en-US", 40, seed=1)


def test_accents_are_letters() -> None:
    assert set(" ".join(word_lists("fr-FR", 3, seed=0)).split()) == {"étage", "œuf", "lampe"}


def test_rows_of_another_seed_have_other_ids() -> None:
    rows = [*list_rows(["en-US=4", "fr-FR=2"], seed=0), *list_rows(["en-US=4"], seed=1)]
    assert len({(row["locale"], row["id"]) for row in rows}) == len(rows) == 10
    assert [row["locale"] for row in rows[:6]] == ["en-US"] * 4 + ["fr-FR"] * 2


@pytest.mark.parametrize(("wanted", "said"), [("en-US", "write LOCALE=NUMBER"), ("de-DE=3", "no words for de-DE")])
def test_what_cannot_be_spoken_is_refused(wanted: str, said: str) -> None:
    with pytest.raises(UserError, match=said):
        list_rows([wanted], seed=0)
