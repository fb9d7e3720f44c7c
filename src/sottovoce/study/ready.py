"""Before the first training step: whether it fits the memory, and whether the model trains and decodes as it should."""

from __future__ import annotations

from collections.abc import Sequence

from sottovoce.core.progress import progress_bar
from sottovoce.core.recipe import Recipe
from sottovoce.core.types import Example
from sottovoce.study.cells import Cell, example_key
from sottovoce.study.kept import Values, circumstances_of, kept
from sottovoce.study.preflight import COUNTS, PROOFS, prove, telling_examples
from sottovoce.study.resources.fit import check_memory, decided
from sottovoce.study.resources.memory import longest_of
from sottovoce.study.work import epochs_by_model
from sottovoce.study.workspace import Study


def prove_ready(study: Study, cells: list[Cell]) -> None:
    """Checks the memory and runs the preflight proofs on each model of which a stage is still to be trained.

    Proofs that held before, in the same circumstances, are not run again.
    """
    all_epochs = epochs_by_model(study.work_of(cells))
    for model in dict.fromkeys(item.cell.model for item in study.stages_to_do(cells).values()):
        recipe, epochs = study.recipe.of_model(model), all_epochs[model]
        study.say(check_memory(recipe, longest_of(recipe, epochs)))
        proofs = _proofs(study, recipe, epochs)
        study.say(f"{len(proofs)} preflight proofs hold: {', '.join(proofs)}")
        study.say(proofs[COUNTS])


def _proofs(study: Study, recipe: Recipe, epochs: Sequence[Sequence[Example]]) -> Values:
    """What each proof saw."""
    train, examples = decided(recipe, epochs), telling_examples(study.data.test)

    def proven() -> Values:
        rows, seen = study.store(recipe.model).rows_of(examples), Values()
        with progress_bar(transient=True) as progress:
            task = progress.add_task(f"proving that {recipe.model} trains and decodes as it should", total=len(PROOFS))
            for proof in prove(study.load(recipe.model), train, examples, rows):
                seen[proof.name] = proof.seen
                progress.advance(task)
        return seen

    looked_at = {"examples": list(map(example_key, examples))}
    return kept(study.folder, f"proofs of {recipe.model}", circumstances_of(recipe, train) | looked_at, proven)
