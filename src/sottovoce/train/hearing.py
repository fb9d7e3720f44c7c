"""Teaches the embedded model's ears to write: audio states become the embeddings of the words that are spoken.

A LoRA on the audio tower and the projector are trained together, without the language model, by connectionist temporal
classification (CTC; Graves et al., ICML 2006): each projected state stands for the token whose embedding is nearest,
and a space is the blank. Speech then reaches the language model as its own tokens, a few of them between many spaces,
which is close to the text that it is fine-tuned on.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch
from peft import LoraConfig, get_peft_model
from safetensors.torch import load_file, save_file
from torch.nn.functional import ctc_loss
from transformers import TrainingArguments, set_seed

from sottovoce.data.audio import load_audio
from sottovoce.errors import UserError
from sottovoce.models.embedded import (
    LORA_ALPHA,
    LORA_RANK,
    PROJECTOR,
    TOWER,
    alignment_tensors,
    load_lora,
    load_projector,
)
from sottovoce.models.injection import bare
from sottovoce.models.precision import computes_bf16
from sottovoce.models.qwen2_audio import encode_short, tower_states
from sottovoce.storage import whole_file
from sottovoce.train.processes import processes
from sottovoce.train.spoken_clips import SpokenClips, Vocabulary, collate_clips, spoken_ids, vocabulary_of
from sottovoce.train.trainer import OrderedTrainer, batched_by_length, last_checkpoint
from sottovoce.train.warm_start import fit_projector
from sottovoce.types import Utterance

TOWER_LAYERS = r".*audio_tower\.layers\.\d+\.(self_attn\.(q|k|v|out)_proj|fc1|fc2)"
NUM_FITTED = 600  # clips of the projector's closed-form start


@dataclass(frozen=True, kw_only=True)
class Schedule:
    """How a part of the alignment is trained; the names are those of transformers' TrainingArguments."""

    num_train_epochs: int
    learning_rate: float
    per_device_train_batch_size: int
    warmup_ratio: float = 0.03
    seed: int = 0


@dataclass(frozen=True, kw_only=True)
class Hearing(Schedule):
    """Settings of this training."""

    num_train_epochs: int = 6
    learning_rate: float = 1e-3
    per_device_train_batch_size: int = 32
    warmup_ratio: float = 0.05


def hear(
    model: Any, processor: Any, utterances: Sequence[Utterance], out: Path, settings: Hearing,
    earlier: dict[str, torch.Tensor] | None, say: Callable[[str], None],
) -> dict[str, torch.Tensor]:  # fmt: skip
    """Trains, from the last checkpoint if there is one, or finds what an earlier start has trained.

    Args:
        model: the base model, its projector in float32; all but the projector is left as it was.
        utterances: with recordings; those that are longer than the model hears are left out.
        out: the folder for checkpoints and ``hearing.safetensors``.
        earlier: an alignment to go on from; with no epochs it is kept as it is.

    Returns:
        the tower's LoRA and the projector, in the names of an alignment file.

    Raises:
        UserError: there are several processes.
    """
    if (number := processes().num_processes) > 1:
        raise UserError(f"{number} processes cannot share this training", "start a single one")
    result = out / "hearing.safetensors"
    if result.exists():
        return dict(load_file(result))
    if earlier and not settings.num_train_epochs:
        return earlier
    window = float(processor.feature_extractor.chunk_length)
    heard = [utterance for utterance in utterances if (utterance.seconds or 0.0) < window]
    vocabulary = vocabulary_of(heard, processor.tokenizer, model.get_input_embeddings().weight)
    clips = SpokenClips(heard, _order(heard, settings), processor, vocabulary, settings.seed)
    resumed = last_checkpoint(out)
    set_seed(settings.seed)
    if earlier and not resumed:
        load_projector(model, earlier)
    elif not resumed:
        say("fitting the projector in closed form")
        _fit_projector(model, processor, heard[:NUM_FITTED])
    adapted = get_peft_model(
        model,
        LoraConfig(
            r=LORA_RANK, lora_alpha=LORA_ALPHA, target_modules=TOWER_LAYERS, modules_to_save=["multi_modal_projector"]
        ),
    )
    if earlier and not resumed:
        load_lora(adapted.get_base_model().model.audio_tower, earlier, TOWER)
    arguments = alignment_arguments(out, settings)
    HearingTrainer(adapted, arguments, clips, vocabulary).train_shown("ears", resumed)
    tensors = alignment_tensors(adapted)
    adapted.unload()
    with whole_file(result) as temporary:
        save_file(tensors, temporary)
    return tensors


