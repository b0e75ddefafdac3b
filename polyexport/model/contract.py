"""What a model file promises: its inputs, its output, and the metadata that lets a stranger run it.

The graph takes ``image`` (uint8 [batch, height, width, 3], RGB) and ``color`` (uint8 [batch, 3] for ``rgb``
conditioning, int64 [batch] for ``vocabulary``) and gives ``colored`` (uint8 [batch, height, width, 3]). Two options
change that. With ``color_input`` ``embedding`` the second input is ``color_embedding``, float32 [batch, D], and the
contract carries the table or encoder that makes one of a colour. With ``many_colors`` the second input has one more
axis, [batch, colors, ...], and ``colored`` is uint8 [batch, colors, height, width, 3]. Everything else stands as one
JSON object under ``METADATA_KEY`` in the model's ``metadata_props``.
"""

import json
from dataclasses import asdict, dataclass, field
from typing import Literal, get_args

from polyexport.errors import ContractError
from polyexport.imaging.pixels import MAX_SIDE
from polyexport.model.canvas import CanvasRule, Size
from polyexport.model.conditions import condition_of
from polyexport.model.conditions.condition import Condition
from polyexport.model.conditions.fields import ColorInput, ConditionFields, ConditionValue, Embedding, Palette
from polyexport.storage.typed_json import build

__all__ = [
    "COLORED",
    "CONTRACT_VERSION",
    "IMAGE_INPUT",
    "METADATA_KEY",
    "Contract",
    "Fidelity",
    "GoldenSample",
    "Parity",
    "Precision",
    "Quality",
    "StageParity",
]

CONTRACT_VERSION = 2
METADATA_KEY = "polyexport.contract"
IMAGE_INPUT = "image"
COLORED = "colored"

_REMEDY = "give a model that `polyexport export` wrote with this version"

Precision = Literal["fp32", "fp16", "int8"]


@dataclass(frozen=True, kw_only=True, slots=True)
class StageParity:
    """One stage of an export beside the PyTorch model. Float outputs are scaled to [-1, 1] before they are compared."""

    name: str
    """``raw``, ``simplified``, ``palette``, ``fp16`` or ``int8``."""

    nodes: int
    max_abs_diff: float
    """Largest absolute difference of the float outputs."""

    uint8_max_diff: int
    """Largest difference of the 8-bit outputs, in levels."""

    uint8_equal: float
    """Fraction of 8-bit values that are equal."""

    psnr_db: float
    """Of all 8-bit values together, at most 100."""

    values: int
    """Values compared."""


@dataclass(frozen=True, kw_only=True, slots=True)
class Parity:
    """How the model was compared with the PyTorch model that it stands for."""

    reference: str
    """Runtime of the PyTorch model, in float32."""

    candidate: str
    """Runtime of the ONNX model."""

    stages: tuple[StageParity, ...]
    """In the order in which they were made; the last one is the model itself."""

    images: int
    colors: int
    batches: tuple[int, ...]
    sizes: tuple[tuple[int, int], ...]
    """Heights and widths, pixels."""

    @property
    def final(self) -> StageParity:
        """Of the model itself."""
        return self.stages[-1]


@dataclass(frozen=True, kw_only=True, slots=True)
class Fidelity:
    """A reduced precision beside the fp32 graph that it was made of, on drawings of one kind."""

    data: str
    images: int
    psnr_to_fp32_mean_db: float
    psnr_to_fp32_min_db: float
    fp32_psnr_mean_db: float
    """Of the fp32 graph against the true images."""

    psnr_mean_db: float
    """Of the reduced precision against the true images."""

    fp32_within_8: float
    """Fraction of the pixels that are within 8 levels of the truth in every channel."""

    within_8: float


@dataclass(frozen=True, kw_only=True, slots=True)
class Quality:
    """Scores of this very model on a data set."""

    data: str
    images: int
    psnr_mean_db: float
    psnr_min_db: float


