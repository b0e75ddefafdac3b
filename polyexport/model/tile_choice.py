"""The choice of tiles for a network: which images are cut, into which tiles, and what cannot be cut at all."""

from polyexport.errors import UsageError
from polyexport.model.locality import Locality
from polyexport.model.result import ResultKind
from polyexport.model.tile_wish import TileWish
from polyexport.model.tiles import TileRule
from polyexport.runtime.memory import granted_memory

__all__ = ["choose_tiles"]

_SIDE = 512
"""Side of a tile that is chosen, pixels, where neither the overlap nor the memory speaks against it."""

_OVERLAPS_PER_SIDE = 8
"""Side of a tile that is chosen, in overlaps, where the memory allows it: with 8, a third more pixels are computed."""

_LEAST_CORE = 64
"""Least extent of what is kept of a tile that is chosen, pixels."""

_MEMORY_SHARE = 8
"""Part of the granted memory that the tensors of one call may take: an eighth, as several calls run at a time, and a
runtime needs about twice the size of the tensors."""

_UNKNOWN_BYTES_PER_PIXEL = 2048
"""Memory that a network is taken to need whose graph was not measured, bytes for each pixel."""


def choose_tiles(
    wish: TileWish,
    locality: Locality | None,
    *,
    kind: ResultKind,
    multiple: int,
    smallest: int,
    native: bool,
    fixed_size: bool,
    most_pixels: int,
) -> TileRule | None:
    """Choose the tiles of a run.

    Args:
        wish: tiles that the user asks for.
        locality: locality of the network; None if it was not found out.
        kind: kind of the network's result.
        multiple: the network's ``size_multiple``.
        smallest: smallest height and width that it takes, pixels.
        native: images are run at their own size.
        fixed_size: the network takes images of one size alone.
        most_pixels: largest number of pixels of an image that is not cut.

    Returns:
        The rule by which large images are cut; None if none is.

    Raises:
        UsageError: the network, or its result, cannot be cut into such tiles.
    """
    local = locality is not None and locality.kind == "local"
    if not isinstance(wish.tile, int):
        if wish.tile == "off" or not local or not native or fixed_size or kind == "fill":
            return None
        assert locality is not None
        return _chosen(locality, multiple=multiple, smallest=smallest, most_pixels=most_pixels)
    if kind == "fill":
        raise UsageError(
            "a fill cannot be cut into tiles: the ink of the whole drawing places its edges",
            remedy="leave --tile out, and give --size fit or a number of pixels",
        )
    if fixed_size:
        raise UsageError("the network takes images of one size alone, and no tiles", remedy="leave --tile out")
    if not native:
        raise UsageError("tiles are cut from images at their own size", remedy="add --size native")
    if wish.tile < smallest:
        raise UsageError(
            f"tiles of {wish.tile} pixels are smaller than the {smallest} that the network needs",
            remedy=f"give --tile {-(-smallest // multiple) * multiple} or more",
        )
    exact = _exact_overlap(locality, multiple) if locality is not None and local else None
    if exact is not None and (wish.overlap is None or wish.overlap >= exact):
        overlap = exact if wish.overlap is None else -(-wish.overlap // (2 * multiple)) * 2 * multiple
        assert locality is not None
        if wish.tile <= overlap:
            field = 2 * locality.reach + 1
            raise UsageError(
                f"tiles of {wish.tile} pixels are not larger than the {overlap} that they share with their neighbors, "
                f"because an output pixel depends on {field}x{field} pixels",
                remedy=f"give --tile {2 * overlap + multiple if overlap else multiple} or more, or a smaller --overlap",
            )
        return TileRule(side=wish.tile, overlap=overlap, multiple=multiple)
    overlap = wish.tile // 4 // multiple * multiple if wish.overlap is None else wish.overlap
    return TileRule(side=wish.tile, overlap=overlap, multiple=multiple, exact=False, blended=kind != "labels")


def _exact_overlap(locality: Locality, multiple: int) -> int:
    """Return the overlap with which tiles of a local network give the result of the whole image, pixels."""
    return 2 * (-(-locality.reach // multiple) * multiple)


def _chosen(locality: Locality, *, multiple: int, smallest: int, most_pixels: int) -> TileRule:
    """Choose tiles of a local network for images that do not fit the memory."""
    overlap = _exact_overlap(locality, multiple)
    per_pixel = locality.bytes_per_pixel or _UNKNOWN_BYTES_PER_PIXEL
    pixels = granted_memory() // _MEMORY_SHARE // per_pixel
    wanted = min(max(_SIDE, _OVERLAPS_PER_SIDE * overlap), int(pixels**0.5))
    side = max(wanted, overlap + _LEAST_CORE, smallest)
    return TileRule(
        side=-(-side // multiple) * multiple, overlap=overlap, multiple=multiple, above=min(pixels, most_pixels)
    )
