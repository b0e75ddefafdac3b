"""Weight norm, spectral norm and other parametrizations of a module, computed once and put back as plain weights.

In evaluation these functions of the weights give the same weights in every run, so a graph needs their values alone.
PyTorch has two forms of them: parametrizations, and in older networks hooks that run before ``forward``.
"""

from collections.abc import Collection

from torch import nn
from torch.nn.utils import parametrize, remove_spectral_norm, remove_weight_norm
from torch.nn.utils.spectral_norm import SpectralNorm, SpectralNormLoadStateDictPreHook
from torch.nn.utils.weight_norm import WeightNorm

__all__ = ["fold_reparametrizations", "reparametrized_names"]


def reparametrized_names(module: nn.Module) -> list[str]:
    """Return the full names of the weights that a module computes from others, such as ``enter.weight``."""
    return [f"{path}.{name}" if path else name for path, part in module.named_modules() for name in _computed(part)]


def fold_reparametrizations(module: nn.Module, only: Collection[str] | None = None) -> tuple[str, ...]:
    """Replace the weights that a module computes by plain parameters with their values in evaluation.

    Args:
        module: Module in any mode; its training mode and its results in evaluation stay as they are.
        only: Full names of the weights to replace; None for all of them.

    Returns:
        Full names of the weights that were replaced. A weight whose type its function changes is not.
    """
    folded: list[str] = []
    for path, part in module.named_modules():
        for name in _computed(part):
            full = f"{path}.{name}" if path else name
            if (only is None or full in only) and _fold(part, name):
                folded.append(full)
    return tuple(folded)


def _computed(part: nn.Module) -> list[str]:
    hooks = [hook.name for hook in part._forward_pre_hooks.values() if isinstance(hook, SpectralNorm | WeightNorm)]
    parametrized = part.parametrizations if parametrize.is_parametrized(part) else None
    return [*parametrized, *hooks] if isinstance(parametrized, nn.ModuleDict) else hooks


def _fold(part: nn.Module, name: str) -> bool:
    modes = [(each, each.training) for each in part.modules()]
    part.eval()  # a spectral norm in training would change its vectors
    try:
        if parametrize.is_parametrized(part, name):
            _own_class(part)
            parametrize.remove_parametrizations(part, name, leave_parametrized=True)
        elif any(isinstance(hook, SpectralNorm) and hook.name == name for hook in part._forward_pre_hooks.values()):
            remove_spectral_norm(part, name)
            _forget_loading(part, name)
        else:
            remove_weight_norm(part, name)
    except RuntimeError:
        return False
    else:
        return True
    finally:
        for each, training in modes:
            each.training = training


def _own_class(part: nn.Module) -> None:
    # PyTorch computes the weight in a property of the module's class, which it takes away; copies of the module, such
    # as the layers of a transformer, share that class.
    shared = type(part)
    contents = {name: value for name, value in vars(shared).items() if name not in ("__dict__", "__weakref__")}
    part.__class__ = type(shared.__name__, shared.__bases__, contents)


def _forget_loading(part: nn.Module, name: str) -> None:
    # PyTorch leaves the hook, which it does not recognize in its wrapping; it asks for the parts of the norm.
    for key, wrapped in list(part._load_state_dict_pre_hooks.items()):
        hook = getattr(wrapped, "hook", wrapped)
        if isinstance(hook, SpectralNormLoadStateDictPreHook) and hook.fn.name == name:
            del part._load_state_dict_pre_hooks[key]
