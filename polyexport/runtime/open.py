"""Opening a session that runs where it was asked to run, or not at all.

By default, ONNX Runtime turns a provider whose libraries are missing into a CPU session without an error. Here a named
provider is a requirement: the session is asked what it runs on, and which nodes landed elsewhere.
"""

from collections.abc import Callable

from polyexport.errors import ContractError, OutOfMemoryError, PolyexportError, ProviderError, check_memory, reason_of
from polyexport.runtime.onnx_bytes import refuse_external_data, refuse_incomplete
from polyexport.runtime.probe import probe_provider
from polyexport.runtime.provider import Provider, auto_order, load_provider
from polyexport.runtime.providers import AUTO
from polyexport.runtime.session import Session, SessionOptions

__all__ = ["open_session"]

_HEAVY_OPERATORS = frozenset(("Conv", "Resize", "MaxPool", "Concat", "Gemm", "MatMul"))
"""Operators that take most of the time: a required provider that leaves one to another counts as a silent fallback."""

_CANNOT_BE_USED = "the {} execution provider cannot be used: "


def open_session(
    model: bytes, options: SessionOptions, *, accept: Callable[[Session], None] = lambda session: None
) -> Session:
    """Load a model from bytes.

    Args:
        model: the bytes of a whole ONNX file.
        options: the provider, and how the session uses this machine.
        accept: called with the session before it is returned. When it raises a ContractError, ``auto`` goes on to the
            next provider; with a named provider, and with the last one of ``auto``, the error is raised.

    Raises:
        ContractError: not a whole ONNX model, one with external data, or not accepted.
        ProviderError: the provider that ``options`` names is missing or did not take the heavy nodes.
        OutOfMemoryError: memory ran out with the provider that ``options`` names, or with the last one of ``auto``.
    """
    refuse_external_data(model)
    refuse_incomplete(model)
    if options.provider != AUTO:
        session = _required(load_provider(options.provider), model, options)
        accept(session)
        return session
    reasons: list[str] = []
    *preferred, last_resort = auto_order()
    for provider in preferred:
        reason = provider.auto_skips(model, options)
        if not reason:
            try:
                session = _required(provider, model, options)
                reason = provider.auto_refuses(session, options)
                if not reason:
                    session.fallback_reason = "; ".join(reasons)
                    accept(session)
                    return session
            except (ContractError, OutOfMemoryError, ProviderError) as error:
                reason = error.message.removeprefix(_CANNOT_BE_USED.format(provider.name))
        reasons.append(f"{provider.name}: {reason}")
    session = _required(last_resort, model, options)
    session.fallback_reason = "; ".join(reasons)
    accept(session)
    return session


def _required(provider: Provider, model: bytes, options: SessionOptions) -> Session:
    """A session on this provider and nothing else."""
    name = provider.name
    if not provider.built_in:
        status = probe_provider(name)
        if not status.works:
            raise ProviderError(_CANNOT_BE_USED.format(name) + status.reason, remedy=status.remedy)
    try:
        session = provider.open(model, options)
    except PolyexportError:
        raise
    except Exception as error:
        check_memory(error, f"loading a model of {len(model)} bytes on {name}")
        raise ProviderError(f"{name} could not load the model: {reason_of(error)}", remedy=provider.remedy) from error
    if session.execution_provider != provider.execution_provider:
        raise ProviderError(f"asked for {name}, ONNX Runtime gave {session.execution_provider}", remedy=provider.remedy)
    misplaced = _misplaced(session) if options.check_placement and not provider.takes_whole_graph else {}
    if misplaced:
        nodes = ", ".join(f"{count} {operator}" for operator, count in sorted(misplaced.items()))
        advice = provider.precision_advice or "give a model of a precision that it takes"
        raise ProviderError(f"{name} left nodes to other providers: {nodes}", remedy=f"{advice}, or use --provider cpu")
    return session


def _misplaced(session: Session) -> dict[str, int]:
    """Number of nodes, by operator, that should be on the session's provider and are not.

    These are the heavy ones, and quantizers within the graph, which would each copy a tensor to the host and back. One
    QuantizeLinear for each output stands at the edge of the graph, where the tensor leaves the device anyway.
    """
    elsewhere: dict[str, int] = {}
    for provider, operators in session.placement().items():
        if provider != session.execution_provider:
            for operator, count in operators.items():
                elsewhere[operator] = elsewhere.get(operator, 0) + count
    edges = len(session.outputs)
    return {
        operator: count
        for operator, count in elsewhere.items()
        if operator in _HEAVY_OPERATORS or (operator == "QuantizeLinear" and count > edges)
    }
