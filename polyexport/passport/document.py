"""The passport of a model file: what comparisons of providers on it have found, as a file beside it.

The file says nothing about the day, so that one comparison on one machine writes the same bytes each time. It is
untrusted when it is read: whoever can change it can write anything, so that it informs and decides nothing. It counts
for the file with its SHA-256 alone.
"""

import json
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Literal

from polyexport.errors import reason_of
from polyexport.model.contract_limits import check_sizes
from polyexport.storage.files import read_limited, write_atomic
from polyexport.storage.strict_json import read_json
from polyexport.storage.typed_json import build

__all__ = [
    "MAX_ENTRIES",
    "MAX_PASSPORT_BYTES",
    "VERSION",
    "Endpoint",
    "Entry",
    "Kind",
    "NodeAlone",
    "NodeDifference",
    "OutputDifference",
    "Passport",
    "parse_passport",
    "passport_path",
    "read_passport",
    "write_passport",
]

VERSION = 1
"""Version of the file's schema. Files of another version count as none."""

MAX_PASSPORT_BYTES = 256 * 1024
"""Largest file that is read."""

MAX_ENTRIES = 32
"""Largest number of comparisons in one file."""

_MAX_VALUES = 8192
_MAX_AXES = 16
_SHA256_DIGITS = 64

Kind = Literal["cause", "consequence", "unknown", "none"]
"""Part of a node in a difference: ``cause`` differs by itself, on equal inputs; ``consequence`` agrees by itself, so
that the difference came with its inputs, or of what the provider makes of it among its neighbors; ``unknown`` cannot be
run by itself; ``none`` is within the tolerance."""


@dataclass(frozen=True, kw_only=True, slots=True)
class NodeAlone:
    """The difference of one node by itself, on the reference's inputs."""

    max_abs: float
    """Largest absolute difference."""

    relative: float
    """Largest absolute difference as a share of the range of the reference's values."""

    detail: str
    """The difference in words."""


@dataclass(frozen=True, kw_only=True, slots=True)
class NodeDifference:
    """The difference of one node's output on two providers."""

    node: str
    """Name of the node, or of its first output if it has none."""

    operator: str
    """Operator of the node, such as ``Conv``."""

    tensor: str
    """Name of the output."""

    shape: tuple[int, ...]
    """Shape of the output on the reference."""

    dtype: str
    """Type of the output's values in numpy's terms."""

    example: str
    """Name of the input with the largest difference."""

    kind: Kind
    """Part of the node in the difference."""

    max_abs: float
    """Largest absolute difference."""

    relative: float
    """Largest absolute difference as a share of the range of the reference's values, with 0 in it."""

    index: tuple[int, ...]
    """Place of the largest difference."""

    inputs_relative: float
    """Largest difference of its inputs in the whole graph, as a share of their range."""

    detail: str
    """The difference in words."""

    alone: NodeAlone | None = None
    """Difference of the node by itself; None if it was not run so."""

    failure: str = ""
    """Reason why it was not run by itself; empty if it was."""

    changed_weights: tuple[str, ...] = ()
    """Names of its weights that are others in the second file, if there was one."""

    def __post_init__(self) -> None:
        if len(self.shape) > _MAX_AXES or len(self.index) > _MAX_AXES:
            raise ValueError(f"shape and index must have up to {_MAX_AXES} values")


@dataclass(frozen=True, kw_only=True, slots=True)
class OutputDifference:
    """The difference of the model's results, of 8 bits, on two providers, over all inputs."""

    max_levels: float
    """Largest difference, levels."""

    mean_levels: float
    """Largest mean difference of an input, levels."""

    unequal: float
    """Largest share of unequal values of an input."""

    agrees: bool
    """Whether it is within the tolerance."""


@dataclass(frozen=True, kw_only=True, slots=True)
class Endpoint:
    """A provider of a comparison, and what it ran on."""

    provider: str
    """Value of ``--provider``."""

    version: str
    """Name and version of the runtime, such as ``onnxruntime 1.31.1``."""

    device: str
    """Processor, or GPU and driver."""

    bits: int
    """Bits behind the point of the format in which it multiplies float32: 23 for float32, 10 for TensorFloat-32, 7 for
    bfloat16."""


