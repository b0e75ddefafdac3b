"""The comparison of two execution providers on a model file, from their names to the entry of its passport."""

from collections.abc import Callable
from dataclasses import dataclass
from importlib.util import find_spec
from typing import TYPE_CHECKING

from polyexport import __version__
from polyexport.errors import PolyexportError, ProviderError, UsageError
from polyexport.model.file import refusals_named
from polyexport.model.loading.confinement import run_confined
from polyexport.model.loading.limits import DEFAULT_LIMITS, LoadLimits
from polyexport.model.model import Model
from polyexport.passport.document import Entry
from polyexport.passport.endpoint import endpoint_of
from polyexport.passport.examples import examples_for, examples_sha256
from polyexport.passport.tolerance import tolerance_for
from polyexport.runtime.graph_limits import refuse_unbounded
from polyexport.runtime.onnx_bytes import refuse_external_data
from polyexport.runtime.probe import probe_provider
from polyexport.runtime.providers import AUTO, PROVIDER_MODULES
from polyexport.runtime.session import SessionOptions

if TYPE_CHECKING:
    from polyexport.passport.side import Side

__all__ = ["REFERENCE", "Pair", "check_pair", "compare_providers", "parse_pair"]

REFERENCE = "cpu"
"""Name of the provider that counts as right where one is named alone."""

_MAX_UNCOMPARED = 32


@dataclass(frozen=True, kw_only=True, slots=True)
class Pair:
    """Names of the two providers of a comparison."""

    reference: str
    candidate: str


def parse_pair(text: str) -> Pair:
    """Read the value of ``--passport``: the name of a provider, or two with a comma between them.

    Raises:
        UsageError: no provider has the name, or one is to be compared with itself.
    """
    names = [name.strip() for name in text.split(",")]
    known = ", ".join(PROVIDER_MODULES)
    if len(names) > 2 or not all(names):
        raise UsageError(f"--passport is {text[:60]!r}, expected one provider or two", remedy=f"name of {known}")
    for name in names:
        if name == AUTO or name not in PROVIDER_MODULES:
            raise UsageError(f"unknown provider {name[:60]!r} in --passport", remedy=f"name one or two of {known}")
    reference, candidate = names if len(names) > 1 else (REFERENCE, names[0])
    return Pair(reference=reference, candidate=candidate)


def check_pair(pair: Pair, *, two_files: bool) -> None:
    """Check that two providers can be compared here.

    Args:
        pair: names of the providers.
        two_files: whether the second one runs another file.

    Raises:
        UsageError: a provider would be compared with itself on one file.
        ProviderError: a provider does not work here.
        PolyexportError: the onnx package is not installed.
    """
    if pair.reference == pair.candidate and not two_files:
        raise UsageError(
            f"{pair.reference} would be compared with itself",
            remedy="name two providers, or give a second file with --passport-model",
        )
    if find_spec("onnx") is None:
        raise PolyexportError(
            "a passport needs the onnx package", remedy="install it with pip install 'polyexport[inspect]'"
        )
    for name in (pair.reference, pair.candidate):
        status = probe_provider(name)
        if not status.works:
            raise ProviderError(f"the {name} execution provider cannot be used: {status.reason}", remedy=status.remedy)


def compare_providers(
    data: bytes,
    model: Model,
    pair: Pair,
    *,
    other: bytes | None = None,
    other_name: str = "",
    device_id: int = 0,
    limits: LoadLimits = DEFAULT_LIMITS,
    report: Callable[[str], None] = lambda line: None,
) -> Entry:
    """Compare two providers on a model file, node by node.

    Args:
        data: bytes of the model file.
        model: the model, loaded on any provider.
        pair: names of the providers.
        other: bytes of a second file for the candidate, whose graph has tensors of the same names; None for the same.
        other_name: name of the second file for messages.
        device_id: number of the GPU.
        limits: limits of the first look at the second file.
        report: called with each line of progress.

    Raises:
        ProviderError: a provider does not work here, or does not take the graph.
        ContractError: the second file is refused, or is not one of the same network.
        UsageError: a provider would be compared with itself on one file.
        OutOfMemoryError: memory ran out.
    """
    check_pair(pair, two_files=other is not None)
    from polyexport.passport.examine import examine

    if other is not None:
        with refusals_named(other_name):
            refuse_unbounded(other)
            refuse_external_data(other)
            run_confined("open", other, limits.granted(len(other)))
    contract = model.contract
    options = {
        name: SessionOptions(provider=name, device_id=device_id, precision=contract.precision, check_placement=False)
        for name in (pair.reference, pair.candidate)
    }
    reference = _side(pair.reference, options[pair.reference], data)
    candidate = _side(pair.candidate, options[pair.candidate], data if other is None else other)
    ends = [endpoint_of(name, options[name]) for name in (pair.reference, pair.candidate)]
    examples = examples_for(model)
    tolerance = tolerance_for(contract.precision, min(end.bits for end in ends))
    found = examine(
        reference,
        candidate,
        examples,
        tolerance,
        output=contract.output_name,
        labels=contract.result.kind == "labels",
        report=report,
    )
    return Entry(
        reference=ends[0],
        candidate=ends[1],
        polyexport=__version__,
        examples=tuple(example.name for example in examples),
        examples_sha256=examples_sha256(examples),
        tensors=found.compared,
        uncompared=found.uncompared[:_MAX_UNCOMPARED],
        tolerance=tolerance.relative,
        tolerance_alone=tolerance.relative_alone,
        agrees=found.agrees,
        first=found.first,
        cause=found.cause,
        widest=found.widest,
        apart=found.apart,
        fused=found.fused,
    )


def _side(name: str, options: SessionOptions, model: bytes) -> "Side":
    from polyexport.passport.side import Side
    from polyexport.passport.taken_apart import TakenApart

    return Side(label=name, options=options, model=model, graph=TakenApart(model))
