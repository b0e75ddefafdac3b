"""Sessions that run where they were asked to run, or not at all.

Left alone, ONNX Runtime turns a CUDA provider whose libraries are missing into a CPU session without a word. Here a
named provider is a requirement: the session is asked what it got, and which nodes landed where.
"""

import re
from collections.abc import Callable, Mapping

from polyexport.errors import ContractError, ProviderError, reason_of
from polyexport.runtime.onnx_bytes import metadata_props
from polyexport.runtime.onnxruntime_session import create_session
from polyexport.runtime.openvino_session import OpenVinoSession
from polyexport.runtime.probe import AUTO_ORDER, REMEDIES, probe_provider
from polyexport.runtime.provider_options import EXECUTION_PROVIDERS
from polyexport.runtime.session import Session, SessionOptions

__all__ = ["open_session", "refuse_external_data"]

# A graph whose heavy nodes run elsewhere than on the required provider is a silent fallback in parts.
_HEAVY_NODES = frozenset(("Conv", "Resize", "MaxPool", "Concat", "Gemm", "MatMul"))

# OpenVINO takes 0.2 s longer to start than ONNX Runtime, and saves 1 ms an image for each megabyte of weights: measured
# with `small` at 128x128, fp32 and int8. So up to this many bytes times images it is not worth its start.
_FEW_BYTES_TIMES_IMAGES = 200_000_000

_MODEL_REMEDY = "give a model that `polyexport export` wrote"

# A tensor with external data names its file under the key "location". The length before the key may be padded with zero
# bits; the tag before that has too many spellings to match. Models of this toolkit hold their weights inside.
_EXTERNAL_DATA = re.compile(rb"(?:\x08|\x88\x80*\x00)location")


def open_session(
    model: bytes, options: SessionOptions, *, accept: Callable[[Session], None] = lambda session: None
) -> Session:
    """Load a model from bytes.

    Args:
        model: the bytes of a whole ONNX file.
        options: where it runs.
        accept: called with the session before it is returned. When it raises a ContractError, ``auto`` goes on to the
            next provider; with a named one, and with the last, the error comes out.

    Raises:
        ContractError: not a whole ONNX model, one with external data, or not accepted.
        ProviderError: the provider that ``options`` names is missing or did not take the heavy nodes.
    """
    refuse_external_data(model)
    try:
        metadata = metadata_props(model)
    except UnicodeDecodeError as error:
        raise ContractError("the model's metadata is not UTF-8", remedy=_MODEL_REMEDY) from error
    if options.provider != "auto":
        session = _required(model, options.provider, options, metadata, "")
        accept(session)
        return session
    reasons: list[str] = []
    for name in AUTO_ORDER[:-1]:
        if name == "openvino" and 0 < options.images * len(model) < _FEW_BYTES_TIMES_IMAGES:
            reasons.append("openvino: starts too slowly for so few images")
            continue
        try:
            session = _required(model, name, options, metadata, "; ".join(reasons))
            accept(session)
        except (ContractError, ProviderError) as error:
            reasons.append(f"{name}: {error.message.removeprefix(_CANNOT.format(name))}")
        else:
            return session
    session = _required(model, AUTO_ORDER[-1], options, metadata, "; ".join(reasons))
    accept(session)
    return session


def refuse_external_data(model: bytes) -> None:
    """Raises ContractError for a model that names other files."""
    if _EXTERNAL_DATA.search(model):
        raise ContractError("the model keeps data in other files, which are never opened", remedy=_MODEL_REMEDY)


_CANNOT = "the {} execution provider cannot be used: "


def _required(
    model: bytes, name: str, options: SessionOptions, metadata: Mapping[str, str], fallback_reason: str
) -> Session:
    """A session on the provider of that name, and nothing else."""
    if name != "cpu":
        status = probe_provider(name)
        if not status.works:
            raise ProviderError(_CANNOT.format(name) + status.reason, remedy=status.remedy)
    if name == "openvino":
        compiled = OpenVinoSession(model, options, metadata=metadata, fallback_reason=fallback_reason)
        unpacked = compiled.unpacked_weights() if options.provider == "auto" and options.precision == "int8" else 0
        if unpacked:  # half as fast as ONNX Runtime, measured with `base`
            raise ProviderError(
                f"{unpacked} convolutions have 8-bit weights that it multiplies as floats",
                remedy="export without --amx for it, or use --provider cpu",
            )
        return compiled
    try:
        session = create_session(model, name, options, metadata=metadata, fallback_reason=fallback_reason)
    except Exception as error:
        if name == "cpu":
            raise ContractError(f"not a whole ONNX model: {reason_of(error)}", remedy=_MODEL_REMEDY) from error
        raise ProviderError(f"{name} could not load the model: {reason_of(error)}", remedy=REMEDIES[name]) from error
    if session.execution_provider != EXECUTION_PROVIDERS[name]:
        raise ProviderError(f"asked for {name}, ONNX Runtime gave {session.execution_provider}", remedy=REMEDIES[name])
    astray = _astray(session) if options.check_placement and name != "cpu" else {}
    if astray:
        nodes = ", ".join(f"{count} {operator}" for operator, count in sorted(astray.items()))
        raise ProviderError(
            f"{name} left nodes to other providers: {nodes}",
            remedy="give a model of a precision that it takes, or use --provider cpu",
        )
    return session


def _astray(session: Session) -> dict[str, int]:
    """Heavy nodes that are not where the session is, and quantizers within the graph: each would cross the bus twice.

    One QuantizeLinear for an output is the edge of the graph, where the tensor leaves the device anyway.
    """
    astray: dict[str, int] = {}
    for provider, operators in session.placement().items():
        if provider != session.execution_provider:
            for operator, count in operators.items():
                astray[operator] = astray.get(operator, 0) + count
    edges = len(session.outputs)
    return {
        operator: count
        for operator, count in astray.items()
        if operator in _HEAVY_NODES or (operator == "QuantizeLinear" and count > edges)
    }
