"""The condition of a network that takes a second picture of the image's size, such as a mask."""

import base64
import io
from collections.abc import Sequence
from typing import Any

import numpy as np
from numpy.typing import NDArray
from PIL import Image

from polyexport.errors import UsageError
from polyexport.model.conditions.condition import Condition, ConditionRow
from polyexport.model.conditions.fields import ConditionValue, ImageFields

__all__ = ["CONDITION", "ImageCondition"]

_COLORS = {1: "gray", 3: "RGB", 4: "RGBA"}


class ImageCondition(Condition[ImageFields]):
    """A second picture, placed on the canvas of the image: uint8 [H, W, channels], 0 to 255.

    No text gives one: every image has a picture of its own, and the runtime places it on the canvas of its image. Its
    values in a contract, which golden samples have, are base64 of PNG files.
    """

    textual = False
    summary = "a second picture"
    dtype = np.dtype(np.uint8)

    def __init__(self, fields: ImageFields) -> None:
        super().__init__(fields)
        self.row_shape = ("height", "width", fields.channels)
        self.meaning = f"{_COLORS[fields.channels]}, 0 to 255, of the image's height and width"

    def parse(self, value: Any) -> str:
        """Refuse every text.

        Raises:
            UsageError: always; the remedy names the option that gives pictures.
        """
        raise UsageError(
            f"{self.name} is a picture, got {repr(value)[:60]}",
            remedy=f"give the folder or the file of its pictures with --with {self.name}=DIR",
        )

    def value_of(self, value: Any) -> ConditionValue:
        """Refuse every value, as ``parse`` does."""
        return self.parse(value)

    def encode(self, value: ConditionValue) -> ConditionRow:
        """Turn base64 of a PNG, of a golden sample, into uint8 [H, W, channels].

        Raises:
            ValueError: it is not a PNG file with this number of channels.
        """
        data = base64.b64decode(value, validate=True) if isinstance(value, str) else b""
        with Image.open(io.BytesIO(data), formats=("PNG",)) as image:
            if len(image.getbands()) != self.fields.channels or max(image.size) > 1024:
                raise ValueError(
                    f"a picture of {self.name} has {len(image.getbands())} channels and {image.size} pixels"
                )
            pixels = np.asarray(image)
        return pixels.reshape(*pixels.shape[:2], self.fields.channels)

    def folder(self, value: Any) -> str:
        """Return nothing: pictures differ from image to image, so they name no folder."""
        return ""

    def describe(self) -> str:
        """Return the channels of the picture."""
        return f"a second picture, {self.meaning}"

    def describe_value(self, value: ConditionValue) -> str:
        """Return the size of a picture."""
        height, width, _ = self.encode(value).shape
        return f"a picture of {width}x{height} pixels"

    def example(self) -> None:
        """Return None: no text gives a picture."""

    def golden_values(self) -> Sequence[ConditionValue]:
        """Return nothing: the pictures of golden samples have to fit their images, so the export makes them."""
        return ()

    def proof_rows(self) -> NDArray[np.uint8]:
        """Return nothing, uint8 [0]: the pictures of a proof have to fit its images, so the proof makes them."""
        return np.empty(0, dtype=self.dtype)


CONDITION = ImageCondition
