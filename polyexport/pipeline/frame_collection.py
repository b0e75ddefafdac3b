"""Frames of one output: each goes through the network by itself, and their results become one file."""

from collections.abc import Iterator
from dataclasses import dataclass, field

from polyexport.imaging.pixels import Pixels
from polyexport.pipeline.decoding.process import DecodedFrame

__all__ = ["FrameCollection"]


@dataclass(slots=True)
class FrameCollection:
    """Results of the frames of one output, until the last one is there. One thread at a time."""

    frames: tuple[DecodedFrame, ...]
    """Frames of the input, in their order."""

    plays: int = 0
    """Number of times that an animation is played; 0 for endlessly."""

    _outputs: dict[int, Pixels] = field(default_factory=dict)
    _failed: bool = False

    def add(self, number: int, output: Pixels | str) -> Pixels | str | None:
        """Accept what the network made of one frame, each once, in any order.

        Args:
            number: index of the frame.
            output: the network's output on its canvas, or the reason of a failure.

        Returns:
            The reason of the first failure, with the number of its frame, counted from 1; the last output, when every
            frame has one; else None.
        """
        if self._failed:
            return None
        if isinstance(output, str):
            self._failed = True
            self._outputs.clear()
            return f"frame {number + 1} of {len(self.frames)}: {output}"
        self._outputs[number] = output
        return output if len(self._outputs) == len(self.frames) else None

    def completed(self) -> Iterator[tuple[DecodedFrame, Pixels]]:
        """Yield each frame and the network's output on its canvas, in the order of the frames."""
        for number, frame in enumerate(self.frames):
            yield frame, self._outputs[number]
