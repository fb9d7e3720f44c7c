"""A language model that reads what Whisper writes: an audio language model for machines without a GPU.

audio tower: Whisper, encoder and decoder -> projector: attention over the vocabulary -> language model.

The tower decodes a clip greedily; the language model reads the resulting text as its own tokens. To train the tower,
each token is replaced by its expected embedding under Whisper's distribution, which is differentiable. Feeding a
recogniser's posteriors into a language model's embeddings is the idea of LegoSLM (arXiv 2505.11352) and TASU (arXiv
2511.03310).

Shapes: b clips, n tokens of a clip, d Whisper's width, h the language model's hidden size, v Whisper's vocabulary.
"""

from __future__ import annotations

import inspect
import math
from collections.abc import Iterable, Sequence
from typing import Any, ClassVar

import torch
from torch import nn
from transformers import AutoModel, PreTrainedModel
from transformers.cache_utils import DynamicCache, EncoderDecoderCache
from transformers.generation import GenerationMixin
from transformers.modeling_outputs import CausalLMOutputWithPast

from .configuration_whisper_lm import WhisperLMConfig
from .words import TOWER_TOKENIZER, Words

MAX_TOKENS_PER_SECOND, MIN_TOKENS = 8, 8  # of a transcript; a longer one is a repetition loop
FRAMES_PER_SECOND = 100  # of mel
CACHE_NAMES = ("cache", "past_key_values")  # transformers used the longer one until 5.23


class VocabularyAttention(nn.Module):
    """The projector: one step of attention over the vocabulary. It has no weights.

    The query is Whisper's last state for a token, the keys are its output embeddings, the values the language model's
    input embeddings of the same pieces of text; pieces that are not a single token of the language model are excluded.
    """

    def forward(
        self, states: torch.Tensor, keys: torch.Tensor, values: torch.Tensor, pieces: torch.Tensor
    ) -> torch.Tensor:
        """(n, h) from states (n, d), keys (v, d), values (vocabulary, h); ``pieces`` maps keys to values, (v,)."""
        known = (pieces >= 0).nonzero()[:, 0]
        weights = (states @ keys[known].T).float().softmax(-1).to(values.dtype)
        return weights @ values[pieces[known]]


class WhisperLMPreTrainedModel(PreTrainedModel):
    config_class = WhisperLMConfig
    base_model_prefix = "model"
    input_modalities = ("audio", "text")
    supports_gradient_checkpointing = True
    _no_split_modules: ClassVar[list[str]] = ["WhisperEncoderLayer", "WhisperDecoderLayer", "LlamaDecoderLayer"]
    _supports_sdpa = _supports_flash_attn = _supports_flex_attn = True


