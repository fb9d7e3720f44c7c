"""A study that trains the upper layers alone."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
from tiny_study import results_of, run_tiny_study, tiny_recipe

from sottovoce.core.recipe import Train
from sottovoce.data.collate import Row
from sottovoce.models.load import LoadedModel
from sottovoce.models.lower_states import LowerStates
from sottovoce.study import cell as cell_run
from sottovoce.study.resources.memory import forecast_memory, row_of

NUM_TRAINED, NUM_SPOKEN = 18, 5  # utterances, and those of the budget of 30 %


class Counting(LowerStates):
    """Notes how many rows each stage has, and for how many its lower layers had been computed by then."""

    noted: list[tuple[int, int]]

    def of(self, loaded: LoadedModel, rows: Any) -> list[Row]:
        before = len(self._kept)
        found = super().of(loaded, rows)
        self.noted.append((len(rows), len(self._kept) - before))
        return found


def test_stages_compute_each_row_s_lower_layers_once_and_end_bit_for_bit_alike(
    tiny_model_dir: Path, tiny_corpus: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(cell_run, "LowerStates", Counting)
    train = tiny_recipe(tmp_path, tiny_model_dir, tiny_corpus)["train"] | {"lora": {"r": 4, "first_layer": 1}}
    changes = {"schemes": ["text_only", "curriculum"], "budgets": [0.3], "train": train}
    found = []
    for name in "ab":
        (tmp_path / name).mkdir()
        monkeypatch.setattr(Counting, "noted", [], raising=False)
        found.append(results_of(run_tiny_study(tmp_path / name, tiny_model_dir, tiny_corpus, **changes)))
        # Text first, and then the same text with speech; some sentences of the tiny corpus are the same.
        (num_text, new_text), (num_both, new_both) = Counting.noted
        assert (num_text, num_both) == (NUM_TRAINED, NUM_TRAINED + NUM_SPOKEN)
        assert 0 < new_text <= NUM_TRAINED and 0 < new_both <= NUM_SPOKEN
    assert found[0] == found[1] and len(found[0]) == 2 * 4


def test_what_rows_go_through_once_is_no_part_of_a_step(tiny_model_dir: Path) -> None:
    row = row_of(str(tiny_model_dir), 60, 20)
    whole, upper = (
        forecast_memory(str(tiny_model_dir), Train.model_validate({"language_model": "lora", "lora": lora}), row)
        for lora in ({}, {"first_layer": 1})
    )
    assert upper.operations < whole.operations and upper.activations < whole.activations
    assert upper.optimizer < whole.optimizer
