"""Transcribes recordings with a supported audio language model or any speech recognition model of transformers."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import torch

from sottovoce.core.progress import progress_bar
from sottovoce.core.recipe import Decode
from sottovoce.core.storage import json_lines, whole_rows
from sottovoce.core.types import Frame, Utterance
from sottovoce.data.audio import SAMPLING_RATE, Samples, load_audio
from sottovoce.data.collate import tokenize
from sottovoce.data.prompts import transcription_example
from sottovoce.decode.batches import decode, generate
from sottovoce.models.audio_states import AudioStore
from sottovoce.models.embedded import EMBEDDED
from sottovoce.models.families.registry import FAMILIES
from sottovoce.models.features import encode_clips
from sottovoce.models.load import LoadedModel, load_model, unloadable

MAX_NEW_TOKENS = 48
BATCH_CLIPS = 16
CHUNK_SECONDS = 30.0


def transcribe(
    utterances: Sequence[Utterance], model: str, partial: Path, say: Callable[[str], None]
) -> dict[str, str]:
    """A model's transcript of each utterance's recording, by utterance id.

    Args:
        utterances: all with a recording.
        model: ``embedded``, or a hub id or folder: an audio language model of a supported family is prompted to
            transcribe, any other model is loaded as a transformers pipeline for automatic speech recognition.
        partial: JSONL file of the transcripts so far; read first, appended to batch by batch.
        say: receives lines about the setup.

    Raises:
        UserError: the model cannot be loaded, or a recording is missing or unreadable.
    """
    if model == EMBEDDED or _model_type(model) in FAMILIES:
        return _prompted(utterances, model, partial, say)
    return _by_pipeline(utterances, model, partial)


def require_recogniser(model: str) -> None:
    """Raises UserError if no model of that name has a configuration; weights are not checked."""
    if model != EMBEDDED:
        _model_type(model)


def load_recogniser(model: str, say: Callable[[str], None]) -> tuple[Callable[[Samples], str], int]:
    """A loaded recogniser for one recording (mono, 16 kHz) at a time, and its number of parameters.

    Raises:
        UserError: the model cannot be loaded.
    """
    if model == EMBEDDED or _model_type(model) in FAMILIES:
        loaded = load_model(model, say=say)
        return lambda clip: transcribe_clips(loaded, [clip])[0], loaded.model.num_parameters()
    recogniser = _pipeline(model)

    def recognise(clip: Samples) -> str:
        return str(recogniser({"raw": clip, "sampling_rate": SAMPLING_RATE})["text"]).strip()

    return recognise, recogniser.model.num_parameters()


def transcribe_clips(loaded: LoadedModel, clips: Sequence[Samples], locales: Sequence[str] = ()) -> list[str]:
    """The transcript of each recording (mono, 16 kHz), in one batch; recordings are cut to the window.

    Args:
        loaded: a model whose states are words, or one that transcribes when prompted.
        locales: see :func:`sottovoce.models.features.encode_clips`.
    """
    states = list(encode_clips(loaded.model, loaded.processor, clips, len(clips) or 1, locales))
    if loaded.family.hears_words:
        return [str(loaded.family.transcript(loaded.processor, each)) for each in states]
    example = transcription_example(Utterance("", "", "", Frame("", ""), "test"))
    rows = [tokenize(example, loaded.processor, each) for each in states]
    return generate(loaded, loaded.model, rows, MAX_NEW_TOKENS)


def _prompted(utterances: Sequence[Utterance], model: str, partial: Path, say: Callable[[str], None]) -> dict[str, str]:
    loaded = load_model(model, say=say)
    store = AudioStore.shared(loaded, say)
    examples = [transcription_example(utterance) for utterance in utterances]
    with progress_bar() as progress:
        store.encode([(utterance, 0) for utterance in utterances], progress)
        if loaded.family.hears_words:
            partial.touch()  # nothing is generated, so there is nothing to resume
            return {u.id: str(store.transcript_of(u)) for u in utterances}
        settings = Decode(max_new_tokens=MAX_NEW_TOKENS)
        answers = decode(loaded, loaded.model, examples, store, settings, partial, progress, "transcribing")
    return {identity: answer.text for identity, answer in answers.items()}


def _by_pipeline(utterances: Sequence[Utterance], model: str, partial: Path) -> dict[str, str]:
    recogniser = _pipeline(model)
    heard = {str(row["id"]): str(row["text"]) for row in whole_rows(partial)}
    todo = [utterance for utterance in utterances if utterance.id not in heard]
    with progress_bar() as progress, partial.open("a", encoding="utf-8") as stream:
        task = progress.add_task("transcribing", total=len(utterances), completed=len(heard))
        for start in range(0, len(todo), BATCH_CLIPS):
            part = todo[start : start + BATCH_CLIPS]
            clips = [load_audio(u.audio or Path(), u.where) for u in part]
            texts = recogniser([{"raw": clip, "sampling_rate": SAMPLING_RATE} for clip in clips])
            rows = [{"id": u.id, "text": text["text"].strip()} for u, text in zip(part, texts, strict=True)]
            stream.write(json_lines(rows))
            stream.flush()
            heard |= {row["id"]: row["text"] for row in rows}
            progress.advance(task, len(part))
    return heard


def _model_type(model: str) -> str:
    from transformers import AutoConfig

    try:
        return str(AutoConfig.from_pretrained(model, trust_remote_code=False).model_type)
    except (OSError, ValueError) as error:
        raise unloadable(f"{model!r} for speech recognition", error) from error


def _pipeline(model: str) -> Any:
    from transformers import pipeline

    try:
        return pipeline(
            "automatic-speech-recognition",
            model=model,
            device="cuda" if torch.cuda.is_available() else "cpu",
            trust_remote_code=False,
            model_kwargs={"use_safetensors": True},
            chunk_length_s=CHUNK_SECONDS,
        )
    except (OSError, ValueError) as error:
        raise unloadable(f"{model!r} for speech recognition", error) from error
