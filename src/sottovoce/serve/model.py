"""A trained run in three lines: ``model = sottovoce.load("runs/..."); model.understand("clip.wav")``."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

from sottovoce.data.audio import SAMPLING_RATE, Samples, load_audio
from sottovoce.data.collate import Row, tokenize
from sottovoce.data.prompts import slu_example
from sottovoce.evaluate.decode import generate
from sottovoce.evaluate.forms import Form
from sottovoce.evaluate.parse import parse_answer
from sottovoce.models.features import encode_clips
from sottovoce.models.load import LoadedModel
from sottovoce.recipe import Decode
from sottovoce.serve.understanding import Understanding
from sottovoce.study.trained import answer_form, load_run
from sottovoce.types import Frame, Utterance


@dataclass(frozen=True)
class Model:
    """A run's model with its weights; :func:`load_model_of` makes one.

    Args:
        tuned: ``loaded.model`` with the run's weights.
        form: of its answers.
        settings: how many answers are generated at once, and how long they may get.
        abstain_below: answers of less confidence are ``abstained``, 0..1.
    """

    loaded: LoadedModel
    tuned: Any
    form: Form
    settings: Decode
    abstain_below: float = 0.0

    @property
    def window_seconds(self) -> float:
        """The longest recording that is heard whole; what is beyond is cut."""
        return self.loaded.window_seconds

    def understand(self, recording: Path | str | Samples) -> Understanding:
        """The frame of one recording: a file, or samples (mono, 16 kHz, -1..1).

        Raises:
            UserError: the file is missing or unreadable.
        """
        samples = load_audio(Path(recording)) if isinstance(recording, Path | str) else recording
        return self.understand_all([samples])[0]

    def understand_text(self, text: str) -> Understanding:
        """The frame of one typed utterance."""
        return self.understand_all([text])[0]

    def understand_all(self, inputs: Sequence[Samples | str]) -> list[Understanding]:
        """One answer for each recording (mono, 16 kHz) or typed text, ``settings.batch_size`` of them at once.

        Raises:
            UserError: a text holds the model's audio placeholder.
        """
        answers: list[Understanding] = []
        for start in range(0, len(inputs), self.settings.batch_size):
            answers += self._batch(inputs[start : start + self.settings.batch_size])
        return answers

    def _batch(self, inputs: Sequence[Samples | str]) -> list[Understanding]:
        clips = [each for each in inputs if not isinstance(each, str)]
        states = iter(encode_clips(self.loaded.model, self.loaded.processor, clips, len(clips) or 1))
        rows = [self._row(each, None if isinstance(each, str) else next(states)) for each in inputs]
        texts = generate(self.loaded, self.tuned, rows, self.settings.max_new_tokens, self.form)
        return [self._understanding(*each) for each in zip(inputs, texts, strict=True)]

    def _row(self, given: Samples | str, states: Any) -> Row:
        transcript = given if isinstance(given, str) else ""
        utterance = Utterance("", "", transcript, Frame("", ""), "test", where="text")
        example = slu_example(utterance, "text" if isinstance(given, str) else "speech")
        return tokenize(example, self.loaded.processor, states)

    def _understanding(self, given: Samples | str, text: str) -> Understanding:
        answer = parse_answer("", text)
        seconds = None if isinstance(given, str) else len(given) / SAMPLING_RATE
        made = Understanding(answer.frame, answer.status, None, (), text, seconds)
        return replace(made, cut=seconds is not None and seconds > self.window_seconds)


def load_model_of(run: Path | str, say: Callable[[str], None] = lambda line: None) -> Model:
    """The model of a run folder (STUDY/cells/CELL), ready to understand.

    Raises:
        UserError: the folder is no run, or its training is not finished.
    """
    loaded, tuned, recipe = load_run(Path(run), say)
    return Model(loaded, tuned, answer_form(recipe.folder, recipe.decode.grammar, loaded), recipe.decode)