class WhisperLMModel(WhisperLMPreTrainedModel):
    """Whisper, the projector and the language model without its head."""

    def __init__(self, config: WhisperLMConfig) -> None:
        super().__init__(config)
        self.audio_tower = AutoModel.from_config(config.audio_config)
        self.multi_modal_projector = VocabularyAttention()
        self.language_model = AutoModel.from_config(config.text_config)
        self.words: Words | None = None  # from_pretrained reads them from the tokenizers next to the weights
        self.post_init()

    def get_input_embeddings(self) -> Any:
        return self.language_model.get_input_embeddings()

    def set_input_embeddings(self, value: Any) -> None:
        self.language_model.set_input_embeddings(value)

    @torch.no_grad()
    def hear(
        self, input_features: torch.Tensor, input_features_mask: torch.Tensor, language_ids: torch.Tensor
    ) -> list[list[int]]:
        """Whisper's tokens for each clip, decoded greedily; an empty list if there are no words.

        Args:
            input_features: (b, mel_bins, num_frames) of the whole window.
            input_features_mask: 1 for frames of sound, (b, num_frames); their number limits the transcript's length.
            language_ids: the token of each clip's language, (b,).
        """
        words, tower, device = self._words(), self.audio_tower, input_features.device
        keys = tower.decoder.embed_tokens.weight
        suppressed = ~(words.spoken_text if self.config.spoken_words_only else words.any_text).to(device)
        suppressed[words.end] = False
        given = torch.tensor([words.prompt(int(each)) for each in language_ids], device=device)
        most = tower.config.max_target_positions - given.shape[1]
        seconds = (input_features_mask.sum(-1) / FRAMES_PER_SECOND).tolist()
        limits = [min(most, MIN_TOKENS + math.ceil(MAX_TOKENS_PER_SECOND * each)) for each in seconds]
        encoded = tower.encoder(input_features).last_hidden_state
        arguments = inspect.signature(tower.decoder.forward).parameters
        named = next(name for name in CACHE_NAMES if name in arguments)
        kept = {named: EncoderDecoderCache(DynamicCache(), DynamicCache()), "use_cache": True}
        heard: list[list[int]] = [[] for _ in limits]
        ended: list[bool] = []
        while not all(ended) or not ended:
            states = tower.decoder(input_ids=given, encoder_hidden_states=encoded, **kept).last_hidden_state
            if not ended:  # the prompt's first token predicts whether there is speech
                silence = (states[:, 0] @ keys.T).float().softmax(-1)[:, words.no_speech]
                ended = (silence > self.config.no_speech_threshold).tolist()
            likeliest = (states[:, -1] @ keys.T).masked_fill(suppressed, -torch.inf).argmax(-1)
            for row, token in enumerate(likeliest.tolist()):
                if not ended[row] and token != words.end:
                    heard[row].append(token)
                ended[row] = ended[row] or token == words.end or len(heard[row]) >= limits[row]
            given = likeliest[:, None]
        return [tokens if words.text(tokens) else [] for tokens in heard]

    def get_audio_features(
        self,
        input_features: torch.Tensor,
        input_features_mask: torch.Tensor,
        language_ids: torch.Tensor,
        heard_ids: Sequence[Sequence[int]] | None = None,
    ) -> list[torch.Tensor]:
        """The embeddings of each clip's words, a list of (n, h), with gradients into the tower and the language model.

        Args:
            heard_ids: what :meth:`hear` returned before the tower was trained; words that are one token in both
                vocabularies get their expected embedding. None: decode now, and embed the likeliest tokens.
        """
        if heard_ids is not None:
            clips = zip(input_features, language_ids.tolist(), heard_ids, strict=True)
            return [self._expected(*clip) for clip in clips]
        heard_ids = self.hear(input_features, input_features_mask, language_ids)
        return [self._embedded(heard) for heard in heard_ids]

    def _embedded(self, heard: Sequence[int]) -> torch.Tensor:
        table = self.get_input_embeddings()
        return table(torch.tensor(self._words().ids(heard), dtype=torch.long, device=table.weight.device))

    def _expected(self, clip: torch.Tensor, language_id: int, heard: Sequence[int]) -> torch.Tensor:
        words, tower, embeddings = self._words(), self.audio_tower, self._embedded(heard)
        if not heard:
            return embeddings
        prompt, values = words.prompt(language_id), self.get_input_embeddings().weight
        ids = torch.tensor([[*prompt, *heard[:-1]]], device=clip.device)
        read = tower(input_features=clip[None], decoder_input_ids=ids, use_cache=False).last_hidden_state
        states, keys = read[0, len(prompt) - 1 :], tower.decoder.embed_tokens.weight
        for first, pieces in ((True, words.first_pieces), (False, words.pieces)):
            pairs = [pair for pair in words.matches(heard) if (pair[0] == 0) == first]
            if pairs:
                places, targets = torch.tensor(pairs, device=clip.device).T
                expected = self.multi_modal_projector(states[places], keys, values, pieces.to(clip.device))
                embeddings = embeddings.index_copy(0, targets, expected)
        return embeddings

    def _words(self) -> Words:
        if self.words is None:
            raise ValueError(f"no tokenizers next to the model: save its processor there, too, with {TOWER_TOKENIZER}")
        return self.words


