"""Makes the embedded model a LALM: ears that write words, then transcription of synthetic speech with text replay."""

from __future__ import annotations

import json
import random
from collections.abc import Callable, Iterable, Sequence
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any

import torch
from peft import LoraConfig, get_peft_model
from safetensors.torch import load_file, save_file
from transformers import Qwen2AudioForConditionalGeneration, Qwen2AudioProcessor, set_seed

from sottovoce.data.audio import load_audio
from sottovoce.data.collate import Row, tokenize
from sottovoce.data.perturb import perturb
from sottovoce.data.prompts import transcription_example
from sottovoce.errors import UserError
from sottovoce.models.embedded import (
    LORA_ALPHA,
    LORA_RANK,
    PROJECTOR,
    TOWER,
    alignment_tensors,
    base_model_dir,
    load_lora,
    merge_alignment,
)
from sottovoce.models.families import family_of
from sottovoce.models.injection import bare
from sottovoce.models.load import attention
from sottovoce.models.qwen2_audio import encode_short
from sottovoce.storage import json_lines, whole_file, whole_rows, write_whole
from sottovoce.train.hearing import Hearing, Schedule, alignment_arguments, hear
from sottovoce.train.replay import replay_examples
from sottovoce.train.trainer import AnswerTrainer, Rows, last_checkpoint
from sottovoce.train.word_tasks import word_task
from sottovoce.types import Example, Frame, Modality, Utterance

SHARD_CLIPS = 500


@dataclass(frozen=True, kw_only=True)
class Alignment(Schedule):
    """Settings of an alignment run.

    Args:
        speech: a folder with ``manifest.jsonl`` (id, locale, transcript, audio).
        out: checkpoints, encoded speech and the resulting ``alignment.safetensors``.
        hearing: how tower and projector are trained first, without the language model.
        num_transcribed: how many of the clips the language model learns to transcribe, drawn at random; None: all.
        start: an earlier ``alignment.safetensors`` to go on from.
        replay_share: text replay rows as a share of the speech rows, 0..1; as many rows again repeat text, and as
            many answer questions about the words of a text.
        task_share: how many of the speech rows of an epoch ask about the words in place of their transcription, 0..1.
    """

    speech: Path
    out: Path
    num_train_epochs: int = 2
    learning_rate: float = 6e-4
    per_device_train_batch_size: int = 16
    replay_share: float = 0.03
    task_share: float = 0.2
    hearing: Hearing = field(default_factory=Hearing)
    num_transcribed: int | None = None
    start: Path | None = None


def align(settings: Alignment, say: Callable[[str], None] = print) -> Path:
    """Trains, from the last checkpoint if there is one, and returns the path of ``alignment.safetensors``."""
    settings.out.mkdir(parents=True, exist_ok=True)
    _same_settings(settings)
    base = base_model_dir(say)
    model = Qwen2AudioForConditionalGeneration.from_pretrained(
        base, dtype=torch.bfloat16, attn_implementation=attention()
    )
    model.model.multi_modal_projector.float()  # it is trained, and bfloat16 would round small steps away
    processor = Qwen2AudioProcessor.from_pretrained(base)
    utterances = list(_spoken(settings.speech / "manifest.jsonl", settings.out / "used.jsonl"))
    say(f"{len(utterances)} utterances, {sum(u.seconds or 0 for u in utterances) / 3600:.1f} hours of speech")
    replay = replay_examples(model, processor, settings.out / "replay.jsonl")
    earlier = load_file(settings.start) if settings.start else None
    ears = hear(model, processor, utterances, settings.out / "hearing", settings.hearing, earlier, say)
    ears = {name: tensor for name, tensor in ears.items() if name.startswith((TOWER, PROJECTOR))}
    merge_alignment(model, ears)
    if settings.num_transcribed is not None and settings.num_transcribed < len(utterances):
        utterances = random.Random(settings.seed).sample(utterances, settings.num_transcribed)
    clean = encoded_speech(model, processor, utterances, settings.out / "states", settings.seed, noisy=False, say=say)
    noisy = encoded_speech(model, processor, utterances, settings.out / "states", settings.seed, noisy=True, say=say)
    spoken = _transcriptions(utterances, clean, processor) + _transcriptions(utterances, noisy, processor)
    spoken += _tasks(utterances, clean, processor, settings.seed) + _tasks(utterances, noisy, processor, settings.seed)
    texts = [transcription_example(u, "text") for u in utterances]
    texts += [_task(u, "text", utterances, settings.seed) for u in utterances]
    rows = spoken + [tokenize(example, processor, None) for example in [*texts, *replay]]
    resumed = last_checkpoint(settings.out)
    set_seed(settings.seed)  # what LoRA starts from must not depend on whether the ears were trained just now
    model = get_peft_model(
        model,
        LoraConfig(
            r=LORA_RANK,
            lora_alpha=LORA_ALPHA,
            target_modules=family_of("qwen2_audio").language_model,
            modules_to_save=["multi_modal_projector"],
        ),
    )
    if earlier and not resumed:
        load_lora(bare(model).model.language_model, earlier)
    order = training_order_of(len(utterances), len(replay), settings)
    arguments, pad_id = alignment_arguments(settings.out, settings), processor.tokenizer.pad_token_id
    AnswerTrainer(model, arguments, Rows(rows, order), pad_id).train_shown("alignment", resumed)
    path = settings.out / "alignment.safetensors"
    with whole_file(path) as temporary:
        save_file(ears | alignment_tensors(model), temporary)
    return path


