"""Sentences of the built-in corpus `home`: voice commands in parallel English and French."""

import re
from collections import Counter
from collections.abc import Iterator
from dataclasses import dataclass
from functools import cache
from importlib import resources
from random import Random
from typing import Any

import yaml  # type: ignore[import-untyped,unused-ignore]  # clean with and without the stubs

from sottovoce.core.errors import UserError
from sottovoce.core.types import SPLITS, Split

LOCALES = ("en-US", "fr-FR")
ROWS_PER_INTENT: dict[Split, int] = {"train": 70, "dev": 9, "test": 14}

_HELD_SHARE = 0.5  # chance that a dev or test slot takes a value never seen in train
_MAX_DRAWS = 60  # draws from one template before it counts as exhausted
_MAX_WORDS, _MAX_LETTERS = 16, 90  # about six seconds of speech
_SLOT = re.compile(r"<([a-z]+)(?:\.([a-z]+))?>")
_VALUE = re.compile(r"([^\[\]]*)\[([^\[\]]+)\]")
_NO_ELISION = ("haricots", "hip-hop", "huit", "onze")


@dataclass(frozen=True)
class Sentence:
    """One row of the corpus; rows of the two locales with the same id have the same meaning."""

    id: str
    locale: str
    split: Split
    scenario: str
    action: str
    transcript: str
    entities: tuple[tuple[str, str], ...]

    @property
    def intent(self) -> str:
        """Scenario and action joined by an underscore."""
        return f"{self.scenario}_{self.action}"


@dataclass(frozen=True)
class Value:
    """A slot value: per locale the words said before the filler and the filler itself."""

    texts: tuple[tuple[str, str], ...]
    kinds: frozenset[str]
    held: bool


@dataclass(frozen=True)
class Intent:
    """An intent with its templates per split; a template holds one text per locale."""

    scenario: str
    action: str
    templates: dict[Split, tuple[tuple[str, ...], ...]]


@dataclass(frozen=True)
class Grammar:
    """All slot values by slot type, and all intents."""

    slots: dict[str, tuple[Value, ...]]
    intents: tuple[Intent, ...]


@cache
def load_grammar() -> Grammar:
    """Reads the grammar that comes with the package; raises ValueError if it is malformed."""
    slots: dict[str, tuple[Value, ...]] = {}
    intents: list[Intent] = []
    folder = resources.files(__package__) / "home_grammar"
    for file in sorted(folder.iterdir(), key=lambda entry: entry.name):
        if not file.name.endswith(".yaml"):
            continue
        content: Any = yaml.safe_load(file.read_text(encoding="utf-8"))
        if file.name == "slots.yaml":
            slots = {slot: tuple(_values(lists)) for slot, lists in content.items()}
            continue
        for action, by_split in content["actions"].items():
            templates = {split: tuple(_pair(line) for line in by_split[split]) for split in SPLITS}
            intents.append(Intent(content["scenario"], action, templates))
    for intent in intents:
        for template in (pair for split in SPLITS for pair in intent.templates[split]):
            _check(template, slots)
    return Grammar(slots, tuple(intents))


def write_sentences(locale: str, seed: int = 0) -> list[Sentence]:
    """All sentences of one locale, ordered by split and intent; the same for the same seed.

    Raises UserError for a locale other than "en-US" and "fr-FR".
    """
    if locale not in LOCALES:
        raise UserError(f"home has no locale {locale!r}", f"choose one of {', '.join(LOCALES)}")
    return [row[LOCALES.index(locale)] for row in _rows(load_grammar(), Random(seed))]


def _rows(grammar: Grammar, rng: Random) -> Iterator[tuple[Sentence, ...]]:
    # Both locales are drawn together: a row is dropped in both if it repeats a sentence in either.
    said: set[str] = set()
    for split in SPLITS:
        used: Counter[Value] = Counter()
        number = 0
        for intent in grammar.intents:
            live = list(intent.templates[split])
            wanted = ROWS_PER_INTENT[split]
            while live and wanted:
                for template in tuple(live):
                    drawn = _draw(template, grammar, split, rng, used, said) if wanted else None
                    if drawn is None:
                        live.remove(template)
                        continue
                    wanted -= 1
                    number += 1
                    yield tuple(
                        Sentence(f"home-{split}-{number:04d}", locale, split, intent.scenario, intent.action, *text)
                        for locale, text in zip(LOCALES, drawn, strict=True)
                    )


