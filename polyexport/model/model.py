"""A loaded model file: its contract and a session that runs its graph."""

import base64
import hashlib
import itertools
import math
from collections.abc import Callable, Iterable, Sequence
from dataclasses import replace
from pathlib import Path

import numpy as np
from numpy.typing import ArrayLike, NDArray
from PIL import Image

from polyexport.errors import ContractError, ImageError, UsageError, check_memory, reason_of
from polyexport.imaging.pixels import Pixels, decode, inspect_header, read_image, to_pixels
from polyexport.model.canvas import Canvas, Size
from polyexport.model.conditions.condition import ColorLike, ConditionRow
from polyexport.model.contract import COLORED, IMAGE_INPUT, Contract, GoldenSample
from polyexport.model.contract_limits import MAX_SAMPLE_SIDE
from polyexport.model.file import read_contract, refusals_named
from polyexport.model.nan_watch import WATCH, all_numbers, watched
from polyexport.runtime.open import open_session
from polyexport.runtime.session import Session, SessionOptions, TensorType

__all__ = ["GOLDEN_TOLERANCE", "Model"]

GOLDEN_TOLERANCE = 0.5
"""Largest mean absolute difference, in levels, at which a golden sample counts as repeated."""

ImageLike = str | Path | Image.Image | NDArray[np.uint8]

_REMEDY = "give a model that `polyexport export` wrote"


