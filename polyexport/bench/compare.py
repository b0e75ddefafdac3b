"""Comparison of polyexport with other programs on the same work, in turn, block by block.

The work turns a uint8 batch [N, H, W, 3] in host memory and a color into a uint8 batch in host memory. Differences are
from PyTorch's output if PyTorch is compared, else from that of ONNX Runtime's CPU provider in the model's precision.
"""

import importlib
import importlib.util
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from statistics import median
from typing import Any, Literal, get_args

import numpy as np
from numpy.typing import NDArray
from PIL import Image

from polyexport.bench.document import Compared
from polyexport.bench.foreign import foreign_loop
from polyexport.bench.inputs import checked_size, inputs
from polyexport.bench.measure import in_turn, warm_up
from polyexport.bench.scenarios.scenario import Settings
from polyexport.bench.statistics import WINDOWS, is_steady, ratio_interval
from polyexport.errors import PolyexportError, UsageError, reason_of
from polyexport.model.contract import IMAGE_INPUT, Contract
from polyexport.model.model import Model
from polyexport.runtime.cores import granted_cores
from polyexport.runtime.provider import provider_of
from polyexport.runtime.providers.openvino import openvino_core

__all__ = ["CONTENDERS", "ContenderName", "check_available", "compare", "is_onnx_file"]

ContenderName = Literal["torch", "torch-compile", "openvino", "onnxruntime-loop", "torch-per-image"]
CONTENDERS: tuple[ContenderName, ...] = get_args(ContenderName)

Pixels4 = NDArray[np.uint8]
Call = Callable[[], Pixels4]


@dataclass(frozen=True, slots=True)
class _Work:
    path: Path
    """Model file."""

    checkpoint: Path | None
    contract: Contract
    inputs: tuple[NDArray[Any], ...]
    """The image, uint8 [1, H, W, C], and the rows of each condition; an axis of colors has one element."""

    @property
    def feeds(self) -> dict[str, NDArray[Any]]:
        """Inputs of the graph by name."""
        names = [IMAGE_INPUT, *(condition.name for condition in self.contract.built_conditions())]
        return dict(zip(names, self.inputs, strict=True))


@dataclass(frozen=True, slots=True)
class _Contender:
    name: str
    how: str
    versions: str
    call: Call


def compare(
    model: Model,
    path: Path,
    names: Sequence[str],
    *,
    checkpoint: Path | None,
    macs: int,
    settings: Settings,
    progress: Callable[[str], None] = lambda line: None,
) -> tuple[Compared, ...]:
    """Measure polyexport and the named programs.

    Args:
        model: loaded for one call at a time on all cores.
        path: file of the model.
        names: programs to compare with: some of ``CONTENDERS``, or paths of ONNX files.
        checkpoint: checkpoint that the model was exported from, for programs that run PyTorch.
        macs: multiply-accumulates of the work; 0 if unknown.
        settings: size of the image, and seconds of the three windows of each contender.
        progress: called with a line before each contender is prepared, and before they are compared.

    Raises:
        UsageError: a program needs a package or a checkpoint that is missing.
    """
    check_available(names, checkpoint)
    work = _Work(path, checkpoint, model.contract, inputs(model, checked_size(model, settings.size)))
    ours = _Contender(
        "polyexport",
        f"Model.run on {model.session.execution_provider}, as `infer` calls it",
        _versions(provider_of(model.session.execution_provider).runtime),
        lambda: model.run(*work.inputs),
    )
    contenders = [ours]
    for name in names:
        progress(f"preparing {name}")
        contenders.append(_foreign(name, work, model) if is_onnx_file(name) else _BUILD[name](name, work))
    outputs = []
    for contender in contenders:
        try:
            output = warm_up(contender.call)
        except Exception as error:
            raise PolyexportError(
                f"{contender.name} cannot do this work: {reason_of(error)}", remedy="leave it out of --compare"
            ) from error
        outputs.append(output.reshape(-1, *output.shape[-3:]))
    torch_names = [
        number for number, contender in enumerate(contenders) if contender.name in ("torch", "torch-per-image")
    ]
    reference = outputs[torch_names[0]] if torch_names else _plain(work)().reshape(outputs[0].shape)
    progress(f"comparing {', '.join(contender.name for contender in contenders)}")
    blocks = in_turn([contender.call for contender in contenders], seconds=settings.seconds)
    results = []
    for contender, samples, output in zip(contenders, blocks, outputs, strict=True):
        steady = is_steady([median(part) for part in np.array_split(samples, WINDOWS)])
        difference = np.abs(output.astype(np.int16) - reference.astype(np.int16))
        rate = 2 * macs / median(samples) / 1e6
        results.append(
            Compared(
                name=contender.name,
                how=contender.how,
                versions=contender.versions,
                p50_ms=median(samples) if steady else None,
                ratio=None if contender is ours else ratio_interval(samples, blocks[0], paired=True),
                mean_difference=float(difference.mean()),
                max_difference=int(difference.max()),
                gflop_per_s=rate if steady and macs else None,
            )
        )
    return tuple(results)


