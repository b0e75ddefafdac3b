"""Options that several commands share, spelled the same everywhere."""

from enum import StrEnum
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Literal

import typer

from polyexport.runtime.providers import provider_choices

__all__ = [
    "DEFAULT_MAX_PIXELS",
    "AllowHost",
    "DeviceId",
    "Host",
    "HostOption",
    "JsonFlag",
    "LoadTimeout",
    "MaxModelMemory",
    "ModelOption",
    "OverlapOption",
    "ProviderOption",
    "Quiet",
    "RequireSignature",
    "SizeOption",
    "Threads",
    "TileOption",
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


HostOption = Annotated[
    Host, typer.Option(help="Address to listen on: 127.0.0.1 for this machine only, 0.0.0.0 or :: for any machine.")
]
AllowHost = Annotated[
    list[str] | None,
    typer.Option(
        "--allow-host",
        help="Name or address by which clients reach this server, beside localhost, the address of --host and names "
        "without a dot; repeat it for further ones. Requests for other hosts get HTTP 421.",
        metavar="NAME",
    ),
]
ModelOption = Annotated[
    Path | None, typer.Option("-m", "--model", help="Model file.", show_default="the shipped model", metavar="FILE")
]
ProviderOption = Annotated[
    _ProviderName,
    typer.Option(help="Execution provider; auto takes the best that works; a named one is never replaced by another."),
]
RequireSignature = Annotated[
    Path | None,
    typer.Option(
        "--require-signature",
        help="Public key: refuse the model unless the signature beside it, MODEL.sig, was made with the private key.",
        metavar="PUBLIC_KEY",
    ),
]
DeviceId = Annotated[int, typer.Option(min=0, max=1024, help="Index of the GPU.")]
Threads = Annotated[
    int,
    typer.Option(
        min=0,
        max=1024,
        help="Threads per call of the network on the CPU; 0 chooses by the cores that this process may use.",
    ),
]
SizeOption = Annotated[
    str,
    typer.Option(
        help="Canvas of the network: fit scales images down to the model's size and outputs back, native keeps the "
        "full resolution, a number of pixels is a size to fit, and auto takes what suits the model: fit for fills and "
        "for files of contract 2, native for others.",
        metavar="auto|fit|native|N",
    ),
]
DEFAULT_MAX_PIXELS = 64 << 20
"""Default of --max-pixels: ``polyexport.imaging.pixels.MAX_PIXELS``, which would be slow to import."""

TileOption = Annotated[
    str,
    typer.Option(
        help="Tiles that images at their own size are cut into: auto cuts those that do not fit the memory, if the "
        "network is local; N is the side of a tile in pixels; off cuts none.",
        metavar="auto|N|off",
    ),
]
OverlapOption = Annotated[
    int | None,
    typer.Option(
        min=0,
        help="Pixels that a tile shares with each of its neighbors. With fewer than the network needs for the result "
        "of the whole image, the tiles are blended, and the difference is measured and printed.",
        metavar="PIXELS",
        show_default="what the network needs; a quarter of the tile for one that is global",
    ),
]
LoadTimeout = Annotated[
    float,
    typer.Option(
        min=0,
        max=86_400,
        help="Processor time that the first load of an unknown model file may take; 0 chooses by its size.",
        metavar="SECONDS",
    ),
]
MaxModelMemory = Annotated[
    int,
    typer.Option(
        min=0,
        max=1 << 20,
        help="Memory that an unknown model file may take in its first load; 0 chooses by its size.",
        metavar="MIB",
    ),
]
JsonFlag = Annotated[bool, typer.Option("--json", help="Print one JSON document on stdout.")]
Verbose = Annotated[bool, typer.Option("-v", "--verbose", help="Print more messages, and tracebacks of errors.")]
Quiet = Annotated[bool, typer.Option("-q", "--quiet", help="Print errors only.")]
