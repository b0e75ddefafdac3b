"""Values of the options of `polyexport infer` that are words."""

from enum import StrEnum

__all__ = ["Alpha", "Background", "ColorProfile", "Engine", "Format", "Frames", "Metadata", "ResultAs"]


class Engine(StrEnum):
    """Values of --engine."""

    LOCAL = "local"
    RAY = "ray"


class Background(StrEnum):
    """Values of --background."""

    WHITE = "white"
    TRANSPARENT = "transparent"


class ResultAs(StrEnum):
    """Values of --result-as."""

    RESULT = "result"
    ALPHA = "alpha"


class Format(StrEnum):
    """Values of --format."""

    PNG = "png"
    SAME = "same"
    JPEG = "jpeg"
    WEBP = "webp"
    TIFF = "tiff"
    AVIF = "avif"


class Metadata(StrEnum):
    """Values of --metadata."""

    KEEP = "keep"
    STRIP = "strip"


class ColorProfile(StrEnum):
    """Values of --color-profile."""

    SRGB = "srgb"
    KEEP = "keep"


class Frames(StrEnum):
    """Values of --frames."""

    FIRST = "first"
    ALL = "all"


class Alpha(StrEnum):
    """Values of --alpha."""

    WHITE = "white"
    KEEP = "keep"