class HearingTrainer(OrderedTrainer):
    """Trains tower and projector on :class:`SpokenClips`; the loss is that of CTC, a token."""

    def __init__(
        self, model: Any, args: TrainingArguments, clips: SpokenClips, vocabulary: Vocabulary, **kwargs: Any
    ) -> None:
        super().__init__(model, args, clips, data_collator=collate_clips, **kwargs)
        self._vocabulary = vocabulary

    def compute_loss(  # type: ignore[no-untyped-def]
        self, model, inputs, return_outputs=False, num_items_in_batch=None
    ) -> torch.Tensor:
        with self.accelerator.autocast():
            states, num_states = tower_states(bare(model).model.audio_tower, inputs["mel"], inputs["num_frames"])
            scores = self._vocabulary.log_probabilities(bare(model).model.multi_modal_projector(states))
        # A clip that has fewer states than its transcript needs has an infinite loss and teaches nothing.
        total = ctc_loss(
            scores.transpose(0, 1), inputs["labels"], num_states, inputs["num_labels"], reduction="sum",
            zero_infinity=True,
        )  # fmt: skip
        return total / (len(inputs["labels"]) if num_items_in_batch is None else num_items_in_batch)


def _order(utterances: Sequence[Utterance], settings: Hearing) -> list[tuple[int, int]]:
    """All epochs' utterances, by index, each with the epoch's number; clips of similar length share a batch."""
    lengths, batch_size = [round(100 * (u.seconds or 0.0)) for u in utterances], settings.per_device_train_batch_size
    order = []
    for epoch in range(settings.num_train_epochs):
        order += [(index, epoch) for index in batched_by_length(lengths, batch_size, settings.seed + epoch)]
    return order


def _fit_projector(model: Any, processor: Any, utterances: Sequence[Utterance]) -> None:
    clips = [load_audio(utterance.audio, utterance.where) for utterance in utterances if utterance.audio is not None]
    states = encode_short(model, processor, clips)
    tokenizer = processor.tokenizer
    tokens = [torch.tensor(spoken_ids(utterance, tokenizer)) for utterance in utterances]
    letters = [torch.tensor([max(1, len(tokenizer.decode([t]).strip())) for t in ids.tolist()]) for ids in tokens]
    weight, bias = fit_projector(states, tokens, letters, model.get_input_embeddings().weight.detach().float())
    load_projector(model, {f"{PROJECTOR}.weight": weight, f"{PROJECTOR}.bias": bias})


def alignment_arguments(out: Path, settings: Schedule) -> TrainingArguments:
    """The Trainer's arguments for rows that are already those of all epochs, in order."""
    return TrainingArguments(
        output_dir=str(out),
        num_train_epochs=1,
        learning_rate=settings.learning_rate,
        lr_scheduler_type="cosine",
        warmup_steps=settings.warmup_ratio,  # a float is a share of all steps
        per_device_train_batch_size=settings.per_device_train_batch_size,
        adam_beta2=0.98,
        max_grad_norm=1.0,
        bf16=computes_bf16(),
        use_cpu=not torch.cuda.is_available(),
        logging_steps=10,
        save_steps=100,
        save_total_limit=2,
        report_to="none",
        disable_tqdm=True,
        seed=settings.seed,
    )
