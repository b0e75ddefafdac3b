"""The run of a model on a batch of images on their canvases."""

from collections.abc import Sequence

from polyexport.imaging.pixels import Pixels
from polyexport.model.canvas import Canvas
from polyexport.model.conditions.condition import ConditionRow
from polyexport.model.tiled_run import RunsRows

__all__ = ["Rgb", "first_looks", "run_placed"]

Rgb = tuple[int, int, int]
"""sRGB, 0 to 255."""


def run_placed(
    model: RunsRows,
    canvases: Sequence[Canvas],
    rows: Sequence[tuple[ConditionRow, ...]],
    colors: Sequence[Rgb | None],
) -> Sequence[Pixels]:
    """Run one batch: ``canvases[i]``, all of one shape, with ``rows[i]``.

    Args:
        model: the model.
        canvases: images on their canvases.
        rows: rows of the conditions of each, with second pictures on the same canvas, uint8 [H, W, channels] each.
        colors: color in which the model fills, for each canvas; None if its result is no fill.

    Returns:
        uint8 [s H, s W, C] for each canvas, or [h, w, C] of its first look where that settles every region.
    """
    if any(canvas.tiles for canvas in canvases):
        from polyexport.model.tiled_run import run_in_tiles

        return [run_in_tiles(model, *each) for each in zip(canvases, rows, strict=True)]
    outputs = first_looks(model, canvases, rows, colors)
    rest = [index for index in range(len(canvases)) if index not in outputs]
    if rest:
        found = model.run_rows([canvases[index].pixels for index in rest], [rows[index] for index in rest])
        outputs.update(zip(rest, found, strict=True))
    return [outputs[index] for index in range(len(canvases))]


def first_looks(
    model: RunsRows,
    canvases: Sequence[Canvas],
    rows: Sequence[tuple[ConditionRow, ...]],
    colors: Sequence[Rgb | None],
) -> dict[int, Pixels]:
    """Run the small canvases of the first looks.

    Where outlines have no gaps, a picture of 64 pixels says as surely as one of 192 which regions are filled, for a
    ninth of the network's time, and the ink of the drawing places the edge either way.

    Args:
        model: the model.
        canvases: images on their canvases, of any shapes.
        rows: rows of the conditions of each.
        colors: color in which the model fills, for each canvas; None if its result is no fill.

    Returns:
        The network's outputs that settle every region of their drawing, by the index of the canvas: uint8 [h, w, C]
        each. None where a call of another shape costs a compilation.
    """
    outputs: dict[int, Pixels] = {}
    by_shape: dict[tuple[int, ...], list[int]] = {}
    if not model.session.stable_shapes:
        for index, canvas in enumerate(canvases):
            look = canvas.first_look
            if (
                look is not None
                and look.edges is not None
                and colors[index] is not None
                and look.edges.can_be_settled()
            ):
                by_shape.setdefault(look.pixels.shape, []).append(index)
    for indexes in by_shape.values():
        looks = [look.pixels for index in indexes if (look := canvases[index].first_look)]
        for index, output in zip(indexes, model.run_rows(looks, [rows[index] for index in indexes]), strict=True):
            color = colors[index]
            if color is not None and canvases[index].settled_by(output, color):
                outputs[index] = output
    return outputs
