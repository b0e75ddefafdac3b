"""The contract of a model file: its inputs, its output, and the metadata that is needed to run it.

The graph takes ``image`` (uint8 [batch, height, width, channels]) and its conditions: none, one or several, whose
names, types and shapes their kinds decide (``polyexport.model.conditions``). It gives ``result`` (uint8 [batch, scale x
height, scale x width, channels]), which is called ``colored`` in files of version 2. With ``many_colors`` the color has
one more axis, [batch, colors, ...], and so has the output. Everything else stands as one JSON object under
``METADATA_KEY`` in the model's ``metadata_props``.

A contract is written in the oldest version that can say it, so that earlier versions of polyexport run the file as
well: version 2 has exactly one condition, a color, and an RGB picture of the image's own size in and out.
"""

import json
import re
from dataclasses import asdict, dataclass, field
from typing import Any

from polyexport.errors import ContractError, reason_of
from polyexport.imaging.pixels import MAX_SIDE, MAX_TRAINING_SIZE
from polyexport.model.canvas import CanvasRule, Size
from polyexport.model.conditions import condition_of
from polyexport.model.conditions.condition import Condition
from polyexport.model.conditions.fields import ColorFields, ConditionFields, ConditionValue
from polyexport.model.contract_limits import MAX_CONTRACT_VALUES, check_sizes
from polyexport.model.result import PICTURE, ResultFields
from polyexport.storage.strict_json import read_json
from polyexport.storage.typed_json import build

__all__ = [
    "COLORED",
    "CONTRACT_VERSIONS",
    "IMAGE_INPUT",
    "METADATA_KEY",
    "PRECISION_NAME",
    "RESULT",
    "Contract",
    "Fidelity",
    "GoldenSample",
    "ImageFidelity",
    "Parity",
    "Quality",
    "StageParity",
]

CONTRACT_VERSIONS = (2, 3)
"""Versions of the contract that this version of polyexport writes and reads."""

METADATA_KEY = "polyexport.contract"
"""Key of the contract in the model's ``metadata_props``."""

IMAGE_INPUT = "image"
"""Name of the graph's first input."""

RESULT = "result"
"""Name of the graph's output."""

COLORED = "colored"
"""Name of the graph's output in files of version 2."""

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
    """Number of settings of the conditions, such as colors."""

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

    values: tuple[ConditionValue, ...] = ()
    """Value of each condition; ``Condition.encode`` turns it into a row of the input."""

    result_png: str
    """Base64 of the output, a PNG file."""

    def __post_init__(self) -> None:
        for value in self.values:
            if isinstance(value, tuple) and any(not 0 <= channel <= 255 for channel in value):
                raise ValueError(f"golden.color must be from 0 to 255, got {value}")

    def to_entries(self, version: int) -> dict[str, Any]:
        """Return the JSON object of a sample in a version of the contract."""
        if version == 2:
            return {"image_png": self.image_png, "color": self.values[0], "colored_png": self.result_png}
        return asdict(self)

    @classmethod
    def entries_of(cls, value: Any) -> Any:
        """Return the JSON object of a sample of any version in the newest form; anything else as it is."""
        if not isinstance(value, dict) or not _OLD_SAMPLE & value.keys():
            return value
        renamed = {("result_png" if key == "colored_png" else key): one for key, one in value.items() if key != "color"}
        return renamed | ({"values": [value["color"]]} if "color" in value else {})


_OLD_SAMPLE = frozenset(("color", "colored_png"))
_OLD_COLOR = ("conditioning", "palette", "color_input", "embedding", "many_colors")
"""Entries of version 2 that describe its one condition, a color."""

_NEW_ENTRIES = (
    "batch_one",
    "conditions",
    "image_channels",
    "image_fidelity",
    "output_name",
    "result",
    "smallest_size",
    "training_width",
)
"""Entries that version 2 does not have, or has in another form."""


@dataclass(frozen=True, kw_only=True, slots=True)
class ImageFidelity:
    """Pictures of a reduced precision, compared with those of the fp32 graph on images that the user gave.

    Of large images a part is compared. Where images also served to calibrate the graph, those are every second one,
    and the others are compared.
    """

    images: int
    """Number of images."""

    sha256: str
    """SHA-256 of the decoded images, lowercase hex."""

    psnr_mean_db: float
    """Mean PSNR against the pictures of the fp32 graph, decibels, at most 100."""

    psnr_min_db: float
    """Lowest PSNR against a picture of the fp32 graph, decibels."""

    ssim_mean: float
    """Mean structural similarity with the pictures of the fp32 graph, at most 1."""

    ssim_min: float
    """Lowest structural similarity with a picture of the fp32 graph."""

    float_layers: tuple[str, ...] = ()
    """Names of the layers that were left in float."""

    reduced_layers: int = 0
    """Number of layers that compute in the reduced precision."""

    agreement: float | None = None
    """For labels the fraction of equal ones; for masks the intersection over union of what is above half, with all
    images together; None for pictures."""


