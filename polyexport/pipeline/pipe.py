"""One image through a pipe: the bytes of an image in, the bytes of a PNG out, without a folder or a journal."""

from polyexport.errors import ImageError
from polyexport.imaging.codecs.png import encode_png
from polyexport.imaging.color import Color
from polyexport.imaging.matte import transparent
from polyexport.model.canvas import Size
from polyexport.model.model import Model
from polyexport.pipeline.decoding.pool import DecodingPool, Source
from polyexport.pipeline.recipes import Background

__all__ = ["color_one"]


def color_one(
    source: Source,
    color: Color,
    model: Model,
    decoding_pool: DecodingPool,
    *,
    size: Size = "fit",
    background: Background = "white",
) -> tuple[bytes, tuple[str, ...]]:
    """Color one image.

    Args:
        source: path of an image file, or the bytes of one; untrusted.
        color: a color that the model knows.
        model: the model that colors it.
        decoding_pool: processes that decode the image.
        size: size of the canvas; see ``Contract.canvas_rule``.
        background: treatment of the paper around the drawing.

    Returns:
        The bytes of a PNG at the size of the input, and warnings about the input.

    Raises:
        ImageError: an image that cannot be read.
        UsageError: the network cannot take this size.
        ColorError: a color that the model does not know.
    """
    decoded = decoding_pool.decode(source, model.contract.canvas_rule(size))
    if decoded.canvas is None:
        raise ImageError(f"the image is refused: {decoded.reason}", remedy="give another image")
    output = model.run_canvases([decoded.canvas], [color])[0]
    colored = decoded.canvas.restore(output, model.condition.fill_color(color))
    return encode_png(transparent(colored) if background == "transparent" else colored), decoded.warnings
