"""What autograd saves of a training step's forward pass, counted on fake tensors, which have shapes but no contents."""

from __future__ import annotations

from collections import Counter
from contextlib import ExitStack
from dataclasses import astuple, dataclass
from functools import partial
from typing import Any

import torch
from torch._subclasses.fake_tensor import FakeTensor, FakeTensorMode, unset_fake_temporarily
from torch.nn.functional import cross_entropy
from torch.utils._python_dispatch import TorchDispatchMode
from torch.utils._pytree import tree_leaves, tree_map

from sottovoce.models.families.base import Family
from sottovoce.models.injection import bare, input_embeddings
from sottovoce.train.sharding import decoder_layers

AudioInputs = dict[str, torch.Tensor]
"""One clip's mel frames and masks, as ``Family.audio_inputs`` returns them."""

BEFORE, HEAD = -1, -2  # places outside the layers
LONG = 2**16  # elements; contents of longer floating-point tensors are not remembered


@dataclass(frozen=True)
class RowSize:
    """The size of a training row: all its tokens, those of the answer, which are scored, and its clip's seconds."""

    num_tokens: int
    num_answer_tokens: int
    seconds: float = 0.0


@dataclass(frozen=True)
class SavedBytes:
    """Bytes that autograd saves of a forward pass for the backward pass, by part of the model.

    Args:
        all: everything, without gradient checkpointing.
        before: saved before or between the layers, for example by a trained audio part.
        inputs: the inputs of the language model's layers.
        layer: what the layer that saves most adds to its inputs, including the weights that it casts.
        casts: trained weights of all layers cast to bfloat16, which autocast holds until the forward pass ends.
        head: saved after the layers.
        gradient: the gradient of the logits, added in either case.
    """

    all: float
    before: float
    inputs: float
    layer: float
    casts: float
    head: float
    gradient: float

    @property
    def num_bytes(self) -> float:
        """The peak without gradient checkpointing."""
        return self.all + self.gradient

    @property
    def num_bytes_checkpointed(self) -> float:
        """The peak with gradient checkpointing: at the end of the forward pass, with the loss's gradient, or later,
        when the head's part is freed and the largest layer is recomputed."""
        return self.before + self.inputs + max(self.head + max(self.gradient, self.casts), self.layer)

    def of_batch(self, of_two_rows: SavedBytes, batch_size: int) -> SavedBytes:
        """Extrapolates from one row (this) and two rows: part is saved once, the rest for each row."""
        pairs = zip(astuple(self), astuple(of_two_rows), strict=True)
        return SavedBytes(*(one + (batch_size - 1) * (two - one) for one, two in pairs))


def saved_activations(
    family: Family, model: Any, batch_size: int, row: RowSize, bf16: bool, clip: AudioInputs | None = None
) -> SavedBytes:
    """What autograd saves of a forward pass for the backward pass.

    Args:
        model: on the meta device, then its tensors are replaced by fake ones; or on the CPU, then it really computes.
        clip: encoded anew for every row, if the audio part is trained.

    Raises:
        RuntimeError: from torch, if the audio part's code reads contents that fake tensors do not have.
    """
    fake = next(model.parameters()).is_meta
    with ExitStack() as modes:
        if fake:
            known = _KnownNumbers(modes.enter_context(FakeTensorMode()))
            _make_fake(model)
            modes.enter_context(known)
            clip = clip and {name: known.fake(tensor) for name, tensor in clip.items()}
        seen: _Seen = modes.enter_context(_Seen(model))
        base, ids = bare(model), torch.zeros(batch_size, row.num_tokens, dtype=torch.long)
        batch: dict[str, Any] = {"input_ids": ids}
        if clip:
            ids[:, 0] = family.audio_token_id(base.config)  # where and how many does not change what is saved
            batch["audio_inputs"] = [{name: tensor.clone() for name, tensor in clip.items()} for _ in range(batch_size)]
        hooks = torch.autograd.graph.saved_tensors_hooks(seen.keep, lambda tensor: tensor)
        with hooks, torch.autocast("cpu", torch.bfloat16, enabled=bf16):
            hidden = family.hidden_states(base, ids, input_embeddings(model, batch))
            scored = hidden[:, : row.num_answer_tokens].reshape(-1, hidden.shape[-1])
            logits = family.logits(base, scored)
            cross_entropy(logits.float(), torch.zeros(len(scored), dtype=torch.long), reduction="sum")
    return seen.summary(gradient=logits.numel() * (4 + logits.element_size()))  # in float32, and cast back