class WhisperLMForConditionalGeneration(WhisperLMPreTrainedModel, GenerationMixin):
    """Takes text and recordings, writes text."""

    _tied_weights_keys: ClassVar[dict[str, str]] = {"lm_head.weight": "model.language_model.embed_tokens.weight"}

    def __init__(self, config: WhisperLMConfig) -> None:
        super().__init__(config)
        self.model = WhisperLMModel(config)
        self.lm_head = nn.Linear(config.text_config.hidden_size, config.text_config.vocab_size, bias=False)
        self.post_init()

    @classmethod
    def from_pretrained(cls, pretrained_model_name_or_path: Any, *args: Any, **kwargs: Any) -> Any:
        options = {key: kwargs[key] for key in ("cache_dir", "revision", "token", "local_files_only") if key in kwargs}
        loaded = super().from_pretrained(pretrained_model_name_or_path, *args, **kwargs)
        model = loaded[0] if isinstance(loaded, tuple) else loaded
        num_heard = model.config.audio_config.vocab_size
        model.model.words = Words.from_pretrained(pretrained_model_name_or_path, num_heard, **options)
        return loaded

    def get_input_embeddings(self) -> Any:
        return self.model.get_input_embeddings()

    def set_input_embeddings(self, value: Any) -> None:
        self.model.set_input_embeddings(value)

    def transcribe(
        self, input_features: torch.Tensor, input_features_mask: torch.Tensor, language_ids: torch.Tensor
    ) -> list[str]:
        """The words in each clip, as text."""
        heard = self.model.hear(input_features, input_features_mask, language_ids)
        return [self.model._words().text(tokens) for tokens in heard]

    def forward(
        self,
        input_ids: torch.Tensor | None = None,
        attention_mask: torch.Tensor | None = None,
        input_features: Any = None,
        input_features_mask: Any = None,
        language_ids: Any = None,
        inputs_embeds: torch.Tensor | None = None,
        labels: torch.Tensor | None = None,
        **kwargs: Any,
    ) -> CausalLMOutputWithPast:
        """Like any causal language model; each placeholder is replaced by its recording's words, so rows get longer.

        Returns:
            logits of the longer rows, padded on the same side as ``attention_mask``.
        """
        if input_features is not None:
            heard = self.model.hear(input_features, input_features_mask, language_ids)
            input_ids, attention_mask, labels = self._grown(input_ids, attention_mask, labels, heard)
        states = self.model.language_model(
            input_ids=input_ids, inputs_embeds=inputs_embeds, attention_mask=attention_mask, **kwargs
        )
        logits = self.lm_head(states.last_hidden_state)
        loss = None
        if labels is not None:
            loss = self.loss_function(logits=logits, labels=labels, vocab_size=self.config.text_config.vocab_size)
        kept = {name: states[name] for name in [name for name in CACHE_NAMES if name in states][:1]}
        return CausalLMOutputWithPast(loss=loss, logits=logits, **kept)

    @torch.no_grad()
    def generate(
        self,
        input_ids: Any = None,
        attention_mask: torch.Tensor | None = None,
        input_features: Any = None,
        input_features_mask: Any = None,
        language_ids: Any = None,
        **kwargs: Any,
    ) -> Any:
        """Like transformers' own, with recordings; the sequences start with the given prompts."""
        if input_features is None:
            return super().generate(input_ids, attention_mask=attention_mask, **kwargs)
        heard = self.model.hear(input_features, input_features_mask, language_ids)
        grown, mask, _ = self._grown(input_ids, attention_mask, None, heard)
        out = super().generate(grown, attention_mask=mask, **kwargs)
        answers = (out if isinstance(out, torch.Tensor) else out.sequences)[:, grown.shape[1] :]
        prompts = input_ids.repeat_interleave(len(answers) // len(input_ids), 0)
        sequences = torch.cat([prompts, answers], dim=1)
        if isinstance(out, torch.Tensor):
            return sequences
        out.sequences = sequences
        return out

    def _grown(
        self, input_ids: Any, attention_mask: Any, labels: Any, heard: Iterable[Sequence[int]]
    ) -> tuple[torch.Tensor, torch.Tensor, torch.Tensor | None]:
        """The rows with each placeholder, or run of placeholders, replaced by the tokens of its recording's words.

        Labels of these tokens are -100.
        """
        mask = torch.ones_like(input_ids) if attention_mask is None else attention_mask
        left = bool((mask[:, 0] == 0).any()) or not bool((mask[:, -1] == 0).any())
        given = [input_ids, torch.full_like(input_ids, -100) if labels is None else labels]
        clips, rows = iter(heard), []
        for row, kept in enumerate(mask.bool()):
            grown: list[tuple[int, int]] = []
            before = None
            for token, label in zip(*(each[row][kept].tolist() for each in given), strict=True):
                if token != self.config.audio_token_id:
                    grown.append((token, label))
                elif token != before:
                    grown += [(word, -100) for word in self.model._words().ids(next(clips))]
                before = token
            rows.append(grown)
        length, pad = max(map(len, rows)), self.config.text_config.pad_token_id or 0
        filled = []
        for held in rows:
            padding, shown = [(pad, -100, 0)] * (length - len(held)), [(*each, 1) for each in held]
            filled.append(padding + shown if left else shown + padding)
        ids, targets, mask = torch.tensor(filled, device=input_ids.device).unbind(-1)
        return ids, mask, None if labels is None else targets


WhisperLMForConditionalGeneration.register_for_auto_class("AutoModelForMultimodalLM")
