"""The options of a package's command line."""

import argparse
from collections.abc import Sequence
from pathlib import Path
from typing import NoReturn

from polyexport.errors import UsageError

__all__ = ["parse_arguments"]


class _Parser(argparse.ArgumentParser):
    def error(self, message: str) -> NoReturn:
        """Raise UsageError, so that a wrong command line ends like every other error."""
        raise UsageError(message, remedy="see --help")


def parse_arguments(folder: Path, arguments: Sequence[str] | None, *, providers: Sequence[str]) -> argparse.Namespace:
    """Parse a command line of ``run.py``.

    Args:
        folder: The package, which holds the model that is run by default.
        arguments: Arguments of the command line; those of this process if None.
        providers: Names of the execution providers that can be asked for; the first is the default.

    Raises:
        UsageError: Options that do not exist, or values that they do not take.
    """
    parser = _Parser(prog="run.py", description="Run the model of this package on images.", allow_abbrev=False)
    parser.add_argument("images", nargs="+", type=Path, metavar="IMAGE", help="image files")
    parser.add_argument(
        "--color",
        action="append",
        default=[],
        help="color, if the model takes one: CSS name, hex, rgb() or hsl(); repeat it for several colors",
    )
    parser.add_argument(
        "--set",
        action="append",
        default=[],
        dest="assignments",
        metavar="NAME=VALUE",
        help="another condition of the model, which MODEL_CARD.md describes; repeat a name for several values",
    )
    parser.add_argument(
        "--with",
        action="append",
        default=[],
        dest="pictures",
        metavar="NAME=DIR|FILE",
        help="second pictures, if the model takes some: a folder with a picture of each image's name, or one file",
    )
    parser.add_argument(
        "--size",
        choices=("auto", "fit", "native"),
        default="auto",
        help="size at which the network sees an image: fit scales it down to the size that the network was trained "
        "on, native leaves it (default: auto, what suits the model)",
    )
    parser.add_argument(
        "--tile",
        default="auto",
        metavar="auto|N|off",
        help="tiles that images at their own size are cut into: auto cuts those that do not fit the memory, if the "
        "network is local; N is the side of a tile in pixels; off cuts none (default: auto)",
    )
    parser.add_argument(
        "--overlap",
        type=_overlap,
        metavar="PIXELS",
        help="pixels that a tile shares with each of its neighbors (default: what the network needs; a quarter of the "
        "tile for one that is global)",
    )
    parser.add_argument(
        "--result-as",
        choices=("result", "alpha"),
        default="result",
        help="make a result that is a mask the alpha channel of the image (default: result, the mask itself)",
    )
    parser.add_argument(
        "-o",
        "--output",
        type=Path,
        metavar="DIR",
        help="output folder (default: colored for a model that takes a color, results for any other)",
    )
    parser.add_argument(
        "--model",
        type=Path,
        default=folder / "model.onnx",
        metavar="FILE",
        help="model file, listed in a SHA256SUMS beside it (default: the model of this package)",
    )
    parser.add_argument(
        "--require-signature",
        type=Path,
        metavar="PUBLIC_KEY",
        help="public key: refuse the model unless the signature beside it was made with the private key",
    )
    parser.add_argument(
        "--provider", choices=providers, default="cpu", help="execution provider that must be used (default: cpu)"
    )
    parser.add_argument(
        "--threads", type=_threads, default=0, help="number of CPU threads (default: 0, all cores of this process)"
    )
    parser.add_argument("--overwrite", action="store_true", help="replace output files that exist")
    return parser.parse_args(arguments)


def _threads(text: str) -> int:
    if not text.isascii() or not text.isdigit() or int(text[:9]) > 1024:
        raise argparse.ArgumentTypeError(f"threads must be 0 to 1024, got {text[:64]!r}")
    return int(text)


def _overlap(text: str) -> int:
    if not text.isascii() or not text.isdigit() or len(text) > 6:
        raise argparse.ArgumentTypeError(f"an overlap must be a number of pixels, got {text[:64]!r}")
    return int(text)
