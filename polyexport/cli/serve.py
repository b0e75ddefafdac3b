"""polyexport serve: run a model on images over HTTP."""

from typing import Annotated

import typer

from polyexport.cli.console import build, console
from polyexport.cli.options import (
    AllowHost,
    DeviceId,
    Host,
    HostOption,
    LoadTimeout,
    MaxModelMemory,
    ModelOption,
    ProviderOption,
    Quiet,
    RequireSignature,
    Threads,
    Verbose,
)
from polyexport.model.loading.limits import LoadLimits
from polyexport.runtime.providers import AUTO

__all__ = ["serve"]


def serve(
    model: ModelOption = None,
    require_signature: RequireSignature = None,
    host: HostOption = Host.LOOPBACK,
    port: Annotated[int, typer.Option(min=1024, max=65535, help="TCP port.")] = 8000,
    allow_host: AllowHost = None,
    processes: Annotated[
        int,
        typer.Option(
            min=1,
            max=1024,
            help="Processes that answer, each with the model and a share of the cores and the limits.",
        ),
    ] = 1,
    max_batch_size: Annotated[
        int,
        typer.Option(
            "-b", "--max-batch-size", min=1, max=1024, help="Maximum number of images in one call of the network."
        ),
    ] = 8,
    batch_timeout_ms: Annotated[
        float,
        typer.Option(min=0, max=10_000, help="Longest time that the first image of a batch waits for others, in ms."),
    ] = 5.0,
    max_requests: Annotated[
        int,
        typer.Option(
            min=1,
            max=10_000,
            help="Maximum number of requests queued or running; further ones get HTTP 503 with Retry-After.",
        ),
    ] = 64,
    max_connections: Annotated[
        int,
        typer.Option(
            min=1,
            max=100_000,
            help="Maximum number of open connections; the one that is idle longest is closed for a further one.",
        ),
    ] = 1000,
    max_connections_per_address: Annotated[
        int,
        typer.Option(
            min=1,
            max=100_000,
            help="Maximum number of open connections from one client address; behind a proxy, all have the proxy's.",
        ),
    ] = 500,
    max_megabytes: Annotated[int, typer.Option(min=1, max=1024, help="Largest body of a request, in MiB.")] = 32,
    max_megapixels: Annotated[
        int, typer.Option(min=1, max=64, help="Largest image, in units of 1024 x 1024 pixels.")
    ] = 16,
    max_native_megapixels: Annotated[
        int,
        typer.Option(
            min=1,
            max=64,
            help="Largest image with size native, in units of 1024 x 1024 pixels; more than 4 needs a network that is "
            "local, which is run in tiles.",
        ),
    ] = 1,
    grace_s: Annotated[
        float,
        typer.Option(
            min=0.1, max=3600, help="Longest time that accepted requests may take after the signal to end, in s."
        ),
    ] = 30.0,
    provider: ProviderOption = AUTO,
    device_id: DeviceId = 0,
    threads: Threads = 0,
    load_timeout: LoadTimeout = 0.0,
    max_model_memory: MaxModelMemory = 0,
    verbose: Verbose = False,
    quiet: Quiet = False,
) -> None:
    """Run a model on images over HTTP: POST /infer, GET /health, /info, /metrics and /openapi.json.

    /infer has a field for each condition of the model, by its name.
    Requests that arrive within --batch-timeout-ms share calls of the network. On SIGTERM the service answers the
    requests that it has accepted, then ends.
    """
    console.set(verbose=verbose, quiet=quiet)

    from polyexport.model.file import default_model_path
    from polyexport.service.options import Limits, ServiceOptions
    from polyexport.service.server import serve as run

    limits = build(
        Limits,
        max_bytes=max_megabytes << 20,
        max_pixels=max_megapixels << 20,
        max_native_pixels=max_native_megapixels << 20,
        max_requests=max_requests,
        max_connections=max_connections,
        max_connections_per_address=max_connections_per_address,
    )
    options = build(
        ServiceOptions,
        model=model if model is not None else default_model_path(),
        signed_by=require_signature,
        provider=provider,
        device_id=device_id,
        threads=threads,
        max_batch_size=max_batch_size,
        batch_timeout_ms=batch_timeout_ms,
        host=host.value,
        port=port,
        processes=processes,
        allow_hosts=tuple(allow_host or ()),
        grace_s=grace_s,
        limits=limits,
        load_limits=LoadLimits(seconds=load_timeout, memory_mib=max_model_memory),
    )

    def ready(execution_provider: str, fallback_reason: str) -> None:
        because = f" ({fallback_reason})" if fallback_reason else ""
        console.info(f"running on {execution_provider}{because}")
        console.data(f"http://{f'[{host.value}]' if ':' in host.value else host.value}:{port}")

    run(options, on_ready=ready)
