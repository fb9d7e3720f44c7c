"""Prompts and mel frames from a checkpoint's tokenizer, feature extractor and chat template alone.

The families' own processors also require packages for images and videos (torchvision, an image processor), and each
expands placeholders in its own way; we need neither.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import Any

from jinja2 import TemplateError

from sottovoce.core.errors import UserError

_PROBE = "\u2420probe\u2420"


@dataclass(frozen=True)
class FamilyProcessor:
    """Replaces transformers' processor: it writes prompts and holds the feature extractor.

    Args:
        chat_template: a jinja template over ``messages`` and ``add_generation_prompt``.
        audio_token: written by the template once per recording.
        wrap: the text before and after the placeholders.
        as_text: whether the template takes a message's content as one string (containing the placeholder) rather than
            as a list of parts.
    """

    tokenizer: Any
    feature_extractor: Any
    chat_template: str
    audio_token: str
    wrap: tuple[str, str] = ("", "")
    as_text: bool = False

    @property
    def audio_token_id(self) -> int:
        return int(self.tokenizer.convert_tokens_to_ids(self.audio_token))

    def apply_chat_template(
        self, messages: Sequence[dict[str, Any]], add_generation_prompt: bool = False, tokenize: bool = False
    ) -> str:
        """The prompt as text, with one placeholder per recording.

        Args:
            tokenize: must be False; transformers' processors have this argument.
        """
        if tokenize:
            raise ValueError("prompts are tokenised by sottovoce.data.collate.tokenize")
        if self.as_text:
            messages = [{**message, "content": self._joined(message["content"])} for message in messages]
        prompt: str = self.tokenizer.apply_chat_template(
            messages, chat_template=self.chat_template, add_generation_prompt=add_generation_prompt, tokenize=False
        )
        before, after = self.wrap
        return prompt.replace(self.audio_token, before + self.audio_token + after)

    def _joined(self, content: str | Sequence[dict[str, Any]]) -> str:
        if isinstance(content, str):
            return content
        return "".join(self.audio_token if part["type"] == "audio" else part["text"] for part in content)


def load_processor(source: str, audio_token_id: int, wrap: tuple[str, str], own_template: str) -> FamilyProcessor:
    """Reads the parts of a checkpoint's processor.

    Args:
        source: a hub id or a folder.
        audio_token_id: the placeholder's, from the model's configuration.
        own_template: used if the checkpoint has no chat template.

    Raises:
        UserError: there is no chat template, it does not support audio, or the tokenizer lacks the placeholder.
    """
    from transformers import AutoFeatureExtractor, AutoTokenizer

    tokenizer = AutoTokenizer.from_pretrained(source, trust_remote_code=False)
    extractor = AutoFeatureExtractor.from_pretrained(source, trust_remote_code=False)
    return assembled(source, tokenizer, extractor, audio_token_id, wrap, own_template)


def assembled(
    source: str, tokenizer: Any, feature_extractor: Any, audio_token_id: int, wrap: tuple[str, str], own_template: str
) -> FamilyProcessor:
    """Combines a checkpoint's tokenizer and feature extractor with its chat template.

    Arguments and errors as in :func:`load_processor`.
    """
    from transformers import ProcessorMixin

    settings, _ = ProcessorMixin.get_processor_dict(source)
    template = settings.get("chat_template") or getattr(tokenizer, "chat_template", None) or own_template
    if isinstance(template, dict):
        template = template.get("default", own_template)
    if not template:
        raise UserError(f"{source} has no chat template", "use an instruction-tuned checkpoint of this family")
    token = tokenizer.convert_ids_to_tokens(audio_token_id)
    if token is None:
        raise UserError(
            f"{source}: the tokenizer lacks token {audio_token_id}, the model's audio placeholder",
            "use tokenizer and model of the same checkpoint",
        )
    return fitted(FamilyProcessor(tokenizer, feature_extractor, template, token, wrap))


def fitted(processor: FamilyProcessor) -> FamilyProcessor:
    """The processor with ``as_text`` set to what its template takes.

    Raises:
        UserError: in neither form does the template write the recording and the text exactly once.
    """
    content = [{"type": "audio", "audio": "clip.wav"}, {"type": "text", "text": _PROBE}]
    for as_text in (False, True):
        candidate = replace(processor, as_text=as_text)
        try:
            prompt = candidate.apply_chat_template([{"role": "user", "content": content}], add_generation_prompt=True)
        except (TypeError, TemplateError):  # a template for strings may fail on parts, and vice versa
            continue
        if prompt.count(processor.audio_token) == 1 and prompt.count(_PROBE) == 1:
            return candidate
    raise UserError(
        f"the model's chat template does not write {processor.audio_token!r} for a recording",
        "use a checkpoint whose template takes audio",
    )
