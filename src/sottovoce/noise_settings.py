"""The recipe's ``train.noise``: how text is changed into what a recogniser would have heard."""

from __future__ import annotations

from typing import Annotated, Literal

from pydantic import BaseModel, ConfigDict, Field, model_validator

_Share = Annotated[float, Field(ge=0.0, le=1.0)]
NoiseSource = Literal["shipped", "budget", "spelling"]


class Noise(BaseModel):
    """Recognition noise on text; rates are shares of the words outside fillers, in the sentences that have noise."""

    model_config = ConfigDict(extra="forbid", frozen=True)

    rows: _Share = Field(0.5, description="share of the sentences that have noise, drawn anew for each epoch")
    replace: _Share = 0.1
    drop: _Share = 0.03
    insert: _Share = 0.01
    source: NoiseSource = Field(
        "shipped",
        description="what words are replaced by: shipped, what the embedded model hears in their place; budget, what "
        "the model itself hears in the budget's clips; spelling, words of the training text that sound alike",
    )
    seed: int = 0

    @model_validator(mode="after")
    def _leaves_words(self) -> Noise:
        if self.replace + self.drop + self.insert > 1:
            raise ValueError("replace, drop and insert are more than 1 together")
        return self
