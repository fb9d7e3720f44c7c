"""The output of ``sottovoce plan-memory``: which settings fit which cards, and how many cards to shard over if none."""

from __future__ import annotations

from sottovoce.core.recipe import Recipe, Train
from sottovoce.models.load import family_named
from sottovoce.study.resources.activations import RowSize
from sottovoce.study.resources.memory import CARDS, GIB, Card, Memory, forecast_memory
from sottovoce.study.resources.this_machine import here_forecast, here_row, here_sentence
from sottovoce.study.resources.time import minutes
from sottovoce.train.parts import reencodes_audio

UTILISATION = 0.4  # share of the peak that training reaches; assumed


def plan_lines(recipe: Recipe, row: RowSize, num_rows: int | None) -> tuple[list[list[str]], list[str]]:
    """A table of methods and batch sizes for a recipe, header first, and sentences about the recipe.

    In the table "optimizer" includes gradients. It has gradient checkpointing if the recipe sets it to true; for
    ``auto``, a sentence says what it would allow.

    Args:
        row: the longest training row.
        num_rows: of the largest epoch, None if the data is not available.
    """
    table = [["trained", "batch", "weights", "optimizer", "activations", "total, GiB", "fits", "1,000 rows"]]
    own = recipe.train
    whole = own.per_device_train_batch_size * own.gradient_accumulation_steps
    best, checkpointed = dict[tuple[str, str], int](), dict[tuple[str, str], int]()
    for method in ("lora",) if own.audio_tower == "lora" else ("lora", "full"):
        for batch_size in _batch_sizes(whole):
            train = own.model_copy(update={"language_model": method, "per_device_train_batch_size": batch_size})
            memory = forecast_memory(recipe.model, train, row)
            parts = (memory.weights, memory.gradients + memory.optimizer, memory.activations, memory.total)
            card = next((card for card in CARDS if memory.fits(card)), None)
            for needed, found in ((memory, best), (_checkpointed(recipe, train, row), checkpointed)):
                found |= {(method, other.name): batch_size for other in _fitting(needed)}
            shown = f"{card.gigabytes} GB" if card else "none"
            time = _minutes(memory, card, batch_size, 1000) if card else "–"
            table.append([method, str(batch_size), *(f"{part / GIB:.1f}" for part in parts), shown, time])
    here = here_forecast(recipe, row)
    table.append(here_row(here))
    memory = forecast_memory(recipe.model, own, row)
    sentences = [
        f"The recipe as it is ({own.language_model}, batch {own.per_device_train_batch_size}, rows of up to "
        f"{row.num_tokens} tokens) needs {memory.total / GIB:.1f} GiB: {_where(memory)}."
    ]
    if own.gradient_checkpointing == "auto":
        less = _checkpointed(recipe, own, row)
        if not memory.fits(CARDS[0]) and less.total < memory.total:
            sentences.append(
                f"On smaller cards, gradient checkpointing is switched on and reduces that to {less.total / GIB:.1f} "
                f"GiB: {_where(less)}."
            )
        memory = memory if _fitting(memory) else less
        sentences += _larger_batches(best, checkpointed)
    if num_rows and (fitting := _fitting(memory)):
        time = _minutes(memory, fitting[0], own.per_device_train_batch_size, num_rows)
        sentences.append(f"Its largest epoch, {num_rows} rows, takes about {time} on one {fitting[0].name}.")
    if memory.uncounted:
        sentences.append(f"The audio part's activations come on top; they could not be counted: {memory.uncounted}.")
    elif row.seconds > 0 and reencodes_audio(family_named(recipe.model), own):
        sentences.append(f"Each step encodes up to {row.seconds:.1f} s a row: counted in the memory, not in the times.")
    cards: dict[str, list[str]] = {}  # names by what fits
    for card in CARDS:
        ways = [
            f"{method} with per_device_train_batch_size={size} gradient_accumulation_steps={whole // size}"
            for method in ("full", "lora")
            if (size := best.get((method, card.name)))
        ]
        cards.setdefault(", or ".join(ways) or "too small for any of these", []).append(f"{card.gigabytes} GB")
    sentences += [f"{', '.join(names)}: {ways}." for ways, names in cards.items()]
    return table, [*sentences, *_sharded_sentences(recipe, row), here_sentence(here)]


def _checkpointed(recipe: Recipe, train: Train, row: RowSize) -> Memory:
    return forecast_memory(recipe.model, train.model_copy(update={"gradient_checkpointing": True}), row)


def _fitting(memory: Memory) -> list[Card]:
    return [card for card in CARDS if memory.fits(card)]


def _where(memory: Memory) -> str:
    names = ", ".join(f"{card.gigabytes} GB" for card in _fitting(memory))
    return f"fits {names}" if names else "fits no card listed"


def _larger_batches(best: dict[tuple[str, str], int], checkpointed: dict[tuple[str, str], int]) -> list[str]:
    """A sentence on the cards where gradient checkpointing allows larger batches; batches by method and card."""
    cards = []
    for card in CARDS:
        keys = [(method, card.name) for method in ("full", "lora")]
        more = [f"{key[0]} {checkpointed[key]}" for key in keys if checkpointed.get(key, 0) > best.get(key, 0)]
        cards += [f"{card.gigabytes} GB {' and '.join(more)}"] if more else []
    costs = "which costs a third more computation in full, half more with lora"
    return [f"With gradient checkpointing, {costs}, batches can be up to: {', '.join(cards)}."] if cards else []


def _sharded_sentences(recipe: Recipe, row: RowSize) -> list[str]:
    """How many cards it takes to train the whole language model, if one of the largest is not enough."""
    if recipe.train.audio_tower != "frozen" or recipe.train.projector != "frozen":
        return []
    changes = {"language_model": "full", "per_device_train_batch_size": 1, "load_in_4bit": False}
    memory = forecast_memory(recipe.model, recipe.train.model_copy(update=changes), row)
    if memory.fits(CARDS[-1]):
        return []
    numbers = {card: next((n for n in range(2, 65) if memory.sharded(n).fits(card)), None) for card in CARDS}
    found = [f"{number} of {card.gigabytes} GB" for card, number in numbers.items() if number]
    where = " or ".join(found) if found else "more or larger cards than are listed here"
    return [f"Sharded (FSDP2 or ZeRO-3, batch 1 per card), the whole language model needs {where}."]


def _batch_sizes(whole: int) -> list[int]:
    return [size for size in (1, 2, 4, 8, 16, 32, 64, 128) if size < whole] + [whole]


def _minutes(memory: Memory, card: Card, batch_size: int, num_rows: int) -> str:
    seconds = memory.operations / batch_size * num_rows / (card.teraflops * 1e12 * UTILISATION)
    return minutes(seconds)
