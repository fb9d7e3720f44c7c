"""Requests and responses over HTTP, as in the OpenAPI document."""

from __future__ import annotations

from typing import Annotated, Any, Literal

from pydantic import AfterValidator, BaseModel, ConfigDict, Field, ValidationError

from sottovoce.inference.understanding import Status
from sottovoce.serve.errors import ApiError

MAX_TEXT_LETTERS = 500
MAX_TEXT_BYTES = 16 * MAX_TEXT_LETTERS  # of its JSON, where a letter may be two escapes of six characters


def _printable(text: str) -> str:
    # A model's answer can hold half a surrogate pair, which UTF-8 cannot encode.
    return text.encode("utf-8", "backslashreplace").decode("utf-8")


Text = Annotated[str, AfterValidator(_printable)]
Share = Annotated[float, Field(ge=0, le=1)]


class TypedText(BaseModel):
    """An utterance that was typed."""

    model_config = ConfigDict(extra="forbid", strict=True)
    text: str = Field(min_length=1, max_length=MAX_TEXT_LETTERS, pattern=r"\S", examples=["turn the light on"])


class Slot(BaseModel):
    type: Text
    filler: Text


class ScoredIntent(BaseModel):
    intent: Text
    probability: Share


class Milliseconds(BaseModel):
    """``queued``: waiting for the model; ``computed``: computing the whole batch; ``total``: from the first byte."""

    queued: float
    computed: float
    total: float


class Understood(BaseModel):
    """The frame of an utterance. ``cut``: the recording was too long for the model. ``text``: the raw answer.

    ``transcript``: the typed text, or the words heard in a recording; null if the model does not give them.
    """

    id: str
    scenario: Text
    action: Text
    intent: Text
    entities: list[Slot]
    status: Status
    confidence: Share | None
    intents: list[ScoredIntent]
    text: Text
    seconds: float | None
    cut: bool
    transcript: Text | None
    milliseconds: Milliseconds
    batch_size: int
    model_config = ConfigDict(
        json_schema_extra={
            "example": {
                "id": "5d9a1c0b8e7f4a61b2c3d4e5f6071829",
                "scenario": "light",
                "action": "on",
                "intent": "light_on",
                "entities": [{"type": "room", "filler": "kitchen"}],
                "status": "ok",
                "confidence": 0.93,
                "intents": [{"intent": "light_on", "probability": 0.93}],
                "text": '{"scenario": "light", "action": "on", "entities": [{"room": "kitchen"}]}',
                "seconds": 1.6,
                "cut": False,
                "transcript": "turn the kitchen light on",
                "milliseconds": {"queued": 2.1, "computed": 180.4, "total": 186.0},
                "batch_size": 1,
            }
        }
    )


class Transcribed(BaseModel):
    """The transcript of a recording."""

    id: str
    transcript: Text = Field(examples=["turn the kitchen light on"])
    milliseconds: Milliseconds


class About(BaseModel):
    """What is served, and the limits of a request."""

    mode: Literal["understand"] = "understand"
    title: str
    version: str
    model: str
    intents: list[str]
    slots: list[str]
    max_seconds: float
    window_seconds: float
    max_bytes: int
    transcripts: bool
    abstain_below: float


class Health(BaseModel):
    status: Literal["ok", "starting", "stopping"]


def typed_text(body: bytes) -> str:
    """The text in a JSON body.

    Raises:
        ApiError: 400 if the JSON is malformed, 422 if the text is empty or too long.
    """
    try:
        return TypedText.model_validate_json(body).text
    except ValidationError as error:
        kind = error.errors()[0]["type"]
        if kind == "string_too_long":
            what = f"the text is longer than {MAX_TEXT_LETTERS} letters"
            raise ApiError(422, "too_long", what, "send one utterance at a time") from error
        if kind in ("string_too_short", "string_pattern_mismatch"):
            raise ApiError(422, "empty", "the text is empty", "send an utterance") from error
        advice = 'send {"text": "turn the light on"}'
        raise ApiError(400, "malformed", "the body is not the expected JSON", advice) from error


AUDIO_FORM: dict[str, Any] = {
    "schema": {
        "type": "object",
        "required": ["audio"],
        "properties": {"audio": {"type": "string", "format": "binary", "description": "WAV, FLAC, OGG, Opus or MP3"}},
    }
}
AUDIO_BODY: dict[str, Any] = {"requestBody": {"required": True, "content": {"multipart/form-data": AUDIO_FORM}}}
AUDIO_OR_TEXT_BODY: dict[str, Any] = {
    "requestBody": {
        "required": True,
        "content": {
            "multipart/form-data": AUDIO_FORM,
            "application/json": {"schema": TypedText.model_json_schema(), "example": {"text": "turn the light on"}},
        },
    }
}