@dataclass(frozen=True, kw_only=True, slots=True)
class Entry:
    """One comparison of two providers."""

    reference: Endpoint
    """Provider that counts as right."""

    candidate: Endpoint
    """Provider that was compared with it."""

    polyexport: str
    """Version of polyexport that compared them."""

    examples: tuple[str, ...]
    """Names of the inputs."""

    examples_sha256: str
    """SHA-256 of all inputs."""

    tensors: int
    """Number of tensors that were compared."""

    uncompared: tuple[str, ...]
    """Names of the tensors that a provider does not give."""

    tolerance: float
    """Share of its range that a tensor of floats could be off."""

    tolerance_alone: float
    """Share of its range that the output of a node by itself could be off."""

    agrees: bool
    """Whether the results agree, and no node is a cause of a difference, or may be one."""

    first: NodeDifference | None
    """First node whose output differs by more than the tolerance; None if there is none."""

    cause: NodeDifference | None
    """First node that differs by itself; None if there is none."""

    widest: NodeDifference | None
    """Largest difference of floats within the tolerance."""

    apart: OutputDifference
    """Results of the graph whose tensors were outputs."""

    fused: OutputDifference
    """Results of the untouched graph, which providers fuse as they like."""

    @property
    def pair(self) -> tuple[str, ...]:
        """Identity of the comparison: providers and devices. A later comparison of the same ones replaces it."""
        return (self.reference.provider, self.reference.device, self.candidate.provider, self.candidate.device)


@dataclass(frozen=True, kw_only=True, slots=True)
class Passport:
    """All comparisons of one model file."""

    model_sha256: str
    """SHA-256 of the model file, lowercase hex."""

    entries: tuple[Entry, ...] = ()
    """Comparisons, sorted by providers and devices."""

    version: int = VERSION
    """Version of the schema."""

    def __post_init__(self) -> None:
        if self.version != VERSION:
            raise ValueError(f"version is {self.version}, expected {VERSION}")
        if len(self.model_sha256) != _SHA256_DIGITS or len(self.entries) > MAX_ENTRIES:
            raise ValueError(f"model_sha256 must have {_SHA256_DIGITS} digits, and entries up to {MAX_ENTRIES} members")

    def with_entry(self, entry: Entry) -> "Passport":
        """Return the passport with a comparison, which replaces an earlier one of the same pair."""
        others = [each for each in self.entries if each.pair != entry.pair][: MAX_ENTRIES - 1]
        return Passport(model_sha256=self.model_sha256, entries=tuple(sorted([*others, entry], key=lambda e: e.pair)))

    def to_json(self) -> str:
        """Return the text of the file; equal passports give equal text."""
        return json.dumps(asdict(self), indent=1, sort_keys=True, allow_nan=False) + "\n"


def passport_path(model: Path) -> Path:
    """Return the path of a model's passport: beside it, with ``.passport.json`` after its name."""
    return model.with_name(f"{model.name}.passport.json")


def parse_passport(data: bytes) -> Passport:
    """Read a passport from the bytes of its file, untrusted.

    Raises:
        ValueError: not a passport of this version, or too large.
    """
    if len(data) > MAX_PASSPORT_BYTES:
        raise ValueError(f"{len(data)} bytes, more than the limit of {MAX_PASSPORT_BYTES}")
    raw = read_json(data, max_depth=8, max_values=_MAX_VALUES)
    check_sizes(raw, "the passport")
    return build(Passport, raw)


def read_passport(model: Path, sha256: str) -> tuple[Passport | None, str]:
    """Read the passport beside a model file.

    Args:
        model: path of the model file.
        sha256: SHA-256 of its bytes.

    Returns:
        The passport, or None and the reason why there is none that counts; the reason is empty if there is no file.
    """
    path = passport_path(model)
    try:
        found = parse_passport(read_limited(path, MAX_PASSPORT_BYTES))
    except FileNotFoundError:
        return None, ""
    except OSError as error:
        return None, f"{path} cannot be read ({error.strerror})"
    except ValueError as error:
        return None, f"{path} is no passport of this version ({reason_of(error)})"
    if found.model_sha256 != sha256:
        return None, f"{path} belongs to another file, with SHA-256 {found.model_sha256[:12]}..."
    return found, ""


def write_passport(model: Path, passport: Passport) -> Path:
    """Write the passport of a model file beside it, atomically, and return its path.

    Raises:
        OutputError: it cannot be written.
    """
    path = passport_path(model)
    write_atomic(path, passport.to_json().encode())
    return path
