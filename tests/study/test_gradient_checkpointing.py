"""Gradient checkpointing where a GPU needs it: what it keeps, when it is on, and that it names no stage anew."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Any

import pytest
import torch
from tiny_study import results_of, tiny_recipe, write_recipe
from torch.utils._pytree import tree_leaves

from sottovoce.core.errors import UserError
from sottovoce.core.recipe import Recipe, Train
from sottovoce.core.recipe_file import load_recipe
from sottovoce.data.load import load_data
from sottovoce.models.injection import bare
from sottovoce.models.load import LoadedModel, load_model, load_skeleton
from sottovoce.study.cells import plan_cells
from sottovoce.study.resources import fit as module
from sottovoce.study.resources.activations import RowSize, SavedBytes, saved_activations
from sottovoce.study.resources.fit import check_memory, resolve_checkpointing
from sottovoce.study.resources.memory import forecast_memory, longest_of
from sottovoce.study.runner import run_study
from sottovoce.study.work import cell_stage_plans
from sottovoce.study.workspace import deciding_settings
from sottovoce.train.parts import with_weights
from sottovoce.train.sharding import decoder_layers

ROW = RowSize(96, 16)
KINDS = pytest.mark.parametrize("kind", ["lora", "full"])


def train(kind: str, **changes: Any) -> Train:
    return Train.model_validate({"language_model": kind, "per_device_train_batch_size": 3, "bf16": True} | changes)


def parts_kept(loaded: LoadedModel, settings: Train) -> SavedBytes:
    loaded.model.set_attn_implementation("eager")  # with fused attention fake tensors get a mask that real ones do not
    with next(loaded.model.parameters()).device:
        model = with_weights(loaded, settings, None)
    return saved_activations(loaded.family, model, 3, ROW, settings.bf16)


class Saved:
    """Bytes of what autograd keeps while it lasts, each storage once."""

    def __init__(self, model: Any, given: Sequence[torch.Tensor] = ()) -> None:
        tensors = [*model.parameters(), *given]
        self._known = {tensor.untyped_storage().data_ptr() for tensor in tensors}
        self._held: dict[int, torch.Tensor] = {}
        self.hooks = torch.autograd.graph.saved_tensors_hooks(self.keep, lambda tensor: tensor)

    def keep(self, tensor: torch.Tensor) -> torch.Tensor:
        if tensor.untyped_storage().data_ptr() not in self._known:
            self._held[tensor.untyped_storage().data_ptr()] = tensor
        return tensor

    @property
    def num_bytes(self) -> int:
        return sum(tensor.untyped_storage().nbytes() for tensor in self._held.values())


# --- what is counted


@KINDS
@pytest.mark.parametrize("bf16", [True, False])
def test_a_real_model_keeps_of_layers_what_was_counted(tiny_model_dir: Path, kind: str, bf16: bool) -> None:
    counted = parts_kept(load_skeleton(str(tiny_model_dir), bf16), train(kind, bf16=bf16))
    loaded = load_model(str(tiny_model_dir), bf16)
    loaded.model.set_attn_implementation("eager")  # with fused attention fake tensors get a mask that real ones do not
    model = with_weights(loaded, train(kind, bf16=bf16, gradient_checkpointing=True), None).train()
    base, family = bare(model), loaded.family
    layers, calls = decoder_layers(model), list[tuple[Any, Any]]()
    hooks = [
        layer.register_forward_pre_hook(lambda _, *given: calls.append(given), with_kwargs=True) for layer in layers
    ]
    ids, whole = torch.zeros(3, ROW.num_tokens, dtype=torch.long), Saved(model)
    with whole.hooks, torch.autocast("cpu", torch.bfloat16, enabled=bf16):
        hidden = family.hidden_states(base, ids, family.token_embeddings(base, ids))
        scored = hidden[:, : ROW.num_answer_tokens].reshape(-1, hidden.shape[-1])
        logits = family.logits(base, scored)
        torch.nn.functional.cross_entropy(logits.float(), torch.zeros(len(scored), dtype=torch.long))
    for hook in hooks:
        hook.remove()
    given = [leaf for leaf in tree_leaves(calls) if isinstance(leaf, torch.Tensor)]
    for tensor in given:  # positions and masks are kept, too, and not by autograd
        whole.keep(tensor)
    assert whole.num_bytes == counted.before + counted.inputs + counted.head
    layer, (args, kwargs) = layers[-1], calls[-1]  # the first one keeps less where embeddings are frozen
    layer.gradient_checkpointing = False
    alone = Saved(model, given)
    with alone.hooks, torch.autocast("cpu", torch.bfloat16, enabled=bf16):
        layer(*args, **kwargs)
    assert counted.layer == alone.num_bytes


def test_weights_cast_for_the_forward_pass_count_until_it_ends() -> None:
    """In bytes: layers given 10, the head keeps 5, the loss's gradient is 3."""
    few = SavedBytes(all=100, before=1, inputs=10, layer=4, casts=2, head=5, gradient=3)
    assert few.num_bytes == 103 and few.num_bytes_checkpointed == 1 + 10 + 5 + 3
    many_casts = SavedBytes(all=100, before=1, inputs=10, layer=4, casts=20, head=5, gradient=3)
    assert many_casts.num_bytes_checkpointed == 1 + 10 + 5 + 20
    large_layer = SavedBytes(all=100, before=1, inputs=10, layer=40, casts=2, head=5, gradient=3)
    assert large_layer.num_bytes_checkpointed == 1 + 10 + 40


