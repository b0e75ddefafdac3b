"""Further golden samples of a model file: inputs and outputs that ``polyexport verify`` repeats.

A load repeats the one golden sample in the contract. The further ones, on other drawings and in other colors, have an
entry of their own in the metadata, so that loads do not have to read them, and so that versions of polyexport that do
not know them read the file as before.
"""

import json
from collections.abc import Sequence
from dataclasses import dataclass

from polyexport.errors import ContractError, reason_of
from polyexport.model.contract_limits import check_sizes
from polyexport.model.golden import GoldenSample
from polyexport.runtime.onnx_bytes import metadata_props
from polyexport.storage.strict_json import read_json
from polyexport.storage.typed_json import build

__all__ = ["MAX_SAMPLES_BYTES", "SAMPLES_KEY", "fitting_samples", "read_samples", "samples_json"]

SAMPLES_KEY = "polyexport.samples"
"""Key of the further golden samples in the model's ``metadata_props``."""

MAX_SAMPLES_BYTES = 256 * 1024
"""Largest size of the entry with the further golden samples, bytes."""

_MAX_SAMPLES = 16
_MAX_VALUES = 1000  # four members a sample, a value for each condition, and three more for sRGB values


@dataclass(frozen=True, kw_only=True, slots=True)
class _Samples:
    samples: tuple[GoldenSample, ...]


def fitting_samples(samples: Sequence[GoldenSample], version: int) -> tuple[GoldenSample, ...]:
    """Return the samples that fit into ``MAX_SAMPLES_BYTES``, in order; those that are too large are left out."""
    fitting: list[GoldenSample] = []
    for sample in samples[:_MAX_SAMPLES]:
        if len(samples_json([*fitting, sample], version)) <= MAX_SAMPLES_BYTES:
            fitting.append(sample)
    return tuple(fitting)


def samples_json(samples: Sequence[GoldenSample], version: int) -> str:
    """Return the metadata value that holds some samples; equal samples give equal text.

    Args:
        samples: Golden samples.
        version: Version of the contract that the samples belong to.
    """
    return json.dumps({"samples": [sample.to_entries(version) for sample in samples]}, sort_keys=True)


def read_samples(data: bytes) -> tuple[GoldenSample, ...]:
    """Read the further golden samples from the bytes of a model file, untrusted; none if it has no such entry.

    Raises:
        ContractError: the entry is malformed or too large, or the bytes are not a whole ONNX file.
        UnicodeDecodeError: metadata that is not UTF-8.
    """
    text = metadata_props(data).get(SAMPLES_KEY)
    if text is None:
        return ()
    try:
        if len(text) > MAX_SAMPLES_BYTES:
            raise ValueError(f"{len(text)} bytes, more than the limit of {MAX_SAMPLES_BYTES}")  # noqa: TRY301
        raw = read_json(text, max_depth=5, max_values=_MAX_VALUES)
        check_sizes(raw, "the entry")
        if isinstance(raw, dict) and isinstance(raw.get("samples"), list):
            raw["samples"] = [GoldenSample.entries_of(one) for one in raw["samples"]]
        samples = build(_Samples, raw).samples
        if len(samples) > _MAX_SAMPLES:
            raise ValueError(f"{len(samples)} samples, more than the limit of {_MAX_SAMPLES}")  # noqa: TRY301
    except ValueError as error:
        raise ContractError(
            f"its further golden samples are unusable: {reason_of(error)}", remedy="fetch or export it again"
        ) from error
    return samples
