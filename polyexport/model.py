"""A model file, loaded: its contract and a session. Images x colours -> images."""

import base64
import hashlib
from collections.abc import Iterable, Sequence
from pathlib import Path
from typing import Literal

import numpy as np
from numpy.typing import ArrayLike, NDArray
from PIL import Image

from polyexport.color import Color, color_of
from polyexport.contract import COLOR_INPUT, COLORED, IMAGE_INPUT, METADATA_KEY, Contract
from polyexport.errors import ColorError, ContractError, UsageError, reason_of
from polyexport.files import read_limited
from polyexport.framing import Framed, Framing
from polyexport.image import Pixels, decode, read_image, to_pixels
from polyexport.session import ProviderName, Session, SessionOptions, TensorType, open_session

__all__ = ["DEFAULT_MODEL", "Model", "default_model_path", "load_model"]

DEFAULT_MODEL = "small.onnx"
MAX_MODEL_BYTES = 2**31 - 1  # protobuf's own limit

GOLDEN_TOLERANCE = 0.5
"""Mean absolute difference, in levels, up to which a golden sample counts as repeated."""

Size = Literal["fit", "native"] | int
ColorLike = Color | str | tuple[int, int, int]
ImageLike = str | Path | Image.Image | NDArray[np.uint8]

_REMEDY = "give a model that `polyexport export` wrote"


def default_model_path() -> Path:
    """The model that the wheel carries, or the one in ``artifacts/`` of a source tree."""
    package = Path(__file__).parent
    installed = package / "models" / DEFAULT_MODEL
    return installed if installed.exists() else package.parent / "artifacts" / DEFAULT_MODEL


def load_model(
    path: str | Path | None = None, *, provider: ProviderName = "auto", threads: int = 0, device_id: int = 0
) -> "Model":
    """Load a model file.

    Args:
        path: a file that ``polyexport export`` wrote; the shipped model if None.
        provider: ``auto`` takes the best that works; a named one is required.
        threads: of the CPU provider; 0 takes every core that is granted.
        device_id: which GPU.

    Raises:
        ContractError: missing, damaged or without the contract.
        ProviderError: the named provider cannot be used.
    """
    file = Path(path) if path is not None else default_model_path()
    try:
        data = read_limited(file, MAX_MODEL_BYTES)
    except OSError as error:
        raise ContractError(f"model {file} cannot be read ({error.strerror})", remedy=_REMEDY) from error
    try:
        return Model.from_bytes(data, SessionOptions(provider=provider, threads=threads, device_id=device_id))
    except ContractError as error:
        raise ContractError(f"model {file} is refused: {error.message}", remedy=error.remedy) from error


