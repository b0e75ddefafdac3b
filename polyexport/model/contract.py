"""The contract of a model file: its inputs, its output, and the metadata that is needed to run it.

The graph takes ``image`` (uint8 [batch, height, width, 3], RGB) and a condition, whose name, type and shape its kind
decides (``polyexport.model.conditions``), and gives ``colored`` (uint8 [batch, height, width, 3]). With ``many_colors``
the condition has one more axis, [batch, colors, ...], and ``colored`` is uint8 [batch, colors, height, width, 3].
Everything else stands as one JSON object under ``METADATA_KEY`` in the model's ``metadata_props``.
"""

import json
import re
from dataclasses import asdict, dataclass, field
from typing import Literal

from polyexport.errors import ContractError, reason_of
from polyexport.imaging.pixels import MAX_SIDE, MAX_TRAINING_SIZE
from polyexport.model.canvas import CanvasRule, Size
from polyexport.model.conditions import condition_of
from polyexport.model.conditions.condition import Condition
from polyexport.model.conditions.fields import ColorInput, ConditionFields, ConditionValue, Embedding, Palette
from polyexport.model.contract_limits import MAX_CONTRACT_VALUES, check_sizes
from polyexport.storage.strict_json import read_json
from polyexport.storage.typed_json import build

__all__ = [
    "COLORED",
    "CONTRACT_VERSION",
    "IMAGE_INPUT",
    "METADATA_KEY",
    "PRECISION_NAME",
    "Contract",
    "Fidelity",
    "GoldenSample",
    "Parity",
    "Quality",
    "Result",
    "StageParity",
]

CONTRACT_VERSION = 2
"""Version of the contract that this version of polyexport writes and reads."""

METADATA_KEY = "polyexport.contract"
"""Key of the contract in the model's ``metadata_props``."""

IMAGE_INPUT = "image"
"""Name of the graph's first input."""

COLORED = "colored"
"""Name of the graph's output."""

Result = Literal["picture", "fill"]
"""Kind of a model's output."""

_REMEDY = "give a model that `polyexport export` wrote with this version"

PRECISION_NAME = re.compile(r"[a-z0-9_]{1,16}")
"""Well-formed name of a precision. Which precisions exist is known where a network is exported."""


@dataclass(frozen=True, kw_only=True, slots=True)
class StageParity:
    """One stage of an export, compared with the PyTorch model. Float outputs are scaled to [-1, 1] before that."""

    name: str
    """Name of the stage: ``raw``, ``simplified``, ``palette``, or the name of a reduced precision."""

    nodes: int
    """Number of nodes of the graph."""

    max_abs_diff: float
    """Largest absolute difference of the float outputs."""

    uint8_max_diff: int
    """Largest difference of the 8-bit outputs, in levels."""

    uint8_equal: float
    """Fraction of 8-bit values that are equal."""

    psnr_db: float
    """PSNR of all 8-bit values together, decibels, at most 100."""

    values: int
    """Number of values that were compared."""


@dataclass(frozen=True, kw_only=True, slots=True)
class Parity:
    """The comparison of the model with the PyTorch model that it was exported from."""

    reference: str
    """Runtime of the PyTorch model, which ran in float32."""

    candidate: str
    """Runtime of the ONNX model."""

    stages: tuple[StageParity, ...]
    """Stages of the export in the order in which they were made; the last one is the model itself."""

    images: int
    """Number of images of each size."""

    colors: int
    """Number of conditions."""

    batches: tuple[int, ...]
    """Batch sizes, images per call."""

    sizes: tuple[tuple[int, int], ...]
    """Heights and widths of the images, pixels."""

    @property
    def final(self) -> StageParity:
        """The comparison of the model itself, the last stage."""
        return self.stages[-1]


@dataclass(frozen=True, kw_only=True, slots=True)
class Fidelity:
    """Images of a reduced precision, compared with those of the fp32 graph, on drawings of one kind.

    They are the network's pictures. Where the result is a fill they are the finished fills, with the edges of their
    drawings, and a PSNR to the true images is that of all pixels of the kind together: in a mean, the fills that are
    exact, at 100 dB, would outweigh those that are not.
    """

    data: str
    """Name of the kind of drawings."""

    images: int
    """Number of drawings."""

    psnr_to_fp32_mean_db: float
    """Mean PSNR against the images of the fp32 graph, decibels."""

    psnr_to_fp32_min_db: float
    """Lowest PSNR against an image of the fp32 graph, decibels."""

    fp32_psnr_mean_db: float
    """Mean PSNR of the fp32 graph against the true images, decibels."""

    psnr_mean_db: float
    """Mean PSNR of the reduced precision against the true images, decibels."""

    fp32_within_8: float
    """Fraction of the fp32 graph's pixels that are within 8 levels of the true image in every channel."""

    within_8: float
    """Fraction of the reduced precision's pixels that are within 8 levels of the true image in every channel."""


@dataclass(frozen=True, kw_only=True, slots=True)
class Quality:
    """Scores of this model on a data set."""

    data: str
    """Name of the data set."""

    images: int
    """Number of images."""

    psnr_mean_db: float
    """Mean PSNR against the true images, decibels."""

    psnr_min_db: float
    """Lowest PSNR of an image, decibels."""


