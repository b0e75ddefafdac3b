"""Description of one precision that a graph can be exported in: how it is made, and what it has to prove.

To add a precision:

1. Write a module in this folder, such as ``bf16.py``, that defines ``PRECISION = Precision(name="bf16", ...)``. Its
   ``convert`` makes the new graph from the fp32 graph. Keep the module's own imports light, because the help of
   ``polyexport export`` loads it: import numpy, onnx and onnxruntime inside ``convert``, or put a long conversion into
   ``polyexport/export/graph/`` and import it there.
2. Add the module to ``PRECISIONS`` in ``polyexport/export/precision/__init__.py``.

The values of ``--precision``, its help, the flags of the precision, the proof, the quality gate and the comparison of
speed follow from the description.
"""

import math
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    import onnx
    from numpy.typing import NDArray

    from polyexport.model.certificate import Fidelity, ImageFidelity, StageParity

__all__ = [
    "Conversion",
    "ImageGate",
    "LayerSensitivity",
    "NodeTolerance",
    "Precision",
    "PrecisionFlag",
    "QualityGate",
    "Reduced",
    "Tolerance",
]


@dataclass(frozen=True, kw_only=True, slots=True)
class Tolerance:
    """Largest accepted difference between a graph and the PyTorch module. Float outputs are scaled to [-1, 1]."""

    max_abs_diff: float
    """Largest absolute difference of the float outputs."""

    uint8_max_diff: int
    """Largest difference of the 8-bit outputs, in levels."""

    uint8_equal: float
    """Smallest fraction of equal 8-bit values, 0 to 1."""

    psnr_db: float
    """Smallest PSNR of all 8-bit values together, dB."""

    def faults(self, stage: "StageParity", kind: str = "picture") -> list[str]:
        """Describe every figure of a stage that is outside of the tolerance; NaN is outside.

        Args:
            stage: The comparison.
            kind: What the network makes. Of ``labels`` only the fraction of equal ones counts: where two classes are
                nearly as likely, rounding decides, and one label is no nearer to another than to any third.
        """
        faults = []
        if kind == "labels":
            if not stage.uint8_equal >= self.uint8_equal:
                faults.append(f"{stage.uint8_equal:.4%} of labels equal < {self.uint8_equal:.4%}")
            return faults
        if not stage.max_abs_diff <= self.max_abs_diff:
            faults.append(f"max abs diff {stage.max_abs_diff:.3g} > {self.max_abs_diff:.3g}")
        if stage.uint8_max_diff > self.uint8_max_diff:
            faults.append(f"8-bit difference {stage.uint8_max_diff} > {self.uint8_max_diff}")
        if not stage.uint8_equal >= self.uint8_equal:
            faults.append(f"{stage.uint8_equal:.4%} of 8-bit values equal < {self.uint8_equal:.4%}")
        if not stage.psnr_db >= self.psnr_db:
            faults.append(f"PSNR {stage.psnr_db:.1f} dB < {self.psnr_db:.1f} dB")
        return faults


@dataclass(frozen=True, kw_only=True, slots=True)
class NodeTolerance:
    """Largest error of one tensor inside a graph that rounding explains; a larger one marks the node that is wrong."""

    relative_error: float
    """Largest error of a float tensor, as a multiple of the tensor's root mean square."""

    mean_levels: float
    """Largest mean difference of an 8-bit tensor, in levels."""

    scaled_channels: bool = False
    """True if the conversion scales channels, so that each channel is rescaled before it is compared."""


@dataclass(frozen=True, kw_only=True, slots=True)
class QualityGate:
    """Largest accepted loss of image quality by a reduced precision, on generated drawings of each kind."""

    psnr_to_fp32_db: float
    """Smallest mean PSNR against the images of the fp32 graph, dB."""

    psnr_loss_db: float
    """Largest loss of PSNR against the true images, dB; see ``Fidelity`` for what is averaged."""

    within_8_loss: float
    """Largest loss of the fraction of pixels within 8 levels of the true images, 0 to 1."""

    def faults(self, fidelity: "Sequence[Fidelity]") -> list[str]:
        """Describe every limit that a kind of drawing misses; NaN misses every limit."""
        faults = []
        for one in fidelity:
            if not one.psnr_to_fp32_mean_db >= self.psnr_to_fp32_db:
                faults.append(f"{one.data}: {one.psnr_to_fp32_mean_db:.1f} dB to fp32 < {self.psnr_to_fp32_db:.1f} dB")
            if not one.fp32_psnr_mean_db - one.psnr_mean_db <= self.psnr_loss_db:
                loss = one.fp32_psnr_mean_db - one.psnr_mean_db
                faults.append(f"{one.data}: {loss:.2f} dB of PSNR lost > {self.psnr_loss_db:.2f} dB")
            if not one.fp32_within_8 - one.within_8 <= self.within_8_loss:
                loss = one.fp32_within_8 - one.within_8
                faults.append(f"{one.data}: {loss:.3%} of pixels no longer within 8 levels > {self.within_8_loss:.3%}")
        return faults


