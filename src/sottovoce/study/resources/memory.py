"""How much GPU memory a training step needs and how many operations it takes, from a model's configuration alone.

The model is built without weights, and one step's forward pass is run on fake tensors, which have shapes but no
contents, to count what autograd would save. So nothing is assumed about a family's layers.
"""

from __future__ import annotations

import math
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, replace
from functools import cache

import numpy as np
import torch

from sottovoce.core.errors import UserError
from sottovoce.core.recipe import Recipe, Train
from sottovoce.core.types import Example
from sottovoce.data.audio import SAMPLING_RATE
from sottovoce.data.load import load_data
from sottovoce.models.families.base import Family
from sottovoce.models.injection import bare
from sottovoce.models.load import LoadedModel, family_named, load_skeleton, processor_of
from sottovoce.study.cells import plan_cells
from sottovoce.study.resources.activations import AudioInputs, RowSize, SavedBytes, saved_activations
from sottovoce.train.parts import part_of, reencodes_audio, with_weights
from sottovoce.train.sharding import decoder_layers

GIB = 2**30
MOMENTS = 2  # AdamW's, each as large as its parameters
CONTEXT = 1.0 * GIB  # for CUDA and its libraries
FRAGMENTS = 0.1  # share of the rest that the allocator loses; assumed
NF4_BYTES = 0.5 + 1 / 64 + 4 / (64 * 256)  # per weight: 4 bits, an 8-bit scale per 64, a 32-bit one per 256 scales
CHARS_PER_TOKEN = 3.0  # for English and JSON; rather low, so that rows are not underestimated
TEMPLATE_TOKENS = 24  # that chat templates add to a message


@dataclass(frozen=True)
class Card:
    """A GPU. ``gigabytes`` is its advertised memory, ``teraflops`` its dense bfloat16 peak, both from the vendor."""

    name: str
    gigabytes: int
    teraflops: float

    @property
    def bytes(self) -> float:
        return self.gigabytes * 1e9


CARDS = (
    Card("RTX 4090", 24, 165.0), Card("L40S", 48, 362.0), Card("A100", 80, 312.0), Card("H200", 141, 989.0),
)  # fmt: skip


@dataclass(frozen=True)
class Memory:
    """The memory of a training step, in bytes, and its language model's work, in floating-point operations.

    ``uncounted`` says why a trained audio part's activations are missing, "" if they are counted or there are none.
    ``audio_part`` is the part of ``weights`` that sharding leaves whole; ``proofs`` is what the proofs before the first
    step hold, as the first process needs the whole model for them, 0 if that is no more than the step.
    """

    weights: float
    gradients: float
    optimizer: float
    activations: float
    operations: float
    uncounted: str = ""
    audio_part: float = 0.0
    proofs: float = 0.0

    @property
    def held(self) -> float:
        """In tensors."""
        return max(self.weights + self.gradients + self.optimizer + self.activations, self.proofs)

    @property
    def total(self) -> float:
        """Including the overhead of CUDA and the allocator."""
        return self.held * (1.0 + FRAGMENTS) + CONTEXT

    def fits(self, card: Card) -> bool:
        return self.total <= card.bytes

    def sharded(self, num_cards: int, weights_too: bool = True) -> Memory:
        """What one of several cards holds if FSDP2 or ZeRO-3 shard the language model, or ZeRO-2 all but its weights;
        activations are not sharded."""
        shared = self.audio_part + (self.weights - self.audio_part) / num_cards
        return replace(
            self,
            weights=shared if weights_too else self.weights,
            gradients=self.gradients / num_cards,
            optimizer=self.optimizer / num_cards,
            proofs=self.weights + self.activations,
        )


def row_size(example: Example, family: Family) -> RowSize:
    """A row's size, estimated from characters and seconds, without a tokenizer."""
    seconds = (example.utterance.seconds or 0.0) if example.modality == "speech" else 0.0
    written = len(example.utterance.transcript) / CHARS_PER_TOKEN
    shown = family.num_audio_tokens(seconds) if example.modality == "speech" else written
    answer = round(len(example.answer) / CHARS_PER_TOKEN) + 1
    prompt = round(shown + len(example.instruction) / CHARS_PER_TOKEN) + TEMPLATE_TOKENS
    return RowSize(prompt + answer, answer, seconds)


def row_of(name: str, num_tokens: int, num_answer_tokens: int) -> RowSize:
    """A row of the given length, with as long a clip as fits into it in that model.

    Raises:
        UserError: the model's configuration cannot be read.
    """
    num_answer_tokens = min(num_answer_tokens, num_tokens - 1)
    seconds = (num_tokens - num_answer_tokens) / family_named(name).tokens_per_second
    return RowSize(num_tokens, num_answer_tokens, seconds)


