"""What each of two processes does in ``test_processes.py``: ``MODEL OUT KIND`` on the command line, and after it at
which step both are killed, if they are.

Every even batch is written and every odd one spoken, so that one process reads all text and the other hears all speech.
"""

from __future__ import annotations

import os
import sys
from pathlib import Path
from typing import Any

sys.path.insert(0, str(Path(__file__).parent.parent))

from spoken_rows import speech_row, text_row

import sottovoce.train.stage as module
from sottovoce.data.collate import Row
from sottovoce.models.load import LoadedModel, load_model
from sottovoce.recipe import Lora, StageSettings, Train
from sottovoce.train.schemes import Stage
from sottovoce.train.trainer import AnswerTrainer

BATCH = 2


def rows_of(loaded: LoadedModel) -> list[Row]:
    texts = [
        text_row(loaded, words) for words in ("light on", "put the light on", "the hall, please", "on", "more light")
    ]
    clips = [speech_row(loaded, 0.4 + 0.2 * number, 300.0 + 100 * number) for number in range(4)]
    rows = []
    for start in range(0, 4, BATCH):
        rows += [*texts[start : start + BATCH], *clips[start : start + BATCH]]
    return [*rows, texts[4]]  # the last step is not whole


def train(model: Path, out: Path, kind: str) -> Path:
    """One stage of two accumulated batches a step, by however many processes there are."""
    loaded = load_model(str(model), bf16=False)
    settings = Train.model_validate(
        {
            "language_model": kind, "projector": "full", "bf16": False, "per_device_train_batch_size": BATCH,
            "gradient_accumulation_steps": 2, "lora": Lora(r=4), "save_steps": 1,
        }
    )  # fmt: skip
    stage = Stage("text+speech", (), StageSettings(num_train_epochs=1, learning_rate=1e-2))
    (plan,) = module.plan_stages([stage], [["rows"]], "root")
    rows = rows_of(loaded)
    module.training_order = lambda num_rows, num_epochs, seed: list(range(num_rows))
    return module.run_stage(loaded, plan, rows, settings, out, seed=0)


def die_at(last: int) -> None:
    step = AnswerTrainer.training_step

    def dying(self: AnswerTrainer, *args: Any, **kwargs: Any) -> Any:
        if self.state.global_step + 1 == last:
            os._exit(9)
        return step(self, *args, **kwargs)

    AnswerTrainer.training_step = dying  # type: ignore[method-assign]


if __name__ == "__main__":
    if len(sys.argv) > 4:
        die_at(int(sys.argv[4]))
    train(Path(sys.argv[1]), Path(sys.argv[2]), sys.argv[3])
