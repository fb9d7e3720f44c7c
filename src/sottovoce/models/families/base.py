"""What the project needs to know about a family of audio language models, with defaults that fit most of them.

A family that differs overrides methods in its own file; shared code never checks which family it has.
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
from sottovoce.models.packed_attention import checkpoint_contexts, num_places, packed_attention, packing_of
from sottovoce.models.processor import load_processor

SEEN_WITH = "5.23.0"  # the transformers release whose module names the registry uses
LINEAR_LAYERS = r".*language_model\.layers\.\d+\.(self_attn\.[qkvo]_proj|mlp\.(gate|up|down)_proj)"


@dataclass(frozen=True)
class Family:
    """The names of a family's parts and the facts that shared code needs.

    Args:
        model_type: in transformers' configuration.
        model_class: the transformers class to load.
        tokens_per_second: audio tokens per second of speech.
        language_model: regular expression for the language model's linear layers, the targets of LoRA; bare names would
            also match the audio tower.
        audio_tower, projector, text_model: submodules of the loaded class; the projector may be inside the tower.
        audio_token: the released models' placeholder, repeated for each audio token; a checkpoint's configuration may
            name another.
        wrap: the text before and after the placeholders, if the chat template does not write it.
        chat_template: ours, for checkpoints without one; the audio takes the place of the transcript.
        mask_name: the model's name for the mask over mel frames, None if it takes none.
        window_seconds: the length that the released models' audio tower takes at once, None for any length.
        max_windows: how many windows a longer clip is split into before the rest is cut.
        fills_windows: a partly filled window costs as many audio tokens as a full one.
        sampling_rate: of the samples that the processor takes, in Hz.
        minimum_transformers: the first release that the entry is valid for.
        aliases: other model types of this family, such as that of a part that is also a model.
        projects_at_each_step: a clip's states are the tower's, and the projector is applied at every step.
        packs: apart from attention, the language model's layers treat each token by itself, and attention is causal
            over the whole row: rows are computed without their padding.
        released: hub ids of the released models, for the documentation; we could not load any of them.
        brings_code: its class is ours, not transformers', and its code is saved with the weights.
        hears_words: a clip's states are words; :meth:`transcript` returns them.
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
        """The processor: it writes prompts, computes mel frames, and holds ``tokenizer`` and ``feature_extractor``.

        Args:
            config: the model's configuration.
        """
        return load_processor(source, self.audio_token_id(config), self.wrap, self.chat_template)

    def max_seconds(self, processor: Any) -> float:
        """The longest clip that is not cut."""
        if self.window_seconds is None:
            return math.inf
        return float(processor.feature_extractor.chunk_length * self.max_windows)

    def num_audio_tokens(self, seconds: float) -> int:
        """About how many audio tokens a clip costs, estimated from its length."""
        if self.window_seconds is not None:
            seconds = min(seconds, self.max_windows * self.window_seconds)
            if self.fills_windows:
                seconds = math.ceil(seconds / self.window_seconds) * self.window_seconds
        return math.ceil(self.tokens_per_second * seconds)

    def check(self, model: Any, processor: Any) -> None:
        """Checks that a checkpoint's processor and model match.

        Raises:
            UserError: the sampling rate is not ours, or the audio placeholder has two different ids.
        """
        rate = processor.feature_extractor.sampling_rate
        if rate != self.sampling_rate:
            raise UserError(f"the model's processor needs {rate} Hz, not {self.sampling_rate} Hz", "use another model")
        expected, found = self.audio_token_id(model.config), processor.audio_token_id
        if expected != found:
            raise UserError(
                f"the placeholder {processor.audio_token!r} has id {found} in the tokenizer, {expected} in the model",
                "use tokenizer and model of the same checkpoint",
            )

    def audio_token_id(self, config: Any) -> int:
        """The placeholder's id in the model."""
        return int(config.audio_token_id)

    def audio_inputs(self, processor: Any, clip: Samples) -> dict[str, torch.Tensor]:
        """One clip as input of the model's own forward: mel frames, (num_windows, mel_bins, num_frames), and mask."""
        windows = self.windows(processor, clip)
        return self.renamed(
            processor.feature_extractor(
                windows, sampling_rate=SAMPLING_RATE, return_attention_mask=True, return_tensors="pt"
            )
        )

    def training_inputs(self, model: Any, processor: Any, clip: Samples, locale: str) -> dict[str, torch.Tensor]:
        """One clip as input of :meth:`audio_features` at every step, for a trained audio part.

        Args:
            model: before any training.
            locale: the recording's, for models that need the language.
        """
        return self.audio_inputs(processor, clip)

    def windows(self, processor: Any, clip: Samples) -> list[Samples]:
        """The clip split into windows as the family's processor does; samples after the last window are dropped."""
        length = int(processor.feature_extractor.chunk_length * SAMPLING_RATE)
        parts = [clip[start : start + length] for start in range(0, len(clip), length)]
        return parts[: self.max_windows]

    def renamed(self, features: Any) -> dict[str, torch.Tensor]:
        """A Whisper-style feature extractor's output, renamed for the model's forward."""
        inputs = {"input_features": features["input_features"]}
        return inputs if self.mask_name is None else inputs | {self.mask_name: features["attention_mask"]}

    def audio_features(self, model: Any, inputs: dict[str, torch.Tensor]) -> torch.Tensor:
        """One clip's part of the language model's input, (num_audio_tokens, hidden_size), after the projector.

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
        """Each clip's audio states, on the CPU; see ``features.encode_clips``.

        Clips are encoded one by one, as the states must not depend on another clip's length.
        """
        for clip in clips:
            inputs = self.audio_inputs(processor, clip)
            moved = {
                name: tensor.to(model.device, model.dtype if tensor.is_floating_point() else tensor.dtype)
                for name, tensor in inputs.items()
            }
            yield self.audio_features(model, moved).to("cpu", model.dtype, copy=True)

    def projected(self, base: Any, audio_states: torch.Tensor) -> torch.Tensor:
        """The states of :meth:`encode` as the language model's input, (num_audio_tokens, hidden_size)."""
        return audio_states

    def transcript(self, processor: Any, audio_states: torch.Tensor) -> str | None:
        """The words that :meth:`encode` recognised; None unless the family ``hears_words``."""
        return None

    def processor_options(self, locale: str) -> dict[str, Any]:
        """Further arguments of the family's own processor for a clip in this locale."""
        return {}

    def key_parts(self, processor: Any) -> dict[str, str]:
        """What :meth:`encode` depends on besides the audio part's weights, the configuration and mel frames."""
        return {}

    def token_embeddings(self, base: Any, input_ids: torch.Tensor) -> torch.Tensor:
        """(batch, length) to (batch, length, hidden_size); values at placeholders are overwritten later."""
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
            attention_mask: 1 for tokens, 0 for padding, (batch, length). If given, and if the family packs, nothing is
                computed for padding, and the states there are meaningless.
        """
        language = base.get_submodule(self.text_model)
        if attention_mask is not None and self.packs:
            packing = packing_of(attention_mask)
            inputs: dict[str, Any] = {"packing": packing, "position_ids": packing.within_row.unsqueeze(0)}
            with packed_attention(language):
                states = language(inputs_embeds=packing.pack(embeddings), use_cache=False, **inputs).last_hidden_state
            return packing.unpack(states)
        # Padding is on the right, so causal attention from a labelled position never reaches it: no mask is needed, and
        # without one attention is several times faster on a CPU.
        inputs = self.language_inputs(base, input_ids)
        padded: torch.Tensor = language(inputs_embeds=embeddings, use_cache=False, **inputs).last_hidden_state
        return padded

    def num_computed(self, num_tokens: int, num_positions: int) -> int:
        """For how many positions :meth:`hidden_states` computes, given a mask of ``num_positions`` with ``num_tokens``
        tokens."""
        return num_places(num_tokens, num_positions) if self.packs else num_positions

    def recompute_layers(self, base: Any) -> None:
        """Makes the language model keep only the input of each layer, and recompute the layer in the backward pass.

        Raises:
            UserError: its class does not support that.
        """
        language = base.get_submodule(self.text_model)
        # The name since transformers 5.24, and the name before.
        names = ("activation_checkpointing_enable", "gradient_checkpointing_enable")
        enable = next(getattr(language, name) for name in names if hasattr(language, name))
        try:
            enable({"use_reentrant": False, "context_fn": partial(checkpoint_contexts, language)})
        except ValueError as error:
            advice = "set train.gradient_checkpointing: false"
            raise UserError(f"{self.model_type} does not support gradient checkpointing", advice) from error
        language.disable_input_require_grads()  # only reentrant checkpointing needs that

    def logits(self, base: Any, hidden_states: torch.Tensor) -> torch.Tensor:
        """(positions, hidden_size) to (positions, vocabulary)."""
        logits: torch.Tensor = base.lm_head(hidden_states)
        return logits

    @contextmanager
    def generating(self, base: Any, input_ids: torch.Tensor) -> Iterator[None]:
        """Supplies what the language model needs besides embeddings and mask while ``generate`` reads the prompts.

        Args:
            input_ids: the prompts, padded on the left, (batch, length).
        """
        yield

    def lora_targets(self, model: Any) -> str | list[str]:
        """The language model's linear layers for PEFT: a regular expression or full names."""
        return self.language_model

    def trained_parts(self, model: Any) -> list[Any]:
        """The modules to train when the whole language model is trained."""
        return [model.get_submodule(self.text_model), model.lm_head]
