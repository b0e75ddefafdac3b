"""Networks that are named by their import path, ``package.module:Class``, and a file of weights.

The file of weights is untrusted, and nothing in it is run. The class is trusted: importing its module runs the module's
code, from the current directory too, as ``python -m`` does.
"""

import contextlib
import difflib
import importlib
import inspect
import sys
from pathlib import Path
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor, nn

from polyexport.errors import CheckpointError, ColorError, UsageError, reason_of
from polyexport.export.source.fit import fit_weights
from polyexport.export.source.folding import fold_reparametrizations
from polyexport.export.source.source import Source
from polyexport.export.source.spec import (
    NetworkSpec,
    color_name,
    expect,
    unique,
)
from polyexport.export.source.weights import Weights, describe, read_weights
from polyexport.imaging.color import parse_color
from polyexport.model.conditions.fields import MAX_EMBEDDING_DIM, ColorFields, Embedding, Palette

__all__ = ["load_network"]


def load_network(spec: NetworkSpec) -> Source:
    """Import the class, build it, load the weights, and run it once at each size that it must take.

    Raises:
        UsageError: a class, an argument, a submodule, a color or a size that the network does not have.
        CheckpointError: weights that cannot be read or do not fit.
    """
    module = _construct(spec)
    _check_forward(module, spec.network)
    if spec.embedding:
        names = [name for name, _ in module.named_modules() if name]
        near = difflib.get_close_matches(spec.embedding, names, n=3) or names[:3]
        expect(
            spec.embedding in names,
            f"{spec.network} has no submodule {spec.embedding!r}",
            f"did you mean {', '.join(near)}?" if near else "leave embedding out",
        )
    weights = read_weights(spec.weights)
    known = bool(spec.colors) or bool(weights.color_mappings)
    conditioning = spec.conditioning or ("vocabulary" if known else "rgb")
    named = conditioning == "vocabulary" or bool(spec.embedding_table)
    palette = _palette(spec, weights) if named else ()
    fitted = fit_weights(module, weights, key=spec.weights_key, apart=spec.embedding_table)
    fold_reparametrizations(module)
    table = _table(spec, weights, palette, fitted.table) if fitted.table is not None else None
    vectors = Embedding.from_table(table) if table is not None else None
    if vectors is None and spec.embedding_dim:
        vectors = Embedding(dim=spec.embedding_dim)
    color = ColorFields(
        conditioning=conditioning,
        palette=palette,
        color_input="embedding" if vectors else "color",
        embedding=vectors,
    )
    source = Source(
        module=module,
        conditions=(color,),
        embedding=spec.embedding,
        value_range=spec.value_range,
        output_range=spec.output_range or spec.value_range,
        size_multiple=spec.size_multiple or spec.size,
        training_size=spec.size,
        fixed_size=spec.size_multiple is None,
        network=spec.network,
        sha256=weights.sha256,
        weights_key=fitted.key,
        remarks=fitted.remarks,
    )
    _try(source, 2, spec.size, spec.size, "give the size that it takes, and the conditioning that it was trained with")
    if multiple := spec.size_multiple:
        # The contract promises every multiple, so the smallest image and images that are not square are tried too.
        for height, width in ((2 * multiple, 3 * multiple), (multiple, multiple)):
            _try(source, 1, height, width, f"leave size-multiple out to export for {spec.size}x{spec.size} alone")
    return source


def _construct(spec: NetworkSpec) -> nn.Module:
    kind = _import(spec.network)
    try:
        # Random values outside of the state dict have to be equal in every export.
        with torch.random.fork_rng(devices=[]):
            torch.manual_seed(0)
            module = kind(**spec.arguments)
    except Exception as error:
        raise UsageError(
            f"{spec.network} refuses its arguments ({type(error).__name__}: {reason_of(error)})",
            remedy=f"it takes {_signature(kind)}; give what it needs as NAME=VALUE or under [arguments]",
        ) from error
    return module.float().eval()


def _import(network: str) -> type[nn.Module]:
    module_name, _, class_name = network.partition(":")
    folder = str(Path.cwd())
    sys.path.insert(0, folder)
    importlib.invalidate_caches()
    try:
        found: Any = importlib.import_module(module_name)
    except ModuleNotFoundError as error:
        if error.name and f"{module_name}.".startswith(f"{error.name}."):
            fault, remedy = f"there is no module {error.name}", f"give one that is installed or stands in {folder}"
        else:
            fault, remedy = f"{module_name} needs {error.name or reason_of(error)}, which is missing", "install it"
        raise UsageError(fault, remedy=remedy) from error
    except (Exception, SystemExit) as error:
        raise UsageError(
            f"importing {module_name} failed ({type(error).__name__}: {reason_of(error)})",
            remedy=f"see that `python -c 'import {module_name}'` works in {folder}",
        ) from error
    finally:
        with contextlib.suppress(ValueError):
            sys.path.remove(folder)
    where = getattr(found, "__file__", None) or module_name
    networks = [name for name, value in vars(found).items() if _is_network(value) and value.__module__ == module_name]
    remedy = f"the networks of {where} are {', '.join(networks[:5])}" if networks else f"there is no network in {where}"
    for part in class_name.split("."):
        expect(hasattr(found, part), f"{network} does not exist", remedy)
        found = getattr(found, part)
    expect(_is_network(found), f"{network} is not a class derived from torch.nn.Module", remedy)
    return found  # type: ignore[no-any-return]


