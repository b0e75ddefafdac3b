"""A source of the kind "TOML file": a small file that describes a network, its weights and its constructor."""

import difflib
import re
import tomllib
from pathlib import Path

from polyexport.errors import UsageError, reason_of
from polyexport.export.source.spec import ONNX_SUFFIX, NetworkSpec
from polyexport.export.source.spec_fields import FIELDS, read_field
from polyexport.export.source.texts import expect
from polyexport.storage.files import read_limited

__all__ = ["read_spec"]

_MAX_FILE_BYTES = 1 << 20
_LONG_KEY = re.compile(r"""(?<![\w-])(?:(?:[\w-]++|"[^"\n]*+"|'[^'\n]*+')[ \t]*+\.[ \t]*+){32}""")


def read_spec(path: Path) -> NetworkSpec:
    """Read a TOML file whose keys are spelled like the options of `polyexport export`.

    Paths are relative to the file; ``[arguments]``, ``[fixed]`` and ``[colors]`` are tables, and there is a table
    ``[[condition]]`` for each condition:

        network = "models.unet:UNet"
        weights = "unet.pth"
        value-range = "0..1"
        size = 256

        [arguments]
        num_colors = 20

        [[condition]]
        name = "sigma"
        kind = "number"
        range = "0..75"

    Where the network is an ONNX file, ``network`` is its path, and nothing else names its weights.

    Raises:
        UsageError: The file is unreadable or not TOML, or a key is missing, unknown or of another type.
    """
    try:
        text = read_limited(path, _MAX_FILE_BYTES).decode("utf-8-sig")
        if _LONG_KEY.search(text):  # tomllib needs time in the square of the number of parts
            raise ValueError("a dotted key of more than 32 parts")  # noqa: TRY301
        raw = tomllib.loads(text)
    except OSError as error:
        raise UsageError(f"{path} cannot be read ({error.strerror})", remedy="give a TOML file") from error
    except (ValueError, RecursionError) as error:
        raise UsageError(
            f"{path} is not TOML ({reason_of(error)})", remedy="see the documentation of export"
        ) from error
    for key in raw:
        near = difflib.get_close_matches(key, FIELDS, n=3)
        expect(
            key in FIELDS,
            f"{path} has an unknown key {key[:60]!r}",
            f"did you mean {', '.join(near)}?" if near else f"the keys are {', '.join(FIELDS)}",
        )
    network = raw.get("network")
    if isinstance(network, str) and network.lower().endswith(ONNX_SUFFIX):  # the file is network and weights
        raw["weights"] = network
    for key in ("network", "weights"):
        expect(key in raw, f"{path} lacks {key}", f'give {key} = "..."')
    try:
        return NetworkSpec(**dict(read_field(key, value, path.parent) for key, value in raw.items()))
    except UsageError as error:
        raise UsageError(f"{path}: {error.message}", remedy=error.remedy) from error
    except ValueError as error:  # Python reads a longer hexadecimal number than it writes
        raise UsageError(f"{path}: {reason_of(error)}", remedy="give smaller numbers") from error