@dataclass(frozen=True, kw_only=True, slots=True)
class ImageGate:
    """Largest accepted distance from the results of the fp32 graph, on images that a user gave.

    Nobody knows the true results of such images, so that what is lost of them cannot be measured. An error against fp32
    adds up with the network's own error as squares: at 40 dB to fp32, a network that is 30 dB from the truth loses
    0.41 dB.
    """

    psnr_db: float
    """Smallest mean PSNR of a picture or a mask, dB."""

    ssim: float
    """Smallest mean structural similarity of a picture, at most 1."""

    agreement: float
    """Smallest agreement of masks or labels, at most 1; see ``ImageFidelity``. A mask that is nearly empty has a high
    PSNR whatever is in it."""

    def faults(self, found: "ImageFidelity", kind: str) -> list[str]:
        """Describe every limit that is missed by results of a kind, such as ``picture``; NaN misses every limit."""
        faults = []
        if kind != "labels" and not found.psnr_mean_db >= self.psnr_db:
            faults.append(f"{found.psnr_mean_db:.1f} dB to fp32 < {self.psnr_db:.1f} dB")
        if found.agreement is None and not found.ssim_mean >= self.ssim:
            faults.append(f"structural similarity {found.ssim_mean:.4f} < {self.ssim:.4f}")
        if found.agreement is not None and not found.agreement >= self.agreement:
            faults.append(f"agreement of {kind} {found.agreement:.4f} < {self.agreement:.4f}")
        return faults

    def headroom_db(self, found: "ImageFidelity", kind: str) -> float:
        """Return how many decibels a graph has to spare before it misses a limit; negative if it misses one."""
        spare = [] if kind == "labels" else [found.psnr_mean_db - self.psnr_db]
        likeness, limit = (found.ssim_mean, self.ssim) if found.agreement is None else (found.agreement, self.agreement)
        spare.append(10 * math.log10((1 - limit) / max(1 - likeness, 1e-9)))
        return min(spare)


@dataclass(frozen=True, kw_only=True, slots=True)
class LayerSensitivity:
    """Cost of one layer of a graph in a reduced precision."""

    name: str
    """Name of the node."""

    layer: str = ""
    """Dotted name of the network's submodule that the node belongs to; empty if it is not known."""

    reduced: bool
    """The layer computes in the reduced precision; otherwise it was left in float."""

    psnr_to_fp32_db: float | None = None
    """PSNR of the results against those of the fp32 graph while this layer alone is reduced, dB: the lower, the more
    sensitive. None if it was not measured. Layers of a long network are measured in groups, and have the figure of
    their group."""


@dataclass(frozen=True, kw_only=True, slots=True)
class Reduced:
    """A graph in a reduced precision, and its layers."""

    model: "onnx.ModelProto"
    layers: tuple[LayerSensitivity, ...] = ()
    """The layers that could be reduced, in graph order."""


@dataclass(frozen=True, kw_only=True, slots=True)
class PrecisionFlag:
    """An option of ``polyexport export`` that belongs to one precision and is either given or not."""

    name: str
    """Option without its leading hyphens; a Python identifier, such as ``amx`` for ``--amx``."""

    help: str
    """Help line of the option, whole sentences."""


@dataclass(frozen=True, kw_only=True, slots=True)
class Conversion:
    """Everything that a precision gets to make its graph."""

    fp32: "onnx.ModelProto"
    """The checked fp32 graph with uint8 images in and out; not to be changed."""

    calibration_feeds: "Callable[[], Sequence[Mapping[str, NDArray[Any]]]]"
    """Makes inputs of the fp32 graph, by name, on which ranges of its tensors can be measured."""

    headroom_db: "Callable[[onnx.ModelProto], float]"
    """Measures how many decibels a graph is closer to the fp32 graph than the quality gate asks; negative if less."""

    probe_feeds: "Callable[[], Sequence[Mapping[str, NDArray[Any]]]]"
    """Makes a few inputs of the fp32 graph, of those that ``headroom_db`` is measured on, for the sensitivity of single
    layers."""

    output: str
    """Name of the graph's output."""

    flags: frozenset[str]
    """Names of the precision's flags that the user gave."""

    report: Callable[[str], None]
    """Prints one line of progress."""


@dataclass(frozen=True, kw_only=True, slots=True)
class Precision:
    """One precision that a graph can be exported in."""

    name: str
    """Value of ``--precision``, and the name in a model's contract: 1 to 16 lowercase letters, digits, underscores."""

    description: str
    """The format and where it pays, in a few words, for help texts."""

    provider: str
    """Execution provider that the precision is meant for; there its graph must be faster than the fp32 graph."""

    tolerance: Tolerance
    """Largest accepted difference from the PyTorch module."""

    node_tolerance: NodeTolerance | None
    """Largest error of a tensor inside the graph before its node counts as wrong; None for float32, in which PyTorch's
    own rounding is the measure."""

    gate: QualityGate | None = None
    """Largest accepted loss of image quality; None for the precision that all others are compared with."""

    image_gate: ImageGate = ImageGate(psnr_db=40, ssim=0.97, agreement=0.98)
    """Largest accepted distance from fp32 on a user's images, for networks of which no drawings can be generated."""

    least_images: int = 0
    """Smallest number of the user's images that such a network needs."""

    convert: Callable[[Conversion], Reduced] | None = None
    """Makes the graph from the fp32 graph; None for fp32 itself."""

    flags: tuple[PrecisionFlag, ...] = ()
    """Options of ``polyexport export`` that belong to this precision."""

    def __post_init__(self) -> None:
        if (self.convert is None) != (self.gate is None):
            raise ValueError(f"precision {self.name}: a conversion and a quality gate belong together")
