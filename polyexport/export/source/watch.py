"""Observation of one run of a network: the bounds of the values that it returns, and whether it is a sampler."""

from collections import Counter
from collections.abc import Mapping
from typing import Any

from torch import Tensor
from torch.utils._python_dispatch import TorchDispatchMode
from torch.utils.weak import WeakIdKeyDictionary

from polyexport.export.graph.foreign import bounds_of
from polyexport.export.source.source import ValueRange

__all__ = ["Watch"]

_BOUNDED: Mapping[str, ValueRange] = {
    "tanh": (-1.0, 1.0),
    "sigmoid": (0.0, 1.0),
    "hardsigmoid": (0.0, 1.0),
    "_softmax": (0.0, 1.0),
}
_CLAMPS = ("clamp", "hardtanh")
_KEEPING = frozenset((
    "view", "reshape", "_unsafe_view", "permute", "transpose", "t", "slice", "select", "narrow", "clone", "alias",
    "detach", "_to_copy", "unsqueeze", "squeeze", "expand", "contiguous", "as_strided", "pixel_shuffle", "unbind",
    "split", "split_with_sizes", "chunk", "flip", "roll", "upsample_nearest2d", "upsample_bilinear2d",
    "_upsample_bilinear2d_aa", "avg_pool2d", "_adaptive_avg_pool2d", "mean", "max_pool2d_with_indices", "index",
))  # fmt: skip
"""Operators whose results lie within the bounds of their first argument."""

_RANDOM = frozenset(("randn", "rand", "randn_like", "rand_like", "normal", "normal_functional", "bernoulli", "randint",
                     "uniform", "native_dropout"))  # fmt: skip


class Watch(TorchDispatchMode):
    """Mode under which a network is run once.

    Attributes:
        random: Whether random numbers were drawn.
        repeats: How often the weights of one convolution were used, at most.
    """

    def __init__(self) -> None:
        super().__init__()  # type: ignore[no-untyped-call]
        self.random = False
        self._bounds: Any = WeakIdKeyDictionary()
        self._calls: Counter[int] = Counter()

    @property
    def repeats(self) -> int:
        """Number of calls of the convolution that was called most."""
        return max(self._calls.values(), default=0)

    def bounds_of(self, tensor: Tensor) -> ValueRange | None:
        """Return the values that a tensor cannot leave, whatever the image; None if that is not known."""
        found: ValueRange | None = self._bounds.get(tensor)
        return found

    def __torch_dispatch__(
        self, func: Any, types: Any, args: tuple[Any, ...] = (), kwargs: dict[str, Any] | None = None
    ) -> Any:
        """Run an operator, and note what it means for its result."""
        result = func(*args, **(kwargs or {}))
        name = str(func.overloadpacket).removeprefix("aten.").removesuffix("_")
        if name in _RANDOM:
            self.random = True
        elif name == "convolution":
            self._calls[args[1].data_ptr()] += 1
        bounds = self._bounds_after(name, args, kwargs or {})
        for tensor in result if isinstance(result, tuple | list) else (result,):
            if isinstance(tensor, Tensor):
                if bounds is not None:
                    self._bounds[tensor] = bounds
                else:
                    self._bounds.pop(tensor, None)  # written in place
        return result

    def _bounds_after(self, name: str, args: tuple[Any, ...], kwargs: dict[str, Any]) -> ValueRange | None:
        if name == "polyexport.foreign_graph":
            return bounds_of(args[1])
        if name in _BOUNDED:
            return _BOUNDED[name]
        if name in _CLAMPS:
            low, high = ([*args[1:3], None, None])[:2]
            low, high = kwargs.get("min", low), kwargs.get("max", high)
            if name == "hardtanh":
                low, high = -1.0 if low is None else low, 1.0 if high is None else high
            if isinstance(low, int | float) and isinstance(high, int | float) and low < high:
                return float(low), float(high)
            return None
        known = [self._bounds.get(each) for each in args if isinstance(each, Tensor)]
        if name in _KEEPING:
            return known[0] if known else None
        if name in ("cat", "stack") and args and isinstance(args[0], list | tuple):
            every = [self._bounds.get(each) for each in args[0]]
            if all(each is not None for each in every):
                return min(each[0] for each in every), max(each[1] for each in every)
            return None
        if name in ("add", "sub", "mul", "div", "rsub", "neg") and args and isinstance(args[0], Tensor):
            other = args[1] if len(args) > 1 else 0
            if isinstance(other, Tensor) and other.ndim == 0:
                other = other.item()
            own = self._bounds.get(args[0])
            if own is not None and isinstance(other, int | float) and not kwargs:
                return _calculated(name, own, float(other))
        return None


def _calculated(name: str, bounds: ValueRange, other: float) -> ValueRange | None:
    low, high = bounds
    match name:
        case "add":
            return low + other, high + other
        case "sub":
            return low - other, high - other
        case "rsub":
            return other - high, other - low
        case "neg":
            return -high, -low
        case "mul":
            ends = sorted((low * other, high * other))
        case _:
            if not other:
                return None
            ends = sorted((low / other, high / other))
    return (ends[0], ends[1]) if ends[0] < ends[1] else None