@dataclass(frozen=True, kw_only=True, slots=True)
class GoldenSample:
    """One input and the output it had when the model was exported."""

    image_png: str
    """Base64 of a PNG."""

    color: ConditionValue
    """sRGB; an index into the palette; or, for a network that was trained on vectors, base64 of one, float32 [dim]."""

    colored_png: str
    """Base64 of a PNG."""

    def __post_init__(self) -> None:
        if isinstance(self.color, tuple) and any(not 0 <= channel <= 255 for channel in self.color):
            raise ValueError(f"golden.color must be from 0 to 255, got {self.color}")


@dataclass(frozen=True, kw_only=True, slots=True)
class Contract:
    """The metadata of one model file."""

    conditioning: str
    palette: Palette = ()
    """Of a vocabulary, or of an embedding's table; empty for ``rgb``."""

    color_input: ColorInput = "color"
    """``embedding``: the second input is ``color_embedding``."""

    embedding: Embedding | None = None
    """Only with ``color_input`` ``embedding``."""

    many_colors: bool = False
    """The second input and the output have a further axis, [batch, colors, ...]."""

    size_multiple: int
    """Height and width of the input are multiples of this."""

    training_size: int
    """Height and width, in pixels, that the model knows best."""

    fixed_size: bool = False
    """No other size than ``training_size``."""

    precision: Precision = "fp32"
    opset: int
    versions: dict[str, str] = field(default_factory=dict)
    """Of the tools that made the file."""

    network: str
    """What was exported: ``trainer``, or ``package.module:Class``."""

    checkpoint_sha256: str
    """Of the file that held the weights."""

    graph_sha256: str
    """Of the file without its metadata: ``polyexport.runtime.onnx_bytes``."""

    parity: Parity
    fidelity: tuple[Fidelity, ...] = ()
    """Of a reduced precision; empty for fp32."""

    golden: GoldenSample
    quality: Quality | None = None

    def __post_init__(self) -> None:
        condition_of(self._condition_fields())  # refuses entries that contradict each other
        if not self.parity.stages:
            raise ValueError("parity has no stage")
        if not 1 <= self.size_multiple <= MAX_SIDE:
            raise ValueError(f"size_multiple must be 1 to {MAX_SIDE}, got {self.size_multiple}")
        if not self.size_multiple <= self.training_size <= MAX_SIDE or self.training_size % self.size_multiple:
            raise ValueError(
                f"training_size must be a multiple of {self.size_multiple} up to {MAX_SIDE}, got {self.training_size}"
            )
        if self.precision not in get_args(Precision):
            raise ValueError(f"precision must be fp32, fp16 or int8, got {self.precision!r}")

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
            size: ``fit`` is the training size, ``native`` each image's own size, a number the side of a square canvas
                in pixels.

        Raises:
            UsageError: the network cannot take this size.
        """
        return CanvasRule.for_size(
            size, training_size=self.training_size, multiple=self.size_multiple, fixed_size=self.fixed_size
        )

    def to_json(self) -> str:
        """The metadata value; equal contracts give equal text."""
        return json.dumps({"contract_version": CONTRACT_VERSION, **asdict(self)}, sort_keys=True)

    @classmethod
    def from_json(cls, text: str) -> "Contract":
        """Read a metadata value, untrusted.

        Raises:
            ContractError: another contract version, or a missing, unknown or impossible entry, which it names.
        """
        try:
            raw = json.loads(text)
        except (ValueError, RecursionError) as error:
            raise ContractError("the model's contract is not JSON", remedy=_REMEDY) from error
        version = raw.pop("contract_version", None) if isinstance(raw, dict) else None
        if version != CONTRACT_VERSION:
            raise ContractError(f"contract version {repr(version)[:60]}, expected {CONTRACT_VERSION}", remedy=_REMEDY)
        try:
            return build(cls, raw)
        except (ValueError, OverflowError, RecursionError) as error:
            raise ContractError(f"the model's contract is unusable: {error}", remedy=_REMEDY) from error