def _same_settings(settings: Alignment) -> None:
    """Raises UserError where ``out`` holds a run of other settings, whose checkpoints mean other rows."""
    path, content = settings.out / "settings.json", json.dumps(asdict(settings), default=str, indent=1)
    if path.exists() and path.read_text(encoding="utf-8") != content:
        raise UserError(f"{settings.out} holds an alignment of other settings (see {path})", "choose another folder")
    write_whole(path, content)


def encoded_speech(
    model: Any, processor: Any, utterances: Sequence[Utterance], folder: Path, seed: int, noisy: bool,
    say: Callable[[str], None],
) -> list[torch.Tensor]:  # fmt: skip
    """The audio tower's states of every utterance, from safetensors shards that are written as they are computed."""
    folder.mkdir(exist_ok=True)
    kind, states = "noisy" if noisy else "clean", []
    for start in range(0, len(utterances), SHARD_CLIPS):
        part = utterances[start : start + SHARD_CLIPS]
        shard = folder / f"{kind}-{start:06d}-{len(part)}.safetensors"
        if not shard.exists():
            clips = [load_audio(u.audio) for u in part if u.audio is not None]
            if noisy:
                clips = [perturb(clip, random.Random(f"{seed}/{u.id}")) for clip, u in zip(clips, part, strict=True)]
            encoded = {str(number): state for number, state in enumerate(encode_short(model, processor, clips))}
            with whole_file(shard) as temporary:
                save_file(encoded, temporary)
            say(f"encoded {start + len(part)} of {len(utterances)} clips ({kind})")
        tensors = load_file(shard)
        states += [tensors[str(number)] for number in range(len(part))]
    return states


def _spoken(manifest: Path, used: Path) -> Iterable[Utterance]:
    # The rows in use are fixed on the first start, so that speech made meanwhile does not change a resumed run.
    if not used.exists():
        write_whole(used, json_lines(whole_rows(manifest)))
    for row in whole_rows(used):
        audio = manifest.parent / row["audio"]
        identity = f"{row['locale']}-{row['id']}"
        yield Utterance(
            identity, row["locale"], row["transcript"], Frame("", ""), "train", audio, row["speaker"], row["seconds"]
        )


def _transcriptions(utterances: Sequence[Utterance], states: Sequence[torch.Tensor], processor: Any) -> list[Row]:
    return [tokenize(transcription_example(u), processor, s) for u, s in zip(utterances, states, strict=True)]


def _tasks(utterances: Sequence[Utterance], states: Sequence[torch.Tensor], processor: Any, seed: int) -> list[Row]:
    examples = [_task(utterance, "speech", utterances, seed) for utterance in utterances]
    return [tokenize(example, processor, state) for example, state in zip(examples, states, strict=True)]


def _task(utterance: Utterance, modality: Modality, utterances: Sequence[Utterance], seed: int) -> Example:
    return word_task(utterance, modality, utterances, random.Random(f"{seed}/{modality}/{utterance.id}"))


def training_order_of(num_utterances: int, num_replay: int, settings: Alignment) -> list[int]:
    """The order of all epochs' rows, shuffled (see :func:`sottovoce.train.trainer.training_order` for why).

    The rows are: transcriptions of clean speech, of perturbed speech, tasks on clean speech, on perturbed speech,
    transcriptions of text, tasks on text (``num_utterances`` each), and ``num_replay`` rows of replay.
    """
    order: list[int] = []
    num_texts = int(settings.replay_share * num_utterances)
    for epoch in range(settings.num_train_epochs):
        rng = random.Random(settings.seed * 1000 + epoch)
        chosen = []
        for number in range(num_utterances):
            # Half of the utterances are heard clean and half perturbed; the next epoch swaps the halves.
            kind = (number + epoch) % 2 + (2 if rng.random() < settings.task_share else 0)
            chosen.append(kind * num_utterances + number)
        for kind, size in ((4, num_utterances), (5, num_utterances), (6, num_replay)):
            chosen += [kind * num_utterances + rng.randrange(size) for _ in range(num_texts)]
        rng.shuffle(chosen)
        order += chosen
    return order