def _is_network(value: object) -> bool:
    return isinstance(value, type) and issubclass(value, nn.Module)


def _signature(function: Any) -> str:
    try:
        return " ".join(str(inspect.signature(function)).split())[:200]
    except (TypeError, ValueError):
        return "arguments that it does not tell"


def _check_forward(module: nn.Module, network: str) -> None:
    try:
        parameters = inspect.signature(module.forward).parameters.values()
    except (TypeError, ValueError):
        return  # the trial run finds out
    positional = [each for each in parameters if each.kind in (each.POSITIONAL_ONLY, each.POSITIONAL_OR_KEYWORD)]
    needed = [each for each in parameters if each.default is each.empty]
    fits = (
        (len(positional) >= 2 or any(each.kind is each.VAR_POSITIONAL for each in parameters))
        and sum(each in needed for each in positional) <= 2
        and not any(each.kind is each.KEYWORD_ONLY for each in needed)
    )
    expect(
        fits,
        f"forward of {network} takes {_signature(module.forward)}, expected an image and a condition",
        "give a network that needs these two and nothing more",
    )


def _palette(spec: NetworkSpec, weights: Weights) -> Palette:
    """Return the colors in the order of their indices."""
    if not weights.color_mappings:
        expect(
            bool(spec.colors),
            f"{weights.path} does not name the colors of its vocabulary",
            "give them, in index order",
        )
        return spec.colors
    names = unique(map(color_name, weights.color_names()))
    given = dict(spec.colors)
    if not given:
        try:
            return tuple((name, parse_color(name).rgb) for name in names)
        except ColorError as error:
            raise UsageError(
                f"{error.message} among the names in {weights.path}",
                remedy=f'give the value of each of its {len(names)} colors, such as "brand=#123456"',
            ) from error
    differing = sorted(given.keys() ^ set(names))
    expect(
        not differing,
        f"the {len(given)} colors given and the {len(names)} of {weights.path} differ in {', '.join(differing[:3])}",
        "give a value for each of its names, or none",
    )
    return tuple((name, given[name]) for name in names)


def _table(spec: NetworkSpec, weights: Weights, palette: Palette, tensor: Tensor) -> NDArray[np.float32]:
    shape = tuple(tensor.shape)
    expect(
        len(shape) == 2
        and tensor.is_floating_point()
        and shape[0] == len(palette)
        and shape[1] in ([spec.embedding_dim] if spec.embedding_dim else range(1, MAX_EMBEDDING_DIM + 1)),
        f"the tensor {spec.embedding_table} in {weights.path} is {describe(tensor)}, "
        f"expected float [{len(palette)}, {spec.embedding_dim or 'D'}] for {len(palette)} colors",
        "give the key of the table, and its colors in index order",
    )
    table: NDArray[np.float32] = tensor.detach().to(torch.float32).contiguous().numpy()
    if not np.isfinite(table).all():
        raise CheckpointError(
            f"the table {spec.embedding_table} in {weights.path} holds NaN or infinite values",
            remedy="give weights of a training that did not diverge",
        )
    return table


def _try(source: Source, batch: int, height: int, width: int, remedy: str) -> None:
    """Run the network on noise; refuse it with one line that gives the shapes of its inputs and outputs."""
    generator = torch.Generator().manual_seed(0)

    assert source.color is not None
    conditioning = source.color.conditioning

    def noise(*shape: int) -> Tensor:
        low, high = source.value_range if conditioning == "rgb" or len(shape) == 4 else (-1.0, 1.0)
        return torch.rand(shape, generator=generator) * (high - low) + low

    image = noise(batch, 3, height, width)
    if conditioning == "vocabulary":
        last = len(source.palette) - 1
        condition, known = torch.arange(batch).neg().add(last).clamp(min=0), f" up to {last}"
    else:
        condition, known = noise(batch, source.color.embedding.dim if source.color.embedding else 3), ""
    try:
        with torch.no_grad():
            colored = source.module(image, condition)
    except Exception as error:  # noqa: BLE001 - foreign code; each of its errors becomes one line
        cause: Exception | None = error
        gave = f"raised {type(error).__name__}: {reason_of(error)}"
    else:
        cause = None
        if not isinstance(colored, Tensor):
            gave = f"gave {type(colored).__name__}"
        elif (colored.dtype, colored.shape) != (image.dtype, image.shape):
            gave = f"gave {describe(colored)}"
        elif not colored.isfinite().all():
            gave = "gave NaN or infinite values"
        else:
            return
    raise UsageError(
        f"{source.network} {gave}, run on an image {describe(image)} and a condition {describe(condition)}{known}; "
        f"expected {describe(image)}",
        remedy=remedy,
    ) from cause
