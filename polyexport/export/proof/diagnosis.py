"""Search for reasons why a right graph cannot equal a network, by experiments with the network itself.

It may be random, change itself, mix the images of a batch, branch on what tracing froze, or jump where values are
nearly equal. Each reason has a remedy of its own.
"""

import contextlib
import copy
from collections.abc import Iterator, Sequence
from dataclasses import dataclass

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor, nn

from polyexport.errors import reason_of
from polyexport.export.graph.trace import Traced, float_output
from polyexport.export.proof.cause import Cause, program_values
from polyexport.export.proof.local_cause import layer_of
from polyexport.export.source.source import Source
from polyexport.imaging.pixels import Pixels

__all__ = ["Diagnosis", "diagnose_network", "diagnose_sensitivity", "diagnose_tracing", "remedy_of"]

_NOTHING = "nothing was written"
_TOLERANCE = 1e-4  # largest difference of two outputs that counts as rounding, in units of half the output range
_CHANGE = 5e-7  # relative change of an input that float32 can hardly tell from none

_STEPS = (
    "argmax",
    "argmin",
    "topk",
    "sort",
    "gt",
    "lt",
    "ge",
    "le",
    "eq",
    "ne",
    "round",
    "floor",
    "ceil",
    "sign",
    "trunc",
)

_REMEDIES = {
    "GridSample": "take another mode, padding_mode or align_corners of grid_sample, which ONNX Runtime computes "
    "differently here, or F.interpolate where the grid is regular",
    "Resize": "take F.interpolate with mode bilinear or nearest, without antialias and with align_corners=False; ONNX "
    "Runtime computes this one differently",
    "ReduceMean": "take means over height and width as two axes, not over one flattened axis, and subtract a mean "
    "before differences are squared",
    "Sin": "bring the argument into a small range; float32 has no digits left at large arguments",
    "RandomUniformLike": "leave randomness out of forward in evaluation mode",
}
_ALIKE = {
    "ReduceSum": "ReduceMean", "GlobalAveragePool": "ReduceMean", "LayerNormalization": "ReduceMean", "Cos": "Sin",
    "GroupNormalization": "ReduceMean", "InstanceNormalization": "ReduceMean", "RandomNormalLike": "RandomUniformLike",
    "RandomUniform": "RandomUniformLike", "RandomNormal": "RandomUniformLike", "Dropout": "RandomUniformLike",
}  # fmt: skip


@dataclass(frozen=True, kw_only=True, slots=True)
class Diagnosis:
    """Cause of a failed proof, and what to do about it."""

    text: str
    remedy: str


def remedy_of(cause: Cause, stage: str) -> str:
    """Return what to do about a wrong node of a stage, such as ``raw``."""
    known = _REMEDIES.get(_ALIKE.get(cause.operator, cause.operator))
    if known:
        return f"{_NOTHING}; {known}"
    tool = {"raw": "export with another version of torch", "palette": "export without --palette"}
    return f"{_NOTHING}; {tool.get(stage, 'export with another version of onnxsim')}"