@KINDS
def test_whole_weights_are_cast_and_frozen_ones_are_not(tiny_model_dir: Path, kind: str) -> None:
    counted = parts_kept(load_skeleton(str(tiny_model_dir)), train(kind))
    loaded = load_model(str(tiny_model_dir))
    model = with_weights(loaded, train(kind), None)
    matrices = [p for p in decoder_layers(model).parameters() if p.requires_grad and p.ndim == 2]
    assert 0 < counted.casts == sum(2 * p.numel() for p in matrices)
    assert parts_kept(load_skeleton(str(tiny_model_dir), False), train(kind, bf16=False)).casts == 0


@KINDS
def test_a_checkpointed_step_needs_less_and_computes_more(tiny_model_dir: Path, kind: str) -> None:
    plain, less = (
        forecast_memory(str(tiny_model_dir), train(kind, gradient_checkpointing=on, bf16=False), ROW)
        for on in (False, True)
    )
    assert less.activations < 0.8 * plain.activations  # of two layers only
    assert less.operations == plain.operations * (8 / 6 if kind == "full" else 6 / 4)
    assert (less.weights, less.optimizer) == (plain.weights, plain.optimizer)
    auto = forecast_memory(str(tiny_model_dir), train(kind, bf16=False), ROW)
    assert auto == plain


# --- when it is on


@pytest.fixture
def recipe(tiny_model_dir: Path, tiny_corpus: Path, tmp_path: Path) -> Recipe:
    return Recipe.model_validate(tiny_recipe(tmp_path, tiny_model_dir, tiny_corpus))


