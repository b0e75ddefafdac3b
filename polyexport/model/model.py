"""A loaded model file: its contract and a session that runs its graph."""

import base64
import hashlib
import math
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import replace
from typing import Any

import numpy as np
from numpy.typing import ArrayLike, NDArray

from polyexport.errors import ContractError, ImageError, UsageError, check_memory, reason_of
from polyexport.imaging.pixels import Pixels, decode, inspect_header, to_channels
from polyexport.model.canvas import Canvas, CanvasRule, Size, check_same_size
from polyexport.model.conditions.color_condition import ColorCondition, ColorLike
from polyexport.model.conditions.condition import ConditionRow
from polyexport.model.contract import IMAGE_INPUT, Contract
from polyexport.model.contract_limits import MAX_SAMPLE_SIDE
from polyexport.model.file import read_contract, refusals_named
from polyexport.model.golden import GoldenSample
from polyexport.model.inputs import ImageLike, batches_of_many_colors, check_image, checked_rows, pixels_of, placed
from polyexport.model.nan_watch import WATCH, all_numbers, watched
from polyexport.model.settings import Setting, describe_conditions, setting_from
from polyexport.runtime.open import open_session
from polyexport.runtime.session import Session, SessionOptions, TensorType

__all__ = ["GOLDEN_TOLERANCE", "ConditionRows", "Model"]

GOLDEN_TOLERANCE = 0.5
"""Largest mean absolute difference, in levels, at which a golden sample counts as repeated."""

ConditionRows = tuple[ConditionRow, ...]
"""One row for each condition of a model, in the order of the contract."""

_REMEDY = "give a model that `polyexport export` wrote"