@dataclass(frozen=True, kw_only=True, slots=True)
class Contract:
    """The metadata of one model file."""

    image_channels: int = 3
    """Channels of the input image: 1 for gray, 3 for RGB, 4 for RGBA."""

    conditions: tuple[ConditionFields, ...] = ()
    """Inputs of the model beside the image, in the order of the graph's inputs."""

    result: ResultFields = PICTURE
    """Description of the output."""

    output_name: str = RESULT
    """Name of the graph's output."""

    size_multiple: int
    """Height and width of the input are multiples of this."""

    smallest_size: int = 1
    """Smallest height and width of the input, pixels."""

    training_size: int
    """Height and width of the training images, pixels; their height if ``training_width`` is another."""

    training_width: int = 0
    """Width of the training images, pixels; 0 where it is their height."""

    fixed_size: bool = False
    """The model takes images of ``training_size`` alone."""

    batch_one: bool = False
    """The graph takes one image at a time; the runtime calls it once for each image of a batch."""

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

    image_fidelity: ImageFidelity | None = None
    """Comparison of a reduced precision with fp32 on the user's images; None for fp32."""

    golden: GoldenSample
    """Input and output that are repeated whenever the model is loaded."""

    quality: Quality | None = None
    """Scores on a data set; None if they were not measured."""

    def __post_init__(self) -> None:
        for fields in self.conditions:
            condition_of(fields)  # refuses entries that contradict each other
        names = [condition.name for condition in self.built_conditions()]
        if len(set(names)) < len(names) or len(names) > _MAX_CONDITIONS:
            raise ValueError(f"conditions must be up to {_MAX_CONDITIONS} of different names, got {names[:20]}")
        if sum(fields.kind == "color" for fields in self.conditions) > 1:
            raise ValueError("conditions must hold one color at most")
        if self.many_colors and len(self.conditions) > 1:
            raise ValueError("many_colors belongs to a model that takes a color and nothing else beside the image")
        if len(self.golden.values) != len(self.conditions):
            raise ValueError(f"golden has {len(self.golden.values)} values for {len(self.conditions)} conditions")
        if self.image_channels not in (1, 3, 4):
            raise ValueError(f"image_channels must be 1, 3 or 4, got {self.image_channels}")
        if self.output_name not in (RESULT, COLORED):
            raise ValueError(f"output_name must be {RESULT} or {COLORED}, got {self.output_name[:60]!r}")
        if not self.parity.stages:
            raise ValueError("parity has no stage")
        if not 1 <= self.size_multiple <= MAX_SIDE:
            raise ValueError(f"size_multiple must be 1 to {MAX_SIDE}, got {self.size_multiple}")
        for name, size in (("training_size", self.training_size), ("training_width", self.training_width or None)):
            if size is None:
                continue
            if not self.size_multiple <= size <= MAX_TRAINING_SIZE or size % self.size_multiple:
                raise ValueError(
                    f"{name} must be a multiple of {self.size_multiple} up to {MAX_TRAINING_SIZE}, got {size}"
                )
        if not 1 <= self.smallest_size <= self.training_size:
            raise ValueError(f"smallest_size must be 1 to {self.training_size}, got {self.smallest_size}")
        if self.training_width and not self.fixed_size:
            raise ValueError("training_width belongs to a model of a fixed size")
        if self.result.ratio.denominator > 1 and self.size_multiple % self.result.ratio.denominator:
            raise ValueError(
                f"size_multiple must be a multiple of {self.result.ratio.denominator} for a result of scale "
                f"{self.result.scale}, got {self.size_multiple}"
            )
        if self.result.kind == "fill" and (self.color is None or self.image_channels != 3):
            raise ValueError("a fill needs a color and an RGB image")
        if not PRECISION_NAME.fullmatch(self.precision):
            raise ValueError(
                "precision must be 1 to 16 lowercase letters, digits and underscores, got " + repr(self.precision)[:60]
            )

    @property
    def version(self) -> int:
        """Oldest version of the contract that can say what this one says."""
        old = (
            len(self.conditions) == 1
            and self.color is not None
            and not self.color.name
            and (self.image_channels, self.result.channels, self.result.scale) == (3, 3, "1")
            and self.result.kind in ("picture", "fill")
            and (self.smallest_size, self.training_width, self.batch_one) == (1, 0, False)
            and self.image_fidelity is None
            and self.output_name == COLORED
        )
        return 2 if old else 3

    @property
    def color(self) -> ColorFields | None:
        """The condition that is a color; None if no condition is."""
        return next((fields for fields in self.conditions if fields.kind == "color"), None)

    @property
    def many_colors(self) -> bool:
        """Whether the graph takes several colors per image."""
        return self.color is not None and self.color.many_colors

    @property
    def fixed_shape(self) -> tuple[int, int] | None:
        """Height and width of every image, pixels; None if the model takes images of other sizes."""
        return (self.training_size, self.training_width or self.training_size) if self.fixed_size else None

    def built_conditions(self) -> tuple[Condition[Any], ...]:
        """Build the conditions that the model takes beside the image, anew."""
        return tuple(condition_of(fields) for fields in self.conditions)

    def canvas_rule(self, size: Size = "auto", *, keep_original: bool = False) -> CanvasRule:
        """Return the rule that places images on canvases of a size for this model.

        Args:
            size: ``fit`` is the training size, ``native`` each image's own size, a number the largest side of a canvas
                in pixels; ``auto`` is ``fit`` for models of one size and for those that version 2 can describe, and
                ``native`` for all others. The canvases of ``fit`` are squares for pictures that version 2 describes.
            keep_original: whether a canvas keeps the pixels of its image, as a mask that becomes its alpha needs them.

        Raises:
            UsageError: the network cannot take this size.
        """
        if size == "auto":
            size = "fit" if self.output_name == COLORED or self.fixed_size else "native"
        return CanvasRule.for_size(
            size,
            training_size=self.training_size,
            multiple=self.size_multiple,
            fixed_shape=self.fixed_shape,
            smallest=self.smallest_size,
            fill=self.result.kind == "fill",
            white=self.output_name == COLORED,
            channels=self.image_channels,
            keep_original=keep_original or self.result.kind == "alpha",
        )

    def to_json(self) -> str:
        """Return the metadata value; equal contracts give equal text."""
        version = self.version
        entries = {"contract_version": version, **asdict(self), "golden": self.golden.to_entries(version)}
        if version == 2:
            assert self.color is not None
            color = asdict(self.color)
            entries = {key: value for key, value in entries.items() if key not in _NEW_ENTRIES}
            entries |= {key: color[key] for key in _OLD_COLOR}
            if self.result.kind != "picture":
                entries["result"] = self.result.kind  # its absence means a picture: version 0.1.0 refuses the entry
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
        if version not in CONTRACT_VERSIONS or type(version) is not int:
            raise ContractError(
                f"contract version {repr(version)[:60]}, expected {' or '.join(map(str, CONTRACT_VERSIONS))}",
                remedy=_REMEDY,
            )
        try:
            check_sizes(entries)
            return build(cls, _renewed(entries) if version == 2 else entries)
        except (ValueError, OverflowError) as error:
            raise ContractError(f"the model's contract is unusable: {error}", remedy=_REMEDY) from error