def diagnose_network(source: Source, images: Sequence[Pixels], colors: NDArray[np.generic]) -> Diagnosis | None:
    """Run a copy of the network twice on the same image, and on the image beside another one.

    Args:
        source: The network.
        images: Two images of one size, uint8 [H, W, 3].
        colors: Two conditions as ``Condition.proof_rows`` has them, [2, ...].

    Returns:
        A diagnosis if the network is random, changes itself, or mixes the images of a batch.
    """
    try:
        run = _Run(source, source.module)
        changed = run.changed_buffers(images[:1], colors[:1])
        with torch.random.fork_rng(devices=[]):
            torch.manual_seed(0)
            first = run(images[:1], colors[:1])
            second = run(images[:1], colors[:1])
            torch.manual_seed(0)
            first_again = run(images[:1], colors[:1])
    except Exception:  # noqa: BLE001 - a network that takes no single image, or cannot be copied
        return None
    if (difference := run.difference(first, second)) > 0:
        again = f"the network gives another output for the same input: two runs differ by {difference:.3g}"
        if run.difference(first, first_again) == 0:
            return Diagnosis(
                text=f"{again}, because it draws random numbers",
                remedy=f"{_NOTHING}; leave randomness out of forward in evaluation mode: F.dropout with "
                "training=self.training, noise only while self.training",
            )
        what = f"its buffer {changed[0]}" if changed else "its own state"
        return Diagnosis(
            text=f"{again}, because forward changes {what}",
            remedy=f"{_NOTHING}; change nothing of self in forward unless self.training",
        )
    with contextlib.suppress(Exception):
        beside = run(images[:2], colors[:2])[:1]
        if (difference := run.difference(first, beside)) > _TOLERANCE:
            return Diagnosis(
                text="the output for an image depends on the other images of its batch: it differs by "
                f"{difference:.3g}",
                remedy=f"{_NOTHING}; give F.batch_norm training=self.training, and take means over height and width "
                "without the batch",
            )
    return None


def diagnose_tracing(
    source: Source, traced: Traced, image: Pixels, colors: NDArray[np.generic], rows: NDArray[np.generic]
) -> Diagnosis | None:
    """Compare the traced program with the network, in batches of one and two, at an image's size and the traced size.

    Args:
        source: The network.
        traced: Its program.
        image: uint8 [H, W, 3], of a size that the network takes.
        colors: Two conditions of the network, [2, ...].
        rows: The same two as the program takes them, [2, ...].

    Returns:
        A diagnosis if the program fails or is another function; None if it is the network.
    """
    height, width = image.shape[:2]
    size, multiple = source.training_size, source.size_multiple
    example = (size, size) if source.fixed_size else (2 * multiple, 3 * multiple)
    own = _Traced(source, traced)
    faults = {
        (count, place): own.fault(_repeated(image, count, *place), colors[:count], rows[:count])
        for count in (1, 2)
        for place in dict.fromkeys(((height, width), example))
    }
    here = [count for count in (1, 2) if faults[count, (height, width)]]
    if not here:
        return None
    fault = faults[here[0], (height, width)]
    where = f"on batch {here[0]} of {width}x{height} pixels"
    if faults[2, example]:
        return Diagnosis(
            text=f"{fault} {where}, and so it is at the size and batch that it was traced with",
            remedy=f"{_NOTHING}; let forward compute the same while it is traced: no torch.compiler.is_exporting, and "
            "no branch on values",
        )
    if not faults[2, (height, width)]:
        return Diagnosis(
            text=f"{fault} {where}, and not with the two images that it was traced with: its batch is frozen",
            remedy=f"{_NOTHING}; take the batch from image.shape[0], without a loop over the images of a batch, len() "
            "or list(x.shape)",
        )
    return Diagnosis(
        text=f"{fault} {where}, and not at {example[1]}x{example[0]}, the size that it was traced at: a branch or a "
        "number of forward depends on the size and was frozen",
        remedy=f"{_NOTHING}; compute with image.shape as it is, without int(), float() or `if` on it, or export for "
        "one size, without --size-multiple",
    )


