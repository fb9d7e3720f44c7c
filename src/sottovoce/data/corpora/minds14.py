"""MINDS-14 (CC BY 4.0): calls to a bank in fourteen locales, as `datasets` parquet files; intents, no slots.

The intent class becomes the action, the scenario is always "banking". The release has one split, train, which is split
here by a seed, with the same shares for each intent of each locale.
"""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path, PurePosixPath

from sottovoce.core.types import Frame, Utterance
from sottovoce.data.corpora.hub_rows import HubRows, StoredClips, open_rows
from sottovoce.data.corpora.source import SourceRow, write_corpus
from sottovoce.data.corpora.splits import drawn_splits

SCENARIO = "banking"


def prepare(
    source: Path | None,
    out: Path,
    *,
    locale: str | None = None,
    dev: str | float = 0.1,
    test: str | float = 0.3,
    seed: str | int = 0,
) -> Path:
    """Writes the manifest and returns its path.

    Args:
        source: "PolyAI/minds14", a local copy of it (``<locale>/train-00000-of-00001.parquet``), the folder of one
            locale, or one parquet file.
        out: the folder for ``manifest.jsonl`` and ``audio/``.
        locale: "en-US", or "all" if the source has such a part; required unless the source is a single locale.
        dev: the share of each intent that becomes dev, 0 to 1.
        test: the share that becomes test; the rest is train.
        seed: for drawing rows; the same seed and rows give the same splits in any order of rows.

    Raises:
        UserError: an option is out of range, the source cannot be reached or read, or a row is invalid; the message has
            file:row.
    """
    drawn_splits((), dev, test, seed)  # refuses options that do not fit before the source is read
    opened = open_rows(source, "minds14", locale)
    clips = StoredClips(out)
    utterances = [_utterance(row, locale, opened, clips) for split in opened.splits for row in opened.rows(split)]
    splits = drawn_splits(utterances, dev, test, seed)
    return write_corpus((replace(row, split=splits[row.id]) for row in utterances), out, [Path(opened.name)])


def _utterance(row: SourceRow, locale: str | None, opened: HubRows, clips: StoredClips) -> Utterance:
    spoken = row.text("lang_id")
    if locale not in (None, "all", spoken):
        raise row.error(f"'lang_id' is {spoken!r}, not {locale!r}")
    transcript, frame = row.text("transcription"), Frame(SCENARIO, row.text("intent_class"))
    key = PurePosixPath(row.text("path").replace("\\", "/")).stem
    audio, seconds = clips.place(row, "audio", key, opened.folder)
    return Utterance(key, spoken, transcript, frame, "train", audio, None, seconds, where=row.where)
