"""Ways to compute the same training step: torch.compile, and which attention."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass
from typing import Any

from sides import OURS, PLAIN
from torch.nn.attention import SDPBackend, sdpa_kernel

from sottovoce.models.injection import bare
from sottovoce.train.sharding import decoder_layers


@dataclass(frozen=True)
class Way:
    """How a side computes. ``attention`` is transformers' name of one, None for what ``load_model`` chooses; ``kernel``
    the only one of torch's fused attention that may run, None for torch's choice."""

    sides: tuple[str, ...] = (OURS, PLAIN)
    attention: str | None = None
    kernel: SDPBackend | None = None
    compiled: bool = False

    @contextmanager
    def around(self, model: Any) -> Iterator[None]:
        """Has a model compute so while it lasts; its layers stay compiled, on a CPU as far as torch's own operations
        (there its inductor would have a C++ compiler work for minutes)."""
        if self.compiled:
            base = bare(model)
            for layer in decoder_layers(base):
                layer.compile(dynamic=True, backend="inductor" if base.device.type == "cuda" else "aot_eager")
        with ExitStack() as stack:
            if self.compiled:
                from torch import _dynamo  # seconds to import

                # By default layers beyond the eighth that differ in anything are not compiled.
                stack.enter_context(_dynamo.config.patch(recompile_limit=64))
            if self.kernel is not None:
                stack.enter_context(sdpa_kernel(self.kernel))
            yield


WAYS: dict[str, Way] = {
    "as it is": Way(),
    "flash attention only": Way(kernel=SDPBackend.FLASH_ATTENTION),
    "no fused attention": Way((OURS,), kernel=SDPBackend.MATH),
    "eager attention": Way((PLAIN,), attention="eager"),
    "torch.compile": Way(compiled=True),
}