class Model:
    """A loaded model: a contract and a session. It is safe to call from several threads."""

    def __init__(self, contract: Contract, session: Session, *, sha256: str) -> None:
        self.contract = contract
        self.session = session
        self.sha256 = sha256
        """SHA-256 of the model file, lowercase hex."""
        self.conditions = contract.built_conditions()
        """Inputs of the model beside the image, in the order of the graph's inputs."""
        for condition in self.conditions:
            condition.open()
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
            watched(data, contract.output_name),
            replace(options, precision=contract.precision),
            accept=lambda session: loaded.append(cls(contract, session, sha256=sha256)),
        )
        return loaded[-1]

    @property
    def color_condition(self) -> ColorCondition:
        """The color that the model takes beside the image.

        Raises:
            UsageError: it takes no color.
        """
        for condition in self.conditions:
            if isinstance(condition, ColorCondition):
                return condition
        raise UsageError(
            f"the model takes no color; it takes {describe_conditions(self.conditions)}",
            remedy="give a model that takes a color, or call Model.apply",
        )

    def _check_graph(self) -> None:
        outputs = {name: value for name, value in self.session.outputs.items() if name != WATCH}
        types = self.contract.tensor_types(self.conditions)
        for kind, found, expected in zip(("inputs", "outputs"), (self.session.inputs, outputs), types, strict=True):
            if found != expected:
                raise ContractError(f"its {kind} are {_signature(found)}, not {_signature(expected)}", remedy=_REMEDY)

    def repeat_golden(self, golden: GoldenSample) -> float:
        """Repeat a golden sample, so that a provider that computes something else is refused.

        Returns:
            The mean absolute difference, in levels.

        Raises:
            ContractError: the sample cannot be run, or comes out more than ``GOLDEN_TOLERANCE`` levels off.
        """
        contract = self.contract
        enlarged = max(1, math.ceil(contract.result.ratio))
        scaled = self._sample_pixels * enlarged**2
        try:
            image, expected = (
                decode(base64.b64decode(png), max_pixels=most, channels=channels).pixels
                for png, most, channels in (
                    (golden.image_png, self._sample_pixels, contract.image_channels),
                    (golden.result_png, scaled, contract.result.channels),
                )
            )
            rows = tuple(
                condition.encode(value) for condition, value in zip(self.conditions, golden.values, strict=True)
            )
            found = self.run_rows([image], [rows])[0]
            if found.shape != expected.shape:
                raise ValueError(f"it is {list(found.shape)}, and {list(expected.shape)} in the contract")  # noqa: TRY301
            # Another processor or provider rounds a few values the other way; a wrong weight shifts them all.
            difference = float(np.mean(np.abs(found.astype(np.int16) - expected)))
        except Exception as error:
            check_memory(error, "repeating the golden sample of the model")
            raise ContractError(f"its golden sample cannot be repeated: {reason_of(error)}", remedy=_REMEDY) from error
        if difference > GOLDEN_TOLERANCE:
            raise ContractError(
                f"its golden sample comes out {difference:.2f} levels off, more than {GOLDEN_TOLERANCE}", remedy=_REMEDY
            )
        return difference

    def run(self, image: ArrayLike, *conditions: ArrayLike) -> NDArray[np.uint8]:
        """Run the graph once, on inputs exactly as the contract has them.

        A graph that takes one image at a time is run once for each image.

        Args:
            image: uint8 [N, H, W, C] with the channels of ``contract.image_channels``; H and W multiples of
                ``contract.size_multiple``.
            conditions: for each condition one row for each image, [N, ...], of its ``dtype`` and ``row_shape``; with
                ``many_colors`` there is one more axis, [N, K, ...].

        Returns:
            uint8 [N, s H, s W, C] with the scale and the channels of ``contract.result``; [N, K, H, W, 3] with
            ``many_colors``.

        Raises:
            UsageError: inputs of another dtype or shape, or a size the network cannot take.
            ImageError: the network gives NaN or infinity.
            ContractError: the graph gives an output of another shape.
        """
        images = np.asarray(image)
        check_image(self.contract, images)
        if len(conditions) != len(self.conditions):
            raise UsageError(
                f"got {len(conditions)} conditions, expected {len(self.conditions)}",
                remedy=f"the model takes {describe_conditions(self.conditions)}",
            )
        feeds = {IMAGE_INPUT: images}
        for condition, value in zip(self.conditions, conditions, strict=True):
            feeds[condition.name] = checked_rows(self.contract, condition, np.asarray(value), images)
        if self.contract.batch_one and len(images) > 1:
            split = ({name: value[i : i + 1] for name, value in feeds.items()} for i in range(len(images)))
            return np.concatenate([self._call(one) for one in split])
        return self._call(feeds)

    def _call(self, feeds: Mapping[str, NDArray[Any]]) -> NDArray[np.uint8]:
        name, image = self.contract.output_name, feeds[IMAGE_INPUT]
        result, *watch = self.session.run_all([name, WATCH] if self._watched else [name], feeds)
        bad = int(np.count_nonzero(~all_numbers(watch[0]))) if watch else 0
        if bad:
            raise ImageError(
                f"{bad} of {len(watch[0])} images came out of the network as no numbers (NaN or infinity)",
                remedy="export the model in fp32, or run it on another provider",
            )
        many = feeds[self.conditions[0].name].shape[1:2] if self.contract.many_colors else ()
        ratio = self.contract.result.ratio
        made = tuple(-(-extent * ratio.numerator // ratio.denominator) for extent in image.shape[1:3])
        if result.shape != (len(image), *many, *made, self.contract.result.channels):
            raise ContractError(f"the graph made {list(result.shape)} of {list(image.shape)}", remedy=_REMEDY)
        return result

    def run_rows(self, canvases: Sequence[Pixels], rows: Sequence[ConditionRows]) -> Sequence[Pixels]:
        """Run pairs of an image and the rows of its conditions, and return one output for each, in order.

        All images have one shape. With ``many_colors``, pairs that follow each other with the same array share what
        does not depend on the color.
        """
        if not self.contract.many_colors:
            return list(self.run(np.stack(canvases), *(np.stack(one) for one in zip(*rows, strict=True))))
        results: list[Pixels] = []
        for images, colors in batches_of_many_colors(canvases, [row for (row,) in rows]):
            colored = self.run(images, colors)
            results.extend(colored.reshape(-1, *colored.shape[2:]))
        return results

    def rows_of(self, setting: Setting, pictures: Sequence[Pixels] = ()) -> ConditionRows:
        """Return the rows of a setting, and of the second pictures on their canvases, in the order of the contract.

        Args:
            setting: Values of the conditions that text gives.
            pictures: uint8 [H, W, channels] for each condition that is a picture, placed as its image is.

        Raises:
            UsageError: A value that the model does not know.
        """
        values, second = iter(setting.values), iter(pictures)
        return tuple(
            condition.row(next(values)) if condition.textual else next(second) for condition in self.conditions
        )

    def recipe_of(self, setting: Setting) -> dict[str, Any]:
        """Return what stands for a setting in the recipe of an output, by the names of the conditions.

        Raises:
            UsageError: A value that the model does not know.
        """
        textual = [condition for condition in self.conditions if condition.textual]
        return {
            condition.name: condition.recipe(value) for condition, value in zip(textual, setting.values, strict=True)
        }

    def finish(self, canvas: Canvas, output: Pixels, setting: Setting, *, as_alpha: bool = False) -> Pixels:
        """Turn the network's output on a canvas into the result for the image.

        Args:
            canvas: The image on its canvas; for an alpha, with the original.
            output: uint8 [s H, s W, C], as ``run_canvases`` gives it.
            setting: Values of the conditions that text gives.
            as_alpha: Make a mask the alpha of the image, as a result of the kind ``alpha`` always is.

        Returns:
            uint8 [s height, s width, C]; RGBA for an alpha.
        """
        kind = self.contract.result.kind
        fill = self.fill_color(setting)
        result = canvas.restore(output, fill, mixed=kind != "labels")
        if not as_alpha and kind != "alpha":
            return result
        assert canvas.original is not None
        return np.concatenate([to_channels(canvas.original, 3), result[..., :1]], axis=2)

    def fill_color(self, setting: Setting) -> tuple[int, int, int] | None:
        """Return the sRGB values in which the model fills for a setting; None if its result is no fill.

        Raises:
            ColorError: A color that the model does not know.
        """
        if self.contract.result.kind != "fill":
            return None
        names = [condition.name for condition in self.conditions if condition.textual]
        return self.color_condition.fill_color(setting.values[names.index(self.color_condition.name)])

    def run_canvases(
        self,
        canvases: Sequence[Canvas],
        settings: Sequence[Setting],
        pictures: Sequence[Sequence[Pixels]] | None = None,
    ) -> Sequence[Pixels]:
        """Run one batch: ``canvases[i]``, all of one shape, with ``settings[i]`` -> one output for each.

        Args:
            canvases: Images on their canvases.
            settings: Values of the conditions that text gives, for each canvas.
            pictures: Second pictures on the canvases, for each canvas; None for a model that takes none.

        Returns:
            uint8 [s H, s W, C] for each canvas, or for that of its first look where this is enough; see ``finish``.
        """
        seconds = pictures if pictures is not None else [()] * len(canvases)
        rows = [self.rows_of(setting, second) for setting, second in zip(settings, seconds, strict=True)]
        if any(canvas.tiles or canvas.first_look for canvas in canvases):
            from polyexport.model.placed_run import run_placed

            return run_placed(self, canvases, rows, [self.fill_color(setting) for setting in settings])
        return self.run_rows([canvas.pixels for canvas in canvases], rows)

    def colorize(
        self, images: Iterable[ImageLike], colors: Iterable[ColorLike], *, size: Size = "auto"
    ) -> list[list[Pixels]]:
        """Color every image in every color, with a model that takes a color and nothing else beside the image.

        Args:
            images: paths, pillow images, or uint8 arrays [H, W, 3] in RGB, of any sizes.
            colors: what ``polyexport infer --color`` takes, ``Color``, or (r, g, b) from 0 to 255.
            size: ``auto``, ``fit``, ``native``, or a canvas size in pixels; see ``polyexport.model.canvas``.

        Returns:
            ``result[i][k]`` is image i in color k: uint8 [H, W, 3] at the size of image i.

        Raises:
            ImageError: an image that cannot be read, or for which the network gives NaN or infinity.
            ColorError: a color that cannot be read, or that the model does not know.
            UsageError: the model takes other conditions.
        """
        name = self.color_condition.name
        settings = [setting_from(self.conditions, {name: color}) for color in colors]
        for setting in settings:
            self.rows_of(setting)
        canvas_rule = self.contract.canvas_rule(size)
        results: list[list[Pixels]] = []
        for image in images:
            canvas = canvas_rule.place(pixels_of(image, self.contract.image_channels))
            per_run = canvas.batch_limit(len(settings) or 1)
            outputs: list[Pixels] = []
            for start in range(0, len(settings), per_run):
                batch = settings[start : start + per_run]
                outputs.extend(self.run_canvases([canvas] * len(batch), batch))
            results.append(
                [self.finish(canvas, output, setting) for output, setting in zip(outputs, settings, strict=True)]
            )
        return results

    def apply(
        self,
        images: Iterable[ImageLike],
        conditions: Mapping[str, Any] | None = None,
        *,
        pictures: Mapping[str, Iterable[ImageLike]] | None = None,
        size: Size = "auto",
        as_alpha: bool = False,
    ) -> list[Pixels]:
        """Run every image under the same conditions, with a model of any kind.

        Args:
            images: paths, pillow images, or uint8 arrays [H, W, C] with the model's channels, of any sizes.
            conditions: a value for each condition by its name, such as ``{"sigma": 25}``; what has a default may be
                left out.
            pictures: for each condition that is a picture, one for each image, of the image's size.
            size: ``auto``, ``fit``, ``native``, or a canvas size in pixels; see ``polyexport.model.canvas``.
            as_alpha: make a mask the alpha of its image.

        Returns:
            One result for each image: uint8 [s H, s W, C] at the size of the image times ``contract.result.scale``.

        Raises:
            ImageError: an image that cannot be read, a picture of another size than its image, or an image for which
                the network gives NaN or infinity.
            UsageError: a condition that is missing, unknown or out of range.
        """
        setting = setting_from(self.conditions, conditions or {})
        rule = self.contract.canvas_rule(size, keep_original=as_alpha)
        rules = self.picture_rules(rule)
        given = dict(pictures or {})
        if given.keys() != rules.keys():
            raise UsageError(
                f"got the pictures {', '.join(given) or 'of no condition'}, expected {', '.join(rules) or 'none'}",
                remedy=f"the model takes {describe_conditions(self.conditions)}",
            )
        results: list[Pixels] = []
        for image, *seconds in zip(images, *(given[name] for name in rules), strict=True):
            canvas = placed(image, rule)
            beside = []
            for (name, own), second in zip(rules.items(), seconds, strict=True):
                pixels = pixels_of(second, own.channels)
                check_same_size(name, (pixels.shape[0], pixels.shape[1]), (canvas.height, canvas.width))
                beside.append(own.place(pixels).pixels)
            output = self.run_canvases([canvas], [setting], [beside])[0]
            results.append(self.finish(canvas, output, setting, as_alpha=as_alpha))
        return results

    def picture_rules(self, rule: CanvasRule) -> dict[str, CanvasRule]:
        """Return the rule that places the second pictures of each condition that is one."""
        return {
            condition.name: rule.for_picture(condition.fields.channels)
            for condition in self.conditions
            if not condition.textual
        }


def _signature(values: dict[str, TensorType]) -> str:
    return ", ".join(f"{name}: {kind}" for name, kind in sorted(values.items())) or "none"
