"""One set of weights, tried on a network: what is missing, unexpected or wrongly shaped, and what may be so."""

import inspect
import re
from collections.abc import Mapping
from dataclasses import dataclass

from torch import Tensor, nn
from torch.nn.modules.instancenorm import _InstanceNorm

from polyexport.errors import CheckpointError, reason_of
from polyexport.export.source.names import compute, is_whole, unwrapped
from polyexport.export.source.weights import Weights, count_tensors, describe, first_names, not_dense
from polyexport.export.source.weights_file import REMEDY

__all__ = ["Trial", "load_state", "may_lack", "try_set"]

_FEW = 5

_REBUILT = re.compile(r"\w*(?:attn_mask|relative_position_index|relative_coords_table|position_ids)\w*")
"""Buffers of windows and masks of attention, which networks compute from their own sizes whenever they are made. Some
projects save them, some do not."""

_MAX_LENGTH = 100
"""Longest name that is looked at; a file may hold names of millions of letters."""

_UNUSED = ("total_ops", "total_params")
"""Buffers that counters of operations, such as thop, leave in every layer."""

_STATISTICS = ("running_mean", "running_var", "num_batches_tracked")


@dataclass(frozen=True, kw_only=True, slots=True)
class Trial:
    """One set of weights, and how it fits the network."""

    prefix: str
    tensors: Mapping[str, Tensor]
    """Tensors of the set by their names in the network; those that the network does not know by their own."""

    used: frozenset[str] = frozenset()
    """Full names of the tensors in the file that belong to the set."""

    faults: tuple[str, ...]
    """Descriptions of what is missing, unexpected or wrongly shaped; empty if the set fits wholly."""

    num_faults: int = 0
    """Number of tensors that are missing, unexpected or wrongly shaped."""

    notes: tuple[str, ...] = ()
    """Descriptions of differences that have no part in the network's results, and of weights that were computed."""

    error: CheckpointError | None = None
    """Error that ended the trial; None if there was none."""

    @property
    def key(self) -> str:
        """Name of the set, as ``weights_key`` takes it."""
        return self.prefix[:-1] or "."


def may_lack(name: str) -> bool:
    """Return True if a file need not hold a tensor of the network, because the network makes it by itself."""
    # Batch norms before PyTorch 0.4.1 counted no batches. The count has no part in evaluation.
    return _is_rebuilt(name) or name.rpartition(".")[2] == "num_batches_tracked"


def try_set(
    module: nn.Module,
    weights: Weights,
    expected: Mapping[str, Tensor],
    prefix: str,
    found: Mapping[str, Mapping[str, str]],
    others: tuple[str, ...],
    table_names: list[str],
) -> Trial:
    """Load the tensors under a prefix, and judge what is missing, unexpected or of another kind.

    Args:
        module: Module that they are loaded into.
        weights: Weights of a file.
        expected: Tensors of the module's state dict before.
        prefix: First part of the full names of the set.
        found: Full names in the set of the parts of the module's tensors, by the names of these.
        others: Prefixes of other sets that begin with the same prefix, and are not a part of this one.
        table_names: Full names of tensors that may stand in the set and do not belong to the module.

    Raises:
        CheckpointError: A value of the set is not a dense tensor, or a load hook of the module fails.
    """
    home = max((home for home in set(weights.homes.values()) if prefix.startswith(home)), key=len, default="")
    for name, kind in weights.foreign.items():
        if home and name.startswith(prefix) and not name.startswith(others) and "." not in name.removeprefix(home):
            raise not_dense(weights.path, name.removeprefix(home), kind)
    tensors, used, computed = _matched(module, weights, expected, found)
    ignored: list[str] = []
    layers = {unwrapped(path): layer for path, layer in module.named_modules()}
    for full in weights.tensors:
        if not full.startswith(prefix) or full in used or weights.homes[full] != home or full.startswith(others):
            continue
        name = full.removeprefix(prefix)
        if _is_unused(name, layers):
            used.add(full)
            ignored.append(name)
        elif full not in table_names:
            used.add(full)
            tensors[name] = weights.dense(full)
    wrong = {
        name: f"{name} ({describe(tensor)}, expected {describe(expected[name])})"
        for name, tensor in tensors.items()
        if name in expected and _kind(tensor) != _kind(expected[name])
    }
    kept = [name for name in wrong if _is_rebuilt(name)]
    for name in kept:
        del tensors[name], wrong[name]
    missing, unexpected = load_state(
        module, weights, {name: tensor for name, tensor in tensors.items() if name not in wrong}
    )
    kept += [name for name in missing if name not in kept and _is_rebuilt(name)]
    missing = [name for name in dict.fromkeys(missing) if name not in tensors and not may_lack(name)]
    kinds = {"missing": missing, "unexpected": unexpected, "wrongly shaped": list(wrong.values())}
    notes = {
        "ignored {} that the network does not use": ignored,
        "kept the network's own value of {}": kept,
        "computed {} from the parts of their norm in the file": computed,
    }
    return Trial(
        prefix=prefix,
        tensors=tensors,
        used=frozenset(used),
        faults=tuple(f"{len(every)} {what} ({first_names(every, _FEW)})" for what, every in kinds.items() if every),
        num_faults=sum(map(len, kinds.values())),
        notes=tuple(
            note.format(f"{count_tensors(every)} ({first_names(every)})") for note, every in notes.items() if every
        ),
    )


