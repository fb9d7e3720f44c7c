"""The settings of a server."""

from __future__ import annotations

from pydantic import BaseModel, ConfigDict, Field

from sottovoce.core.recipe import Grammar


class ServerSettings(BaseModel):
    """Limits of a server. A request waits for its upload at most ``upload_seconds``, then ``timeout_seconds``."""

    model_config = ConfigDict(frozen=True, extra="forbid")
    max_seconds: float = Field(30.0, gt=0, description="longest recording")
    max_bytes: int = Field(10 * 2**20, gt=0, description="largest upload of a recording")
    max_queue: int = Field(64, ge=1, description="requests that may wait; also uploads and decodings at once")
    timeout_seconds: float = Field(30.0, gt=0, description="limit from a decoded request to its answer")
    upload_seconds: float = Field(20.0, gt=0, description="limit for receiving and decoding a request")
    max_batch_size: int = Field(8, ge=1, description="requests computed together")
    max_wait_seconds: float = Field(0.005, ge=0, description="how long a request waits for others to join it")
    abstain_below: float = Field(0.0, ge=0, le=1, description="answers with less confidence are marked as abstained")
    grammar: Grammar | None = Field(None, description="grammar of the answers; None: the recipe's")
    transcripts: bool | None = Field(
        None, description="also transcribe, if needed by a second copy of the model; None: only if no copy is needed"
    )

    @property
    def closing_seconds(self) -> int:
        """How long a stopping server may take to finish."""
        return round(self.upload_seconds + self.timeout_seconds) + 5
