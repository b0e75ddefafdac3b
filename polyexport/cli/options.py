"""Options that several commands share, spelled the same everywhere."""

from enum import StrEnum
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Literal

import typer

from polyexport.runtime.providers import provider_choices

__all__ = [
    "DeviceId",
    "Host",
    "HostOption",
    "JsonFlag",
    "ModelOption",
    "ProviderOption",
    "Quiet",
    "SizeOption",
    "Threads",
    "Verbose",
]


if TYPE_CHECKING:
    _ProviderName = str
else:
    _ProviderName = Literal[provider_choices()]


class Host(StrEnum):
    """Values of --host."""

    LOOPBACK = "127.0.0.1"
    IPV4 = "0.0.0.0"  # noqa: S104 - what a container listens on; not the default
    ANY = "::"


HostOption = Annotated[Host, typer.Option(help="Who may connect: this machine, or any.")]
ModelOption = Annotated[
    Path | None, typer.Option("-m", "--model", help="Model file.", show_default="the shipped model", metavar="FILE")
]
ProviderOption = Annotated[
    _ProviderName, typer.Option(help="Execution provider; a named one is required, auto takes the best that works.")
]
DeviceId = Annotated[int, typer.Option(min=0, max=1024, help="Which GPU.")]
Threads = Annotated[
    int, typer.Option(min=0, max=1024, help="Threads per call on the CPU; 0 chooses by the granted cores.")
]
SizeOption = Annotated[
    str,
    typer.Option(
        help="fit: scale down to the model's size, pad, and scale back; native: full resolution, padded; "
        "or the size to fit, in pixels.",
        metavar="fit|native|N",
    ),
]
JsonFlag = Annotated[bool, typer.Option("--json", help="Print one JSON document on stdout.")]
Verbose = Annotated[bool, typer.Option("-v", "--verbose", help="Say more; show tracebacks.")]
Quiet = Annotated[bool, typer.Option("-q", "--quiet", help="Say nothing but errors.")]