def longest_row(recipe: Recipe) -> tuple[RowSize, int]:
    """The longest training row of a recipe's cells, and how many rows its largest epoch has.

    Raises:
        UserError: the model's configuration or the data cannot be read.
    """
    data = load_data(recipe)
    epochs = [examples for cell in plan_cells(recipe, data) for examples in cell.examples(data)]
    if not epochs:
        raise UserError(f"{recipe.name} trains nothing", "name a scheme that trains, such as text_only")
    return longest_of(recipe, epochs), max(len(examples) for examples in epochs)


def longest_of(recipe: Recipe, epochs: Iterable[Sequence[Example]]) -> RowSize:
    """A row as long as the longest example of the epochs, with the longest answer and the longest clip of any."""
    family = family_named(recipe.model)
    sizes = [row_size(example, family) for examples in epochs for example in examples]
    return RowSize(
        max(size.num_tokens for size in sizes),
        max(size.num_answer_tokens for size in sizes),
        max(size.seconds for size in sizes),
    )


def forecast_memory(name: str, train: Train, row: RowSize) -> Memory:
    """The memory of a training step of ``per_device_train_batch_size`` rows, all as long as ``row``.

    With gradient checkpointing if ``train.gradient_checkpointing`` is true; ``auto`` counts as false.

    Args:
        name: as in a recipe; a folder with just a config.json is enough if the audio part is not trained.

    Raises:
        UserError: no such model, or a family without a forecast.
    """
    batch_size, checkpointing = train.per_device_train_batch_size, train.gradient_checkpointing is True
    changes = [{"gradient_checkpointing": "auto", "per_device_train_batch_size": size} for size in (1, 2)]
    (one, kept_of_one), (_, kept_of_two) = (_step(name, train.model_copy(update=change), row) for change in changes)
    kept = kept_of_one.of_batch(kept_of_two, batch_size)
    operations = one.operations * batch_size
    return replace(
        one,
        activations=kept.num_bytes_checkpointed if checkpointing else kept.num_bytes,
        operations=operations * (1 + 2 / _per_weight(train)) if checkpointing else operations,  # one more forward pass
    )


@cache
def _step(name: str, train: Train, row: RowSize) -> tuple[Memory, SavedBytes]:
    """A step's memory without its activations, and the activations."""
    loaded = load_skeleton(name, train.bf16)
    with torch.device("meta"):
        model = with_weights(loaded, train, None)
    trained = [parameter for parameter in model.parameters() if parameter.requires_grad]
    size = sum(parameter.numel() * parameter.element_size() for parameter in trained)
    weights = sum(parameter.numel() * parameter.element_size() for parameter in model.parameters())
    saved = _saved_by_four_bits(loaded) if train.load_in_4bit else 0.0
    named = bare(model).named_parameters()
    audio = [parameter for name, parameter in named if part_of(loaded.family, name) != "language_model"]
    audio_part = sum(parameter.numel() * parameter.element_size() for parameter in audio)
    operations = _operations(loaded, train, row)
    anew = row.seconds > 0 and reencodes_audio(loaded.family, train)
    try:
        clip = _silence(name, loaded, row.seconds) if anew else None
        kept = saved_activations(loaded.family, model, train.per_device_train_batch_size, row, train.bf16, clip)
    except (UserError, RuntimeError) as error:
        if not anew:
            raise
        memory, kept = _step(name, train, replace(row, seconds=0.0))
        return replace(memory, uncounted=str(error).splitlines()[0]), kept
    return Memory(weights - saved, size, MOMENTS * size, 0.0, operations, audio_part=audio_part), kept


def _silence(name: str, skeleton: LoadedModel, seconds: float) -> AudioInputs:
    samples = np.zeros(math.ceil(seconds * SAMPLING_RATE), dtype=np.float32)
    return skeleton.family.audio_inputs(processor_of(name, skeleton), samples)


def _saved_by_four_bits(loaded: LoadedModel) -> float:
    layers = [
        module
        for name, module in loaded.model.named_modules()
        if type(module) is torch.nn.Linear
        and part_of(loaded.family, name) == "language_model"
        and not name.endswith("lm_head")
        and "lora_" not in name
    ]
    return sum(layer.weight.numel() * (layer.weight.element_size() - NF4_BYTES) for layer in layers)


def _per_weight(train: Train) -> int:
    # Per weight and token: two forward, two for the gradient of the inputs, two for the gradient of the weights.
    return 6 if train.language_model == "full" else 4


def _operations(loaded: LoadedModel, train: Train, row: RowSize) -> float:
    weights = sum(p.numel() for part in loaded.family.trained_parts(loaded.model) for p in part.parameters())
    if train.lora.first_layer:  # computed once per row, so not counted
        below = decoder_layers(loaded.model)[: train.lora.first_layer]
        weights -= sum(p.numel() for p in below.parameters())
    return float(_per_weight(train) * weights * row.num_tokens * train.per_device_train_batch_size)
