"""Rows of `datasets`: a parquet file, a folder of them, another local folder that the library reads, or a hub name.

Parquet files are read in place, one batch at a time, without the library's copy of them. Code that comes with a dataset
is never run. Recordings are copied as stored, not decoded: neither torch nor a decoder is imported.
"""

from __future__ import annotations

import io
import re
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import soundfile

from sottovoce.core.errors import UserError, nearest
from sottovoce.core.storage import whole_file
from sottovoce.data.corpora.source import SourceRow, existing, inside

_HUB_NAME = re.compile(r"[A-Za-z0-9][\w.-]*/[\w.-]+")
_SHARD = re.compile(r"(.+?)-\d{5}-of-\d{5}(-[0-9a-f]+)?")
_UNSAFE = re.compile(r"[^\w.-]")
_BATCH = 64  # rows in memory at once; a recording of five seconds is about 160 kB
_SUFFIXES = {"MPEG": ".mp3"}  # if soundfile's name of a format is not its usual suffix


@dataclass(frozen=True, slots=True)
class HubRows:
    """An opened source: the rows of each of its splits, and the folder that its recordings' paths may point into."""

    name: str
    folder: Path | None
    splits: Mapping[str, Callable[[], Iterator[SourceRow]]]

    def rows(self, split: str) -> Iterator[SourceRow]:
        """The rows of a split, labels as names; a recording is ``{"bytes", "path"}``. Raises UserError: none such."""
        if split not in self.splits:
            raise UserError(f"{self.name} has no split {split!r}", nearest(split, self.splits))
        yield from self.splits[split]()


@dataclass(slots=True)
class StoredClips:
    """Writes recordings that come as bytes into ``out/audio``, each whole or not at all."""

    out: Path
    _written: dict[Path, str] = field(default_factory=dict)

    def place(self, row: SourceRow, key: str, name: str, folder: Path | None) -> tuple[Path, float]:
        """Copies a row's recording into the output folder.

        Args:
            row: the row; ``row.values[key]`` is ``{"bytes", "path"}``; one of them is enough.
            key: the column of the recording.
            name: its new file name, without a suffix.
            folder: where a path without bytes may point; None forbids it.

        Returns:
            its path and its length in seconds.

        Raises:
            UserError: there is no recording, it is not audio, or it is outside the folder.
        """
        value = row.values.get(key)
        content, path = (value.get("bytes"), value.get("path")) if isinstance(value, dict) else (None, None)
        if content is None and isinstance(path, str) and folder is not None:
            stored = inside(folder, path, row.where)
            if not stored.is_file():
                raise UserError(f"{row.where}: no such recording: {stored}", "correct the path, or add the file")
            content = stored.read_bytes()
        if not isinstance(content, bytes) or not content:
            raise row.error(f"{key!r} has no recording")
        try:
            header = soundfile.info(io.BytesIO(content))
        except soundfile.LibsndfileError as error:
            raise row.error(f"the recording in {key!r} cannot be read: {error}") from error
        if not header.frames:
            raise row.error(f"the recording in {key!r} has no samples")
        suffix = _SUFFIXES.get(header.format, f".{header.format.lower()}")
        target = self.out / "audio" / (_UNSAFE.sub("_", name) + suffix)
        if self._written.setdefault(target, row.where) != row.where:
            raise row.error(f"a recording named {target.name} is already in {self._written[target]}")
        target.parent.mkdir(parents=True, exist_ok=True)
        with whole_file(target) as temporary:
            temporary.write_bytes(content)
        return target, round(header.frames / header.samplerate, 3)


def open_rows(source: Path | None, corpus: str, config: str | None = None) -> HubRows:
    """Opens a source; reads only the names of its splits.

    Args:
        source: a parquet file; a folder of parquet files named as on the hub (``[CONFIG/]SPLIT-00000-of-00001.parquet``
            or ``[CONFIG/]SPLIT/0000.parquet``); a folder that `datasets` wrote or reads; or a hub name, "OWNER/NAME".
        corpus: the corpus's name, for errors.
        config: the part to read, if the source has several, often a locale.

    Raises:
        UserError: there is no such source or part of it, it cannot be reached, or `datasets` is not installed.
    """
    if source is None or not (source.exists() or _HUB_NAME.fullmatch(source.as_posix())):
        source = existing(source, corpus)
    if not source.exists():
        return _on_hub(source.as_posix(), config)
    if source.is_file():
        return HubRows(str(source), source.parent, {_split_of(source): lambda: _parquet(source)})
    folder = source / config if config is not None and (source / config).is_dir() else source
    files: dict[str, list[Path]] = {}
    for path in sorted([*folder.glob("*.parquet"), *folder.glob("data/*.parquet"), *folder.glob("*/[0-9]*.parquet")]):
        files.setdefault(_split_of(path), []).append(path)
    if files:
        return HubRows(str(source), folder, {split: _reader(paths) for split, paths in files.items()})
    if parts := sorted({path.parent.name for path in folder.glob("*/*.parquet")}):
        raise UserError(f"{source} has no part {config!r}", f"choose one; {nearest(config or '', parts)}")
    return _in_library(folder, config)


