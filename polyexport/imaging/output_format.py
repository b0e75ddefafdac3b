"""The format of output files, and what they keep of the files that they were made from."""

from dataclasses import dataclass, fields
from typing import Any, Literal

__all__ = ["DEFAULT_QUALITY", "PNG_OUTPUT", "EncodedImage", "FormatName", "OutputFormat"]

FormatName = Literal["png", "same", "jpeg", "webp", "tiff", "avif"]
"""Format of the outputs; ``same`` is the one that the suffix of the input's name stands for."""

DEFAULT_QUALITY = 90
"""Quality of lossy formats where none is given. From here on JPEG and AVIF keep colors at full resolution, which thin
colored lines need."""

_WITH_QUALITY: tuple[FormatName, ...] = ("jpeg", "webp", "avif", "same")
_WITH_COMPRESSION: tuple[FormatName, ...] = ("png", "tiff", "same")
_WITHOUT_ALPHA: tuple[FormatName, ...] = ("jpeg",)
_OF_ONE_PICTURE: tuple[FormatName, ...] = ("jpeg",)


@dataclass(frozen=True, kw_only=True, slots=True)
class OutputFormat:
    """Format of output files, and what they keep.

    Raises:
        ValueError: a value out of its range, or an option that does not apply to the format.
    """

    format: FormatName = "png"

    quality: int | None = None
    """1 to 100, for JPEG, WebP and AVIF; 100 is lossless in WebP. None for ``DEFAULT_QUALITY``."""

    compression: int | None = None
    """Level of deflate in PNG and TIFF, 0 (none) to 9 (smallest). None for the fast writer of ``encode_png`` and for
    the level 6 of TIFF."""

    metadata: Literal["keep", "strip"] = "keep"
    """Whether outputs get the EXIF data, the XMP packet and the resolution of their inputs."""

    color_profile: Literal["srgb", "keep"] = "srgb"
    """Color space of the outputs: sRGB, or that of the input's profile."""

    alpha: Literal["white", "keep"] = "white"
    """Transparency of the inputs: composited on white, or put back on the results as well."""

    def __post_init__(self) -> None:
        if self.quality is not None and not 1 <= self.quality <= 100:
            raise ValueError(f"--quality is 1 to 100, got {self.quality}")
        if self.compression is not None and not 0 <= self.compression <= 9:
            raise ValueError(f"--compression is 0 to 9, got {self.compression}")
        if self.quality is not None and self.format not in _WITH_QUALITY:
            raise ValueError(
                f"--quality does not apply to --format {self.format}; it applies to {_list(_WITH_QUALITY)}"
            )
        if self.compression is not None and self.format not in _WITH_COMPRESSION:
            raise ValueError(
                f"--compression does not apply to --format {self.format}; it applies to {_list(_WITH_COMPRESSION)}"
            )
        if self.alpha == "keep" and self.format in _WITHOUT_ALPHA:
            raise ValueError(f"--alpha keep does not go with --format {self.format}, which holds no alpha")

    @property
    def holds_alpha(self) -> bool:
        """Whether outputs can have alpha; for ``same`` that depends on the input."""
        return self.format not in _WITHOUT_ALPHA

    @property
    def holds_several(self) -> bool:
        """Whether an output can hold several frames or pages; for ``same`` that depends on the input."""
        return self.format not in _OF_ONE_PICTURE

    def recipe(self) -> dict[str, Any]:
        """Return what stands for this in the recipe of an output: every entry that is not the default."""
        entries = {field.name: getattr(self, field.name) for field in fields(self)}
        if self.quality == DEFAULT_QUALITY:
            entries["quality"] = None
        return {field.name: entries[field.name] for field in fields(self) if entries[field.name] != field.default}


PNG_OUTPUT = OutputFormat()
"""PNG files in sRGB with the metadata of their inputs, the default."""


@dataclass(frozen=True, kw_only=True, slots=True)
class EncodedImage:
    """The bytes of an image file."""

    data: bytes

    warnings: tuple[str, ...] = ()
    """One line for each thing of the input or the result that the file does not hold."""


def _list(names: tuple[FormatName, ...]) -> str:
    return f"{', '.join(names[:-1])} and {names[-1]}"