def diagnose_sensitivity(
    source: Source, traced: Traced, images: Sequence[Pixels], colors: NDArray[np.generic]
) -> Diagnosis | None:
    """Run the network in float64, and on an image with changes that float32 can hardly tell.

    Returns:
        A diagnosis if either moves the output by more than rounding, so that no other program can give the same output.
    """
    run = _Run(source, source.module)
    first = run(images[:1], colors[:1])
    generator = torch.Generator().manual_seed(0)
    moved = [run.difference(first, run(images[:1], colors[:1], noise=generator))]
    with contextlib.suppress(Exception):  # a network that names float32 does not run in float64
        moved.append(run.difference(first, _Run(source, source.module, torch.float64)(images[:1], colors[:1])))
    if (difference := max(moved)) <= _TOLERANCE / 2:
        return None
    text = f"the network turns rounding into differences of {difference:.3g}"
    for node in traced.program.graph.nodes:
        operator = str(node.target).removeprefix("aten.").split(".")[0]
        if node.op == "call_function" and operator in _STEPS:
            layer = layer_of(traced.program, node.name)
            place = f"tensor {node.name}, submodule {layer}" if layer else f"tensor {node.name}"
            return Diagnosis(
                text=f"{text}; its {operator} ({place}) jumps where values are nearly equal",
                remedy=f"{_NOTHING}; make it smooth, such as a sigmoid instead of a comparison or softmax instead of "
                "argmax",
            )
    return Diagnosis(
        text=f"{text}, already in PyTorch",
        remedy=f"{_NOTHING}; look in forward for a division by a small number, a large factor or a function of a large "
        "argument",
    )


class _Run:
    """A copy of the network, so that experiments leave the network as it is."""

    def __init__(self, source: Source, module: nn.Module, dtype: torch.dtype = torch.float32) -> None:
        self._source, self._dtype = source, dtype
        self._module = copy.deepcopy(module).to(dtype)

    def __call__(
        self, images: Sequence[Pixels], colors: NDArray[np.generic], noise: torch.Generator | None = None
    ) -> Tensor:
        planes = self._source.scaled(torch.from_numpy(np.stack(images)).permute(0, 3, 1, 2).contiguous())
        if noise is not None:
            planes = planes * (1 + _CHANGE * (2 * torch.rand(planes.shape, generator=noise) - 1))
        condition = self._source.condition_tensor(np.array(colors))
        with torch.inference_mode():
            exact = condition.to(self._dtype) if condition.is_floating_point() else condition
            result: Tensor = self._module(planes.to(self._dtype), exact)
        return result.double()

    def difference(self, one: Tensor, other: Tensor) -> float:
        """Largest difference of two outputs, in units of half the output range."""
        low, high = self._source.output_range
        return float((one - other).abs().max()) * 2 / (high - low)

    def changed_buffers(self, images: Sequence[Pixels], colors: NDArray[np.generic]) -> list[str]:
        """Names of the buffers and parameters that a run changes."""
        before = {name: value.clone() for name, value in self._tensors()}
        self(images, colors)
        return [name for name, value in self._tensors() if name in before and not torch.equal(value, before[name])]

    def _tensors(self) -> Iterator[tuple[str, Tensor]]:
        yield from self._module.named_buffers()
        yield from self._module.named_parameters()


class _Traced:
    """A program beside the network that it was traced from."""

    def __init__(self, source: Source, traced: Traced) -> None:
        self._run, self._traced = _Run(source, source.module), traced
        self._output = float_output(traced.model, source)

    def fault(self, images: Sequence[Pixels], colors: NDArray[np.generic], rows: NDArray[np.generic]) -> str:
        """Describe how the program differs from the network on a batch; empty if it does not, or the network fails."""
        try:
            true = self._run(images, colors)
        except Exception:  # noqa: BLE001 - not a size that the network takes
            return ""
        try:
            values = program_values(self._traced.program, np.stack(images), rows)
        except Exception as error:  # noqa: BLE001 - a guard that the tracer wrote, or an operator's own error
            return f"the traced program itself fails ({reason_of(error)})"
        found = torch.from_numpy(values[self._output]).double()
        difference = self._run.difference(true, found) if found.shape == true.shape else np.inf
        return f"the traced program differs from the network by {difference:.3g}" if difference > _TOLERANCE else ""


def _repeated(image: Pixels, count: int, height: int, width: int) -> list[Pixels]:
    """Images of a size, cut from one that is repeated; each is turned once more than the one before."""
    rows, columns = -(-height // image.shape[0]), -(-width // image.shape[1])
    tiled = np.tile(image, (rows, columns, 1))[:height, :width]
    return [np.ascontiguousarray(tiled[:: -1 if number % 2 else 1]) for number in range(count)]
