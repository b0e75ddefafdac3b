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
from polyexport.export.source.folding import fold_reparametrizations, reparametrized_names
from polyexport.export.source.names import Names, is_whole, split, unwrapped
from polyexport.export.source.trial import Trial, load_state, may_lack, try_set
from polyexport.export.source.weights import Weights, count_tensors, describe, first_names

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
    _fold_plain(module, weights)
    expected: dict[str, Tensor] = module.state_dict()
    for name, tensor in expected.items():
        if not isinstance(tensor, Tensor) or nn.parameter.is_lazy(tensor):
            raise UsageError(
                f"the network's {name} is {type(tensor).__name__}, expected a tensor of known shape",
                remedy="give a network without lazy modules and extra state",
            )
    table_names = weights.named(apart) if apart else []
    matches = _matches(weights, Names(expected), key)
    counts = Counter({prefix: sum(map(is_whole, found.values())) for prefix, found in matches.items()})
    needed = {name for name in expected if not may_lack(name)} or set(expected)
    complete = [prefix for prefix, found in matches.items() if all(is_whole(found.get(name, ())) for name in needed)]
    prefixes = [prefix for prefix, count in counts.most_common() if 2 * count >= len(needed)]
    named = "" if key == "." else f"{key}."
    if key == "." or named in complete:  # the set itself, whatever else its name is the beginning of
        prefixes = [named]
    if len(prefixes) > _MAX_SETS:
        raise _several(weights, prefixes, "may fit")
    # The best set is tried even if most of its names are not the network's: load hooks may translate them.
    if len(prefixes) > 1:
        expected = {name: tensor.clone() for name, tensor in expected.items()}
    trials: list[Trial] = []
    for prefix in prefixes or [max(counts, key=counts.__getitem__)]:
        if trials:
            _reset(module, expected)  # a set must not be completed by the one before it
        # Another complete set in the same dictionary is not a part of this one.
        others = tuple(other for other in complete if other != prefix and other.startswith(prefix))
        found = matches.get(prefix, {})
        try:
            trials.append(try_set(module, weights, expected, prefix, found, others, table_names))
        except CheckpointError as error:
            trials.append(Trial(prefix=prefix, tensors={}, faults=(error.message,), error=error))
    taken, remarks = _choose(weights, expected, trials)
    if taken is not trials[-1]:
        _reset(module, expected)
        load_state(module, weights, taken.tensors)
    _check_values(module, weights, taken)
    remarks += taken.notes
    table = _table_of(weights, table_names, apart, taken.prefix) if apart else None
    left = [name for name in weights.tensors if name not in taken.used and name != table]
    if left:
        remarks.append(f"left out {count_tensors(left)} of {weights.path} ({first_names(left)})")
    converted: dict[str, list[str]] = {}
    for name, tensor in taken.tensors.items():
        if name in expected and tensor.dtype != expected[name].dtype:
            converted.setdefault(str(tensor.dtype).removeprefix("torch."), []).append(name)
    remarks += [
        f"converted {count_tensors(names)} of {kind} to the network's own type" for kind, names in converted.items()
    ]
    return FittedWeights(key=taken.key, remarks=tuple(remarks), table=weights.dense(table) if table else None)


def _fold_plain(module: nn.Module, weights: Weights) -> None:
    """Make plain weights of those norms of a module whose parts the file does not hold, but their weights."""
    computed = {unwrapped(name): name for name in reparametrized_names(module)}
    names = Names(computed)
    held: dict[str, set[str]] = {}
    for full in weights.tensors if computed else ():
        weight, role = split(full)
        for name in names.suffixes(weight):
            if name in computed:
                held.setdefault(computed[name], set()).add(role)
    fold_reparametrizations(module, [name for name, roles in held.items() if roles == {""}])


def _reset(module: nn.Module, expected: Mapping[str, Tensor]) -> None:
    # Not by load_state_dict, which may be the network's own.
    for name, tensor in module.state_dict().items():
        tensor.copy_(expected[name])


def _matches(weights: Weights, names: Names, key: str) -> dict[str, dict[str, dict[str, str]]]:
    """Find, for each prefix of the full names, the network's tensors whose names follow it; at least one prefix.

    Returns:
        Full names by the roles of ``Part``, by the network's names, by prefixes.

    Raises:
        UsageError: No name begins with ``key``.
    """
    start = "" if key in ("", ".") else f"{key}."
    within = [name for name in weights.tensors if name.startswith(start)]
    if not within:
        held = dict.fromkeys(name.partition(".")[0] for name in weights.tensors)
        raise UsageError(
            f"{weights.path} holds no weights under {key!r}", remedy=f"give one of its keys: {first_names(held)}"
        )
    matches: dict[str, dict[str, dict[str, str]]] = {}
    for full in within:
        for suffix in names.suffixes(full[len(start) :]):
            prefix = full[: len(full) - len(suffix)]
            if (part := names.find(suffix)) and prefix not in _NAMELESS:
                own, role = part
                roles = matches.setdefault(prefix, {}).setdefault(own, {})
                if role not in roles or suffix == own:  # its own spelling before another
                    roles[role] = full
    homes = Counter(weights.homes[name] for name in within if weights.homes[name] not in _NAMELESS)
    return matches or {home: {} for home, _ in homes.most_common(1)} or {start: {}}


def _choose(weights: Weights, expected: Mapping[str, Tensor], trials: list[Trial]) -> tuple[Trial, list[str]]:
    """Return the set to take, and what has to be said about the choice.

    Raises:
        CheckpointError: No set fits wholly.
        UsageError: Several do, and differ.
    """
    whole = [trial for trial in trials if not trial.faults]
    if not whole:
        judged = [trial for trial in trials if trial.error is None]
        if not judged:
            assert trials[0].error is not None
            raise trials[0].error
        best = min(judged, key=lambda trial: trial.num_faults)
        under = f" under {first_names([best.key])}" if best.prefix else ""
        if len(trials) > 1:
            under += f", its best match of {len(trials)},"
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
    averages = [key for key in keys if "ema" in key.lower()]
    example = first_names((averages or keys)[:1])
    if averages:  # what most projects evaluate; but only their authors know
        example += ", a moving average by its name,"
    return UsageError(
        f"{weights.path} holds {len(keys)} sets of weights that {what}: {first_names(keys)}",
        remedy=f"choose one with --weights-key, such as --weights-key {example} or with weights-key in the TOML file",
    )


def _equal(one: Trial, other: Trial, expected: Mapping[str, Tensor]) -> bool:
    return one.tensors.keys() == other.tensors.keys() and all(
        torch.equal(tensor.to(expected[name].dtype), other.tensors[name].to(expected[name].dtype))
        if name in expected
        else torch.equal(tensor, other.tensors[name])
        for name, tensor in one.tensors.items()
    )


def _check_values(module: nn.Module, weights: Weights, taken: Trial) -> None:
    loaded = module.state_dict()
    # Masks of attention hold minus infinity by design.
    infinite = [name for name, tensor in loaded.items() if not tensor.isfinite().all() and not may_lack(name)]
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
