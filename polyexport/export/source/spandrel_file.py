"""A file of weights alone, whose network spandrel recognizes by the names and shapes of its tensors.

The file is untrusted. It is read by ``polyexport.export.source.weights_file``, and nothing in it is run; spandrel gets
its tensors. spandrel's code is trusted, as every installed package is.
"""

import contextlib
import math
import re
import sys
from collections.abc import Iterator, Mapping
from pathlib import Path
from types import ModuleType
from typing import Any

import torch
from torch import Tensor, nn

from polyexport.errors import CheckpointError, UsageError, check_memory, reason_of
from polyexport.export.source.source import UNIT, Source
from polyexport.export.source.weights import Weights, describe, first_names, read_weights
from polyexport.imaging.pixels import MAX_TRAINING_SIZE
from polyexport.model.conditions.fields import ConditionFields, ImageFields, NumberFields
from polyexport.model.result import ResultFields

__all__ = ["import_spandrel", "load_spandrel_file"]

_INSTALL = "pip install 'polyexport[spandrel]'"
_OTHERWISE = "give the network as package.module:Class, with --weights for this file"

_MAX_INDEX = 9999
"""Largest index in a name. spandrel counts the layers of a network by it."""

_INDEX = re.compile(r"(?:^|\.)([0-9]{5,})(?=\.|$)")
_AVERAGED = re.compile(r"ema|averag", re.IGNORECASE)

_WINDOWS = ("window_size", "win_size", "split_size", "stripe_size", "patch_size")
"""Hyperparameters, as spandrel keeps them, that give the sides of windows which an image is cut into, pixels."""

_BATCH_ONE = frozenset(
    "ATD CRAFT DAT DCTLSA DRCT DRUNet GRL HAT IPT RGT SCUNet Swin2SR SwinIR Uformer".split()  # noqa: SIM905
)
"""Architectures whose code reads the batch as a number, so that every trace freezes it; trying takes minutes."""

_FIXED_SIZE = frozenset(("GFPGAN", "IPT", "Uformer"))
"""Architectures that take one size alone, or whose code reads the size as a number."""

_TRAINED_ON = {"SR": 64, "FaceSR": 512, "Restoration": 128, "Inpainting": 256}
"""spandrel's purpose of a network -> height and width of the images that such networks are trained on, pixels."""

_TRIAL_SIZE = 16
"""Smallest height of the noise that a network is tried on, pixels."""

_NOISE_LEVEL = NumberFields(name="noise_level", minimum=0, maximum=75, default=15, unit="levels")


