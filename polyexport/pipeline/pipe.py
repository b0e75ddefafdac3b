"""One image through a pipe: bytes in, the bytes of a PNG out, no folder and no journal."""

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
    """Colour one image.

    Args:
        source: the path of a file, or the bytes of one; untrusted.
        color: one that the model knows.
        model: for the one call.
        decoding_pool: where the image is decoded.
        size: of the canvas; see ``Contract.canvas_rule``.
        background: what becomes of the paper around the drawing.

    Returns:
        The bytes of a PNG, at the size of the input, and warnings about the input.

    Raises:
        ImageError: an image that cannot be read.
        UsageError: a size that the network cannot take.
        ColorError: a colour that the model does not know.
    """
    decoded = decoding_pool.decode(source, model.contract.canvas_rule(size))
    if decoded.canvas is None:
        raise ImageError(f"the image is refused: {decoded.reason}", remedy="give another image")
    colored = decoded.canvas.restore(model.run_canvases([decoded.canvas], [color])[0])
    return encode_png(transparent(colored) if background == "transparent" else colored), decoded.warnings
