"""Networks that are named by their import path, ``package.module:Class``, and a file of weights.

The file of weights is untrusted, and nothing in it is run. The class is trusted; see ``construct``.
"""

import difflib
from dataclasses import replace

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from polyexport.errors import CheckpointError, ColorError, UsageError
from polyexport.export.source.condition_spec import ConditionSpec
from polyexport.export.source.construct import construct
from polyexport.export.source.discover import discover
from polyexport.export.source.fit import fit_weights
from polyexport.export.source.folding import fold_reparametrizations
from polyexport.export.source.forward import bind
from polyexport.export.source.source import Source
from polyexport.export.source.spec import NetworkSpec
from polyexport.export.source.texts import color_name, expect, unique
from polyexport.export.source.weights import Weights, describe, read_weights
from polyexport.imaging.color import parse_color
from polyexport.model.conditions.fields import (
    MAX_EMBEDDING_DIM,
    ColorFields,
    ConditionFields,
    Embedding,
    Palette,
)

__all__ = ["load_network"]


def load_network(spec: NetworkSpec) -> Source:
    """Import the class, build it, load the weights, and find out by trial runs what nobody said about it.

    Raises:
        UsageError: a class, an argument, a submodule, a color or a size that the network does not have, or something
            that cannot be known and has to be said.
        CheckpointError: weights that cannot be read or do not fit.
    """
    module = construct(spec.network, spec.arguments)
    if spec.embedding:
        names = [name for name, _ in module.named_modules() if name]
        near = difflib.get_close_matches(spec.embedding, names, n=3) or names[:3]
        expect(
            spec.embedding in names,
            f"{spec.network} has no submodule {spec.embedding!r}",
            f"did you mean {', '.join(near)}?" if near else "leave embedding out",
        )
    weights = read_weights(spec.weights)
    call = bind(spec, module, names_colors=bool(weights.color_mappings))
    colored = next((each for each in call.conditions if each.kind == "color"), None)
    conditioning = spec.conditioning or ("vocabulary" if spec.colors or weights.color_mappings else "rgb")
    named = colored is not None and (conditioning == "vocabulary" or bool(spec.embedding_table))
    palette = _palette(spec, weights) if named else ()
    fitted = fit_weights(module, weights, key=spec.weights_key, apart=spec.embedding_table)
    fold_reparametrizations(module)
    table = _table(spec, weights, palette, fitted.table) if fitted.table is not None else None
    vectors = Embedding.from_table(table) if table is not None else None
    if vectors is None and spec.embedding_dim:
        vectors = Embedding(dim=spec.embedding_dim)
    color = ColorFields(
        name="" if colored is None or colored.name == "color" else colored.name,
        conditioning=conditioning,
        palette=palette,
        color_input="embedding" if vectors else "color",
        embedding=vectors,
    )
    fields = tuple(_fields(condition, color) for condition in call.conditions)
    source = discover(spec, module, call, fields, sha256=weights.sha256)
    return replace(source, weights_key=fitted.key, remarks=(*fitted.remarks, *source.remarks))


def _fields(condition: ConditionSpec, color: ColorFields) -> ConditionFields:
    return condition.fields() or color


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
