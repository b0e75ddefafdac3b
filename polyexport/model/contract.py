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
import math
import re
from collections.abc import Sequence
from dataclasses import asdict, dataclass, field
from typing import TYPE_CHECKING, Any

from polyexport.errors import ContractError, reason_of
from polyexport.imaging.pixels import MAX_SIDE, MAX_TRAINING_SIZE
from polyexport.model import contract_v2
from polyexport.model.canvas import MAX_NATIVE_PIXELS, CanvasRule, Size
from polyexport.model.certificate import Fidelity, ImageFidelity, Parity, Quality
from polyexport.model.conditions import condition_of
from polyexport.model.conditions.condition import Condition
from polyexport.model.conditions.fields import ColorFields, ConditionFields
from polyexport.model.contract_limits import MAX_CONTRACT_VALUES, check_sizes
from polyexport.model.golden import GoldenSample
from polyexport.model.locality import Locality
from polyexport.model.result import PICTURE, ResultFields
from polyexport.model.tile_wish import AUTO_TILES, TileWish
from polyexport.runtime.session import TensorType
from polyexport.storage.strict_json import read_json
from polyexport.storage.typed_json import build

if TYPE_CHECKING:
    from polyexport.model.tiles import TileRule

__all__ = [
    "COLORED",
    "CONTRACT_VERSIONS",
    "IMAGE_INPUT",
    "METADATA_KEY",
    "PRECISION_NAME",
    "RESULT",
    "Contract",
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

_MAX_CONDITIONS = 16

_FIRST_LOOK_PART = 3
"""The first look at a drawing takes a third of the training size, a ninth of its time."""

_LEAST_FIRST_LOOK = 64
"""Smallest canvas of a first look, pixels; the trainer's smallest drawings are of this size."""


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

    locality: Locality | None = None
    """Whether an image may be cut into tiles; None if that was not found out, as for models of one size."""

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
        new = self.image_fidelity is not None or self.locality is not None
        old = contract_v2.fits(self) and not new and self.output_name == COLORED
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

    def tensor_types(self, conditions: Sequence[Condition[Any]]) -> tuple[dict[str, TensorType], dict[str, TensorType]]:
        """Return the type and shape of every input and of every output of the graph, by name.

        Args:
            conditions: result of ``built_conditions``.
        """
        batch = 1 if self.batch_one else None
        shape: tuple[int | None, ...] = self.fixed_shape or (None, None)
        made = tuple(None if extent is None else math.ceil(extent * self.result.ratio) for extent in shape)
        inputs = {IMAGE_INPUT: TensorType("tensor(uint8)", (batch, *shape, self.image_channels))}
        for condition in conditions:
            _, *extents = condition.tensor_type.shape
            if not condition.textual:
                extents[:2] = shape
            inputs[condition.name] = TensorType(condition.tensor_type.dtype, (batch, *extents))
        many = (None,) if self.many_colors else ()
        result = TensorType("tensor(uint8)", (batch, *many, *made, self.result.channels))
        return inputs, {self.output_name: result}

    def canvas_rule(
        self, size: Size = "auto", *, keep_original: bool = False, tiles: TileWish = AUTO_TILES
    ) -> CanvasRule:
        """Return the rule that places images on canvases of a size for this model.

        Args:
            size: ``fit`` is the training size, ``native`` each image's own size, a number the largest side of a canvas
                in pixels; ``auto`` is ``fit`` for models of one size and for those that version 2 can describe, and
                ``native`` for all others. The canvases of ``fit`` are squares for pictures that version 2 describes.
            keep_original: whether a canvas keeps the pixels of its image, as a mask that becomes its alpha needs them.
            tiles: tiles that large images are cut into.

        Raises:
            UsageError: the network cannot take this size, or such tiles.
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
            tiles=self._tiles(tiles, native=size == "native"),
            first_look=self._first_look(),
        )

    def _first_look(self) -> int:
        """Return the largest side of the canvas on which a fill is tried first, pixels; 0 if none is."""
        if self.result.kind != "fill" or self.fixed_size:
            return 0
        side = max(_LEAST_FIRST_LOOK, self.training_size // _FIRST_LOOK_PART, self.smallest_size)
        side = -(-side // self.size_multiple) * self.size_multiple
        return side if 2 * side <= self.training_size else 0

    def _tiles(self, wish: TileWish, *, native: bool) -> "TileRule | None":
        if wish == AUTO_TILES and not native:
            return None
        from polyexport.model.tile_choice import choose_tiles  # most runs start without it

        return choose_tiles(
            wish,
            self.locality,
            kind=self.result.kind,
            multiple=self.size_multiple,
            smallest=self.smallest_size,
            native=native,
            fixed_size=self.fixed_size,
            most_pixels=MAX_NATIVE_PIXELS,
        )

    def to_json(self) -> str:
        """Return the metadata value; equal contracts give equal text."""
        version = self.version
        entries = {"contract_version": version, **asdict(self), "golden": self.golden.to_entries(version)}
        return json.dumps(contract_v2.aged(entries) if version == 2 else entries, sort_keys=True)

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
            return build(cls, contract_v2.renewed(entries, output_name=COLORED) if version == 2 else entries)
        except (ValueError, OverflowError) as error:
            raise ContractError(f"the model's contract is unusable: {error}", remedy=_REMEDY) from error
