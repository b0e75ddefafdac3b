"""What a model file promises: its inputs, its output, and the metadata that lets a stranger run it.

The graph takes ``image`` (uint8 [batch, height, width, 3], RGB) and ``color`` (uint8 [batch, 3] for ``rgb``
conditioning, int64 [batch] for ``vocabulary``) and gives ``colored`` (uint8 [batch, height, width, 3]). Everything else
stands as one JSON object under ``METADATA_KEY`` in the model's ``metadata_props``.
"""

import json
from dataclasses import asdict, dataclass, field, fields
from typing import Any, Literal

from polyexport.errors import ContractError

__all__ = [
    "COLORED",
    "COLOR_INPUT",
    "CONTRACT_VERSION",
    "IMAGE_INPUT",
    "MAX_SIZE",
    "METADATA_KEY",
    "Conditioning",
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
MAX_SIZE = 2048
"""Largest height and width that a model may ask for, pixels."""

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
        if not 1 <= self.size_multiple <= MAX_SIZE:
            raise ValueError(f"size_multiple must be 1 to {MAX_SIZE}, got {self.size_multiple}")
        if not self.size_multiple <= self.training_size <= MAX_SIZE or self.training_size % self.size_multiple:
            raise ValueError(
                f"training_size must be a multiple of {self.size_multiple} up to {MAX_SIZE}, got {self.training_size}"
            )
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
    _only(raw, Contract, "the contract")
    parity, golden, quality = raw["parity"], raw["golden"], raw.get("quality")
    _only(parity, Parity, "parity")
    _only(golden, GoldenSample, "golden")
    color = golden["color"]
    return Contract(
        conditioning=raw["conditioning"],
        palette=tuple((_text(name), _rgb(rgb)) for name, rgb in raw["palette"]),
        size_multiple=_whole(raw["size_multiple"]),
        training_size=_whole(raw["training_size"]),
        precision=raw["precision"],
        opset=_whole(raw["opset"]),
        versions={_text(name): _text(version) for name, version in raw["versions"].items()},
        checkpoint_sha256=_text(raw["checkpoint_sha256"]),
        parity=Parity(
            reference=_text(parity["reference"]),
            candidate=_text(parity["candidate"]),
            max_abs_diff=float(parity["max_abs_diff"]),
            uint8_max_diff=_whole(parity["uint8_max_diff"]),
            uint8_equal=float(parity["uint8_equal"]),
            values=_whole(parity["values"]),
            images=_whole(parity["images"]),
            colors=_whole(parity["colors"]),
            batches=tuple(_whole(batch) for batch in parity["batches"]),
            sizes=tuple(_whole(size) for size in parity["sizes"]),
        ),
        golden=GoldenSample(
            image_png=_text(golden["image_png"]),
            color=_rgb(color) if isinstance(color, list) else _whole(color),
            colored_png=_text(golden["colored_png"]),
        ),
        quality=None if quality is None else _quality(quality),
    )


def _quality(raw: dict[str, Any]) -> Quality:
    _only(raw, Quality, "quality")
    return Quality(
        data=_text(raw["data"]),
        images=_whole(raw["images"]),
        psnr_mean_db=float(raw["psnr_mean_db"]),
        psnr_min_db=float(raw["psnr_min_db"]),
    )


def _only(raw: dict[str, Any], kind: type, where: str) -> None:
    unknown = sorted(set(raw) - {field.name for field in fields(kind)})
    if unknown:
        raise ValueError(f"{where} has unknown entries: {', '.join(unknown)[:100]}")


def _text(value: Any) -> str:
    if not isinstance(value, str):
        raise TypeError(f"expected text, got {type(value).__name__}")
    return value


def _whole(value: Any) -> int:
    if not isinstance(value, int) or isinstance(value, bool):
        raise TypeError(f"expected a whole number, got {type(value).__name__}")
    return value


def _rgb(value: Any) -> tuple[int, int, int]:
    red, green, blue = (_whole(channel) for channel in value)
    if not 0 <= min(red, green, blue) <= max(red, green, blue) <= 255:
        raise ValueError(f"expected three values from 0 to 255, got {value}")
    return red, green, blue