def load_state(module: nn.Module, weights: Weights, tensors: Mapping[str, Tensor]) -> tuple[list[str], list[str]]:
    """Load tensors into a module; return the names that are missing and those that it does not know.

    Raises:
        CheckpointError: The module refuses tensors whose names and shapes are its own.
    """
    expected = module.state_dict().keys()
    by_name = [n for n in expected if n not in tensors], [n for n in tensors if n not in expected]
    try:
        # Not strict: the keys are judged by the caller, after the module's own hooks have translated old names.
        outcome = module.load_state_dict(dict(tensors), **_not_strict(module))
    except Exception as error:  # load hooks, and load_state_dict itself, may be foreign code
        if any(by_name):
            return by_name
        raise CheckpointError(
            f"{weights.path} does not load into the network ({reason_of(error, whole=True)})", remedy=REMEDY
        ) from error
    missing, unexpected = getattr(outcome, "missing_keys", None), getattr(outcome, "unexpected_keys", None)
    # A load_state_dict of the network's own need not return what it found.
    return (missing, unexpected) if isinstance(missing, list) and isinstance(unexpected, list) else by_name


def _not_strict(module: nn.Module) -> dict[str, bool]:
    try:
        parameters = inspect.signature(module.load_state_dict).parameters
    except (TypeError, ValueError):
        return {}
    takes = "strict" in parameters or any(each.kind is each.VAR_KEYWORD for each in parameters.values())
    return {"strict": False} if takes else {}


def _matched(
    module: nn.Module,
    weights: Weights,
    expected: Mapping[str, Tensor],
    found: Mapping[str, Mapping[str, str]],
) -> tuple[dict[str, Tensor], set[str], list[str]]:
    """Return the module's tensors that a set holds, their full names in the file, and which of them were computed."""
    tensors: dict[str, Tensor] = {}
    used: set[str] = set()
    computed: list[str] = []
    layers = dict(module.named_modules())
    for own, roles in found.items():
        if "" in roles:
            tensor = weights.dense(roles[""])
            # PyTorch before 0.4 had no tensors without dimensions.
            tensors[own] = tensor.reshape(()) if tensor.shape == (1,) and not expected[own].dim() else tensor
            used.add(roles[""])
        elif is_whole(roles):
            parts = {role: weights.dense(full) for role, full in roles.items()}
            weight = compute(parts, layers.get(own.rpartition(".")[0]))
            if weight is not None:
                tensors[own] = weight
                used.update(roles.values())
                computed.append(own)
    return tensors, used, computed


def _is_rebuilt(name: str) -> bool:
    last = name.rpartition(".")[2]
    return len(last) < _MAX_LENGTH and _REBUILT.fullmatch(last) is not None


def _is_unused(name: str, layers: Mapping[str, nn.Module]) -> bool:
    place, _, kind = unwrapped(name).rpartition(".")
    if kind in _UNUSED or _is_rebuilt(kind):
        return True
    # Instance norms before PyTorch 0.4 saved the statistics of a training that they do not use.
    return kind in _STATISTICS and isinstance(layers.get(place), _InstanceNorm)


def _kind(tensor: Tensor) -> tuple[object, ...]:
    """Return what two tensors must share to be copied into each other without a loss of meaning."""
    floating = tensor.is_floating_point() and tensor.element_size() > 1  # 8-bit floats mean nothing without a scale
    return tuple(tensor.shape), floating, tensor.is_complex()
