"""What a model file promises: its inputs, its output, and the metadata that lets a stranger run it.

The graph takes ``image`` (uint8 [batch, height, width, 3], RGB) and ``color`` (uint8 [batch, 3] for ``rgb``
conditioning, int64 [batch] for ``vocabulary``) and gives ``colored`` (uint8 [batch, height, width, 3]). Everything else
stands as one JSON object under ``METADATA_KEY`` in the model's ``metadata_props``.
"""

import json
from dataclasses import asdict, dataclass, field
from typing import Any, Literal

from polyexport.errors import ContractError

__all__ = [
    "COLORED",
    "COLOR_INPUT",
    "CONTRACT_VERSION",
    "IMAGE_INPUT",
    "METADATA_KEY",
    "Contract",
    "GoldenSample",
    "Parity",
    "Quality",
]

CONTRACT_VERSION = 1
METADATA_KEY = "polyexport.contract"
IMAGE_INPUT = "image"
COLOR_INPUT = "color"
COLORED = "colored"

_REMEDY = "give a model that `polyexport export` wrote with this version"

Conditioning = Literal["rgb", "vocabulary"]


@dataclass(frozen=True, kw_only=True, slots=True)
class Parity:
    """How the model was compared with the PyTorch model that it stands for."""

    reference: str
    """Runtime of the PyTorch model, in float32."""

    candidate: str
    """Runtime of the ONNX model."""

    max_abs_diff: float
    """Largest absolute difference of the float outputs, which lie in [-1, 1]."""

    uint8_max_diff: int
    """Largest difference of the 8-bit outputs, in levels."""

    uint8_equal: float
    """Fraction of 8-bit values that are equal."""

    values: int
    """Values compared."""

    images: int
    colors: int
    batches: tuple[int, ...]
    sizes: tuple[int, ...]


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

    color: int | tuple[int, int, int]
    """sRGB, or an index into the palette."""

    colored_png: str
    """Base64 of a PNG."""


@dataclass(frozen=True, kw_only=True, slots=True)
class Contract:
    """The metadata of one model file."""

    conditioning: Conditioning
    palette: tuple[tuple[str, tuple[int, int, int]], ...] = ()
    """Names and sRGB values of a vocabulary, in index order; empty for ``rgb``."""

    size_multiple: int
    """Height and width of the input are multiples of this."""

    training_size: int
    """Height and width, in pixels, that the model knows best."""

    precision: Literal["fp32"] = "fp32"
    opset: int
    versions: dict[str, str] = field(default_factory=dict)
    """Of the tools that made the file."""

    checkpoint_sha256: str
    parity: Parity
    golden: GoldenSample
    quality: Quality | None = None

    def __post_init__(self) -> None:
        if self.conditioning not in ("rgb", "vocabulary"):
            raise ValueError(f"conditioning must be rgb or vocabulary, got {self.conditioning!r}")
        if (self.conditioning == "vocabulary") != bool(self.palette):
            raise ValueError("a palette belongs to vocabulary conditioning, and to it alone")
        if not 1 <= self.size_multiple <= 4096:
            raise ValueError(f"size_multiple must be 1 to 4096, got {self.size_multiple}")
        if not self.size_multiple <= self.training_size <= 65536 or self.training_size % self.size_multiple:
            raise ValueError(f"training_size must be a multiple of {self.size_multiple}, got {self.training_size}")
        if self.precision != "fp32":
            raise ValueError(f"precision must be fp32, got {self.precision!r}")

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
            raise ContractError(f"contract version {version!r}, expected {CONTRACT_VERSION}", remedy=_REMEDY)
        try:
            return _read(raw)
        except KeyError as error:
            raise ContractError(f"the model's contract has no {error}", remedy=_REMEDY) from error
        except (TypeError, ValueError, AttributeError, IndexError, OverflowError) as error:
            raise ContractError(f"the model's contract is unusable: {error}", remedy=_REMEDY) from error


def _read(raw: dict[str, Any]) -> Contract:
    parity, golden, quality = raw["parity"], raw["golden"], raw.get("quality")
    color = golden["color"]
    return Contract(
        conditioning=raw["conditioning"],
        palette=tuple((str(name), (int(r), int(g), int(b))) for name, (r, g, b) in raw["palette"]),
        size_multiple=int(raw["size_multiple"]),
        training_size=int(raw["training_size"]),
        precision=raw["precision"],
        opset=int(raw["opset"]),
        versions={str(name): str(version) for name, version in raw["versions"].items()},
        checkpoint_sha256=str(raw["checkpoint_sha256"]),
        parity=Parity(**{**parity, "batches": tuple(parity["batches"]), "sizes": tuple(parity["sizes"])}),
        golden=GoldenSample(
            image_png=str(golden["image_png"]),
            color=int(color) if isinstance(color, int) else (int(color[0]), int(color[1]), int(color[2])),
            colored_png=str(golden["colored_png"]),
        ),
        quality=None if quality is None else Quality(**quality),
    )
