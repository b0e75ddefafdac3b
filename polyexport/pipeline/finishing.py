"""Finishing: treatment of a result on its way into a file, and the models that have such results."""

import os
from collections.abc import Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Literal

from polyexport.errors import ImageError, UsageError
from polyexport.imaging.codecs.png import encode_png
from polyexport.imaging.matte import transparent
from polyexport.imaging.output_format import PNG_OUTPUT, EncodedImage, OutputFormat
from polyexport.imaging.pixels import Pixels
from polyexport.imaging.traits import NO_TRAITS, Keep, Traits
from polyexport.model.canvas import Canvas
from polyexport.model.conditions.color_condition import ColorCondition
from polyexport.model.conditions.condition import Condition
from polyexport.model.model import Model
from polyexport.model.result import ResultFields
from polyexport.model.settings import Setting

if TYPE_CHECKING:
    from polyexport.pipeline.decoding.process import Decoded
    from polyexport.pipeline.frame_collection import FrameCollection

__all__ = ["PLAIN", "Background", "Finishing", "Frames", "ResultAs"]

Background = Literal["white", "transparent"]
"""Treatment of the paper around a drawing."""

ResultAs = Literal["result", "alpha"]
"""Use of a result: as it is, or as the alpha of its image."""


Frames = Literal["first", "all"]
"""Frames of an animation, or pages of a document, that have results: the first alone, or all in one file."""