def load_spandrel_file(path: Path, *, weights_key: str = "", size: int | None = None) -> Source:
    """Load a network from a file of weights, and run it once.

    Args:
        path: The file; where its state dict stands in it, and under which prefix, is found out.
        weights_key: Name of the set of weights; empty if the file leaves no choice but that between weights and their
            moving average, which is then taken.
        size: Height and width of the training images, pixels; None for what is usual for the network's purpose.

    Raises:
        UsageError: spandrel is not installed, there is no such set of weights, several are recognized, or the size is
            not one that the network takes.
        CheckpointError: the file cannot be read, spandrel does not know the network, or it cannot be exported.
    """
    spandrel = import_spandrel()
    weights = read_weights(path)
    key, model, remarks = _recognized(spandrel, weights, weights_key)
    name = model.architecture.id
    module = _Called(model, masked=isinstance(model, spandrel.MaskedImageModelDescriptor))
    multiple = _size_multiple(model)
    smallest = max(1, int(model.size_requirements.minimum))
    training_size = size or min(MAX_TRAINING_SIZE, -(-max(_TRAINED_ON[model.purpose], smallest) // multiple) * multiple)
    if training_size % multiple or not smallest <= training_size <= MAX_TRAINING_SIZE:
        raise UsageError(
            f"{name} in {path} takes multiples of {multiple} from {smallest} to {MAX_TRAINING_SIZE} pixels, got {size}",
            remedy="give one with --size, or leave it out",
        )
    what = f"{model.scale} times the size" if model.scale > 1 else "the same size"
    source = Source(
        module=module,
        conditions=module.conditions,
        image_channels=model.input_channels,
        result=ResultFields(scale=str(model.scale), channels=model.output_channels),
        value_range=UNIT,
        output_range=UNIT,
        size_multiple=multiple,
        smallest_size=smallest,
        training_size=training_size,
        fixed_size=name in _FIXED_SIZE or model.size_requirements.square,
        batch_one=name in _BATCH_ONE,
        network=f"spandrel:{name}",
        sha256=weights.sha256,
        weights_key=key,
        remarks=(f"spandrel recognized {name} ({', '.join((what, *model.tags))})", *remarks),
    )
    _try(source, module, path)
    return source


def import_spandrel() -> ModuleType:
    """Import spandrel, also where torchvision is missing or does not fit the installed torch.

    Raises:
        UsageError: spandrel or what it needs is missing.
    """
    try:
        with _torchvision():
            import spandrel
    except ModuleNotFoundError as error:
        if error.name != "spandrel":
            raise UsageError(
                f"spandrel needs {error.name}, which is missing", remedy=f"install it: {_INSTALL}"
            ) from error
        raise UsageError(
            "a file of weights alone needs spandrel, which recognizes its network and is not installed",
            remedy=f"{_INSTALL}, or {_OTHERWISE}",
        ) from error
    except Exception as error:
        raise UsageError(f"spandrel cannot be imported ({reason_of(error)})", remedy=f"{_INSTALL} again") from error
    found: ModuleType = spandrel
    return found


@contextlib.contextmanager
def _torchvision() -> Iterator[None]:
    """Let spandrel be imported where torchvision is missing or does not fit the installed torch.

    torchvision on PyPI is built for CUDA and cannot be imported beside a torch for the CPU. spandrel takes two
    functions from it: one that is written here, and one for a layer that none of its networks has.
    """
    try:
        import torchvision.transforms.functional  # noqa: F401
    except Exception:  # noqa: BLE001 - a build that does not fit raises any error
        for name in [name for name in sys.modules if name.partition(".")[0] == "torchvision"]:
            del sys.modules[name]  # what was imported of it before it failed
    else:
        yield
        return
    functions = ModuleType("torchvision.transforms.functional")
    functions.__dict__.update(normalize=_normalize, rotate=None, InterpolationMode=None)
    stand_ins = {name: ModuleType(name) for name in ("torchvision", "torchvision.transforms")}
    sys.modules.update(stand_ins | {functions.__name__: functions})
    try:
        yield
    finally:
        for name in (*stand_ins, functions.__name__):
            sys.modules.pop(name, None)


def _normalize(image: Tensor, mean: list[float], std: list[float]) -> Tensor:
    """Subtract the means of the channels and divide by their deviations: float [B, C, H, W] in and out."""
    return (image - image.new_tensor(mean)[:, None, None]) / image.new_tensor(std)[:, None, None]


def _recognized(spandrel: ModuleType, weights: Weights, wanted: str) -> tuple[str, Any, list[str]]:
    """Return the set of weights whose network spandrel knows: its name, spandrel's descriptor, and remarks on it."""
    sets = _sets(weights, wanted)
    found = {key: kind for key, tensors in sets.items() if (kind := _detected(spandrel, tensors)) is not None}
    if not found:
        raise CheckpointError(
            f"spandrel does not know the network of {weights.path}, whose tensors are "
            f"{first_names(next(iter(sets.values())))}",
            remedy=_OTHERWISE,
        )
    averaged = [key for key in found if _AVERAGED.search(key)]
    others = [key for key in found if key not in averaged]
    if len(averaged) > 1 or (not averaged and len(others) > 1):
        raise UsageError(
            f"{weights.path} holds {len(found)} sets of weights whose network spandrel knows: {first_names(found)}",
            remedy=f"name one with --weights-key, such as {next(iter(found))}",
        )
    (key,) = averaged or others
    remarks = [f"took {key}, the moving average, and not {first_names(others)}"] if averaged and others else []
    support, tensors = found[key]
    try:
        # Random values outside of the state dict have to be equal in every export.
        with torch.random.fork_rng(devices=[]):
            torch.manual_seed(0)
            model = support.architecture.load(dict(tensors))
    except Exception as error:  # spandrel relies on shapes that the file may not have
        check_memory(error, "building the network")
        raise CheckpointError(
            f"{weights.path} looks like {support.architecture.id} and does not fit it ({reason_of(error)})",
            remedy=_OTHERWISE,
        ) from error
    for name, tensor in tensors.items():
        if tensor.is_floating_point() and not tensor.isfinite().all():
            raise CheckpointError(
                f"{weights.path} holds NaN or infinite values in {first_names([name])}",
                remedy="give weights of a training that did not diverge",
            )
    model.model.float().eval().requires_grad_(False)
    return key, model, remarks


def _sets(weights: Weights, wanted: str) -> dict[str, dict[str, Tensor]]:
    """Return every set of tensors of the file by its name, each under the names that the network may have for them."""
    homes: dict[str, dict[str, Tensor]] = {}
    for full in weights.tensors:
        home = weights.homes.get(full, "")
        homes.setdefault(home[:-1] or ".", {})[full.removeprefix(home)] = weights.dense(full)
    for key, tensors in homes.items():
        for name in tensors:
            if any(int(index) > _MAX_INDEX for index in _INDEX.findall(name)):
                raise CheckpointError(f"{weights.path} holds {first_names([name])} in {key}", remedy=_OTHERWISE)
    if not wanted:
        return homes
    if wanted not in homes:
        raise UsageError(f"{weights.path} has no set of weights {wanted!r}", remedy=f"give one of {first_names(homes)}")
    return {wanted: homes[wanted]}


def _detected(spandrel: ModuleType, tensors: Mapping[str, Tensor]) -> tuple[Any, dict[str, Tensor]] | None:
    """Return what spandrel knows of a set of tensors, and the tensors under that network's names; None if nothing."""
    state = spandrel.canonicalize_state_dict(dict(tensors))
    while True:
        for support in spandrel.MAIN_REGISTRY.architectures("detection"):
            if support.detect(state):
                return support, state
        # Trainings put the names of their own modules before those of the network.
        first = {name.partition(".")[0] for name in state}
        if len(first) != 1 or any("." not in name for name in state):
            return None
        state = {name.partition(".")[2]: tensor for name, tensor in state.items()}


def _size_multiple(model: Any) -> int:
    """Return the number of pixels that height and width have to be a multiple of, for whole windows."""
    parameters = getattr(model.model, "hyperparameters", {})
    padded_to = getattr(model.model, "padder_size", 1)  # by NAFNet and KBNet themselves
    sides = [model.size_requirements.multiple_of, padded_to]
    for name in _WINDOWS:
        given = parameters.get(name, 1)
        sides += [side for side in (given if isinstance(given, list | tuple) else [given]) if side]
    return math.lcm(*map(int, sides))


class _Called(nn.Module):
    """A network of spandrel, called as spandrel calls it: float32 images and results in 0..1.

    Two things are not left to spandrel: the level of the noise is a condition of the networks that are told it, and
    random numbers are replaced by those stored with the weights.
    """

    def __init__(self, model: Any, *, masked: bool) -> None:
        super().__init__()
        self.network: nn.Module = model.model
        self._call = model._call_fn
        self._kind = model.architecture.id
        self._masked = masked
        self._leveled = self._kind == "DRUNet" or getattr(self.network, "mode", "") == "FDnCNN"
        for part in self.network.modules():
            if isinstance(getattr(part, "eval_conv", None), nn.Conv2d) and hasattr(part, "update_params"):
                part.update_params()  # several convolutions folded into one, which SPAN repeats in every call
                part.update_params = _nothing

    @property
    def conditions(self) -> tuple[ConditionFields, ...]:
        """Conditions that the network takes beside the image."""
        if self._masked:
            return (ImageFields(name="mask", channels=1),)
        return (_NOISE_LEVEL,) if self._leveled else ()

    def forward(self, image: Tensor, *conditions: Tensor) -> Tensor:
        return self.unclamped(image, *conditions).clamp(0, 1)

    def unclamped(self, image: Tensor, *conditions: Tensor) -> Tensor:
        """Return the result as the network gives it, which may leave 0..1."""
        result: Tensor
        if self._masked:
            result = self._call(self.network, image, (conditions[0] >= 0.5).to(image.dtype))
        elif self._leveled:
            plane = (conditions[0] / 255).reshape(-1, 1, 1, 1).expand_as(image[:, :1])
            result = self.network(torch.cat([image, plane], dim=1))
        elif self._kind == "GFPGAN":
            result = self.network(image, randomize_noise=False)[0]
        else:
            result = self._call(self.network, image)
        return result


def _nothing() -> None:
    """Do nothing, in place of a method whose work is done."""


def _try(source: Source, module: _Called, path: Path) -> None:
    """Run the network twice on noise; refuse it if it fails, makes no image of its scale, or draws random numbers."""
    multiple = source.size_multiple
    least = -(-max(_TRIAL_SIZE, source.smallest_size) // multiple) * multiple
    height, width = source.fixed_shape or (least, least + multiple)
    generator = torch.Generator().manual_seed(0)
    image = torch.rand((1, source.image_channels, height, width), generator=generator)
    conditions = tuple(
        torch.full((1,), 15.0) if fields.kind == "number" else (image[:, :1] > 0.5).to(torch.float32)
        for fields in source.conditions
    )
    outputs = []
    for _ in range(2):
        try:
            with torch.no_grad():
                outputs.append(module.unclamped(image.clone(), *conditions))  # some networks change their input
        except Exception as error:
            check_memory(error, "running the network")
            raise CheckpointError(
                f"{source.network} in {path} fails on {width}x{height} pixels ({reason_of(error)})", remedy=_OTHERWISE
            ) from error
    scale = source.result.ratio
    shape = (1, source.result.channels, int(scale * height), int(scale * width))
    if outputs[0].shape != shape:
        raise CheckpointError(
            f"{source.network} in {path} makes {describe(outputs[0])} of {describe(image)}, expected {list(shape)}",
            remedy=_OTHERWISE,
        )
    if not outputs[0].isfinite().all():
        raise CheckpointError(
            f"{source.network} in {path} makes NaN or infinite values", remedy="give weights that were trained"
        )
    if not torch.equal(*outputs):
        raise CheckpointError(
            f"{source.network} in {path} draws random numbers in every call, so no graph can repeat its results",
            remedy="give a network that makes the same picture of the same image",
        )
