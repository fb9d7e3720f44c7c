"""Sottovoce: teach a large audio language model a product's intents and slots with very little labelled speech.

Public are the names in ``__all__`` and the types that these functions return; the rest may change without notice.
"""

# The package `score` comes first: imported later, it would replace the function of that name.
from sottovoce import score as _score_room  # noqa: F401
from sottovoce.api import compare, load, run_study, score
from sottovoce.core.errors import UserError

__all__ = ["UserError", "__version__", "compare", "load", "run_study", "score"]

__version__ = "0.1.0"
