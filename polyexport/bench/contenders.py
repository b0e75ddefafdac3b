"""Programs that do one call of the network in this process: PyTorch, OpenVINO, and the file of another exporter.

The work turns one uint8 image [1, H, W, C] in host memory, and its conditions, into a uint8 image in host memory.
"""

import importlib
import importlib.util
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal, get_args

import numpy as np
from numpy.typing import NDArray
from PIL import Image

from polyexport.bench.foreign import foreign_loop
from polyexport.errors import UsageError
from polyexport.model.contract import IMAGE_INPUT, Contract
from polyexport.model.model import Model
from polyexport.runtime.cores import granted_cores
from polyexport.runtime.providers.openvino import openvino_core

__all__ = [
    "CALLED",
    "CalledName",
    "Contender",
    "Work",
    "call_contender",
    "check_called",
    "plain_results",
    "versions_of",
]

CalledName = Literal["torch", "torch-compile", "openvino", "torch-per-image"]
CALLED: tuple[CalledName, ...] = get_args(CalledName)
"""Names of the programs that are compared call by call."""

Pixels4 = NDArray[np.uint8]
Call = Callable[[], Pixels4]


@dataclass(frozen=True, slots=True)
class Work:
    """One call of a model, and where it came from."""

    path: Path
    """Model file."""

    checkpoint: Path | None
    """Checkpoint that the model was exported from, for programs that run PyTorch."""

    contract: Contract
    inputs: tuple[NDArray[Any], ...]
    """The images, uint8 [N, H, W, C], and the rows of each condition; an axis of colors has one element."""

    @property
    def batch(self) -> int:
        """Largest number of images in a call of a rival, as in ``benchmarks/rivals/``."""
        return 1 if self.contract.batch_one else 8

    @property
    def feeds(self) -> dict[str, NDArray[Any]]:
        """Inputs of the graph by name."""
        names = [IMAGE_INPUT, *(condition.name for condition in self.contract.built_conditions())]
        return dict(zip(names, self.inputs, strict=True))


@dataclass(frozen=True, slots=True)
class Contender:
    """A program that does the work in this process."""

    name: str
    how: str
    """Description of what is called, and with which options."""

    versions: str
    call: Call
    """Do the work once: uint8 [N, H, W, C], or [N, K, H, W, C] of a palette graph."""


def check_called(names: Sequence[str], checkpoint: Path | None) -> None:
    """Refuse programs that cannot be compared, before anything is measured.

    Args:
        names: names of ``CALLED``; others are left to whoever knows them.
        checkpoint: the checkpoint that was given.

    Raises:
        UsageError: a program needs a package or a checkpoint that is missing.
    """
    for name in names:
        if name.startswith("torch"):
            if importlib.util.find_spec("torch") is None:
                raise UsageError(f"{name} needs PyTorch", remedy="pip install 'polyexport[export]', or leave it out")
            if checkpoint is None:
                raise UsageError(
                    f"{name} needs the network that the model was exported from", remedy="give --checkpoint"
                )
        if name.startswith("openvino") and importlib.util.find_spec("openvino") is None:
            raise UsageError(f"{name} needs OpenVINO", remedy="pip install 'polyexport[openvino]', or leave it out")


def call_contender(name: str, work: Work, model: Model) -> Contender:
    """Build a program of ``CALLED``, or the loop around an ONNX file.

    Args:
        name: a name of ``CALLED``, or the path of an ONNX file.
        work: the work, of one image.
        model: the model, for the results that tell how the ONNX file is used.

    Raises:
        UsageError: the program cannot do the work of this model.
    """
    return _BUILD[name](name, work) if name in _BUILD else _foreign(name, work, model)