def test_auto_is_on_where_a_gpu_needs_it(recipe: Recipe, monkeypatch: pytest.MonkeyPatch) -> None:
    data = load_data(recipe)
    epochs = [examples for cell in plan_cells(recipe, data) for examples in cell.examples(data)]
    row = longest_of(recipe, epochs)
    plain, less = (
        forecast_memory(recipe.model, recipe.train.model_copy(update={"gradient_checkpointing": on}), row)
        for on in (False, True)
    )

    def on_a_gpu_of(num_bytes: float | None) -> bool:
        monkeypatch.setattr(module, "_gpu_bytes", lambda: num_bytes)
        return resolve_checkpointing(recipe, epochs).gradient_checkpointing is True

    assert on_a_gpu_of(plain.total - 1) and "with gradient checkpointing, which was switched on" in check_memory(
        recipe, row
    )
    assert not on_a_gpu_of(plain.total) and "checkpointing" not in check_memory(recipe, row)
    assert on_a_gpu_of(less.held)  # which is less than with the allocator's losses, and tried
    assert check_memory(recipe, row).startswith("warning: a training step needs")
    assert on_a_gpu_of(less.held - 1)
    with pytest.raises(UserError, match="plan-memory RECIPE"):
        check_memory(recipe, row)
    monkeypatch.setenv("ACCELERATE_USE_DEEPSPEED", "true")
    assert not on_a_gpu_of(plain.total - 1)  # with it this was not tried
    monkeypatch.delenv("ACCELERATE_USE_DEEPSPEED")
    assert not on_a_gpu_of(None)  # a CPU
    assert not resolve_checkpointing(recipe, []).gradient_checkpointing


@pytest.mark.parametrize("asked", [True, False])
def test_what_the_recipe_says_is_done(recipe: Recipe, asked: bool, monkeypatch: pytest.MonkeyPatch) -> None:
    said = recipe.model_copy(update={"train": recipe.train.model_copy(update={"gradient_checkpointing": asked})})
    for num_bytes in (None, 1.0, 1e15):
        monkeypatch.setattr(module, "_gpu_bytes", lambda here=num_bytes: here)
        assert resolve_checkpointing(said, []) == said.train


def test_it_names_no_stage_and_no_study_anew(recipe: Recipe) -> None:
    data, names = load_data(recipe), set[tuple[str, ...]]()
    for setting in ("auto", True, False):
        changed = recipe.model_copy(
            update={"train": recipe.train.model_copy(update={"gradient_checkpointing": setting})}
        )
        assert "gradient_checkpointing" not in deciding_settings(changed)["train"]
        cells = plan_cells(changed, data)
        plans = [plan for cell in cells for plan in cell_stage_plans(changed, cell, cell.examples(data))]
        names.add(tuple(plan.key for plan in plans))
    assert len(names) == 1


@pytest.mark.parametrize("given", ["auto", "true", "false"])
def test_the_recipe_takes_three_words_and_no_other(
    given: str, tiny_model_dir: Path, tiny_corpus: Path, tmp_path: Path
) -> None:
    path = write_recipe(tmp_path, tiny_model_dir, tiny_corpus)
    found = load_recipe(path, [f"train.gradient_checkpointing={given}"]).train.gradient_checkpointing
    assert found == {"auto": "auto", "true": True, "false": False}[given]
    with pytest.raises(UserError, match=r"train\.gradient_checkpointing"):
        load_recipe(path, ["train.gradient_checkpointing=often"])


def test_a_study_with_it_scores_as_one_without(
    tiny_study: Path, tiny_model_dir: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    corpus = Path(load_recipe(tiny_study / "recipe.yaml").corpus.manifest or "")
    path = write_recipe(tmp_path, tiny_model_dir, corpus, schemes=["curriculum"], budgets=[0.1])
    monkeypatch.setattr(module, "_gpu_bytes", lambda: 2.0**30)  # all that CUDA takes, and nothing for the model
    monkeypatch.setattr("sottovoce.study.ready.check_memory", lambda *_: "as if there were a small GPU")
    said: list[str] = []
    assert not run_study(load_recipe(path), path, said.append)
    assert [line for line in said if line.endswith("memory is short")] == [
        "text: gradient checkpointing is on, because memory is short",
        "text+speech: gradient checkpointing is on, because memory is short",
    ]
    study, cell = tmp_path / "runs/tiny", "curriculum-10pct"
    mine, other = results_of(study, (cell,)), results_of(tiny_study, (cell,))
    assert mine.keys() == other.keys()
    assert mine[f"cells/{cell}/scores.json"] == other[f"cells/{cell}/scores.json"]
