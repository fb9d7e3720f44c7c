"""Which prediction files and which gold a path on the command line means: a file, a run, or a whole study."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

from sottovoce.core.errors import UserError
from sottovoce.core.types import Modality
from sottovoce.study.card import read_card
from sottovoce.study.layout import CellFolder, StudyFolder


def predictions_of(path: Path, modality: Modality) -> Path:
    """A run's prediction file for an input; any other path unchanged.

    Raises:
        UserError: the run is not decoded yet, or the path is a whole study or another folder.
    """
    if not path.is_dir():
        return path
    if not CellFolder(path).is_in_study():
        runs = ", ".join(str(cell.path) for cell in _finished(StudyFolder(path)))
        raise UserError(f"{path} is not a run", f"name one: {runs}" if runs else "name a run (STUDY/cells/CELL)")
    predictions = CellFolder(path).predictions(modality)
    if not predictions.exists():
        raise UserError(f"{path} is not decoded yet", f"run `sottovoce decode {path}`")
    return predictions


def systems_of(path: Path, modality: Modality) -> list[list[Path]]:
    """The systems that a path means, each with a prediction file per seed: a file or a run is one, a study has one for
    each combination of scheme, budget, sources and model.

    Raises:
        UserError: as :func:`predictions_of`, or the study has no finished cell.
    """
    study = StudyFolder(path)
    if not study.summary.exists():
        return [[predictions_of(path, modality)]]
    systems: dict[tuple[object, ...], list[Path]] = {}
    for cell in _finished(study):
        card = read_card(cell)
        key = (card.scheme, card.size, card.sources, card.model_name)
        systems.setdefault(key, []).append(predictions_of(cell.path, modality))
    if not systems:
        raise UserError(f"no cell of {path} is finished", f"run `sottovoce study {study.recipe}`")
    return list(systems.values())


def gold_of(gold: Path | None, paths: Sequence[Path]) -> Path:
    """The gold to score by: the one given, or else that of the study which the first path belongs to.

    Raises:
        UserError: none is given, and the path is a bare prediction file.
    """
    if gold is not None:
        return gold
    path = paths[0]
    for study in (StudyFolder(path), CellFolder(path).study, CellFolder(path.parent).study):
        if study.summary.exists() and study.gold.exists():
            return study.gold
    raise UserError(f"{path} is not in a study, so its gold is unknown", "give --gold MANIFEST")


def _finished(study: StudyFolder) -> list[CellFolder]:
    cells = [study.cell(path.name) for path in sorted(study.cells.glob("*"))]
    return [cell for cell in cells if cell.scores().exists()]
