"""What our training adds to the Trainer's loop: stopping, evaluating, showing progress."""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import Any

from transformers import TrainerCallback

from sottovoce.core.progress import progress_bar


class StopWhenDiverged(TrainerCallback):  # type: ignore[misc]
    """Stops the training at the first logged loss that is not finite."""

    def on_log(self, args: Any, state: Any, control: Any, logs: Any = None, **kwargs: Any) -> None:
        if logs and not math.isfinite(float(logs.get("loss", 0.0))):
            control.should_training_stop = True


class EvaluateAt(TrainerCallback):  # type: ignore[misc]
    """Evaluates and saves after given steps and after the last one; saves every ``save_steps``, too.

    In place of the Trainer's own schedule, which knows no epochs here (the rows cover all of them), would leave out the
    last step, and would save only where it evaluates.
    """

    def __init__(self, steps: Sequence[int], save_steps: int) -> None:
        self._steps, self._save_steps = frozenset(steps), save_steps

    def on_step_end(self, args: Any, state: Any, control: Any, **kwargs: Any) -> None:
        if state.global_step in self._steps or state.global_step >= state.max_steps:
            control.should_evaluate = control.should_save = True
        elif state.global_step % self._save_steps == 0:
            control.should_save = True


class ProgressLine(TrainerCallback):  # type: ignore[misc]
    """A rich progress bar with the loss and the remaining time."""

    def __init__(self, name: str) -> None:
        self._name, self._loss = name, ""
        self._progress = progress_bar()

    def on_train_begin(self, args: Any, state: Any, control: Any, **kwargs: Any) -> None:
        if state.is_world_process_zero:
            self._progress.start()
        self._task = self._progress.add_task(
            f"training {self._name}", total=state.max_steps, completed=state.global_step
        )

    def on_log(self, args: Any, state: Any, control: Any, logs: Any = None, **kwargs: Any) -> None:
        if logs and "loss" in logs:
            self._loss = f" loss {float(logs['loss']):.3f}"

    def on_step_end(self, args: Any, state: Any, control: Any, **kwargs: Any) -> None:
        self._progress.update(self._task, completed=state.global_step, description=f"training {self._name}{self._loss}")

    def on_train_end(self, args: Any, state: Any, control: Any, **kwargs: Any) -> None:
        self.stop()

    def stop(self) -> None:
        """Restores the terminal; also needed after an error, when the Trainer does not call `on_train_end`."""
        self._progress.stop()
