"""The choice of the set of weights in a file that fits a network, and its loading.

A file may hold several sets: a state dict and its moving average, a generator and a discriminator, one under another
prefix. A set is all tensors whose full names begin with one prefix, such as ``ema.`` or ``state_dict.generator.``; it
is called by that prefix without its last dot, and ``.`` if the prefix is empty.
"""

from collections import Counter
from collections.abc import Mapping
from dataclasses import dataclass

import torch
from torch import Tensor, nn

from polyexport.errors import CheckpointError, UsageError
from polyexport.export.source.weights import Weights, describe, first_names, not_dense
from polyexport.export.source.weights_file import REMEDY

__all__ = ["FittedWeights", "fit_weights"]

_MAX_SETS = 32
_NAMELESS = (".", "..")  # prefixes of empty keys; without the last dot they could not be told from the whole file


@dataclass(frozen=True, kw_only=True, slots=True)
class FittedWeights:
    """The set of weights that was loaded into a network."""

    key: str
    """Name of the set, as ``weights_key`` takes it."""

    remarks: tuple[str, ...]
    """One line each for what a user would not expect: a choice between sets, tensors left out, converted numbers."""

    table: Tensor | None
    """The tensor that was asked for apart from the network's own; None if none was."""


@dataclass(frozen=True, kw_only=True, slots=True)
class _Trial:
    """One set of weights, and how it fits the network."""

    prefix: str
    tensors: Mapping[str, Tensor]
    """Tensors of the set by their names in the network."""

    faults: tuple[str, ...]
    """Descriptions of what is missing, unexpected or wrongly shaped; empty if the set fits wholly."""

    error: CheckpointError | None = None
    """Error that ended the trial; None if there was none."""

    @property
    def key(self) -> str:
        return self.prefix[:-1] or "."


def fit_weights(module: nn.Module, weights: Weights, *, key: str = "", apart: str = "") -> FittedWeights:
    """Load the set of weights that fits a module of float32 key by key; numbers of another precision are converted.

    Where several sets fit wholly and hold equal values, the first is taken; where they differ, none is.

    Args:
        module: Module in float32; its weights are replaced.
        weights: Weights of a file.
        key: Name of the set, or the first part of its name; empty if the file leaves no choice.
        apart: Key of a tensor in the file that the module may lack; empty for none.

    Raises:
        CheckpointError: Keys that are missing, unexpected or of another shape, and values that are not finite.
        UsageError: Several sets fit and differ, there is no set of that name, or a module whose state is not known
            before it first runs or that keeps more than tensors.
    """
    expected: dict[str, Tensor] = module.state_dict()
    for name, tensor in expected.items():
        if not isinstance(tensor, Tensor) or nn.parameter.is_lazy(tensor):
            raise UsageError(
                f"the network's {name} is {type(tensor).__name__}, expected a tensor of known shape",
                remedy="give a network without lazy modules and extra state",
            )
    table_names = weights.named(apart) if apart else []
    counts = _matches(weights, expected, key)
    complete = [prefix for prefix, count in counts.items() if count == len(expected)]
    prefixes = [prefix for prefix, count in counts.most_common() if 2 * count >= len(expected)]
    named = "" if key == "." else f"{key}."
    if key == "." or named in complete:  # the set itself, whatever else its name is the beginning of
        prefixes = [named]
    if len(prefixes) > _MAX_SETS:
        raise _several(weights, prefixes, "may fit")
    # The best set is tried even if most of its names are not the network's: load hooks may translate them.
    if len(prefixes) > 1:
        expected = {name: tensor.clone() for name, tensor in expected.items()}
    trials: list[_Trial] = []
    for prefix in prefixes or [max(counts, key=counts.__getitem__)]:
        if trials:
            module.load_state_dict(expected)  # a set must not be completed by the one before it
        try:
            trials.append(_try(module, weights, expected, prefix, complete, table_names))
        except CheckpointError as error:
            trials.append(_Trial(prefix=prefix, tensors={}, faults=(error.message,), error=error))
    taken, remarks = _choose(weights, expected, trials)
    if taken is not trials[-1]:
        module.load_state_dict(expected)
        _load(module, weights, taken.tensors)
    _check_values(module, weights, taken)
    table = _table_of(weights, table_names, apart, taken.prefix) if apart else None
    used = {taken.prefix + name for name in taken.tensors} | ({table} if table else set())
    left = [name for name in weights.tensors if name not in used]
    if left:
        remarks.append(f"left out {_tensors(len(left))} of {weights.path} ({first_names(left)})")
    converted = Counter(
        str(tensor.dtype).removeprefix("torch.")
        for name, tensor in taken.tensors.items()
        if name in expected and tensor.dtype != expected[name].dtype
    )
    remarks += [f"converted {_tensors(count)} of {kind} to the network's own type" for kind, count in converted.items()]
    return FittedWeights(key=taken.key, remarks=tuple(remarks), table=weights.dense(table) if table else None)


