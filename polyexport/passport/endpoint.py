"""A provider of this machine as a passport names it, and what a passport says of a model that was loaded on it."""

from importlib.metadata import PackageNotFoundError, version
from pathlib import Path

import onnxruntime as ort

from polyexport.model.model import Model
from polyexport.passport.document import Endpoint, Entry, read_passport
from polyexport.runtime.provider import load_provider, provider_of
from polyexport.runtime.session import SessionOptions

__all__ = ["endpoint_of", "passport_remark"]


def endpoint_of(provider: str, options: SessionOptions) -> Endpoint:
    """Describe a provider on this machine.

    Args:
        provider: its name; it works here.
        options: options of its sessions.
    """
    found = load_provider(provider)
    names = dict.fromkeys((found.runtime, *found.packages))
    versions = [f"{name} {number}" for name in names if (number := _version(name))]
    return Endpoint(
        provider=provider,
        version=", ".join(versions),
        device=found.device(options),
        bits=found.float_bits(options),
    )


def passport_remark(file: Path, model: Model, options: SessionOptions | None = None) -> str:
    """Return what the passport beside a model file says of the provider that the model was loaded on, in one line.

    Empty for ONNX Runtime's CPU provider, on which models are proven when they are exported. What counts is a
    comparison of this file, with this version of the provider's runtime, on this processor or GPU.

    Args:
        file: path of the model file.
        model: the loaded model.
        options: options of its session; the usual ones if None.
    """
    provider = provider_of(model.session.execution_provider)
    if provider.built_in:
        return ""
    here = endpoint_of(provider.name, options or SessionOptions(provider=provider.name))
    passport, reason = read_passport(file, model.sha256)
    entries = [entry for entry in passport.entries if here in (entry.reference, entry.candidate)] if passport else []
    if not entries:
        why = f" ({reason})" if reason else " (it has others)" if passport is not None else ""
        return (
            f"the model has no passport for {provider.name} ({here.version}) here{why}; "
            f"`polyexport verify {file} --passport {provider.name}` compares it with cpu"
        )
    wrong = [entry for entry in entries if not entry.agrees]
    if wrong:
        return f"warning: the passport of the model says that {_other(wrong[0], here)} gives other results"
    return f"passport: {provider.name} ({here.version}) agrees with {_other(entries[0], here)}"


def _other(entry: Entry, here: Endpoint) -> str:
    return entry.reference.provider if entry.candidate == here else entry.candidate.provider


def _version(package: str) -> str:
    if package == "onnxruntime":  # which has several names as a package
        return str(ort.__version__)
    try:
        return version(package)
    except PackageNotFoundError:
        return ""
