"""Times of the frames of a file, and what of them a format holds."""

from collections.abc import Sequence
from dataclasses import dataclass

__all__ = ["Times"]


@dataclass(frozen=True, kw_only=True, slots=True)
class Times:
    """Times of an animation, or of a document, whose pages have none.

    Raises:
        ValueError: no frame, or a negative time or number.
    """

    durations_ms: Sequence[int]
    """Time for which each frame is shown, milliseconds; 0 where nothing says it."""

    plays: int = 0
    """Number of times that the animation is played; 0 for endlessly."""

    def __post_init__(self) -> None:
        if not self.durations_ms or min(self.durations_ms) < 0 or self.plays < 0:
            raise ValueError(f"times of no animation: {self}")

    def in_steps(self, format_name: str, notes: list[str], *, step_ms: int = 1, most: int) -> list[int]:
        """Return the durations as a format counts them.

        Args:
            format_name: name of the format, for the notes.
            notes: a list that gets a line if durations are rounded, and one if they are cut.
            step_ms: milliseconds of one step of the format.
            most: largest number of steps that the format holds.

        Returns:
            For each frame a number of steps, at least 1 unless the duration is 0.
        """
        steps = [max(1, round(each / step_ms)) if each else 0 for each in self.durations_ms]
        if any(count <= most and count * step_ms != each for count, each in zip(steps, self.durations_ms, strict=True)):
            notes.append(f"{format_name} holds durations in steps of {step_ms} ms: rounded")
        if max(steps) > most:
            notes.append(f"{format_name} holds durations of at most {most * step_ms} ms: cut")
        return [min(count, most) for count in steps]

    def held_plays(self, format_name: str, notes: list[str], *, most: int) -> int:
        """Return how many times a format plays the animation; 0 for endlessly.

        Args:
            format_name: name of the format, for the note.
            notes: a list that gets a line if the number is cut.
            most: largest number that the format holds.
        """
        if self.plays > most:
            notes.append(f"{format_name} holds at most {most} plays: cut")
        return min(self.plays, most)
