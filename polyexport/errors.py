"""The exceptions that a user can cause, and the exit code that each one ends a command with.

    PolyexportError            1  fatal
    ├── UsageError             2  the command line, or the folders it names
    │   └── ColorError         2  a color that cannot be read
    ├── DatasetError           1  a data set whose files do not follow its layout
    ├── TrainingError          1  a training that diverged
    ├── OutOfMemoryError       1  memory that does not suffice for what is being done
    ├── ImageError             3  one input image; the others are still processed
    ├── ModelError             4  a model or checkpoint that is refused
    │   ├── CheckpointError    4  a checkpoint or weights that are damaged or do not fit the network
    │   ├── ContractError      4  not a model file of this toolkit, or damaged
    │   ├── ParityError        4  an export that does not equal its PyTorch model
    │   └── SignatureError     4  a signature that does not hold for a model file, or a key that is not one
    ├── OutputError            5  an output that cannot be written
    └── ProviderError          6  a required execution provider that is not there

Each message says what was got and what was expected; ``remedy`` says what to do next. Any other exception that leaves a
command is a bug.
"""

import errno
import re
from enum import IntEnum

__all__ = [
    "CheckpointError",
    "ColorError",
    "ContractError",
    "DatasetError",
    "ExitCode",
    "ImageError",
    "ModelError",
    "OutOfMemoryError",
    "OutputError",
    "ParityError",
    "PolyexportError",
    "ProviderError",
    "SignatureError",
    "TrainingError",
    "UsageError",
    "check_memory",
    "out_of_memory",
    "reason_of",
]


class ExitCode(IntEnum):
    """Exit codes of the commands."""

    OK = 0
    FATAL = 1
    USAGE = 2
    SOME_FAILED = 3
    MODEL_REFUSED = 4
    OUTPUT_UNUSABLE = 5
    PROVIDER_UNAVAILABLE = 6
    TARGET_MISSED = 7
    INTERRUPTED = 130
    TERMINATED = 143


class PolyexportError(Exception):
    """Base class of every error that a user can cause."""

    exit_code: ExitCode = ExitCode.FATAL
    """Exit code of a command that ends with this error."""

    def __init__(self, message: str, *, remedy: str) -> None:
        """Make an error.

        Args:
            message: What was got and what was expected, in one line.
            remedy: What the user can do next, as the end of a sentence.
        """
        super().__init__(message)
        self.message = message
        self.remedy = remedy

    def __str__(self) -> str:
        return f"{self.message}; {self.remedy}"


class UsageError(PolyexportError):
    """The command line asks for something that cannot be done."""

    exit_code = ExitCode.USAGE


class ColorError(UsageError):
    """A color that is neither a CSS name nor a hex, rgb() or hsl() value, or that the model does not know."""


class DatasetError(PolyexportError):
    """A data set whose files and data.json do not agree."""


class TrainingError(PolyexportError):
    """A training whose loss or weights have become NaN or infinite."""


class OutOfMemoryError(PolyexportError):
    """Memory that does not suffice: on the machine, in the container, or under a limit such as ``ulimit -v``."""

    def __init__(self, doing: str, reason: str = "") -> None:
        """Make an error.

        Args:
            doing: What needed the memory, after "memory ran out while": a participle, what it is about, and how much it
                needs if that is known.
            reason: First line of the error of the library that asked for the memory; empty if it says nothing more.
        """
        super().__init__(
            f"memory ran out while {doing}" + (f" ({reason})" if reason else ""),
            remedy="lower the number or size of the images at a time, the threads or the jobs, or grant it more memory",
        )


class ImageError(PolyexportError):
    """One image that cannot be read or processed."""

    exit_code = ExitCode.SOME_FAILED


class ModelError(PolyexportError):
    """A model or checkpoint that is refused."""

    exit_code = ExitCode.MODEL_REFUSED


class CheckpointError(ModelError):
    """A file that is not a whole checkpoint of ``trainer``, or weights that do not fit their network."""


class ContractError(ModelError):
    """A file that is not a whole model file of this toolkit."""


class ParityError(ModelError):
    """An export whose outputs differ from those of its PyTorch model."""


class FrozenSizeError(ParityError):
    """The trace of a network is the network at the traced size, and not at another that the network takes."""


class SignatureError(ModelError):
    """A signature that does not hold for a model file, or a key that cannot be used."""


class OutputError(PolyexportError):
    """An output path that cannot be written."""

    exit_code = ExitCode.OUTPUT_UNUSABLE


class ProviderError(PolyexportError):
    """A required execution provider that is missing, or that did not take the whole graph."""

    exit_code = ExitCode.PROVIDER_UNAVAILABLE


_ADDRESS = re.compile(r" at 0x[0-9a-fA-F]{6,}|\b0x[0-9a-fA-F]{9,}\b")
"""Addresses in memory, such as Python writes into the text of objects: they differ in every run and say nothing. Error
codes are shorter."""


def reason_of(error: BaseException, *, whole: bool = False) -> str:
    """Return what another library's exception says, cut to fit into a message of one line, without memory addresses.

    Args:
        error: The exception.
        whole: True for all of its lines, joined; False for the first, which says the most in most libraries.
    """
    lines = str(error).strip().splitlines()
    text = " ".join(" ".join(lines).split()) if whole else "".join(lines[:1])
    return _ADDRESS.sub("", text)[:200] or type(error).__name__


_OUT_OF_MEMORY = re.compile(
    # C++; numpy and PyTorch; ONNX Runtime; oneDNN; the loader of shared libraries; the C library; Python's threads.
    r"std::bad_alloc|bad allocation|unable to allocate|can't allocate memory|failed to allocate|failed to reserve"
    r"|out of memory|not enough memory|failed to map segment|cannot (?:allocate memory(?! in static TLS)|create thread)"
    r"|can't start new thread|pthread_create",
    re.IGNORECASE,
)
"""Words of the libraries, in errors of all types, when the system refuses them memory, or a thread and its stack."""


def out_of_memory(error: BaseException) -> bool:
    """Return True if an error, or one that led to it, says that the system refused memory, a thread or a process."""
    seen: set[int] = set()
    one: BaseException | None = error
    while one is not None and id(one) not in seen:
        seen.add(id(one))
        if isinstance(one, MemoryError | OutOfMemoryError):
            return True
        if isinstance(one, OSError) and one.errno in (errno.ENOMEM, errno.EAGAIN):
            return True
        if not isinstance(one, PolyexportError) and _OUT_OF_MEMORY.search(str(one)):
            return True
        one = one.__cause__ or one.__context__
    return False


def check_memory(error: BaseException, doing: str) -> None:
    """Raise an OutOfMemoryError if an error of another library says that the system refused memory.

    Args:
        error: The error that was caught.
        doing: What needed the memory; see ``OutOfMemoryError``.
    """
    if isinstance(error, OutOfMemoryError):
        raise error
    if out_of_memory(error):
        lines = [line.strip() for line in str(error).splitlines() if _OUT_OF_MEMORY.search(line)]
        raise OutOfMemoryError(doing, (lines or [reason_of(error)])[-1][:200]) from error
