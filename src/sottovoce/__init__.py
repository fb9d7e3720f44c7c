"""Sottovoce: teach a large audio language model a product's intents and slots with very little labelled speech.

What ``__all__`` names is public, and what these functions return; everything else may change without notice.
"""

# The room `score` first: whenever it was imported later, it would take the place of the function of that name.
from sottovoce import score as _score_room  # noqa: F401
from sottovoce.api import compare, load, run_study, score
from sottovoce.core.errors import UserError

__all__ = ["UserError", "__version__", "compare", "load", "run_study", "score"]

__version__ = "0.1.0"
