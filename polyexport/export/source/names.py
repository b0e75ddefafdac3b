"""The names of a network's tensors, and the other spellings of the same names in files of weights.

A file may hold ``net._orig_mod.conv.weight`` for ``net.conv.weight``, if a part of the network was compiled or run in
parallel when it was saved; and the parts that a weight norm or a spectral norm computes a weight from have two
spellings in PyTorch, an older with hooks and a newer with parametrizations.
"""

import re
from collections import Counter
from collections.abc import Collection, Iterator, Mapping
from dataclasses import dataclass, field

import torch
from torch import Tensor, nn

__all__ = ["Names", "Part", "compute", "is_whole", "split", "unwrapped"]

_WRAPPERS = frozenset(
    ("module", "_module", "_orig_mod", "_forward_module", "_fsdp_wrapped_module", "_checkpoint_wrapped_module")
)
"""Names under which DataParallel and DDP, Opacus, torch.compile, DeepSpeed, FSDP and checkpointing of activations keep
the module that they wrap."""

_MAX_WRAPPERS = 12
"""Most parts that a name in a file has beyond the network's own, after the prefix of its set."""

_PARAMETRIZED = re.compile(
    r"(?P<place>(?:.*\.)?)parametrizations\.(?P<name>\w+)\.(?P<role>original[01]?|0\._u|0\._v)\Z"
)
_HOOKED = re.compile(r"(?P<place>(?:.*\.)?)(?P<name>\w+)_(?P<role>g|v|u|orig)\Z")
_ROLES = {"original0": "g", "original1": "v", "original": "orig", "0._u": "u", "0._v": "v"}

Part = tuple[str, str]
"""Full name of a weight, and which part of it: empty for the weight itself, ``g`` and ``v`` of a weight norm, ``orig``,
``u`` and ``v`` of a spectral norm."""


def split(name: str) -> Part:
    """Return the weight that a tensor is a part of, without what wraps modules, and which part it is."""
    if match := _PARAMETRIZED.fullmatch(name) or _HOOKED.fullmatch(name):
        role = match["role"]
        return unwrapped(match["place"] + match["name"]), _ROLES.get(role, role)
    return unwrapped(name), ""


def unwrapped(name: str) -> str:
    """Return a name without what wraps the modules on its way."""
    return ".".join(part for part in name.split(".") if part not in _WRAPPERS)


@dataclass(frozen=True, slots=True)
class Names:
    """Names of a network's tensors."""

    own: Collection[str]
    """Names as the network spells them."""

    _by_part: Mapping[Part, str] = field(init=False)
    _most_parts: int = field(init=False)

    def __post_init__(self) -> None:
        parts = {name: split(name) for name in self.own}
        often = Counter(parts.values())
        # Names that differ in wrappers alone are told apart by their own spelling only.
        by_part = {part: name for name, part in parts.items() if often[part] == 1}
        object.__setattr__(self, "_by_part", by_part)
        longest = max((name.count(".") + 1 for name in self.own), default=1)
        object.__setattr__(self, "_most_parts", longest + _MAX_WRAPPERS)

    def suffixes(self, name: str) -> Iterator[str]:
        """Yield the ends of a name in a file, from the longest, that are not too long to mean a tensor of the network.

        The bound matters for hostile files, where a name may consist of millions of parts.
        """
        parts = name.rsplit(".", self._most_parts)
        at = 0 if len(parts) <= self._most_parts else len(parts[0]) + 1
        for part in parts if not at else parts[1:]:
            yield name[at:]
            at += len(part) + 1

    def find(self, name: str) -> Part | None:
        """Return the network's tensor that a name in a file means, and which part of it; None if it means none."""
        if name in self.own:
            return name, ""
        if name.partition(".")[0] in _WRAPPERS:
            return None  # what wraps the whole network belongs to the prefix of its set
        weight, role = split(name)
        if own := self._by_part.get((weight, role)):
            return own, ""
        own = self._by_part.get((weight, ""))
        return (own, role) if own else None


def is_whole(roles: Collection[str]) -> bool:
    """Return True if a weight can be had from these parts of it."""
    return "" in roles or {"g", "v"} <= set(roles) or {"orig", "u", "v"} <= set(roles)


def compute(parts: Mapping[str, Tensor], layer: nn.Module | None) -> Tensor | None:
    """Return the weight that a weight norm or a spectral norm gives in evaluation; None if its parts do not match.

    Args:
        parts: Tensors by the roles of ``Part``.
        layer: Layer that the weight belongs to.
    """
    if not all(tensor.is_floating_point() for tensor in parts.values()):
        return None
    parts = {role: tensor.detach().to(torch.float32) for role, tensor in parts.items()}
    if "g" in parts:
        g, v = parts["g"], parts["v"]
        if g.dim() and (g.dim() != v.dim() or any(each not in (1, v.shape[dim]) for dim, each in enumerate(g.shape))):
            return None
        others = [dim for dim in range(v.dim()) if not g.dim() or g.shape[dim] == 1]
        weight: Tensor = v * (g / torch.linalg.vector_norm(v, dim=others, keepdim=True))
        return weight
    original, u, v = parts["orig"], parts["u"], parts["v"]
    transposed = isinstance(layer, nn.ConvTranspose1d | nn.ConvTranspose2d | nn.ConvTranspose3d)
    matrix = original.transpose(0, 1) if transposed and original.dim() > 1 else original
    matrix = matrix.flatten(1) if matrix.dim() > 1 else matrix[None]
    if matrix.shape != (*u.shape, *v.shape):
        return None
    return original / torch.dot(u, torch.mv(matrix, v))