class Model:
    """A loaded model: a contract and a session. It is safe to call from several threads."""

    def __init__(self, contract: Contract, session: Session, *, sha256: str) -> None:
        self.contract = contract
        self.session = session
        self.sha256 = sha256
        """SHA-256 of the model file, lowercase hex."""
        self.condition = contract.condition
        """The condition that the model takes beside the image; it turns colors into rows of the second input."""
        self.condition.open()
        self._watched = WATCH in session.outputs
        self._check_graph()
        self._sample_pixels = MAX_SAMPLE_SIDE**2
        self.golden_difference = self.repeat_golden(contract.golden)
        """Mean absolute difference, in levels, of the golden sample as this session repeats it."""
        # Further samples must not cost more than this one, which a process with limits has repeated.
        self._sample_pixels = math.prod(inspect_header(base64.b64decode(contract.golden.image_png)))

    @classmethod
    def from_bytes(
        cls,
        data: bytes,
        options: SessionOptions | None = None,
        *,
        name: str = "",
        admit: Callable[[str], None] = lambda sha256: None,
    ) -> "Model":
        """Load a model from the bytes of a file that is trusted to take no more time and memory than it should.

        ``polyexport.model.loading.load`` loads files of any origin.

        Args:
            data: bytes of the file.
            options: where it runs; the best provider that works if None.
            name: name of the file for messages.
            admit: called with the SHA-256 of the file when its contract has been read and before anything of its graph
                is; it may raise a ContractError.

        Raises:
            ContractError: damaged, without a contract, or not what its contract says: the hash of the graph, the inputs
                and the outputs are compared, and the golden sample is repeated.
            ProviderError: the named provider cannot be used.
        """
        with refusals_named(name):
            return cls._load(data, options or SessionOptions(), admit)

    @classmethod
    def _load(cls, data: bytes, options: SessionOptions, admit: Callable[[str], None]) -> "Model":
        contract = read_contract(data)
        sha256 = hashlib.sha256(data).hexdigest()
        admit(sha256)
        loaded: list[Model] = []
        open_session(
            watched(data),
            replace(options, precision=contract.precision),
            accept=lambda session: loaded.append(cls(contract, session, sha256=sha256)),
        )
        return loaded[-1]

    def _check_graph(self) -> None:
        side = self.contract.training_size if self.contract.fixed_size else None
        pixels = TensorType("tensor(uint8)", (None, side, side, 3))
        colored = TensorType("tensor(uint8)", (None, None, side, side, 3)) if self.contract.many_colors else pixels
        for kind, found, expected in (
            ("inputs", self.session.inputs, {IMAGE_INPUT: pixels, self.condition.name: self.condition.tensor_type}),
            ("outputs", {k: v for k, v in self.session.outputs.items() if k != WATCH}, {COLORED: colored}),
        ):
            if found != expected:
                raise ContractError(f"its {kind} are {_signature(found)}, not {_signature(expected)}", remedy=_REMEDY)

    def repeat_golden(self, golden: GoldenSample) -> float:
        """Repeat a golden sample, so that a provider that computes something else is refused.

        Returns:
            The mean absolute difference, in levels.

        Raises:
            ContractError: the sample cannot be run, or comes out more than ``GOLDEN_TOLERANCE`` levels off.
        """
        try:
            image, colored = (
                decode(base64.b64decode(png), max_pixels=self._sample_pixels).pixels
                for png in (golden.image_png, golden.colored_png)
            )
            found = self.run_rows([image], [self.condition.encode(golden.color)])[0]
            if found.shape != colored.shape:
                raise ValueError(f"it is {list(found.shape)}, and {list(colored.shape)} in the contract")  # noqa: TRY301
            # Another processor or provider rounds a few values the other way; a wrong weight shifts them all.
            difference = float(np.mean(np.abs(found.astype(np.int16) - colored)))
        except Exception as error:
            check_memory(error, "repeating the golden sample of the model")
            raise ContractError(f"its golden sample cannot be repeated: {reason_of(error)}", remedy=_REMEDY) from error
        if difference > GOLDEN_TOLERANCE:
            raise ContractError(
                f"its golden sample comes out {difference:.2f} levels off, more than {GOLDEN_TOLERANCE}", remedy=_REMEDY
            )
        return difference

    def run(self, image: ArrayLike, color: ArrayLike) -> NDArray[np.uint8]:
        """Run the graph once, on inputs exactly as the contract has them.

        Args:
            image: uint8 [N, H, W, 3], RGB; H and W multiples of ``contract.size_multiple``.
            color: one row of the condition for each image, [N, ...], of its ``dtype`` and ``row_shape``; with
                ``many_colors`` there is one more axis, [N, K, ...].

        Returns:
            uint8 [N, H, W, 3], RGB; [N, K, H, W, 3] with ``many_colors``.

        Raises:
            UsageError: inputs of another dtype or shape, or a size the network cannot take.
            ImageError: the network gives NaN or infinity.
            ContractError: the graph gives an output of another shape.
        """
        image, color = np.asarray(image), np.asarray(color)
        if image.dtype != np.uint8 or image.ndim != 4 or image.shape[3] != 3 or 0 in image.shape:
            raise UsageError(f"image is {image.dtype} {list(image.shape)}", remedy="give uint8 [N, H, W, 3]")
        size, multiple = self.contract.training_size, self.contract.size_multiple
        if self.contract.fixed_size and image.shape[1:3] != (size, size):
            raise UsageError(
                f"the network cannot take {image.shape[2]}x{image.shape[1]} pixels",
                remedy=f"give {size}x{size}, the only size that it knows, or use Model.colorize",
            )
        if image.shape[1] % multiple or image.shape[2] % multiple:
            raise UsageError(
                f"the network cannot take {image.shape[2]}x{image.shape[1]} pixels",
                remedy=f"pad to multiples of {multiple}, or use Model.colorize",
            )
        many = color.shape[1:2] if self.contract.many_colors else ()
        expected = (len(image), *many, *self.condition.row_shape)
        if (color.dtype, color.shape) != (self.condition.dtype, expected) or 0 in color.shape:
            wanted = [len(image), *(["colors"] if self.contract.many_colors else []), *self.condition.row_shape]
            raise UsageError(
                f"color is {color.dtype} {list(color.shape)}",
                remedy=f"give {self.condition.dtype} [{', '.join(map(str, wanted))}]",
            )
        feeds = {IMAGE_INPUT: image, self.condition.name: color}
        colored, *watch = self.session.run_all([COLORED, WATCH] if self._watched else [COLORED], feeds)
        bad = int(np.count_nonzero(~all_numbers(watch[0]))) if watch else 0
        if bad:
            raise ImageError(
                f"{bad} of {len(watch[0])} images came out of the network as no numbers (NaN or infinity)",
                remedy="export the model in fp32, or run it on another provider",
            )
        if colored.shape != (len(image), *many, *image.shape[1:]):
            raise ContractError(f"the graph made {list(colored.shape)} of {list(image.shape)}", remedy=_REMEDY)
        return colored

    def run_rows(self, canvases: Sequence[Pixels], rows: Sequence[ConditionRow]) -> Sequence[Pixels]:
        """Run pairs of an image and a row of the second input, and return one output for each, in order.

        All images have one shape. With ``many_colors``, pairs that follow each other with the same array share what
        does not depend on the color.
        """
        if not self.contract.many_colors:
            return list(self.run(np.stack(canvases), np.stack(rows)))
        groups: list[tuple[Pixels, list[ConditionRow]]] = []
        for canvas, row in zip(canvases, rows, strict=True):
            if not groups or groups[-1][0] is not canvas:
                groups.append((canvas, []))
            groups[-1][1].append(row)
        results: list[Pixels] = []
        for count, alike in itertools.groupby(groups, key=lambda group: len(group[1])):
            batch = list(alike)
            colors = np.stack([row for _, own in batch for row in own])
            colored = self.run(
                np.stack([canvas for canvas, _ in batch]), colors.reshape(len(batch), count, *colors.shape[1:])
            )
            results.extend(colored.reshape(-1, *colored.shape[2:]))
        return results

    def run_canvases(self, canvases: Sequence[Canvas], colors: Sequence[ColorLike]) -> Sequence[Pixels]:
        """Run one batch: ``canvases[i]``, all of one shape, in ``colors[i]`` -> one uint8 [H, W, 3] output for each."""
        return self.run_rows([canvas.pixels for canvas in canvases], [self.condition.row(color) for color in colors])

    def colorize(
        self, images: Iterable[ImageLike], colors: Iterable[ColorLike], *, size: Size = "fit"
    ) -> list[list[Pixels]]:
        """Color every image in every color.

        Args:
            images: paths, pillow images, or uint8 arrays [H, W, 3] in RGB, of any sizes.
            colors: what ``polyexport infer --color`` takes, ``Color``, or (r, g, b) from 0 to 255.
            size: ``fit``, ``native``, or a canvas size in pixels; see ``polyexport.model.canvas``.

        Returns:
            ``result[i][k]`` is image i in color k: uint8 [H, W, 3] at the size of image i.

        Raises:
            ImageError: an image that cannot be read, or for which the network gives NaN or infinity.
            ColorError: a color that cannot be read, or that the model does not know.
        """
        parsed = [self.condition.parse(color) for color in colors]
        for color in parsed:
            self.condition.row(color)
        canvas_rule = self.contract.canvas_rule(size)
        results: list[list[Pixels]] = []
        for image in images:
            canvas = canvas_rule.place(_pixels(image))
            per_run = canvas.batch_limit(len(parsed) or 1)
            outputs: list[Pixels] = []
            for start in range(0, len(parsed), per_run):
                batch = parsed[start : start + per_run]
                outputs.extend(self.run_canvases([canvas] * len(batch), batch))
            fills = map(self.condition.fill_color, parsed)
            results.append([canvas.restore(output, fill) for output, fill in zip(outputs, fills, strict=True)])
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
