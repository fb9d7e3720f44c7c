"""What a side's batches cost, counted and not timed: operations, recordings encoded, logits, memory of the loss."""

from __future__ import annotations

import weakref
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Any

import torch
from sides import Job, Side
from torch.utils._python_dispatch import TorchDispatchMode
from torch.utils._pytree import tree_map_only
from torch.utils.flop_counter import FlopCounterMode

from sottovoce.data.collate import moved
from sottovoce.models.families.registry import family_of
from sottovoce.models.injection import bare


@dataclass(frozen=True)
class Counts:
    """Of all batches that were counted, forward and backward; the optimiser's own work is not in it.

    ``operations`` are floating-point operations as torch's FlopCounterMode counts them, ``num_encoded`` recordings that
    went through the audio tower, ``num_logit_rows`` positions that the head computed logits for. Of the loss part, from
    the head's input to the loss and back, in the batch where it is largest: ``kept_bytes`` are held from the forward to
    the backward pass, ``peak_bytes`` at most at one time.
    """

    operations: int
    num_encoded: int
    num_logit_rows: int
    kept_bytes: int
    peak_bytes: int


def count(job: Job, side: Side, num_batches: int) -> Counts:
    """Counts the side's first batches, each of ``job.per_device`` rows; weights stay as they are."""
    base = bare(side.model)
    tower = base.get_submodule(family_of(base.config.model_type).audio_tower)
    head = base.get_output_embeddings()
    encoded, logit_rows = [], []
    kept = peak = operations = 0
    hooks = [
        tower.register_forward_hook(lambda module, args, output: encoded.append(len(output[0]))),
        head.register_forward_hook(lambda module, args, output: logit_rows.append(output.shape[:-1].numel())),
    ]
    side.model.train()
    for number in range(num_batches):
        rows = side.rows[number * job.per_device : (number + 1) * job.per_device]
        batch = moved(side.collate(rows), job.device)
        memory, flops = LossMemory(), FlopCounterMode(display=False)  # entered again it would forget
        autocast = torch.autocast(job.device.type, torch.bfloat16, enabled=job.bf16)
        with memory.from_input_of(head), flops, autocast, memory:
            loss = side.loss(batch)
            kept = max(kept, memory.live)
            loss.backward()  # type: ignore[no-untyped-call]
        peak, operations = max(peak, memory.peak), operations + int(flops.get_total_flops())
        side.model.zero_grad(set_to_none=True)
    for hook in hooks:
        hook.remove()
    return Counts(operations, sum(encoded), sum(logit_rows), kept, peak)


class LossMemory(TorchDispatchMode):
    """The bytes of the tensors that come into being between a head's input and that input's gradient.

    A tensor counts from the operation that makes its storage until nothing holds it any more. What is made inside a
    kernel and gone when it returns is not seen.
    """

    def __init__(self) -> None:
        super().__init__()
        self.live = self.peak = 0
        self._watching = False
        self._known: set[int] = set()

    @contextmanager
    def from_input_of(self, head: torch.nn.Module) -> Iterator[None]:
        """Watches from each call of ``head`` until its input's gradient is there."""

        def begin(module: Any, args: Sequence[torch.Tensor]) -> None:
            self._watching = True
            if args[0].requires_grad:
                args[0].register_hook(end)

        def end(gradient: torch.Tensor) -> None:
            self._watching = False

        hook = head.register_forward_pre_hook(begin)
        try:
            yield
        finally:
            hook.remove()

    def __torch_dispatch__(self, func: Any, types: Any, args: Any = (), kwargs: Any = None) -> Any:
        if not self._watching:
            return func(*args, **(kwargs or {}))
        tree_map_only(torch.Tensor, self._pass_over, (args, kwargs))
        made = func(*args, **(kwargs or {}))
        tree_map_only(torch.Tensor, self._count, made)
        return made

    def _pass_over(self, tensor: torch.Tensor) -> None:
        """Remembers what was there before: a view of it is nothing new."""
        storage = tensor.untyped_storage()
        if storage._cdata not in self._known:
            self._known.add(storage._cdata)
            weakref.finalize(storage, self._known.discard, storage._cdata)

    def _count(self, tensor: torch.Tensor) -> None:
        storage = tensor.untyped_storage()
        if storage._cdata not in self._known:
            self._known.add(storage._cdata)
            self.live += storage.nbytes()
            self.peak = max(self.peak, self.live)
            weakref.finalize(storage, self._freed, storage._cdata, storage.nbytes())

    def _freed(self, place: int, num_bytes: int) -> None:
        self._known.discard(place)
        self.live -= num_bytes
