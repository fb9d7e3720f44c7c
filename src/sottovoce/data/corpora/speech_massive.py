"""Speech-MASSIVE (CC BY-NC-SA 4.0): MASSIVE's sentences read aloud in twelve locales, as `datasets` parquet files.

French and German have all of MASSIVE's training sentences (split train); every locale has 115 of them (train_115),
validation and test. The test recordings are in a separate repository, FBK-MT/Speech-MASSIVE-test.
"""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path, PurePosixPath

from sottovoce.core.errors import UserError, nearest
from sottovoce.core.types import Frame, Split, Utterance
from sottovoce.data.corpora.brackets import parse_brackets
from sottovoce.data.corpora.hub_rows import HubRows, StoredClips, open_rows
from sottovoce.data.corpora.labelled import text_or_none
from sottovoce.data.corpora.source import SourceRow, write_corpus

_SPLITS: dict[str, Split] = {"train": "train", "dev": "dev", "validation": "dev", "test": "test"}
_TRAIN = ("train", "train_115")
_REST = ("validation", "test")


def prepare(
    source: Path | None, out: Path, *, locale: str | None = None, train: str | None = None, test: str | None = None
) -> Path:
    """Writes the manifest and returns its path.

    Ids are MASSIVE's, the same in all locales; with ``locale=all`` they start with the locale. For a second recording
    of a sentence, the recording's name is appended to the id.

    Args:
        source: "FBK-MT/Speech-MASSIVE", a local copy of it (``<locale>/<split>-00000-of-00001.parquet``), the folder of
            one locale, or one parquet file.
        out: the folder for ``manifest.jsonl`` and ``audio/``.
        locale: "fr-FR", or "all" if the source has such a part; required unless the source is a single locale.
        train: which training split, train or train_115; if not given, train if there is one.
        test: where the test split is, if not in the source: "FBK-MT/Speech-MASSIVE-test" or a local copy of it.

    Raises:
        UserError: the source cannot be reached or read, or a row is invalid; the message has file:row.
    """
    if train is not None and train not in _TRAIN:
        raise UserError(f"train is {train!r}", nearest(train, _TRAIN))
    opened = open_rows(source, "speech_massive", locale)
    chosen = [(opened, split) for split in _chosen(opened, train)]
    if test is not None:
        chosen = [pair for pair in chosen if pair[1] != "test"]
        chosen.append((open_rows(Path(test), "speech_massive", locale), "test"))
    clips = StoredClips(out)
    rows = (row for place, split in chosen for row in _utterances(place, split, locale, clips))
    return write_corpus(rows, out, [Path(opened.name)])


def _chosen(opened: HubRows, train: str | None) -> list[str]:
    splits = list(opened.splits)
    if train is None:
        train = next((name for name in _TRAIN if name in splits), None)
    elif train not in splits:
        raise UserError(f"{opened.name} has no split {train!r}", nearest(train, splits))
    found = [split for split in (train, *_REST) if split is not None and split in splits]
    return found or splits  # a renamed file: its rows have their partition


def _utterances(place: HubRows, split: str, locale: str | None, clips: StoredClips) -> Iterator[Utterance]:
    recordings: dict[str, str] = {}
    for row in place.rows(split):
        spoken = row.text("locale")
        if locale not in (None, "all", spoken):
            raise row.error(f"'locale' is {spoken!r}, not {locale!r}")
        key = f"{spoken}-{row.text('id')}" if locale == "all" else row.text("id")
        recording = PurePosixPath(row.text("path")).stem
        if recordings.setdefault(key, recording) != recording:
            key = f"{key}-{recording}"
        yield _utterance(row, key, place, clips)


def _utterance(row: SourceRow, key: str, place: HubRows, clips: StoredClips) -> Utterance:
    scenario, intent = row.text("scenario_str"), row.text("intent_str")
    action = intent.removeprefix(f"{scenario}_")
    if action == intent or not action:
        raise row.error(f"the intent {intent!r} does not begin with its scenario {scenario!r}")
    _, entities = parse_brackets(row.text("annot_utt"), row.where)
    split = row.split("partition", _SPLITS)
    transcript, spoken, speaker = row.text("utt"), row.text("locale"), text_or_none(row, "speaker_id")
    audio, seconds = clips.place(row, "audio", key, place.folder)
    frame = Frame(scenario, action, entities)
    return Utterance(key, spoken, transcript, frame, split, audio, speaker, seconds, where=row.where)
