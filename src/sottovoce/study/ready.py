"""Checks before the first training step: that it fits in memory, and that the model trains and decodes as it should."""

from __future__ import annotations

from collections.abc import Sequence

from sottovoce.core.progress import progress_bar
from sottovoce.core.recipe import Recipe
from sottovoce.core.types import Example
from sottovoce.study.cells import Cell, example_key
from sottovoce.study.kept import Values, circumstances_of, kept
from sottovoce.study.preflight import PROOFS, TRAINED_PARTS, proof_examples, prove
from sottovoce.study.resources.fit import check_memory, resolve_checkpointing
from sottovoce.study.resources.memory import longest_of
from sottovoce.study.work import epochs_by_model
from sottovoce.study.workspace import Study


def prove_ready(study: Study, cells: list[Cell]) -> None:
    """Checks the memory and runs the preflight proofs on each model that has a stage still to train.

    Proofs that passed before, in the same circumstances, are not run again.
    """
    all_epochs = epochs_by_model(study.work_of(cells))
    for model in dict.fromkeys(item.cell.model for item in study.stages_to_do(cells).values()):
        recipe, epochs = study.recipe.of_model(model), all_epochs[model]
        study.say(check_memory(recipe, longest_of(recipe, epochs)))
        proofs = _proofs(study, recipe, epochs)
        study.say(f"{len(proofs)} preflight proofs passed: {', '.join(proofs)}")
        study.say(proofs[TRAINED_PARTS])


def _proofs(study: Study, recipe: Recipe, epochs: Sequence[Sequence[Example]]) -> Values:
    """What each proof saw."""
    train, examples = resolve_checkpointing(recipe, epochs), proof_examples(study.data.test, study.data.instruction)

    def proven() -> Values:
        rows, seen = study.store(recipe.model).rows_of(examples), Values()
        with progress_bar(transient=True) as progress:
            task = progress.add_task(f"checking that {recipe.model} trains and decodes as it should", total=len(PROOFS))
            for proof in prove(study.load(recipe.model), train, examples, rows):
                seen[proof.name] = proof.seen
                progress.advance(task)
        return seen

    looked_at = {"examples": list(map(example_key, examples))}
    return kept(study.folder, f"proofs of {recipe.model}", circumstances_of(recipe, train) | looked_at, proven)