def is_onnx_file(name: str) -> bool:
    """Tell whether the name of a program is that of an ONNX file."""
    return name.lower().endswith(".onnx")


def check_available(names: Sequence[str], checkpoint: Path | None) -> None:
    """Refuse programs that cannot be compared, before anything is measured.

    Raises:
        UsageError: a program needs a package or a checkpoint that is missing.
    """
    for name in names:
        if is_onnx_file(name):
            continue
        if _BUILD[name] is _torch:
            if importlib.util.find_spec("torch") is None:
                raise UsageError(f"{name} needs PyTorch", remedy="pip install 'polyexport[export]', or leave it out")
            if checkpoint is None:
                raise UsageError(
                    f"{name} needs the network that the model was exported from", remedy="give --checkpoint"
                )
        if name == "openvino" and importlib.util.find_spec("openvino") is None:
            raise UsageError(f"{name} needs OpenVINO", remedy="pip install 'polyexport[openvino]', or leave it out")


def _torch(name: str, work: _Work) -> _Contender:
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
    return _Contender(name, how, _versions("torch"), call_per_image if name == "torch-per-image" else call)


def _openvino(name: str, work: _Work) -> _Contender:
    compiled = openvino_core().compile_model(str(work.path), "CPU", {"PERFORMANCE_HINT": "LATENCY"})
    feeds = work.feeds
    output = compiled.output(work.contract.output_name)

    def call() -> Pixels4:
        return np.array(compiled(feeds)[output])

    return _Contender(name, "compile_model with the hint LATENCY, called directly", _versions("openvino"), call)


def _onnxruntime(name: str, work: _Work) -> _Contender:
    return _Contender(name, "InferenceSession with its defaults, CPU provider", _versions("onnxruntime"), _plain(work))


def _foreign(name: str, work: _Work, model: Model) -> _Contender:
    expected = model.run(*work.inputs)
    loop = foreign_loop(Path(name), work.feeds, IMAGE_INPUT, expected.reshape(-1, *expected.shape[-3:]))
    return _Contender(Path(name).name, loop.how, _versions("onnxruntime", "numpy"), loop.call)


def _plain(work: _Work) -> Call:
    import onnxruntime as ort

    session = ort.InferenceSession(str(work.path), providers=["CPUExecutionProvider"])
    feeds = work.feeds

    def call() -> Pixels4:
        result: Pixels4 = session.run([work.contract.output_name], feeds)[0]
        return result

    return call


def _versions(*modules: str) -> str:
    """Versions as the modules tell them: the packages of ONNX Runtime have several names."""
    return ", ".join(f"{name} {importlib.import_module(name).__version__.partition('-')[0]}" for name in modules)


_BUILD: dict[str, Callable[[str, _Work], _Contender]] = {
    "torch": _torch,
    "torch-compile": _torch,
    "openvino": _openvino,
    "onnxruntime-loop": _onnxruntime,
    "torch-per-image": _torch,
}
