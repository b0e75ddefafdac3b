"""One image through a pipe: the bytes of an image in, the bytes of its result out, without a folder or a journal."""

from collections.abc import Sequence
from dataclasses import replace

from polyexport.errors import ImageError
from polyexport.imaging.output_format import EncodedImage
from polyexport.model.canvas import Size
from polyexport.model.model import Model
from polyexport.model.settings import Setting
from polyexport.model.tile_wish import AUTO_TILES, TileWish
from polyexport.pipeline.decoding.pool import DecodingPool
from polyexport.pipeline.decoding.process import Source
from polyexport.pipeline.finishing import PLAIN, Finishing
from polyexport.pipeline.frame_collection import FrameCollection

__all__ = ["run_one"]


def run_one(
    source: Source,
    setting: Setting,
    model: Model,
    decoding_pool: DecodingPool,
    *,
    pictures: Sequence[Source] = (),
    size: Size = "auto",
    tiles: TileWish = AUTO_TILES,
    finishing: Finishing = PLAIN,
) -> EncodedImage:
    """Run the model on one image.

    Args:
        source: path of an image file, or the bytes of one; untrusted.
        setting: values of the model's conditions.
        model: the model.
        decoding_pool: processes that decode the image.
        pictures: its second pictures, untrusted, in the order of the model's conditions.
        size: size of the canvas; see ``Contract.canvas_rule``.
        tiles: tiles that a large image is cut into.
        finishing: how the result is finished.

    Returns:
        The file, with warnings about the input, too. The format ``same`` is that of the suffix of the path, or of the
        content of an image that has none.

    Raises:
        ImageError: an image that cannot be read.
        UsageError: the network cannot take this size.
        ColorError: a color that the model does not know.
    """
    finishing.check(model.contract.result, model.conditions)
    rule = model.contract.canvas_rule(size, keep_original=finishing.as_alpha, tiles=tiles)
    decoded = decoding_pool.decode(
        source,
        rule,
        pictures=pictures,
        picture_rules=model.picture_rules(rule),
        keep=finishing.keep,
        frames=finishing.all_frames,
    )
    if decoded.canvas is None:
        raise ImageError(f"the image is refused: {decoded.reason}", remedy="give another image")
    name, traits = source if isinstance(source, str) else "", decoded.traits
    if refusal := finishing.refusal(decoded, name):
        raise refusal
    canvases = [frame.canvas for frame in decoded.frames] or [decoded.canvas]
    outputs = [model.run_canvases([canvas], [setting], [decoded.pictures])[0] for canvas in canvases]
    if decoded.frames:
        collection = FrameCollection(decoded.frames, decoded.plays)
        for number, output in enumerate(outputs):
            collection.add(number, output)
        made = finishing.encode_frames(model, collection, setting, traits=traits, name=name)
    else:
        made = finishing.encode(model, decoded.canvas, outputs[0], setting, traits=traits, name=name)
    return replace(made, warnings=(*decoded.warnings, *made.warnings))
