"""A program of ``torch.export``, a ``.pt2`` file, that holds a whole network: its graph, its weights, its free extents.

Reading such a file unpickles parts of it, and its graph may name any operator of an installed package. So a program can
run any code, and is read only where its maker is trusted.
"""

import hashlib
import io
import warnings
from pathlib import Path
from typing import Any

import torch
from torch import Tensor, nn

from polyexport.errors import CheckpointError, UsageError, check_memory, reason_of
from polyexport.export.source.source import Source, ValueRange
from polyexport.export.source.weights import describe
from polyexport.imaging.pixels import MAX_TRAINING_SIZE
from polyexport.model.conditions.fields import ConditionFields, ImageFields
from polyexport.model.result import SCALES, ResultFields
from polyexport.storage.files import read_limited

__all__ = ["PROGRAM_SUFFIX", "load_program"]

PROGRAM_SUFFIX = ".pt2"

_MAX_BYTES = 1 << 33
_SIZE = 256
_AGAIN = "export the program again with torch.export.export(network.eval(), (image,), dynamic_shapes=...)"


def load_program(
    path: Path,
    *,
    trust: bool = False,
    value_range: ValueRange | None = None,
    output_range: ValueRange | None = None,
    size: int | None = None,
) -> Source:
    """Load a program of ``torch.export`` as a source, and run it once.

    Its first input is the image, float32 [B, C, H, W]; further inputs of that rank are second pictures. Extents that
    the program leaves free stay free, with the multiples that it asks for; the others are fixed.

    Args:
        path: The file.
        trust: Read the file, which can run any code.
        value_range: Value range of the image.
        output_range: Value range of the output; that of the image if None.
        size: Height and width of the training images, pixels, where the program leaves them free.

    Raises:
        UsageError: The program is not trusted, or its value range is not given.
        CheckpointError: It cannot be read, or is not one from an image to an image.
    """
    if not trust:
        raise UsageError(
            f"{path} is a program of torch.export, and reading one can run any code that its maker put there",
            remedy="add --trust-program if you trust its maker; a state dict and package.module:Class need no trust",
        )
    if value_range is None:
        raise UsageError(
            f"{path} does not say which values its image has", remedy="give --value-range, such as 0..1 or -1..1"
        )
    try:
        data = read_limited(path, _MAX_BYTES)
    except (OSError, ValueError) as error:
        reason = getattr(error, "strerror", None) or reason_of(error)
        raise CheckpointError(f"{path} cannot be read ({reason})", remedy="give a .pt2 file") from error
    program = _read(data, path)
    shapes = _input_shapes(program, path)
    (_, image), *others = shapes.items()
    batch, channels, height, width = image
    if channels not in (1, 3, 4) or (isinstance(batch, int) and batch != 1):
        raise CheckpointError(
            f"{path} takes {_said(image)}, expected [batch, 1, 3 or 4, height, width] with a free batch, or one of 1",
            remedy=_AGAIN,
        )
    fixed = isinstance(height, int) and isinstance(width, int)
    if isinstance(height, int) != isinstance(width, int) or (not fixed and height == width):
        raise CheckpointError(
            f"{path} takes {_said(image)}, expected a height and a width that are both free, or both fixed",
            remedy=_AGAIN,
        )
    conditions = tuple(_picture(name, shape, image, path) for name, shape in others)
    if fixed:
        multiple, smallest, training = 1, 1, (int(height), int(width))
    else:
        steps = [_step(extent, program) for extent in (height, width)]
        multiple = max(step for step, _ in steps)
        smallest = max(least for _, least in steps)
        if any(multiple % step for step, _ in steps):
            raise CheckpointError(f"{path} takes multiples of {steps[0][0]} by {steps[1][0]} pixels", remedy=_AGAIN)
        side = size or -(-max(_SIZE, smallest) // multiple) * multiple
        if side % multiple or not smallest <= side <= MAX_TRAINING_SIZE:
            raise UsageError(
                f"{path} takes multiples of {multiple} from {smallest} to {MAX_TRAINING_SIZE} pixels, got {side}",
                remedy="give one with --size",
            )
        training = (side, side)
    module = _Program(program)
    return Source(
        module=module,
        conditions=conditions,
        image_channels=int(channels),
        result=_result(module, image, conditions, training, path),
        value_range=value_range,
        output_range=output_range or value_range,
        size_multiple=multiple,
        smallest_size=smallest,
        training_size=training[0],
        training_width=training[1] if training[1] != training[0] else 0,
        fixed_size=fixed,
        batch_one=isinstance(batch, int),
        network=path.name,
        sha256=hashlib.sha256(data).hexdigest(),
    )


def _read(data: bytes, path: Path) -> torch.export.ExportedProgram:
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            return torch.export.load(io.BytesIO(data))
    except Exception as error:  # a damaged file can raise any exception
        check_memory(error, "reading the program")
        raise CheckpointError(
            f"{path} is not a program of torch.export that this torch {torch.__version__} reads ({reason_of(error)})",
            remedy=_AGAIN,
        ) from error


def _input_shapes(program: torch.export.ExportedProgram, path: Path) -> dict[str, tuple[Any, ...]]:
    """Return the shape of each input by its name; an extent is a number, or a symbolic one where it is free."""
    names = program.graph_signature.user_inputs
    values = {node.name: node.meta.get("val") for node in program.graph.nodes if node.op == "placeholder"}
    shapes = {}
    for name in names:
        value = values.get(name) if isinstance(name, str) else name
        if not isinstance(value, Tensor) or value.ndim != 4 or value.dtype != torch.float32:
            found = describe(value) if isinstance(value, Tensor) else type(value).__name__
            raise CheckpointError(
                f"{path} takes {name} as {found}, expected float32 images [batch, channels, height, width] alone",
                remedy="give the network as package.module:Class, with --weights, to say what its other inputs are",
            )
        shapes[str(name)] = tuple(each if isinstance(each, int) else each.node.expr for each in value.shape)
    if not shapes:
        raise CheckpointError(f"{path} takes no input, expected an image", remedy=_AGAIN)
    return shapes


def _picture(name: str, shape: tuple[Any, ...], image: tuple[Any, ...], path: Path) -> ConditionFields:
    """Return a further input as a second picture."""
    if (shape[0], *shape[2:]) != (image[0], *image[2:]):
        raise CheckpointError(f"{path} takes {name} as {_said(shape)} with an image {_said(image)}", remedy=_AGAIN)
    try:
        return ImageFields(name=name, channels=shape[1])
    except (TypeError, ValueError) as error:
        raise CheckpointError(f"{path}: {reason_of(error)}", remedy=_AGAIN) from error


def _step(extent: Any, program: torch.export.ExportedProgram) -> tuple[int, int]:
    """Return the multiple that a free extent has to be of, and its smallest value."""
    symbols = extent.free_symbols
    step = int(extent.as_coeff_Mul()[0]) if len(symbols) == 1 else 1
    lower = [int(bounds.lower) * step for key, bounds in program.range_constraints.items() if key in symbols]
    return max(1, step), max([1, *lower])


def _said(shape: tuple[Any, ...]) -> str:
    return f"[{', '.join(map(str, shape))}]"


class _Program(nn.Module):
    """A program as a module, which is what it was exported as: evaluation mode cannot be asked of it again."""

    def __init__(self, program: torch.export.ExportedProgram) -> None:
        super().__init__()
        self.program = program.module(check_guards=False).requires_grad_(False)

    def train(self, mode: bool = True) -> "_Program":
        self.training = mode
        return self

    def forward(self, image: Tensor, *pictures: Tensor) -> Tensor:
        result: Tensor = self.program(image, *pictures)
        return result


def _result(
    module: _Program,
    image: tuple[Any, ...],
    conditions: tuple[ConditionFields, ...],
    size: tuple[int, int],
    path: Path,
) -> ResultFields:
    """Run the program on noise, and return what it makes of an image."""
    generator = torch.Generator().manual_seed(0)
    channels = [int(image[1]), *(fields.channels for fields in conditions if isinstance(fields, ImageFields))]
    inputs = [torch.rand((1, count, *size), generator=generator) for count in channels]
    try:
        with torch.no_grad():
            output: object = module(*inputs)
    except Exception as error:
        check_memory(error, "running the program")
        raise CheckpointError(f"{path} fails on {describe(inputs[0])} ({reason_of(error)})", remedy=_AGAIN) from error
    if not isinstance(output, Tensor) or output.ndim != 4 or output.dtype != torch.float32:
        found = describe(output) if isinstance(output, Tensor) else type(output).__name__
        raise CheckpointError(f"{path} makes {found}, expected a float32 image", remedy=_AGAIN)
    ratios = {scale: tuple(int(ResultFields(scale=scale).ratio * side) for side in size) for scale in SCALES}
    scale = next((scale for scale, made in ratios.items() if made == tuple(output.shape[2:])), None)
    if scale is None or output.shape[1] not in (1, 3, 4):
        raise CheckpointError(
            f"{path} makes {describe(output)} of {describe(inputs[0])}, expected an image of 1, 3 or 4 channels at one "
            f"of the scales {', '.join(SCALES)}",
            remedy=_AGAIN,
        )
    return ResultFields(scale=scale, channels=output.shape[1])
