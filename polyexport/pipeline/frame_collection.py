"""Frames of one output: each goes through the network by itself, and their results become one file."""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field

from polyexport.imaging.pixels import Pixels
from polyexport.pipeline.batching import tiles_note
from polyexport.pipeline.decoding.process import Decoded, DecodedFrame
from polyexport.pipeline.progress import InputProgress, OutputTask

__all__ = ["FrameCollection", "output_tasks"]


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


def output_tasks(progress: InputProgress, decoded: Decoded, numbers: Sequence[int]) -> Iterator[list[OutputTask]]:
    """Yield the work of the network on a decoded input: for each frame one task for each output.

    Args:
        progress: the input, which gets a warning about frames that are cut into tiles.
        decoded: what it was decoded to, with a canvas if there are numbers.
        numbers: indexes of the settings of the outputs.
    """
    if decoded.canvas is None or not numbers:
        return
    if not decoded.frames:
        progress.add_warnings(tiles_note(decoded.canvas))
        yield [OutputTask(progress, decoded.canvas, decoded.pictures, number) for number in numbers]
        return
    collections = {number: FrameCollection(decoded.frames, decoded.plays) for number in numbers}
    for place, frame in enumerate(decoded.frames):
        progress.add_warnings(tiles_note(frame.canvas))
        yield [
            OutputTask(progress, frame.canvas, decoded.pictures, number, collections[number], place)
            for number in numbers
        ]