def _draw(
    template: tuple[str, ...], grammar: Grammar, split: Split, rng: Random, used: Counter[Value], said: set[str]
) -> list[tuple[str, tuple[tuple[str, str], ...]]] | None:
    """Fills a template in every locale with values that give a new sentence; None if none was found."""
    names = sorted({match[1] for match in _SLOT.finditer(template[0])})
    for _ in range(_MAX_DRAWS if names else 1):
        chosen: dict[str, Value] = {}
        for name in names:
            held = split != "train" and rng.random() < _HELD_SHARE
            pool = [value for value in grammar.slots[name] if value.held == held]
            if name == "quantity":  # "item" sorts before "quantity", so it is chosen already
                pool = [value for value in pool if value.kinds & chosen["item"].kinds]
            elif name == "item" and "quantity" in names:
                pool = [value for value in pool if value.kinds]
            # The least used value first, so that all values occur about equally often.
            chosen[name] = min(pool, key=lambda value: (used[value], rng.random()))
            used[chosen[name]] += 1
        texts = [_fill(text, place, chosen) for place, text in enumerate(template)]
        keys = {f"{place}:{transcript}" for place, (transcript, _) in enumerate(texts)}
        short = all(len(words.split()) <= _MAX_WORDS and len(words) <= _MAX_LETTERS for words, _ in texts)
        if short and not keys & said:
            said |= keys
            return texts
    return None


def _fill(text: str, place: int, chosen: dict[str, Value]) -> tuple[str, tuple[tuple[str, str], ...]]:
    entities: list[tuple[str, str]] = []

    def word(match: re.Match[str]) -> str:
        lead, filler = chosen[match[1]].texts[place]
        entities.append((match[1], filler))
        return _lead(match[2], lead, filler) + filler

    return _SLOT.sub(word, text), tuple(entities)


def _lead(form: str | None, lead: str, filler: str) -> str:
    """The words before a filler; form: det as listed, de/a/que contracted with it, of: bare de, def: the article."""
    match form:
        case None:
            return ""
        case "det":
            return lead
        case "de":
            return {"le ": "du ", "les ": "des "}.get(lead) or _elided("de", lead + filler) + lead
        case "a":
            return {"le ": "au ", "les ": "aux "}.get(lead) or "à " + lead
        case "que":
            return _elided("que", lead + filler) + lead
        case "of":
            return _elided("de", filler)
        case "def":
            return {"du ": "le ", "de la ": "la ", "de l'": "l'", "des ": "les "}[lead]
    raise ValueError(f"unknown form {form!r} of a slot")


def _elided(word: str, following: str) -> str:
    vowel = following[0] in "aàâeéèêhiîoôœu" and not following.startswith(_NO_ELISION)
    return f"{word[:-1]}'" if vowel else f"{word} "


def _values(lists: dict[str, list[str]]) -> Iterator[Value]:
    for group in ("seen", "held"):
        for line in lists[group]:
            english, french, *kinds = (part.strip() for part in line.split("|"))
            texts = tuple(_parts(text) for text in (english, french))
            yield Value(texts, frozenset(" ".join(kinds).split()), group == "held")


def _parts(text: str) -> tuple[str, str]:
    match = _VALUE.fullmatch(text)
    return (match[1], match[2]) if match else ("", text)


def _pair(line: str) -> tuple[str, ...]:
    parts = tuple(part.strip() for part in line.split("|"))
    if len(parts) != len(LOCALES):
        raise ValueError(f"expected 'english | french': {line!r}")
    return parts


def _check(template: tuple[str, ...], slots: dict[str, tuple[Value, ...]]) -> None:
    names = [sorted(match[1] for match in _SLOT.finditer(text)) for text in template]
    if any(other != names[0] for other in names) or len(set(names[0])) != len(names[0]):
        raise ValueError(f"the locales must have the same slots, each once: {template!r}")
    if unknown := set(names[0]) - slots.keys():
        raise ValueError(f"unknown slots {sorted(unknown)} in {template!r}")