def _torch(name: str, work: Work) -> Contender:
    import torch

    from polyexport.export.source.load import load_source

    torch.set_num_threads(granted_cores())
    assert work.checkpoint is not None  # check_available
    source = load_source(work.checkpoint)
    image, *rows = work.inputs
    rows = [row[:, 0] if work.contract.many_colors else row for row in rows]
    taken, wanted = ([row.dtype for row in rows], [condition.dtype for condition in source.built_conditions()])
    if taken != wanted:
        raise UsageError(
            f"the model takes {', '.join(map(str, taken))}, and {name} takes {', '.join(map(str, wanted))}",
            remedy="compare a model that takes what its network takes, exported with --color-input color",
        )
    module: Any = source.module.eval()
    low, high = source.output_range
    if name == "torch-compile":
        module = torch.compile(module)

    def network(pixels: torch.Tensor) -> torch.Tensor:
        colored: torch.Tensor = module(pixels, *source.condition_tensors(tuple(rows)))
        return ((colored - low) * (255 / (high - low))).round().clamp(0, 255).to(torch.uint8)

    @torch.inference_mode()
    def call() -> Pixels4:
        pixels = source.scaled(torch.from_numpy(image)).permute(0, 3, 1, 2).contiguous()
        return network(pixels).permute(0, 2, 3, 1).numpy()

    @torch.inference_mode()
    def call_per_image() -> Pixels4:
        colored = []
        for one in image:
            picture = Image.fromarray(one[..., 0] if one.shape[2] == 1 else one)
            levels = torch.from_numpy(np.array(picture).reshape(one.shape))
            pixels = source.scaled(levels).permute(2, 0, 1).unsqueeze(0)
            made = network(pixels)[0].permute(1, 2, 0).numpy()
            shown = Image.fromarray(made[..., 0] if made.shape[2] == 1 else made)
            colored.append(np.asarray(shown).reshape(made.shape))
        return np.stack(colored)

    how = {
        "torch": "eager, float32, inference mode",
        "torch-compile": "torch.compile with its defaults, float32, inference mode",
        "torch-per-image": "eager, float32, one image at a time, from a Pillow image to a Pillow image",
    }[name]
    return Contender(name, how, versions_of("torch"), call_per_image if name == "torch-per-image" else call)


def _openvino(name: str, work: Work) -> Contender:
    compiled = openvino_core().compile_model(str(work.path), "CPU", {"PERFORMANCE_HINT": "LATENCY"})
    feeds = work.feeds
    output = compiled.output(work.contract.output_name)

    def call() -> Pixels4:
        return np.array(compiled(feeds)[output])

    return Contender(name, "compile_model with the hint LATENCY, called directly", versions_of("openvino"), call)


def _foreign(name: str, work: Work, model: Model) -> Contender:
    expected = model.run(*work.inputs)
    loop = foreign_loop(Path(name), work.feeds, IMAGE_INPUT, expected.reshape(-1, *expected.shape[-3:]))
    return Contender(Path(name).name, loop.how, versions_of("onnxruntime", "numpy"), loop.call)


def plain_results(work: Work) -> Pixels4:
    """Do the work once on ONNX Runtime's CPU provider with its defaults, for the results that others are compared with.

    Returns:
        uint8 [N, H, W, C], or [N, K, H, W, C] of a palette graph.
    """
    import onnxruntime as ort

    session = ort.InferenceSession(str(work.path), providers=["CPUExecutionProvider"])
    parts = [
        {name: value[first : first + work.batch] for name, value in work.feeds.items()}
        for first in range(0, len(work.inputs[0]), work.batch)
    ]
    return np.concatenate([session.run([work.contract.output_name], part)[0] for part in parts])


def versions_of(*modules: str) -> str:
    """Versions of modules as they tell them themselves: the packages of ONNX Runtime have several names."""
    return ", ".join(f"{name} {importlib.import_module(name).__version__.partition('-')[0]}" for name in modules)


_BUILD: dict[str, Callable[[str, Work], Contender]] = {
    "torch": _torch,
    "torch-compile": _torch,
    "openvino": _openvino,
    "torch-per-image": _torch,
}
