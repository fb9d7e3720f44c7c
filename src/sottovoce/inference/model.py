"""A trained run in three lines: ``model = sottovoce.load("runs/..."); model.understand("clip.wav")``."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from sottovoce.core.errors import UserError
from sottovoce.core.recipe import Decode, Grammar
from sottovoce.core.types import REJECTIONS, Frame, Labels, Utterance
from sottovoce.data.audio import SAMPLING_RATE, Samples, is_silent, load_audio
from sottovoce.data.collate import Row, tokenize
from sottovoce.data.prompts import slu_example
from sottovoce.decode.batches import answered, confidence_of
from sottovoce.decode.constraints import Form
from sottovoce.decode.intent_confidence import Intents, IntentTree
from sottovoce.decode.parse import parse_answer
from sottovoce.decode.prefix_reader import supports_steps
from sottovoce.inference.understanding import IntentProbability, Understanding
from sottovoce.models.features import encode_clips
from sottovoce.models.injection import bare
from sottovoce.models.load import LoadedModel
from sottovoce.study.runs import answer_form, instruction_in, intent_tree, known_labels, load_run, locale_of_run

NUM_LIKELIEST = 5  # intents in an answer


@dataclass(frozen=True)
class Model:
    """A run's model with its weights; `sottovoce.load` makes one.

    Args:
        tuned: ``loaded.model`` with the run's weights.
        form: of its answers.
        tree: of the known intents.
        instruction: of the prompts that the run was trained with.
        known: the labels of the run's training; answers with others are ``unknown_label``.
        locale: of the utterances.
        settings: batch size and maximum length of answers.
        abstain_below: answers with less confidence are ``abstained``, 0..1.
    """

    loaded: LoadedModel
    tuned: Any
    form: Form
    instruction: str
    tree: IntentTree
    known: Labels
    locale: str
    settings: Decode
    abstain_below: float = 0.0

    def __post_init__(self) -> None:
        """Raises UserError if it should abstain but has no confidences."""
        if self.abstain_below and not supports_steps(self.loaded.family, bare(self.tuned)):
            raise UserError("this run's model gives no confidences", "omit --abstain-below")

    @property
    def hears_words(self) -> bool:
        """Whether its answers to recordings come with a transcript."""
        return self.loaded.family.hears_words

    @property
    def window_seconds(self) -> float:
        """The longest recording that is not cut."""
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
        loaded, locales = self.loaded, [self.locale] * len(clips)
        encoded = iter(encode_clips(loaded.model, loaded.processor, clips, len(clips) or 1, locales))
        states = [None if isinstance(each, str) else next(encoded) for each in inputs]
        heard = [None if each is None else loaded.family.transcript(loaded.processor, each) for each in states]
        silent = [words == "" or _is_silent(given) for given, words in zip(inputs, heard, strict=True)]
        spoken = [place for place, nothing in enumerate(silent) if not nothing]
        rows = [self._row(inputs[place], states[place]) for place in spoken]
        answers = answered(loaded, self.tuned, rows, self.settings.max_new_tokens, self.form, self.tree) if rows else []
        found = dict(zip(spoken, answers, strict=True))
        return [
            self._understanding(given, words, *found[place]) if place in found else self._silence(given, words)
            for place, (given, words) in enumerate(zip(inputs, heard, strict=True))
        ]

    def _row(self, given: Samples | str, states: Any) -> Row:
        transcript = given if isinstance(given, str) else ""
        utterance = Utterance("", self.locale, transcript, Frame("", ""), "test", where="text")
        example = slu_example(utterance, "text" if isinstance(given, str) else "speech", instruction=self.instruction)
        return tokenize(example, self.loaded.processor, states)

    def _silence(self, given: Samples | str, words: str | None) -> Understanding:
        heard = None if words is None else ""
        return Understanding(None, "no_speech", None, (), "", **self._facts(given), transcript=heard)

    def _facts(self, given: Samples | str) -> dict[str, Any]:
        seconds = None if isinstance(given, str) else len(given) / SAMPLING_RATE
        return {"seconds": seconds, "cut": seconds is not None and seconds > self.window_seconds}

    def _understanding(
        self, given: Samples | str, words: str | None, text: str, intents: Intents | None
    ) -> Understanding:
        answer, confidence = parse_answer("", text, self.known), confidence_of(text, intents)
        unsure = answer.status == "ok" and confidence is not None and confidence < self.abstain_below
        return Understanding(
            None if answer.status in REJECTIONS else answer.frame,
            "abstained" if unsure else answer.status,
            confidence,
            tuple(IntentProbability(*intent, share) for intent, share in (intents or {}).items())[:NUM_LIKELIEST],
            text,
            **self._facts(given),
            transcript=given if isinstance(given, str) else words,
        )


def _is_silent(given: Samples | str) -> bool:
    return not given.strip() if isinstance(given, str) else is_silent(given)


def load_model_of(
    run: Path | str, say: Callable[[str], None] = lambda line: None, grammar: Grammar | None = None
) -> Model:
    """The model of a run folder (STUDY/cells/CELL), ready to understand.

    Args:
        grammar: of the answers; None: the recipe's.

    Raises:
        UserError: the folder is not a run, its training is not finished, or llguidance cannot read its tokenizer.
    """
    loaded, tuned, recipe = load_run(Path(run), say)
    form = answer_form(recipe.folder, grammar or recipe.decode.grammar, loaded)
    asked, known, tree = instruction_in(recipe.folder), known_labels(recipe.folder), intent_tree(recipe.folder, loaded)
    return Model(loaded, tuned, form, asked, tree, known, locale_of_run(Path(run)), recipe.decode)
