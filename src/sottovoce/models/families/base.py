"""What a family of audio language models has to tell the rest of the project, and the way that most of them go.

A family whose model departs from that way overrides the method in a file of its own; shared code never asks which
family it deals with.
"""

from __future__ import annotations

import math
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from functools import partial
from typing import Any

import torch

from sottovoce.core.errors import UserError
from sottovoce.data.audio import SAMPLING_RATE, Samples
from sottovoce.models.packed_attention import num_places, packed_attention, packing_of, recomputed_alike
from sottovoce.models.processor import load_processor

SEEN_WITH = "5.23.0"  # the transformers release whose modules these entries name
LINEAR_LAYERS = r".*language_model\.layers\.\d+\.(self_attn\.[qkvo]_proj|mlp\.(gate|up|down)_proj)"


@dataclass(frozen=True)
class Family:
    """Where a family keeps its parts, and how they are called.

    Args:
        model_type: as transformers' configuration names it.
        model_class: the transformers class that is loaded.
        tokens_per_second: audio tokens that a second of speech costs.
        language_model: regular expression of the language model's linear layers, the targets of LoRA; bare names
            would also hit the audio tower.
        audio_tower, projector, text_model: submodules of the loaded class; a projector inside the tower is named too.
        audio_token: the released models' placeholder, which stands once for each audio token; a checkpoint's
            configuration may name another.
        wrap: what stands before and after the placeholders, where the chat template does not write it.
        chat_template: ours, for checkpoints that bring none; the audio stands where a transcript would stand.
        mask_name: what the model calls the mask over mel frames, None if it takes none.
        window_seconds: what the audio tower of the released models takes at once, None if it takes any length.
        max_windows: how many windows a longer clip is split into before the rest is cut.
        fills_windows: every window that is begun costs its whole number of audio tokens.
        sampling_rate: of the samples that the processor takes, in Hz.
        minimum_transformers: the first release that the entry holds for.
        aliases: further model types that are this family, such as that of a part which is a model of its own.
        projects_at_each_step: what is kept of a clip is the tower's, and the projector follows at every step.
        packs: the language model's layers but attention see each token by itself, and attention is causal over the
            whole row: rows are computed without their padding.
        released: hub ids of the released models, for the documentation; none could be loaded by us.
        brings_code: its class is ours, not transformers', and its code is saved beside the weights.
        hears_words: what is kept of a clip is words, which :meth:`transcript` writes down.
    """

    model_type: str
    model_class: str
    tokens_per_second: float
    language_model: str = LINEAR_LAYERS
    audio_tower: str = "model.audio_tower"
    projector: str = "model.multi_modal_projector"
    text_model: str = "model.language_model"
    audio_token: str = "<|AUDIO|>"
    wrap: tuple[str, str] = ("", "")
    chat_template: str = ""
    mask_name: str | None = "input_features_mask"
    window_seconds: float | None = 30.0
    max_windows: int = 1
    fills_windows: bool = False
    sampling_rate: int = SAMPLING_RATE
    minimum_transformers: str = SEEN_WITH
    released: tuple[str, ...] = ()
    aliases: tuple[str, ...] = ()
    projects_at_each_step: bool = False
    packs: bool = False
    brings_code: bool = False
    hears_words: bool = False

    def class_of(self) -> Any:
        """The class that ``model_class`` names."""
        import transformers

        return getattr(transformers, self.model_class)

    def load_model(self, source: str, **options: Any) -> Any:
        """The model in ``source``, a hub id or a folder, as its class's ``from_pretrained`` loads it."""
        return self.class_of().from_pretrained(source, **options)

    def load_processor(self, source: str, config: Any) -> Any:
        """What writes prompts and turns clips into mel frames; it holds ``tokenizer`` and ``feature_extractor``.

        Args:
            config: the model's configuration.
        """
        return load_processor(source, self.audio_token_id(config), self.wrap, self.chat_template)

    def heard_seconds(self, processor: Any) -> float:
        """The longest clip that is heard whole; what is beyond is cut."""
        if self.window_seconds is None:
            return math.inf
        return float(processor.feature_extractor.chunk_length * self.max_windows)

    def num_audio_tokens(self, seconds: float) -> int:
        """About how many audio tokens a clip costs, told without its samples."""
        if self.window_seconds is not None:
            seconds = min(seconds, self.max_windows * self.window_seconds)
            if self.fills_windows:
                seconds = math.ceil(seconds / self.window_seconds) * self.window_seconds
        return math.ceil(self.tokens_per_second * seconds)

    def check(self, model: Any, processor: Any) -> None:
        """Refuses a checkpoint whose processor and model do not fit together.

        Raises:
            UserError: another sampling rate than ours, or two ids for the audio placeholder.
        """
        rate = processor.feature_extractor.sampling_rate
        if rate != self.sampling_rate:
            raise UserError(f"the model's processor wants {rate} Hz, {self.sampling_rate} Hz are read", "use another")
        expected, found = self.audio_token_id(model.config), processor.audio_token_id
        if expected != found:
            raise UserError(
                f"the placeholder {processor.audio_token!r} has id {found} in the tokenizer, {expected} in the model",
                "take tokenizer and model from the same checkpoint",
            )

    def audio_token_id(self, config: Any) -> int:
        """The placeholder's id in the model."""
        return int(config.audio_token_id)

    def audio_inputs(self, processor: Any, clip: Samples) -> dict[str, torch.Tensor]:
        """One clip as the model's own forward takes it: mel frames, (num_windows, mel_bins, num_frames), and mask."""
        windows = self.windows(processor, clip)
        return self.renamed(
            processor.feature_extractor(
                windows, sampling_rate=SAMPLING_RATE, return_attention_mask=True, return_tensors="pt"
            )
        )

    def training_inputs(self, model: Any, processor: Any, clip: Samples, locale: str) -> dict[str, torch.Tensor]:
        """One clip as :meth:`audio_features` takes it at every step, for an audio part that is trained.

        Args:
            model: before anything of it is trained.
            locale: the language of the recording, for models that need it.
        """
        return self.audio_inputs(processor, clip)

    def windows(self, processor: Any, clip: Samples) -> list[Samples]:
        """The clip cut into windows, as the family's processor cuts it; samples beyond the last one are left out."""
        length = int(processor.feature_extractor.chunk_length * SAMPLING_RATE)
        parts = [clip[start : start + length] for start in range(0, len(clip), length)]
        return parts[: self.max_windows]

    def renamed(self, features: Any) -> dict[str, torch.Tensor]:
        """What a Whisper-style feature extractor returns, in the names of the model's forward."""
        inputs = {"input_features": features["input_features"]}
        return inputs if self.mask_name is None else inputs | {self.mask_name: features["attention_mask"]}

    def audio_features(self, model: Any, inputs: dict[str, torch.Tensor]) -> torch.Tensor:
        """What stands for one clip in the language model's input, (num_audio_tokens, hidden_size), after the projector.

        Args:
            model: the transformers model.
            inputs: what :meth:`audio_inputs` returns, on the model's device and in its dtype.
        """
        features: torch.Tensor = model.model.get_audio_features(**inputs, return_dict=True).pooler_output
        return features.flatten(0, -2)

    @torch.inference_mode()
    def encode(
        self, model: Any, processor: Any, clips: Sequence[Samples], locales: Sequence[str], batch_size: int
    ) -> Iterator[torch.Tensor]:
        """What is kept of each clip, on the CPU; see ``features.encode_clips``.

        Clips go one by one: what is kept must not depend on a neighbour's length.
        """
        for clip in clips:
            inputs = self.audio_inputs(processor, clip)
            moved = {
                name: tensor.to(model.device, model.dtype if tensor.is_floating_point() else tensor.dtype)
                for name, tensor in inputs.items()
            }
            yield self.audio_features(model, moved).to("cpu", model.dtype, copy=True)

    def projected(self, base: Any, audio_states: torch.Tensor) -> torch.Tensor:
        """What :meth:`encode` kept, as it enters the language model, (num_audio_tokens, hidden_size)."""
        return audio_states

    def transcript(self, processor: Any, audio_states: torch.Tensor) -> str | None:
        """The words that :meth:`encode` heard; None unless the family ``hears_words``."""
        return None

    def processor_options(self, locale: str) -> dict[str, Any]:
        """What the family's own processor takes beside a prompt and a clip in a locale."""
        return {}

    def deciding(self, processor: Any) -> dict[str, str]:
        """What decides :meth:`encode`'s result beside the audio part's weights, the configuration and mel frames."""
        return {}

    def token_embeddings(self, base: Any, input_ids: torch.Tensor) -> torch.Tensor:
        """(batch, length, hidden_size) of (batch, length); what stands at placeholders is overwritten later."""
        embeddings: torch.Tensor = base.get_input_embeddings()(input_ids)
        return embeddings

    def language_inputs(self, base: Any, input_ids: torch.Tensor) -> dict[str, Any]:
        """What the language model needs besides the embeddings, for rows padded on the right."""
        return {}

    def hidden_states(
        self, base: Any, input_ids: torch.Tensor, embeddings: torch.Tensor, attention_mask: torch.Tensor | None = None
    ) -> torch.Tensor:
        """The language model's last hidden states, (batch, length, hidden_size), for rows padded on the right.

        Args:
            attention_mask: 1 for tokens, 0 for padding, (batch, length). If it is given, and the family packs, nothing
                is computed for padding, where what is returned means nothing.
        """
        language = base.get_submodule(self.text_model)
        if attention_mask is not None and self.packs:
            packing = packing_of(attention_mask)
            inputs: dict[str, Any] = {"packing": packing, "position_ids": packing.within_row.unsqueeze(0)}
            with packed_attention(language):
                states = language(inputs_embeds=packing.pack(embeddings), use_cache=False, **inputs).last_hidden_state
            return packing.unpack(states)
        # Padding is on the right, where causal attention never looks from a labelled position: no mask is needed, and
        # attention without one is several times faster on CPU.
        inputs = self.language_inputs(base, input_ids)
        padded: torch.Tensor = language(inputs_embeds=embeddings, use_cache=False, **inputs).last_hidden_state
        return padded

    def num_computed(self, num_tokens: int, num_positions: int) -> int:
        """For how many positions :meth:`hidden_states` is computed, if it is given a mask of so many, where so many
        hold a token."""
        return num_places(num_tokens, num_positions) if self.packs else num_positions

    def recompute_layers(self, base: Any) -> None:
        """Has the language model keep of each layer what it is given alone, and compute it again in the backward pass.

        Raises:
            UserError: its class does not know how.
        """
        language = base.get_submodule(self.text_model)
        # What it is called from transformers 5.24 on, and was before.
        names = ("activation_checkpointing_enable", "gradient_checkpointing_enable")
        enable = next(getattr(language, name) for name in names if hasattr(language, name))
        try:
            enable({"use_reentrant": False, "context_fn": partial(recomputed_alike, language)})
        except ValueError as error:
            advice = "set train.gradient_checkpointing: false"
            raise UserError(f"{self.model_type} knows no gradient checkpointing", advice) from error
        language.disable_input_require_grads()  # only what enters the layers anew would need that

    def logits(self, base: Any, hidden_states: torch.Tensor) -> torch.Tensor:
        """(positions, vocabulary) of (positions, hidden_size)."""
        logits: torch.Tensor = base.lm_head(hidden_states)
        return logits

    @contextmanager
    def generating(self, base: Any, input_ids: torch.Tensor) -> Iterator[None]:
        """Sees to what the language model needs besides embeddings and mask while ``generate`` reads a batch's prompts.

        Args:
            input_ids: the prompts, padded on the left, (batch, length).
        """
        yield

    def lora_targets(self, model: Any) -> str | list[str]:
        """The language model's linear layers as PEFT takes them: a regular expression, or full names."""
        return self.language_model

    def trained_parts(self, model: Any) -> list[Any]:
        """The modules that are trained when the whole language model is."""
        return [model.get_submodule(self.text_model), model.lm_head]