@dataclass(frozen=True, kw_only=True, slots=True)
class GoldenSample:
    """One input and the output it had when the model was exported."""

    image_png: str
    """Base64 of the input, a PNG file."""

    color: ConditionValue
    """Value of the condition; ``Condition.encode`` turns it into a row of the input."""

    colored_png: str
    """Base64 of the output, a PNG file."""

    def __post_init__(self) -> None:
        if isinstance(self.color, tuple) and any(not 0 <= channel <= 255 for channel in self.color):
            raise ValueError(f"golden.color must be from 0 to 255, got {self.color}")


@dataclass(frozen=True, kw_only=True, slots=True)
class Contract:
    """The metadata of one model file."""

    conditioning: str
    """Kind of condition that the network was trained on: a key of ``CONDITION_MODULES``."""

    palette: Palette = ()
    """Names and sRGB values of the colors that the model knows, in index order; empty if it has no list of colors."""

    color_input: ColorInput = "color"
    """Second input of the graph: the condition itself, or its embedding."""

    embedding: Embedding | None = None
    """Source of the vectors; None unless the second input is an embedding."""

    many_colors: bool = False
    """The graph takes several colors per image: second input and output have a further axis, [batch, colors, ...]."""

    size_multiple: int
    """Height and width of the input are multiples of this."""

    training_size: int
    """Height and width of the training images, pixels."""

    fixed_size: bool = False
    """The model takes images of ``training_size`` alone."""

    result: Result = "picture"
    """The model's output: a picture, or a fill of the drawing with one color on white, whose edges are those of the
    drawing's ink."""

    precision: str = "fp32"
    """Name of the precision that the graph was exported in; see ``PRECISION_NAME``."""

    opset: int
    """Version of the ONNX operator set."""

    versions: dict[str, str] = field(default_factory=dict)
    """Names and versions of the tools that made the file."""

    network: str
    """Network that was exported: ``trainer``, or ``package.module:Class``."""

    checkpoint_sha256: str
    """SHA-256 of the file that held the weights, lowercase hex."""

    graph_sha256: str
    """SHA-256 of the model file without its metadata, as ``polyexport.runtime.onnx_bytes`` computes it."""

    parity: Parity
    """Comparison with the PyTorch model."""

    fidelity: tuple[Fidelity, ...] = ()
    """Comparison of a reduced precision with fp32, for each kind of drawings; empty for fp32."""

    golden: GoldenSample
    """Input and output that are repeated whenever the model is loaded."""

    quality: Quality | None = None
    """Scores on a data set; None if they were not measured."""

    def __post_init__(self) -> None:
        condition_of(self._condition_fields())  # refuses entries that contradict each other
        if not self.parity.stages:
            raise ValueError("parity has no stage")
        if not 1 <= self.size_multiple <= MAX_SIDE:
            raise ValueError(f"size_multiple must be 1 to {MAX_SIDE}, got {self.size_multiple}")
        if not self.size_multiple <= self.training_size <= MAX_TRAINING_SIZE or self.training_size % self.size_multiple:
            raise ValueError(
                f"training_size must be a multiple of {self.size_multiple} up to {MAX_TRAINING_SIZE}, "
                f"got {self.training_size}"
            )
        if not PRECISION_NAME.fullmatch(self.precision):
            raise ValueError(
                "precision must be 1 to 16 lowercase letters, digits and underscores, got " + repr(self.precision)[:60]
            )

    def _condition_fields(self) -> ConditionFields:
        return ConditionFields(
            conditioning=self.conditioning,
            palette=self.palette,
            color_input=self.color_input,
            embedding=self.embedding,
            many_colors=self.many_colors,
        )

    @property
    def condition(self) -> Condition:
        """The condition that the model takes beside the image, built anew."""
        return condition_of(self._condition_fields())

    def canvas_rule(self, size: Size = "fit") -> CanvasRule:
        """Return the rule that places images on canvases of a size for this model.

        Args:
            size: ``fit`` is the training size, ``native`` each image's own size, a number the largest side of a canvas
                in pixels; the canvases of models of pictures, and of those with a fixed size, are squares.

        Raises:
            UsageError: the network cannot take this size.
        """
        return CanvasRule.for_size(
            size,
            training_size=self.training_size,
            multiple=self.size_multiple,
            fixed_size=self.fixed_size,
            fill=self.result == "fill",
        )

    def to_json(self) -> str:
        """Return the metadata value; equal contracts give equal text."""
        entries = {"contract_version": CONTRACT_VERSION, **asdict(self)}
        if self.result == "picture":
            del entries["result"]  # its absence means a picture: earlier versions refuse a contract that has it
        return json.dumps(entries, sort_keys=True)

    @classmethod
    def from_json(cls, text: str) -> "Contract":
        """Read a metadata value, untrusted.

        Raises:
            ContractError: another contract version, or a missing, unknown or impossible entry, which it names.
        """
        try:
            raw = read_json(text, max_values=MAX_CONTRACT_VALUES)
        except ValueError as error:
            raise ContractError(f"the model's contract is not JSON ({reason_of(error)})", remedy=_REMEDY) from error
        entries = raw if isinstance(raw, dict) else {}
        version = entries.pop("contract_version", None)
        if version != CONTRACT_VERSION:
            raise ContractError(f"contract version {repr(version)[:60]}, expected {CONTRACT_VERSION}", remedy=_REMEDY)
        try:
            check_sizes(entries)
            return build(cls, {"result": "picture", **entries})
        except (ValueError, OverflowError) as error:
            raise ContractError(f"the model's contract is unusable: {error}", remedy=_REMEDY) from error
