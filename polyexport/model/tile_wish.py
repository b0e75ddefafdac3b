"""Tiles as users ask for them."""

from dataclasses import dataclass
from typing import Literal

from polyexport.errors import UsageError

__all__ = ["AUTO_TILES", "Tile", "TileWish"]

Tile = Literal["auto", "off"] | int
"""Tiles as users ask for them: ``auto`` for images that do not fit the memory, ``off``, or the side of a tile in
pixels."""


@dataclass(frozen=True, kw_only=True, slots=True)
class TileWish:
    """Tiles that a user asks for.

    Raises:
        UsageError: values that make no sense for any network.
    """

    tile: Tile = "auto"
    overlap: int | None = None
    """Pixels that a tile shares with each of its neighbors; None for what suits the network."""

    def __post_init__(self) -> None:
        if isinstance(self.tile, int) and self.tile < 1:
            raise UsageError(
                f"a tile of {self.tile} pixels is none", remedy="give --tile auto, off or a number of pixels"
            )
        if self.overlap is not None and not isinstance(self.tile, int):
            raise UsageError("--overlap was given without the side of the tiles", remedy="add --tile N, in pixels")

    @classmethod
    def parse(cls, tile: str, overlap: int | None) -> "TileWish":
        """Parse the values of ``--tile`` and ``--overlap``.

        Raises:
            UsageError: the tile is neither ``auto`` nor ``off`` nor a number of pixels, or an overlap without a number.
        """
        if tile in ("auto", "off"):
            return cls(tile="auto" if tile == "auto" else "off", overlap=overlap)
        if tile.isascii() and tile.isdigit() and len(tile) <= 6:
            return cls(tile=int(tile), overlap=overlap)
        raise UsageError(f"unknown tile {tile[:60]!r}", remedy="give auto, off or a number of pixels")


AUTO_TILES = TileWish()
"""Tiles for images that do not fit the memory."""