def _matches(weights: Weights, expected: Mapping[str, Tensor], key: str) -> Counter[str]:
    """Count, for each prefix of the full names, the names of the network that follow it; at least one prefix.

    Raises:
        UsageError: No name begins with ``key``.
    """
    start = "" if key in ("", ".") else f"{key}."
    names = [name for name in weights.tensors if name.startswith(start)]
    if not names:
        held = dict.fromkeys(name.partition(".")[0] for name in weights.tensors)
        raise UsageError(
            f"{weights.path} holds no weights under {key!r}", remedy=f"give one of its keys: {first_names(held)}"
        )
    depths = {name.count(".") for name in expected}
    counts: Counter[str] = Counter()
    for name in names:
        parts = name[len(start) :].split(".")
        for depth in depths:
            suffix = ".".join(parts[-depth - 1 :])
            if depth < len(parts) and suffix in expected:
                counts[name[: len(name) - len(suffix)]] += 1
    for nameless in _NAMELESS:
        del counts[nameless]
    homes = Counter(weights.homes[name] for name in names if weights.homes[name] not in _NAMELESS)
    return counts or Counter({home: 0 for home, _ in homes.most_common(1)} or {start: 0})


def _try(
    module: nn.Module,
    weights: Weights,
    expected: Mapping[str, Tensor],
    prefix: str,
    complete: list[str],
    table_names: list[str],
) -> _Trial:
    """Load the tensors under a prefix, and judge what is missing, unexpected or of another kind.

    Raises:
        CheckpointError: A value of the set is not a dense tensor, or a load hook of the module fails.
    """
    home = max((home for home in set(weights.homes.values()) if prefix.startswith(home)), key=len, default="")
    # Another complete set in the same dictionary is not a part of this one.
    others = tuple(other for other in complete if other != prefix and other.startswith(prefix))
    names = [
        name
        for name in weights.tensors
        if name.startswith(prefix)
        and (name.removeprefix(prefix) in expected or (weights.homes[name] == home and not name.startswith(others)))
    ]
    for name, kind in weights.foreign.items():
        if home and name.startswith(prefix) and not name.startswith(others) and "." not in name.removeprefix(home):
            raise not_dense(weights.path, name.removeprefix(home), kind)
    tensors = {
        name.removeprefix(prefix): weights.dense(name)
        for name in names
        if name not in table_names or name.removeprefix(prefix) in expected
    }
    wrong = {
        f"{name} ({describe(tensor)}, expected {describe(expected[name])})": name
        for name, tensor in tensors.items()
        if name in expected and _kind(tensor) != _kind(expected[name])
    }
    missing, unexpected = _load(
        module, weights, {name: tensor for name, tensor in tensors.items() if name not in wrong.values()}
    )
    missing = [name for name in missing if name not in tensors]
    faults = tuple(
        f"{len(found)} {what} ({first_names(found)})"
        for what, found in (("missing", missing), ("unexpected", unexpected), ("wrongly shaped", list(wrong)))
        if found
    )
    return _Trial(prefix=prefix, tensors=tensors, faults=faults)


def _load(module: nn.Module, weights: Weights, tensors: Mapping[str, Tensor]) -> tuple[list[str], list[str]]:
    """Load tensors into a module; return the names that are missing and those that it does not know."""
    try:
        # Not strict: the keys are judged by the caller, after the module's own hooks have translated old names.
        outcome = module.load_state_dict(dict(tensors), strict=False)
    except Exception as error:  # load hooks are foreign code
        raise CheckpointError(
            f"{weights.path} does not load into the network ({' '.join(str(error).split())[:200]})", remedy=REMEDY
        ) from error
    return outcome.missing_keys, outcome.unexpected_keys