_MAX_CONDITIONS = 16


def _renewed(entries: dict[str, Any]) -> dict[str, Any]:
    """Return the entries of version 2 as version 3 has them.

    Raises:
        ValueError: An entry of the color is missing, or one is there that version 2 does not have.
    """
    unknown = sorted((set(_NEW_ENTRIES) - {"result"}) & set(entries))
    if unknown:
        raise ValueError(f"the object has an unknown {', '.join(unknown)}")
    missing = sorted(set(_OLD_COLOR) - set(entries))
    if missing:
        raise ValueError(f"the object lacks {', '.join(missing)}")
    kind = entries.get("result", "picture")
    if kind not in ("picture", "fill"):
        raise ValueError(f"result is {repr(kind)[:60]}, expected 'picture' or 'fill'")
    return {
        **{key: value for key, value in entries.items() if key not in _OLD_COLOR},
        "batch_one": False,
        "conditions": [{"kind": "color", "name": "", **{key: entries[key] for key in _OLD_COLOR}}],
        **({"golden": GoldenSample.entries_of(entries["golden"])} if "golden" in entries else {}),
        "image_channels": 3,
        "image_fidelity": None,
        "output_name": COLORED,
        "result": {"kind": kind, "scale": "1", "channels": 3},
        "smallest_size": 1,
        "training_width": 0,
    }
