"""Sottovoce: teach a large audio language model a product's intents and slots with very little labelled speech."""

from __future__ import annotations

from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from pathlib import Path

    from sottovoce.core.recipe import Grammar
    from sottovoce.inference.model import Model

__version__ = "0.1.0"


def load(run: Path | str, grammar: Grammar | None = None) -> Model:
    """A trained run (STUDY/cells/CELL), ready to understand recordings and typed text.

    Args:
        grammar: ``ontology`` holds answers to the intents and slot types of the training labels, ``none`` leaves them
            free; None: as the run's recipe says.

    >>> import sottovoce
    >>> model = sottovoce.load("runs/home-en/cells/curriculum-5pct")  # doctest: +SKIP
    >>> model.understand("clip.wav").frame  # doctest: +SKIP
    Frame(scenario='light', action='on', entities=(Entity(type='room', filler='kitchen'),))

    Raises:
        UserError: the folder is no run, or its training is not finished.
    """
    from sottovoce.inference.model import load_model_of  # torch is imported for those who ask

    return load_model_of(run, grammar=grammar)