@dataclass(frozen=True, kw_only=True, slots=True)
class Finishing:
    """Treatment of the results of a run on their way into files.

    Raises:
        ValueError: results with alpha, in a format that holds none or beside the alpha of the input; or all frames, in
            a format that holds one.
    """

    background: Background = "white"
    result_as: ResultAs = "result"
    output: OutputFormat = PNG_OUTPUT
    frames: Frames = "first"

    def __post_init__(self) -> None:
        if self.all_frames and not self.output.holds_several:
            raise ValueError(f"--frames all does not go with --format {self.output.format}, which holds one picture")
        for given, option in (
            (self.background == "transparent", "--background transparent"),
            (self.as_alpha, "--result-as alpha"),
        ):
            if given and not self.output.holds_alpha:
                raise ValueError(f"{option} does not go with --format {self.output.format}, which holds no alpha")
            if given and self.output.alpha == "keep":
                raise ValueError(f"{option} does not go with --alpha keep: a picture has one alpha")

    @property
    def as_alpha(self) -> bool:
        """Whether a mask becomes the alpha of its image."""
        return self.result_as == "alpha"

    @property
    def all_frames(self) -> bool:
        """Whether every frame of an animation and every page of a document has a result."""
        return self.frames == "all"

    @property
    def keep(self) -> Keep:
        """Traits of the inputs' files that the outputs need."""
        return Keep(
            metadata=True,  # also where it is stripped: the outputs of an input with a profile say that they are sRGB
            alpha=self.output.alpha == "keep",
            try_profile=self.output.color_profile == "keep",
        )

    @property
    def needs_whole_picture(self) -> bool:
        """Whether a result cannot be finished band by band."""
        return self.as_alpha or self.background == "transparent" or self.output.alpha == "keep"

    def check(self, result: ResultFields, conditions: Sequence[Condition[Any]]) -> None:
        """Check that a model has results that can be finished in this way.

        Args:
            result: the model's result.
            conditions: the model's conditions.

        Raises:
            UsageError: it has not.
        """
        if self.as_alpha and not result.can_be_alpha:
            raise UsageError(
                f"the model's result is a {_described(result)}, which cannot be an alpha",
                remedy="leave out --result-as alpha, which is for masks of the image's size",
            )
        if self.output.alpha == "keep" and (result.kind in ("alpha", "labels") or result.channels == 4):
            raise UsageError(
                f"the model's result, {_described(result)}, cannot get the alpha of its image",
                remedy="leave out --alpha keep",
            )
        drawn = result.kind in ("picture", "fill") and result.channels == 3
        colored = any(isinstance(condition, ColorCondition) for condition in conditions)
        if self.background == "transparent" and not (drawn and colored):
            raise UsageError(
                f"the model's result is a {_described(result)}{'' if colored else ' without a color'}, which has no "
                "paper around a drawing",
                remedy="leave out --background transparent, which is for models that take a color",
            )

    def encode(
        self,
        model: Model,
        canvas: Canvas,
        output: Pixels,
        setting: Setting,
        *,
        traits: Traits = NO_TRAITS,
        name: str = "",
    ) -> EncodedImage:
        """Turn the network's output on a canvas into an image file.

        Args:
            model: made the output.
            canvas: the image on its canvas.
            output: uint8 [s H, s W, C], the network's output.
            setting: values of the model's conditions.
            traits: traits of the image's file.
            name: name of the file, whose suffix decides the format ``same``.

        Raises:
            ImageError: the format does not hold so many pixels.
        """
        result = self._finished(model, canvas, output, setting)
        if self.output == PNG_OUTPUT and not (traits.icc_profile or traits.exif or traits.xmp or traits.dpi):
            return EncodedImage(data=encode_png(result))
        from polyexport.imaging.encoders.write import write_image

        return write_image(result, self.output, traits, suffix=_suffix(name), colors=self._makes_colors(model))

    def encode_frames(
        self,
        model: Model,
        made: "FrameCollection",
        setting: Setting,
        *,
        traits: Traits = NO_TRAITS,
        name: str = "",
    ) -> EncodedImage:
        """Turn the network's outputs on all frames of one image into one image file.

        Args:
            model: made the outputs.
            made: the frames and their outputs, complete.
            setting: values of the model's conditions.
            traits: traits of the image's file.
            name: name of the file, whose suffix decides the format ``same``.

        Raises:
            ImageError: the format does not hold so many pixels.
        """
        from polyexport.imaging.encoders.times import Times
        from polyexport.imaging.encoders.write import write_frames

        return write_frames(
            [self._finished(model, frame.canvas, output, setting) for frame, output in made.completed()],
            Times(durations_ms=[frame.duration_ms for frame in made.frames], plays=made.plays),
            self.output,
            traits,
            alphas=[frame.alpha for frame in made.frames],
            suffix=_suffix(name),
            colors=self._makes_colors(model),
        )

    def refusal(self, decoded: "Decoded", name: str) -> ImageError | None:
        """Return why the format of an output does not hold the frames of an image; None if it does.

        Args:
            decoded: the image, whose frames are several if it has any.
            name: name of the output, whose suffix decides the format ``same``.
        """
        if not decoded.frames:
            return None
        from polyexport.imaging.encoders import encoder_of

        encoder = encoder_of(self.output.format, _suffix(name), decoded.traits.format)
        if encoder.several == "pages" or (encoder.several and not decoded.pages):
            return None
        what, choice = ("pages", "tiff") if decoded.pages else ("frames", "png, webp or avif")
        return ImageError(
            f"it has {len(decoded.frames)} {what}, which {encoder.name} does not hold",
            remedy=f"use --format {choice}, or --frames first",
        )

    def _finished(self, model: Model, canvas: Canvas, output: Pixels, setting: Setting) -> Pixels:
        result = model.finish(canvas, output, setting, as_alpha=self.as_alpha)
        return transparent(result) if self.background == "transparent" else result

    def _makes_colors(self, model: Model) -> bool:
        return self.as_alpha or model.contract.result.kind not in ("mask", "labels")

    def recipe(self) -> dict[str, Any]:
        """Return what stands for this in the recipe of an output: only what is not the default, but the background."""
        alpha = {"result_as": self.result_as} if self.as_alpha else {}
        frames = {"frames": self.frames} if self.all_frames else {}
        return {"background": self.background} | alpha | frames | self.output.recipe()


PLAIN = Finishing()
"""Results as they are."""


def _suffix(name: str) -> str:
    return os.path.splitext(name)[1]  # noqa: PTH122 - text stays text


def _described(result: ResultFields) -> str:
    return {1: "gray ", 3: "", 4: "RGBA "}[result.channels] * (result.kind == "picture") + result.kind
