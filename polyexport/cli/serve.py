"""polyexport serve: the network behind HTTP."""

from typing import Annotated

import typer

from polyexport.cli.console import build, console
from polyexport.cli.options import (
    DeviceId,
    Host,
    HostOption,
    ModelOption,
    Provider,
    ProviderOption,
    Quiet,
    Threads,
    Verbose,
)

__all__ = ["serve"]


def serve(
    model: ModelOption = None,
    host: HostOption = Host.LOOPBACK,
    port: Annotated[int, typer.Option(min=1024, max=65535, help="TCP port.")] = 8000,
    max_batch_size: Annotated[
        int, typer.Option("-b", "--max-batch-size", min=1, max=1024, help="Images per call of the network.")
    ] = 8,
    batch_timeout_ms: Annotated[
        float, typer.Option(min=0, max=10_000, help="How long the first image of a batch waits for others.")
    ] = 5.0,
    max_requests: Annotated[
        int, typer.Option(min=1, max=10_000, help="Requests in the house; one more is told to come again.")
    ] = 64,
    max_megabytes: Annotated[int, typer.Option(min=1, max=1024, help="Of a body, MiB.")] = 32,
    max_megapixels: Annotated[int, typer.Option(min=1, max=64, help="Of an image, times 1024 x 1024.")] = 16,
    max_native_megapixels: Annotated[
        int, typer.Option(min=1, max=4, help="Of an image at its own size, times 1024 x 1024.")
    ] = 1,
    grace_s: Annotated[
        float, typer.Option(min=0.1, max=3600, help="How long what was accepted may take when it is told to stop.")
    ] = 30.0,
    provider: ProviderOption = Provider.AUTO,
    device_id: DeviceId = 0,
    threads: Threads = 0,
    verbose: Verbose = False,
    quiet: Quiet = False,
) -> None:
    """Color images over HTTP: POST /infer, GET /health, /info, /metrics and /openapi.json.

    Requests that come together share calls of the network. On SIGTERM it answers what it has accepted, and ends.
    """
    console.set(verbose=verbose, quiet=quiet)

    from polyexport.model.model import default_model_path
    from polyexport.service.options import Limits, ServiceOptions
    from polyexport.service.run import serve as run

    limits = build(
        Limits,
        max_bytes=max_megabytes << 20,
        max_pixels=max_megapixels << 20,
        max_native_pixels=max_native_megapixels << 20,
        max_requests=max_requests,
    )
    options = build(
        ServiceOptions,
        model=model if model is not None else default_model_path(),
        provider=provider.value,
        device_id=device_id,
        threads=threads,
        max_batch_size=max_batch_size,
        batch_timeout_ms=batch_timeout_ms,
        host=host.value,
        port=port,
        grace_s=grace_s,
        limits=limits,
    )

    def ready(execution_provider: str, fallback_reason: str) -> None:
        because = f" ({fallback_reason})" if fallback_reason else ""
        console.info(f"running on {execution_provider}{because}")
        console.data(f"http://{f'[{host.value}]' if ':' in host.value else host.value}:{port}")

    run(options, on_ready=ready)
