"""The command ``polyexport doctor`` shows what this machine can run, and what a missing execution provider lacks."""

import importlib.metadata
from dataclasses import asdict

from polyexport.cli.console import console
from polyexport.cli.options import JsonFlag, Quiet, Verbose
from polyexport.errors import ModelError

__all__ = ["doctor"]

# Packages that each extra installs, besides the extras of execution providers. They are looked up, never imported.
_EXTRAS = {
    "inspect": ("onnx",),
    "export": ("torch", "onnx", "onnxscript", "onnxsim", "safetensors"),
    "train": ("lightning",),
    "drawings": ("fonticon-materialdesignicons7", "fonttools", "lucide", "svgelements"),
}


def doctor(json_report: JsonFlag = False, verbose: Verbose = False, quiet: Quiet = False) -> None:
    """Show versions, granted cores, execution providers and the shipped model."""
    console.set(verbose=verbose, quiet=quiet)

    from polyexport.bench.environment import environment
    from polyexport.model.file import default_model_path
    from polyexport.model.loading.load import load_model
    from polyexport.runtime.compiled_models import compiled_models
    from polyexport.runtime.probe import auto_choice, probe_provider
    from polyexport.runtime.provider import all_providers
    from polyexport.storage.cache_folder import folder_fault

    machine = environment()
    providers = [probe_provider(provider.name) for provider in all_providers()]
    choice = auto_choice()
    of_providers = {provider.name: provider.packages for provider in all_providers() if provider.packages}
    packages = dict(sorted(of_providers.items())) | _EXTRAS
    extras = {extra: {name: _version(name) for name in names} for extra, names in packages.items()}
    try:
        shipped, fault = load_model(provider="cpu").sha256, ""
    except ModelError as error:
        shipped, fault = "", str(error)
    kept = compiled_models()
    entries, size = kept.usage()
    cache_fault = folder_fault(kept.folder)
    if json_report:
        document = {
            "environment": asdict(machine),
            "providers": [asdict(status) for status in providers],
            "auto": choice,
            "extras": extras,
            "cache": {
                "path": kept.folder,
                "compiled_models": entries,
                "bytes": size,
                "max_bytes": kept.max_bytes,
                "fault": cache_fault,
            },
            "model": {"path": default_model_path(), "sha256": shipped, "fault": fault},
        }
        console.json(document)
        return
    console.data(f"polyexport {machine.polyexport}, Python {machine.python}, {machine.system}")
    console.data(f"cpu: {machine.cpu}, {machine.cores_granted} cores granted of {machine.cores_visible} visible")
    console.data(f"onnxruntime {machine.onnxruntime}, numpy {machine.numpy}, pillow {machine.pillow}")
    for status in providers:
        state = "works" if status.works else f"does not work: {status.reason}; {status.remedy}"
        console.data(f"provider {status.name} ({status.execution_provider}): {state}")
    console.data(f"--provider auto takes {choice}")
    for extra, versions in extras.items():
        found = ", ".join(f"{name} {version or 'missing'}" for name, version in versions.items())
        console.data(f"extra {extra}: {found}")
    used = f"{kept.folder}, {entries} with {size / 1e6:.1f} MB, at most {kept.max_bytes / 1e6:.0f} MB"
    console.data(f"cache of compiled models: {f'not used: {cache_fault}' if cache_fault else used}")
    console.data(f"shipped model: {default_model_path()}, {f'SHA-256 {shipped}' if shipped else fault}")


def _version(package: str) -> str | None:
    try:
        return importlib.metadata.version(package)
    except importlib.metadata.PackageNotFoundError:
        return None