def _choose(weights: Weights, expected: Mapping[str, Tensor], trials: list[_Trial]) -> tuple[_Trial, list[str]]:
    """Return the set to take, and what has to be said about the choice.

    Raises:
        CheckpointError: No set fits wholly.
        UsageError: Several do, and differ.
    """
    whole = [trial for trial in trials if not trial.faults]
    if not whole:
        best = trials[0]
        if best.error is not None:
            raise best.error
        under = f" under {first_names([best.key])}" if best.prefix else ""
        raise CheckpointError(
            f"{weights.path}{under} does not fit the network: of its {len(expected)} keys, {', '.join(best.faults)}",
            remedy="give the constructor arguments that the weights were trained with",
        )
    taken = whole[0]
    if any(not _equal(taken, other, expected) for other in whole[1:]):
        raise _several(weights, [trial.prefix for trial in whole], "fit the network and differ")
    remarks = []
    progress = f" ({weights.progress})" if weights.progress else ""
    if taken.prefix or len(trials) > 1 or progress:
        remarks.append(f"took the weights under {first_names([taken.key])} of {weights.path}{progress}")
    if len(whole) > 1:
        remarks.append(f"the weights under {first_names(trial.key for trial in whole)} are equal")
    remarks += [
        f"the weights under {first_names([trial.key])} do not fit: {', '.join(trial.faults)}"
        for trial in trials
        if trial.faults
    ]
    return taken, remarks


def _several(weights: Weights, prefixes: list[str], what: str) -> UsageError:
    keys = [prefix[:-1] or "." for prefix in prefixes]
    return UsageError(
        f"{weights.path} holds {len(keys)} sets of weights that {what}: {first_names(keys)}",
        remedy=f"choose one with --weights-key, such as --weights-key {first_names(keys[:1])}, or with weights-key in "
        "the TOML file",
    )


def _equal(one: _Trial, other: _Trial, expected: Mapping[str, Tensor]) -> bool:
    return one.tensors.keys() == other.tensors.keys() and all(
        torch.equal(tensor.to(expected[name].dtype), other.tensors[name].to(expected[name].dtype))
        if name in expected
        else torch.equal(tensor, other.tensors[name])
        for name, tensor in one.tensors.items()
    )


def _check_values(module: nn.Module, weights: Weights, taken: _Trial) -> None:
    loaded = module.state_dict()
    infinite = [name for name, tensor in loaded.items() if not tensor.isfinite().all()]
    if infinite:
        raise CheckpointError(
            f"{weights.path} holds NaN or infinite weights ({first_names(infinite)})",
            remedy="give weights of a training that did not diverge",
        )
    changed = [
        f"{name} ({describe(tensor)}, expected {describe(loaded[name])})"
        for name, tensor in taken.tensors.items()
        if name in loaded
        and not tensor.is_floating_point()
        and tensor.dtype != loaded[name].dtype
        and not torch.equal(loaded[name].to(tensor.dtype), tensor)
    ]
    if changed:
        raise CheckpointError(
            f"{weights.path} holds integers that the network's own type does not hold: {first_names(changed)}",
            remedy="give weights of the network's own type",
        )


def _table_of(weights: Weights, names: list[str], apart: str, prefix: str) -> str:
    """Return the full name of the tensor that stands apart: in the set, beside it, or at the top of the file."""
    homes = sorted({home for home in weights.homes.values() if prefix.startswith(home)}, key=len, reverse=True)
    found = [name for name in dict.fromkeys([prefix + apart, *(home + apart for home in homes)]) if name in names]
    if found:
        return found[0]
    if len(names) > 1:
        raise UsageError(
            f"{weights.path} holds {len(names)} tensors named {apart}: {first_names(names)}", remedy="give one of these"
        )
    return names[0]


def _tensors(count: int) -> str:
    return "1 tensor" if count == 1 else f"{count} tensors"


def _kind(tensor: Tensor) -> tuple[object, ...]:
    """Return what two tensors must share to be copied into each other without a loss of meaning."""
    floating = tensor.is_floating_point() and tensor.element_size() > 1  # 8-bit floats mean nothing without a scale
    return tuple(tensor.shape), floating, tensor.is_complex()
