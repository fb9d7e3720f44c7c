"""A recogniser's transcripts of a study's test recordings: made once and kept in its folder, or given as a file."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from filelock import FileLock

from sottovoce.core.errors import UserError
from sottovoce.core.progress import Say
from sottovoce.core.storage import json_lines, whole_rows, write_whole
from sottovoce.core.types import Utterance
from sottovoce.data.manifest import numbered_lines
from sottovoce.decode.transcribe import require_recogniser, transcribe
from sottovoce.models.load import model_identity
from sottovoce.score.metrics.wer import word_error_rate
from sottovoce.study.layout import StudyFolder

TEXT_KEYS = ("heard", "text", "transcript")  # `embedded wer --out` writes heard, besides the gold transcript
NUM_NAMED = 3


def is_file_of_transcripts(asr: str) -> bool:
    """Whether a recipe's recogniser is a file of transcripts."""
    return asr.endswith(".jsonl") or Path(asr).is_file()


def recogniser_identity(asr: str, utterances: Sequence[Utterance], say: Say) -> str:
    """Identifies the transcripts: by the recogniser's weights, or by a file's transcripts of these utterances.

    Raises:
        UserError: as :func:`given_transcripts`.
    """
    if not is_file_of_transcripts(asr):
        return model_identity(asr, say)
    content = json.dumps(given_transcripts(Path(asr), utterances), sort_keys=True)
    return f"{Path(asr).name}-{hashlib.sha256(content.encode()).hexdigest()[:12]}"


def transcripts_of(utterances: Sequence[Utterance], asr: str, study_folder: Path, say: Say) -> dict[str, str]:
    """The transcript of each utterance's recording, by id: from the given file, the study's folder, or made now and
    kept there. An interrupted transcription is resumed.

    Raises:
        UserError: as :func:`given_transcripts`; the recogniser cannot be loaded, or a recording cannot be read.
    """
    if is_file_of_transcripts(asr):
        return given_transcripts(Path(asr), utterances)
    target = _kept_file(asr, study_folder, say)
    # Cells running at the same time may need the same transcripts.
    with FileLock(target.with_name(f".{target.name}.lock")):
        heard = {str(row["id"]): str(row["text"]) for row in whole_rows(target)}
        if not _missing(heard, utterances):
            return heard
        partial = target.with_suffix(".partial")
        heard = transcribe(utterances, asr, partial, say)
        write_whole(target, json_lines({"id": u.id, "text": heard[u.id]} for u in utterances))
        partial.unlink()
    return heard


def error_rate(utterances: Sequence[Utterance], heard: Mapping[str, str]) -> float:
    """The word error rate against the gold transcripts (0..1; above 1 with many inserted words)."""
    return word_error_rate([u.transcript for u in utterances], [heard[u.id] for u in utterances])


def check_transcripts(asr: str, utterances: Sequence[Utterance], study_folder: Path, say: Say) -> None:
    """Checks before any training that the file has all transcripts, or that the recogniser exists.

    Raises:
        UserError: the file is incomplete, or there is no such recogniser.
    """
    if is_file_of_transcripts(asr):
        given_transcripts(Path(asr), utterances)
    elif not _kept_file(asr, study_folder, say).exists():
        require_recogniser(asr)


def given_transcripts(path: Path, utterances: Sequence[Utterance]) -> dict[str, str]:
    """The utterances' transcripts by id, from a JSONL file with an ``id`` and one of TEXT_KEYS in each row; rows with
    other ids are ignored.

    Raises:
        UserError: no such file, an unreadable row (with file:line), a duplicate id, or missing ids.
    """
    if not path.is_file():
        raise UserError(f"no such file of transcripts: {path}", "correct asr, or name a recogniser there")
    heard, places = dict[str, str](), dict[str, str]()
    for where, line in numbered_lines(path):
        identity, text = _row(line, where)
        if identity in heard:
            raise UserError(f"{where}: id {identity!r} is already in {places[identity]}", "keep one of them")
        heard[identity], places[identity] = text, where
    if missing := _missing(heard, utterances):
        named = ", ".join(missing[:NUM_NAMED]) + (f" and {len(missing) - NUM_NAMED} more" * (len(missing) > NUM_NAMED))
        fault = f"{path}: {len(missing)} of {len(utterances)} test utterances have no transcript: {named}"
        raise UserError(fault, "add a row for each, with empty text where nothing was recognised")
    return {u.id: heard[u.id] for u in utterances}


def _kept_file(asr: str, study_folder: Path, say: Say) -> Path:
    return StudyFolder(study_folder).transcripts(model_identity(asr, say))


def _missing(heard: Mapping[str, str], utterances: Sequence[Utterance]) -> list[str]:
    return [u.id for u in utterances if u.id not in heard]


def _row(line: str, where: str) -> tuple[str, str]:
    advice = 'write {"id": ..., "text": ...}'
    try:
        row: Any = json.loads(line)
    except ValueError as error:
        raise UserError(f"{where}: not JSON ({error})", advice) from error
    identity = row.get("id") if isinstance(row, dict) else None
    text = next((row[key] for key in TEXT_KEYS if key in row), None) if identity is not None else None
    if not isinstance(identity, str | int) or isinstance(identity, bool) or not isinstance(text, str):
        raise UserError(f"{where}: not a row with an id and a text", advice)
    return str(identity), text