class _Seen(TorchDispatchMode):  # type: ignore[no-untyped-call]
    """Records what is saved in which layer, the layers' inputs, and which tensors are cast weights."""

    def __init__(self, model: Any) -> None:
        super().__init__()  # type: ignore[no-untyped-call]
        self.place = BEFORE
        self._weights = {parameter.untyped_storage()._cdata: parameter for parameter in model.parameters()}
        # By storage: bytes, where first saved, and the tensor, held so that no other gets its address.
        self._kept: dict[int, tuple[int, int, torch.Tensor]] = {}
        self._given: dict[int, tuple[int, torch.Tensor]] = {}
        self._casts: dict[int, tuple[int, int, torch.Tensor]] = {}
        layers = list(decoder_layers(model))
        self._hooks = []
        for number, layer in enumerate(layers):
            after = HEAD if layer is layers[-1] else BEFORE
            self._hooks += [
                layer.register_forward_pre_hook(partial(self._enter, number), with_kwargs=True),
                layer.register_forward_hook(partial(self._leave, after)),
            ]

    def __exit__(self, *error: Any) -> None:
        for hook in self._hooks:
            hook.remove()
        super().__exit__(*error)  # type: ignore[no-untyped-call]

    def __torch_dispatch__(self, func: Any, types: Any, args: Any = (), kwargs: Any = None) -> Any:
        made = func(*args, **(kwargs or {}))
        if func is torch.ops.aten._to_copy.default:
            weight = self._weights.get(args[0].untyped_storage()._cdata)
            if weight is not None and weight.requires_grad:
                storage = made.untyped_storage()
                self._casts[storage._cdata] = (storage.nbytes(), self.place, made)
        return made

    def keep(self, tensor: torch.Tensor) -> torch.Tensor:
        storage = tensor.untyped_storage()
        if storage._cdata not in self._weights:
            self._kept.setdefault(storage._cdata, (storage.nbytes(), self.place, tensor))
        return tensor

    def _enter(self, number: int, layer: Any, args: Any, kwargs: dict[str, Any]) -> None:
        self.place = number
        for leaf in tree_leaves((args, kwargs)):
            if isinstance(leaf, torch.Tensor):
                storage = leaf.untyped_storage()
                self._given[storage._cdata] = (storage.nbytes(), leaf)

    def _leave(self, after: int, *_: Any) -> None:
        self.place = after

    def summary(self, gradient: int) -> SavedBytes:
        sizes: Counter[int] = Counter()
        for address, (size, place, _) in self._kept.items():
            if address not in self._given:
                sizes[place] += size
        whole = sum(size for size, _, _ in self._kept.values())
        casts = sum(size for size, place, _ in self._casts.values() if place >= 0)
        given = sum(size for size, _ in self._given.values())
        largest = max((size for place, size in sizes.items() if place >= 0), default=0)
        return SavedBytes(*map(float, (whole, sizes[BEFORE], given, largest, casts, sizes[HEAD], gradient)))


def _make_fake(model: Any) -> None:
    """Replaces a meta model's tensors by fake CPU tensors, so that casting to bfloat16 works as in training."""
    made: dict[int, torch.nn.Parameter] = {}
    for module in model.modules():
        for name, parameter in module._parameters.items():
            if parameter is not None:
                if id(parameter) not in made:
                    empty = torch.empty(parameter.shape, dtype=parameter.dtype, device="cpu")
                    made[id(parameter)] = torch.nn.Parameter(empty, requires_grad=parameter.requires_grad)
                module._parameters[name] = made[id(parameter)]
        for name, buffer in module._buffers.items():
            if buffer is not None:
                module._buffers[name] = torch.empty(buffer.shape, dtype=buffer.dtype, device="cpu")


class _KnownNumbers(TorchDispatchMode):  # type: ignore[no-untyped-call]
    """Gives fake tensors computed only from known ones their contents, on top of ``fakes``.

    Audio parts read the lengths of clips from masks and cut by them; sound and weights stay unknown.
    """

    def __init__(self, fakes: FakeTensorMode) -> None:
        super().__init__()  # type: ignore[no-untyped-call]
        self._fakes = fakes

    def fake(self, tensor: torch.Tensor) -> torch.Tensor:
        """A fake tensor with the contents of the real one, unless these are floating-point and long."""
        made: torch.Tensor = _remember(self._fakes.from_tensor(tensor), tensor)
        return made

    def __torch_dispatch__(self, func: Any, types: Any, args: Any = (), kwargs: Any = None) -> Any:
        inputs = (args, kwargs or {})
        tensors = [leaf for leaf in tree_leaves(inputs) if isinstance(leaf, torch.Tensor)]
        cuts = torch.Tag.dynamic_output_shape in func.tags  # by a boolean mask; the values it cuts do not matter
        known = all(_contents(t) is not None or (cuts and t.is_floating_point()) for t in tensors)
        if not tensors or not known:
            made = func(*inputs[0], **inputs[1])
            known = known and not func.name().startswith("aten::empty") and not _is_long(made)
            return tree_map(_remember, made, self._real(func, inputs) if known else tree_map(lambda leaf: None, made))
        real = self._real(func, inputs)
        if cuts:
            return tree_map(self.fake, real)
        if not any(isinstance(leaf, torch.Tensor) for leaf in tree_leaves(real)):
            return real
        return tree_map(_remember, func(*inputs[0], **inputs[1]), real)

    def _real(self, func: Any, inputs: Any) -> Any:
        with unset_fake_temporarily():
            args, kwargs = tree_map(_contents_or_zeros, inputs)
            return func(*args, **kwargs)


def _is_long(made: Any) -> bool:
    return isinstance(made, torch.Tensor) and made.is_floating_point() and made.numel() > LONG


def _remember(made: Any, real: torch.Tensor | None) -> Any:
    if isinstance(made, FakeTensor):
        made.known_contents = None if _is_long(real) else real  # type: ignore[attr-defined]
    return made


def _contents(tensor: torch.Tensor) -> torch.Tensor | None:
    return getattr(tensor, "known_contents", None) if isinstance(tensor, FakeTensor) else tensor


def _contents_or_zeros(leaf: Any) -> Any:
    if not isinstance(leaf, torch.Tensor):
        return leaf
    contents = _contents(leaf)
    return torch.zeros(leaf.shape, dtype=leaf.dtype) if contents is None else contents
