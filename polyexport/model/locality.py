"""The locality of a network: whether an output pixel depends on its surroundings alone, and on how much of them."""

from dataclasses import dataclass
from typing import Literal

__all__ = ["Locality"]

_MAX_REACH = 4096
_MAX_NODES = 8


@dataclass(frozen=True, kw_only=True, slots=True)
class Locality:
    """The locality of a network, found in the structure of its graph and held against its outputs at the export.

    Raises:
        ValueError: entries that contradict each other, or that are out of range.
    """

    kind: Literal["local", "global"]
    """``local``: an output pixel depends on input pixels up to ``reach`` away, so that an image may be cut into tiles.
    ``global``: it may depend on the whole image."""

    reach: int = 0
    """Distance up to which a pixel of the image can change the output, input pixels: 3 for a receptive field of 7x7. 0
    for a network that is global, and for one that computes each pixel alone."""

    nodes: tuple[str, ...] = ()
    """Nodes that make the network global, the first eight, ``Operator name`` each; empty if it is local, or if it is
    global for another reason."""

    tiled_max_diff: int = 0
    """Largest difference of the 8-bit output of an image in tiles from that of the whole image, levels; 0 for a network
    that is global, of which no tiles were compared."""

    tiled_values: int = 0
    """Number of 8-bit values of that comparison."""

    bytes_per_pixel: int = 0
    """Size of all tensors that the graph holds at a time, at its peak, bytes for each pixel of the image."""

    def __post_init__(self) -> None:
        if not 0 <= self.reach <= _MAX_REACH:
            raise ValueError(f"reach must be 0 to {_MAX_REACH}, got {self.reach}")
        if self.kind == "global" and self.reach:
            raise ValueError("reach belongs to a local network")
        if self.kind == "local" and self.nodes:
            raise ValueError("nodes belong to a global network")
        if len(self.nodes) > _MAX_NODES:
            raise ValueError(f"nodes must be up to {_MAX_NODES}, got {len(self.nodes)}")
        if not 0 <= self.tiled_max_diff <= 255 or self.tiled_values < 0 or self.bytes_per_pixel < 0:
            raise ValueError(f"figures out of range, got {self}")

    def describe(self) -> str:
        """Describe the locality in one line."""
        if self.kind == "global":
            because = f": {', '.join(self.nodes)}" if self.nodes else ""
            return f"global, an output pixel may depend on the whole image{because}"
        field = 2 * self.reach + 1
        return (
            f"local, an output pixel depends on {field}x{field} pixels; tiles differ from the whole image by at most "
            f"{self.tiled_max_diff} of 255 levels on {self.tiled_values} values"
        )