class Model:
    """A contract and a session. Safe to call from several threads."""

    def __init__(self, contract: Contract, session: Session, *, sha256: str) -> None:
        self.contract = contract
        self.session = session
        self.sha256 = sha256
        """Of the model file's bytes."""
        self._check_graph()
        self._check_golden()

    @classmethod
    def from_bytes(cls, data: bytes, options: SessionOptions | None = None) -> "Model":
        """Load a model from the bytes of its file.

        Raises:
            ContractError: damaged, without a contract, or not what its contract says: inputs and outputs are compared,
                and the golden sample is repeated.
            ProviderError: the named provider cannot be used.
        """
        session = open_session(data, options or SessionOptions())
        text = session.metadata.get(METADATA_KEY)
        if text is None:
            raise ContractError(f"its metadata has no {METADATA_KEY}", remedy=_REMEDY)
        return cls(Contract.from_json(text), session, sha256=hashlib.sha256(data).hexdigest())

    def _check_graph(self) -> None:
        rgb = self.contract.conditioning == "rgb"
        pixels = TensorType("tensor(uint8)", (None, None, None, 3))
        color = TensorType("tensor(uint8)", (None, 3)) if rgb else TensorType("tensor(int64)", (None,))
        for kind, found, expected in (
            ("inputs", self.session.inputs, {IMAGE_INPUT: pixels, COLOR_INPUT: color}),
            ("outputs", self.session.outputs, {COLORED: pixels}),
        ):
            if found != expected:
                raise ContractError(f"its {kind} are {_signature(found)}, not {_signature(expected)}", remedy=_REMEDY)

    def _check_golden(self) -> None:
        """Repeat the golden sample: weights that were damaged or replaced do not get past it."""
        golden = self.contract.golden
        try:
            image, colored = (decode(base64.b64decode(png)).pixels for png in (golden.image_png, golden.colored_png))
            dtype = np.uint8 if isinstance(golden.color, tuple) else np.int64
            found = self.run(image[None], np.array([golden.color], dtype=dtype))[0]
            # Another processor or provider rounds a few values the other way; a wrong weight shifts them all.
            difference = float(np.mean(np.abs(found.astype(np.int16) - colored)))
        except Exception as error:
            raise ContractError(f"its golden sample cannot be repeated: {reason_of(error)}", remedy=_REMEDY) from error
        if difference > GOLDEN_TOLERANCE:
            raise ContractError(
                f"its golden sample comes out {difference:.2f} levels off, more than {GOLDEN_TOLERANCE}", remedy=_REMEDY
            )

    def framing(self, size: Size = "fit") -> Framing:
        """How images meet this model: ``fit`` to its training size, ``native``, or fit to a size in pixels.

        Raises:
            UsageError: a size that the network cannot take.
        """
        if not isinstance(size, int) and size not in ("fit", "native"):
            raise UsageError(f"unknown size {size!r}", remedy="give fit, native or a number of pixels")
        mode: Literal["fit", "native"] = "native" if size == "native" else "fit"
        pixels = size if isinstance(size, int) else self.contract.training_size
        return Framing(mode=mode, size=pixels, multiple=self.contract.size_multiple)

    def color_value(self, color: ColorLike) -> NDArray[np.uint8] | NDArray[np.int64]:
        """One row of the ``color`` input: uint8 [3] for ``rgb``, an int64 scalar for ``vocabulary``.

        Raises:
            ColorError: no colour, or one outside the model's vocabulary.
        """
        parsed = color_of(color)
        if self.contract.conditioning == "rgb":
            return np.array(parsed.rgb, dtype=np.uint8)
        names = [name for name, _ in self.contract.palette]
        values = [rgb for _, rgb in self.contract.palette]
        if parsed.name in names:
            return np.array(names.index(parsed.name), dtype=np.int64)
        if parsed.rgb in values:
            return np.array(values.index(parsed.rgb), dtype=np.int64)
        distance = np.abs(np.array(values) - np.array(parsed.rgb)).sum(axis=1)
        nearest = ", ".join(names[i] for i in np.argsort(distance, kind="stable")[:3])
        raise ColorError(f"color {parsed} is not one of this model's {len(names)}", remedy=f"the nearest are {nearest}")

    def run(self, image: ArrayLike, color: ArrayLike) -> NDArray[np.uint8]:
        """Run the graph once, on inputs exactly as the contract has them.

        Args:
            image: uint8 [N, H, W, 3], RGB; H and W multiples of ``contract.size_multiple``.
            color: uint8 [N, 3] (``rgb``) or int64 [N] (``vocabulary``).

        Returns:
            uint8 [N, H, W, 3], RGB.

        Raises:
            UsageError: inputs of another dtype or shape, or a size the network cannot take.
            ContractError: the graph gives an output of another shape.
        """
        image, color = np.asarray(image), np.asarray(color)
        if image.dtype != np.uint8 or image.ndim != 4 or image.shape[3] != 3 or 0 in image.shape:
            raise UsageError(f"image is {image.dtype} {list(image.shape)}", remedy="give uint8 [N, H, W, 3]")
        multiple = self.contract.size_multiple
        if image.shape[1] % multiple or image.shape[2] % multiple:
            raise UsageError(
                f"the network cannot take {image.shape[2]}x{image.shape[1]} pixels",
                remedy=f"pad to multiples of {multiple}, or use Model.colorize",
            )
        rgb = self.contract.conditioning == "rgb"
        expected = (np.dtype(np.uint8), (len(image), 3)) if rgb else (np.dtype(np.int64), (len(image),))
        if (color.dtype, color.shape) != expected:
            raise UsageError(
                f"color is {color.dtype} {list(color.shape)}", remedy=f"give {expected[0]} {list(expected[1])}"
            )
        colored = self.session.run(COLORED, {IMAGE_INPUT: image, COLOR_INPUT: color})
        if colored.shape != image.shape:
            raise ContractError(f"the graph made {list(colored.shape)} of {list(image.shape)}", remedy=_REMEDY)
        return colored

    def run_canvases(self, framed: Sequence[Framed], colors: Sequence[ColorLike]) -> NDArray[np.uint8]:
        """One batch: ``framed[i]``, all on canvases of one shape, in ``colors[i]`` -> uint8 [N, H, W, 3] canvases."""
        return self.run(
            np.stack([one.canvas for one in framed]), np.stack([self.color_value(color) for color in colors])
        )

    def colorize(
        self, images: Iterable[ImageLike], colors: Iterable[ColorLike], *, size: Size = "fit"
    ) -> list[list[Pixels]]:
        """Every image in every colour.

        Args:
            images: paths, pillow images, or uint8 arrays [H, W, 3] in RGB, of any sizes.
            colors: what ``polyexport infer --color`` takes, ``Color``, or (r, g, b) from 0 to 255.
            size: ``fit``, ``native``, or a canvas size in pixels; see ``polyexport.framing``.

        Returns:
            ``result[i][k]`` is image i in colour k: uint8 [H, W, 3] at the size of image i.

        Raises:
            ImageError: an image that cannot be read.
            ColorError: a colour that cannot be read, or that is not in the model's vocabulary.
        """
        parsed = [color_of(color) for color in colors]
        for color in parsed:
            self.color_value(color)
        framing = self.framing(size)
        results: list[list[Pixels]] = []
        for image in images:
            framed = framing.frame(_pixels(image))
            per_run = framed.batch_limit(len(parsed) or 1)
            canvases: list[Pixels] = []
            for start in range(0, len(parsed), per_run):
                batch = parsed[start : start + per_run]
                canvases.extend(self.run_canvases([framed] * len(batch), batch))
            results.append([framed.restore(canvas) for canvas in canvases])
        return results


def _pixels(image: ImageLike) -> Pixels:
    if isinstance(image, (str, Path)):
        return read_image(Path(image)).pixels
    if isinstance(image, Image.Image):
        return to_pixels(image)
    if image.dtype != np.uint8 or image.ndim != 3 or image.shape[2] != 3 or 0 in image.shape:
        raise UsageError(f"an image array is {image.dtype} {list(image.shape)}", remedy="give uint8 [H, W, 3]")
    return image


def _signature(values: dict[str, TensorType]) -> str:
    return ", ".join(f"{name}: {kind}" for name, kind in sorted(values.items())) or "none"