def library() -> Any:
    """The `datasets` library. Raises UserError: it is not installed."""
    try:
        import datasets  # takes a second and 140 MB, so import it only if needed
    except ImportError as error:
        raise UserError("this corpus needs datasets", "pip install 'sottovoce[hub]'") from error
    return datasets


def _split_of(path: Path) -> str:
    match = _SHARD.fullmatch(path.stem)
    return match[1] if match else path.parent.name if path.stem.isdigit() else path.stem


def _reader(paths: list[Path]) -> Callable[[], Iterator[SourceRow]]:
    return lambda: (row for path in paths for row in _parquet(path))


def _parquet(path: Path) -> Iterator[SourceRow]:
    features = library().Features
    import pyarrow
    import pyarrow.parquet

    try:  # KeyError, TypeError: features that the library does not know
        with pyarrow.parquet.ParquetFile(path) as file:
            names = _label_names(features.from_arrow_schema(file.schema_arrow))
            batches = file.iter_batches(batch_size=_BATCH)
            rows = (row for batch in batches for row in batch.to_pylist())
            for number, values in enumerate(rows, start=1):
                yield SourceRow(_named(values, names), f"{path}:{number}")
    except (pyarrow.ArrowException, OSError, ValueError, KeyError, TypeError) as error:
        fault = str(error).splitlines()[0] if str(error) else type(error).__name__
        raise UserError(f"cannot read {path}: {fault}", "fetch the file again") from error


def _on_hub(name: str, config: str | None) -> HubRows:
    datasets = library()
    from huggingface_hub.utils import logging

    logging.set_verbosity_error()  # without a network it would report every attempt
    splits = _call(name, lambda: datasets.get_dataset_split_names(name, config))
    cache = Path(datasets.config.HF_CACHE_HOME)
    place = f"{name}/{config}" if config else name

    def reader(split: str) -> Callable[[], Iterator[SourceRow]]:
        return lambda: _loaded(_call(name, lambda: datasets.load_dataset(name, config, split=split)), place, split)

    return HubRows(name, cache, {split: reader(split) for split in splits})


def _in_library(folder: Path, config: str | None) -> HubRows:
    datasets = library()
    if sheets := sorted([*folder.glob("metadata.*"), *folder.glob("*/metadata.*")]):
        # datasets would import torch and torchcodec to copy the folder's recordings into its own files.
        fault = f"{folder} is a folder of sound files with {sheets[0].relative_to(folder)}"
        raise UserError(fault, "prepare its metadata.csv as the corpus `table`, with audio_column=file_name")
    if (folder / "dataset_dict.json").is_file() or (folder / "state.json").is_file():
        opened = _call(str(folder), lambda: datasets.load_from_disk(str(folder)))
    else:
        opened = _call(str(folder), lambda: datasets.load_dataset(str(folder), config))
    splits = opened if isinstance(opened, dict) else {str(opened.split or "train"): opened}

    def reader(split: str) -> Callable[[], Iterator[SourceRow]]:
        return lambda: _loaded(splits[split], str(folder), split)

    return HubRows(str(folder), folder, {split: reader(split) for split in splits})


def _call(name: str, action: Callable[[], Any]) -> Any:
    """Calls the library. ValueError: no such part; RuntimeError: the dataset needs to run its own code."""
    try:
        return action()
    except (library().exceptions.DatasetsError, OSError, ValueError, RuntimeError) as error:
        built = isinstance(error, library().exceptions.DatasetGenerationError)  # its cause has the message
        fault = " ".join(str(error.__cause__ if built and error.__cause__ else error).split())[:300]
        advice = "correct the path, or check the hub name, its parts, the network and whether the hub requires a login"
        raise UserError(f"datasets cannot load {name}: {fault}", advice) from error


def _loaded(rows: Any, place: str, split: str) -> Iterator[SourceRow]:
    datasets = library()
    names = _label_names(rows.features)
    for key, feature in rows.features.items():
        if isinstance(feature, datasets.Audio):
            rows = rows.cast_column(key, datasets.Audio(decode=False))
    for number, values in enumerate(rows, start=1):
        yield SourceRow(_named(values, names), f"{place}/{split}:{number}")


def _label_names(features: Mapping[str, Any]) -> dict[str, list[str]]:
    kind = library().ClassLabel
    return {key: feature.names for key, feature in features.items() if isinstance(feature, kind) and feature.names}


def _named(values: dict[str, Any], names: Mapping[str, list[str]]) -> dict[str, Any]:
    for key, known in names.items():
        label = values.get(key)
        if isinstance(label, int):
            values[key] = known[label] if 0 <= label < len(known) else None
    return values
