import re
from collections import Counter

import pytest

from sottovoce.core.errors import UserError
from sottovoce.data.corpora.home_sentences import LOCALES, SPLITS, Grammar, Sentence, load_grammar, write_sentences

TEMPLATES = {"train": 8, "dev": 2, "test": 3}
ROWS = {"train": 1600, "dev": 200, "test": 320}
OPEN_SLOTS = ("item", "person", "event", "song", "place", "artist", "message", "dish")
SLOT = re.compile(r"<([a-z]+)(?:\.[a-z]+)?>")
LETTERS = {"en-US": r"[a-z' ]+", "fr-FR": r"[a-zàâçéèêëîïôûùœ' -]+"}


@pytest.fixture(scope="module")
def rows() -> dict[str, list[Sentence]]:
    return {locale: write_sentences(locale) for locale in LOCALES}


@pytest.fixture(scope="module")
def grammar() -> Grammar:
    return load_grammar()


def carrier(template: str) -> Counter[str]:
    return Counter(SLOT.sub(" ", template).split())


def test_same_seed_gives_the_same_sentences_and_another_seed_gives_others() -> None:
    for locale in LOCALES:
        assert write_sentences(locale, seed=3) == write_sentences(locale, seed=3)
        assert write_sentences(locale, seed=3) != write_sentences(locale, seed=4)


def test_unknown_locale_is_refused() -> None:
    with pytest.raises(UserError, match="de-DE"):
        write_sentences("de-DE")


@pytest.mark.parametrize("seed", [0, 1, 2])
def test_there_are_enough_rows_balanced_over_the_intents(seed: int) -> None:
    for locale in LOCALES:
        rows = write_sentences(locale, seed)
        for split in SPLITS:
            counts = Counter(row.intent for row in rows if row.split == split)
            assert counts.total() >= ROWS[split]
            assert max(counts.values()) == min(counts.values())
        assert 20 <= len({row.intent for row in rows}) <= 24
        assert len({row.scenario for row in rows}) >= 7


@pytest.mark.parametrize("seed", [0, 1, 2])
def test_no_sentence_is_repeated_in_any_split(seed: int) -> None:
    for locale in LOCALES:
        transcripts = [row.transcript for row in write_sentences(locale, seed)]
        assert len(set(transcripts)) == len(transcripts)


def test_rows_are_parallel(rows: dict[str, list[Sentence]], grammar: Grammar) -> None:
    translations = {
        (slot, value.texts[0][1], value.texts[1][1]) for slot, values in grammar.slots.items() for value in values
    }
    for english, french in zip(rows["en-US"], rows["fr-FR"], strict=True):
        assert (english.id, english.split, english.intent) == (french.id, french.split, french.intent)
        assert (english.locale, french.locale) == LOCALES
        other = dict(french.entities)
        assert sorted(other) == sorted(slot for slot, _ in english.entities)
        assert all((slot, filler, other[slot]) in translations for slot, filler in english.entities)


def test_ids_are_unique_and_name_the_split(rows: dict[str, list[Sentence]]) -> None:
    ids = [row.id for row in rows["en-US"]]
    assert len(set(ids)) == len(ids)
    assert all(re.fullmatch(rf"home-{row.split}-\d{{4}}", row.id) for row in rows["en-US"])
    assert ids[0] == "home-train-0001"


def test_fillers_are_whole_words_in_order_of_appearance(rows: dict[str, list[Sentence]]) -> None:
    for row in (row for locale in LOCALES for row in rows[locale]):
        at = 0
        for _, filler in row.entities:
            found = re.compile(rf"(?<![\w-]){re.escape(filler)}(?![\w'-])").search(row.transcript, at)
            assert found, row
            at = found.end()


def test_transcripts_read_as_speech(rows: dict[str, list[Sentence]]) -> None:
    for row in (row for locale in LOCALES for row in rows[locale]):
        assert re.fullmatch(LETTERS[row.locale], row.transcript), row
        assert row.transcript == " ".join(row.transcript.split())
        assert 3 <= len(row.transcript.split()) <= 16, row
        assert len(row.transcript) <= 90, row  # about six seconds at an ordinary speaking rate


def test_french_elides_and_contracts(rows: dict[str, list[Sentence]]) -> None:
    aspirated = r"(?!haricots|hip-hop|huit|onze)"
    vowel = r"[aàâeéèêhiîoôœu]"
    wrong = re.compile(rf"\b(?:de|que|le|la|je|ne|me|te|se|jusque) {aspirated}{vowel}|\b(?:à|de) les? |' | '")
    found = [row.transcript for row in rows["fr-FR"] if wrong.search(row.transcript)]
    assert not found, found[:20]


def test_held_out_values_stay_out_of_train(rows: dict[str, list[Sentence]], grammar: Grammar) -> None:
    for place, locale in enumerate(LOCALES):
        said = {split: {e for row in rows[locale] if row.split == split for e in row.entities} for split in SPLITS}
        for slot, values in grammar.slots.items():
            held = {(slot, value.texts[place][1]) for value in values if value.held}
            seen = {(slot, value.texts[place][1]) for value in values if not value.held}
            assert held and not held & seen
            assert not held & said["train"]
            assert held & said["dev"] and held & said["test"]
            assert seen <= said["train"]


def test_slots_have_enough_values(grammar: Grammar) -> None:
    assert len(grammar.slots) >= 12
    for slot, values in grammar.slots.items():
        assert 20 <= len(values) <= 60, slot
        for place in range(len(LOCALES)):
            assert len({value.texts[place][1] for value in values}) == len(values), slot
    for slot in OPEN_SLOTS:
        held = sum(value.held for value in grammar.slots[slot])
        assert 0.15 <= held / len(grammar.slots[slot]) <= 0.21, slot


def test_each_intent_has_enough_templates(grammar: Grammar) -> None:
    for intent in grammar.intents:
        for split, least in TEMPLATES.items():
            assert len(intent.templates[split]) >= least, (intent.scenario, intent.action, split)


def test_wordings_differ_by_more_than_a_slot(grammar: Grammar) -> None:
    for place in range(len(LOCALES)):
        everywhere: set[str] = set()
        for intent in grammar.intents:
            known: list[Counter[str]] = []
            for split in SPLITS:
                for template in intent.templates[split]:
                    text = " ".join(SLOT.sub(" ", template[place]).split())
                    assert text not in everywhere, text
                    everywhere.add(text)
                    words = carrier(template[place])
                    least = 1 if split == "train" else 3
                    near = [other for other in known if ((words - other) + (other - words)).total() < least]
                    assert not near, (template, near)
                    known.append(words)


def test_some_templates_have_no_slot_and_some_have_three(grammar: Grammar) -> None:
    templates = [t for intent in grammar.intents for split in SPLITS for t in intent.templates[split]]
    counts = Counter(len(SLOT.findall(template[0])) for template in templates)
    assert counts[0] >= 5 and counts[2] >= 40 and counts[3] >= 3
