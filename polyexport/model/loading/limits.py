"""Limits of the processor time and the memory that the check of an unknown model file may take."""

from dataclasses import dataclass

__all__ = ["DEFAULT_LIMITS", "GrantedLimits", "LoadLimits"]

_SECONDS = 3.0
_SECONDS_PER_BYTE = 4e-8  # with 126 MB, `base` takes 1.0 of 8.0 s on one core of an AMD EPYC, and `small` 0.2 of 3.3 s
_MEMORY_MIB = 256
_MEMORY_PER_BYTE = 8  # `base` takes 4 times its size
_WALL_FACTOR = 15  # a process that gets a fifteenth of a core still gets all of its processor time

_MAX_SECONDS = 86_400.0
_MAX_MEMORY_MIB = 1 << 20


@dataclass(frozen=True, kw_only=True, slots=True)
class GrantedLimits:
    """The limits of one check, as they follow from ``LoadLimits`` and the size of the file."""

    seconds: float
    """Processor time, seconds."""

    memory_mib: int
    """Memory beyond that of the process before it loads the graph, MiB."""

    @property
    def wall_s(self) -> float:
        """Time on the clock after which a process that does not use its processor time is given up, seconds."""
        return self.seconds * _WALL_FACTOR

    def allows(self, other: "GrantedLimits") -> bool:
        """Tell whether a file that kept the ``other`` limits keeps these."""
        return other.seconds <= self.seconds and other.memory_mib <= self.memory_mib


@dataclass(frozen=True, kw_only=True, slots=True)
class LoadLimits:
    """Limits of the check of a model file that has not been loaded before, as a user gives them."""

    seconds: float = 0.0
    """Processor time, seconds, up to a day; 0 chooses by the size of the file: 3 s, and 4 s for every 100 MB."""

    memory_mib: int = 0
    """Memory that the model may take, MiB, up to 1 TiB; 0 chooses by the size of the file: 256 MiB, and 8 times the
    file."""

    def __post_init__(self) -> None:
        if not 0 <= self.seconds <= _MAX_SECONDS:
            raise ValueError(f"the load timeout must be 0 to {_MAX_SECONDS:g} seconds, got {self.seconds}")
        if not 0 <= self.memory_mib <= _MAX_MEMORY_MIB:
            raise ValueError(f"the model's memory must be 0 to {_MAX_MEMORY_MIB} MiB, got {self.memory_mib}")

    def granted(self, file_bytes: int) -> GrantedLimits:
        """Return the limits for a file of this size, bytes."""
        return GrantedLimits(
            seconds=self.seconds or _SECONDS + _SECONDS_PER_BYTE * file_bytes,
            memory_mib=self.memory_mib or _MEMORY_MIB + _MEMORY_PER_BYTE * file_bytes // 2**20,
        )


DEFAULT_LIMITS = LoadLimits()
"""The limits that follow from the size of the file."""
