"""Learning curves without files: cells whose scores a test names, with made-up contributions of utterances."""

from __future__ import annotations

import random
from collections.abc import Mapping
from pathlib import Path

import numpy as np
from cell_names import cell_named
from study_folder import scores

from sottovoce.report.curves import Curves, study_curves
from sottovoce.report.results import CellResult, InputScores, StudyResults
from sottovoce.score.intervals import Scored

NUM_UTTERANCES = 400


def made_curves(
    rights: Mapping[str, tuple[float, float] | None], models: tuple[str, ...] = ("embedded",), error: float = 0.004
) -> Curves:
    """Curves of cells by name, with their shares on speech and gold text; None leaves a cell unfinished.

    Args:
        rights: SLU-F1 is 0.9 times the share.
        models: the study's.
        error: of each cell's own, beside one of 0.02 that all cells share, as test utterances are.
    """
    root, counted = np.sqrt(NUM_UTTERANCES), np.ones((NUM_UTTERANCES, 2), dtype=bool)
    shared = np.random.default_rng(0).normal(0, 0.02, (NUM_UTTERANCES, 1)) / root
    some = InputScores(**scores(50))
    cells, samples = [], {}
    for name, both in rights.items():
        named = cell_named(name, models)
        ids = tuple(map(str, range(round(1000 * named["budget_share"]))))
        inputs = {"speech": some, "text": some} if both else {}
        cells.append(CellResult(**named, **inputs, speech_ids=ids))
        rng = np.random.default_rng(random.Random(name).randrange(2**32))
        for modality, right in zip(("speech", "text"), both or (), strict=False):
            seen = np.array([right, 0.9 * right])
            influence = shared + rng.normal(0, error, (NUM_UTTERANCES, 2)) / root
            samples[name, modality] = Scored(seen, influence, counted, np.array([True, True]))
    results = StudyResults(
        Path(), "made", "Made", "made.yaml", "", "2 CPU cores", ", ".join(models), "home en-US", 1000, 400, 1.0, 1000,
        tuple(cells),
    )  # fmt: skip
    return study_curves(results, samples)


def with_seeds(
    rights: Mapping[str, float], num_seeds: int = 3, spread: float = 0.004
) -> dict[str, tuple[float, float]]:
    """Each name once for each seed, the seeds' scores on speech as far apart; 0.92 on gold text."""
    places = [spread * (seed - (num_seeds - 1) / 2) for seed in range(num_seeds)]
    return {
        f"{name}-seed{seed}" if seed else name: (right + places[seed], 0.92)
        for name, right in rights.items()
        for seed in range(num_seeds)
    }
