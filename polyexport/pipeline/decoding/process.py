"""One decoding process: what it is asked, and what it answers."""

import contextlib
import errno
import fcntl
import functools
import json
import math
import os
import subprocess
import sys
import time
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import asdict, dataclass, field, replace
from types import MappingProxyType
from typing import IO, Any, cast

import numpy as np

from polyexport.errors import PolyexportError
from polyexport.imaging.codecs import FORMATS
from polyexport.imaging.pixels import MAX_FILE_BYTES, MAX_PIXELS, Pixels
from polyexport.imaging.profiles import MAX_PROFILE_BYTES
from polyexport.imaging.traits import KEEP_NOTHING, MAX_EXIF_BYTES, MAX_XMP_BYTES, NO_TRAITS, Keep, Traits
from polyexport.model.canvas import MAX_NATIVE_PIXELS, Canvas, CanvasRule
from polyexport.model.edges import InkEdges
from polyexport.pipeline.decoding.trait_messages import PLAIN_ENTRIES
from polyexport.pipeline.decoding.worker import ORIGINAL_CHANNELS, input_sha256, receive, receive_into, send
from polyexport.storage.files import read_limited

__all__ = ["NO_RULES", "Decoded", "DecodedFrame", "DecodingProcess", "HungError", "Input", "Rules", "Source"]

_PIPE_BYTES = 1 << 20  # the most that Linux grants every user
_WORKER_CODE = (
    "import sys, json; sys.path[:] = json.loads(sys.argv[1]); "
    "from polyexport.pipeline.decoding.worker import main; main()"
)

Source = str | bytes
"""Path or URL of an image file, or the bytes of one."""

NO_RULES: Mapping[str, CanvasRule] = MappingProxyType({})
"""Rules for the second pictures of a model that takes none."""


@dataclass(frozen=True, kw_only=True, slots=True)
class DecodedFrame:
    """One frame of an animation, or one page of a document."""

    canvas: Canvas
    alpha: Pixels | None
    """uint8 [H, W, 1], upright; None if the frame has none, or it is not kept."""

    duration_ms: int
    """Time for which the frame is shown, milliseconds; 0 for pages."""


@dataclass(frozen=True, kw_only=True, slots=True)
class Decoded:
    """Outcome of one input: a canvas, or the reason of a failure, or neither if it was skipped by its hash."""

    sha256: str
    """SHA-256 of the input's bytes, lowercase hex; with second pictures, that of all their hashes. Empty if one of them
    could not be read."""

    canvas: Canvas | None = None
    """Its canvas, of several frames that of the first."""

    frames: tuple[DecodedFrame, ...] = ()
    """All frames, if they were asked for and the image has several; else empty."""

    plays: int = 0
    """Number of times that an animation is played; 0 for endlessly."""

    pages: bool = False
    """Whether the frames are pages of a document."""

    pictures: tuple[Pixels, ...] = ()
    """Its second pictures, placed on the same canvas: uint8 [H, W, channels] each."""

    reason: str = ""
    large: bool = False
    """The image is too large to be decoded as a whole, and has to be decoded in bands."""

    permanent: bool = False
    """Whether the failure lies in the input's bytes, so that another try would fail as well."""

    warnings: tuple[str, ...] = ()
    traits: Traits = NO_TRAITS
    """Traits of the file, as far as they were asked for."""

    read_ms: float = 0.0
    decode_ms: float = 0.0


@dataclass(frozen=True, slots=True)
class Input:
    """One image to decode, with its second pictures."""

    source: Source
    skip_sha256: str = ""
    """SHA-256 with which the input is not decoded; empty to decode it in any case."""

    pictures: tuple[Source, ...] = ()

    @property
    def sources(self) -> tuple[Source, ...]:
        """The image and its second pictures."""
        return (self.source, *self.pictures)

    def entries(self) -> dict[str, Any]:
        """Return the entries of a request: the path of each file, or the number of its bytes, which follow."""
        files = [(one, 0) if isinstance(one, str) else (None, len(one)) for one in self.sources]
        return {"files": files, "skip_sha256": self.skip_sha256}

    def sha256(self) -> str:
        """Return what ``Decoded.sha256`` is for this input."""
        try:
            return input_sha256(
                [one if isinstance(one, bytes) else read_limited(one, MAX_FILE_BYTES) for one in self.sources]
            )
        except OSError:
            return ""


@dataclass(frozen=True, slots=True)
class Rules:
    """Rules by which images and their second pictures are placed."""

    image: CanvasRule | None = None
    """Rule of the images; None to read only headers."""

    pictures: Mapping[str, CanvasRule | None] = field(default_factory=dict)
    """Rule of each second picture, by its name; None to read only headers."""

    keep: Keep = KEEP_NOTHING
    """Traits of the images that are kept."""

    frames: bool = False
    """Whether every frame of the images is decoded, not the first alone."""

    max_pixels: int = MAX_PIXELS
    """Largest width times height of an image that is decoded as a whole."""

    large_pixels: int = 0
    """Largest width times height of an image that is accepted, to be decoded in bands; 0 where none is."""

    def entries(self) -> dict[str, Any]:
        """Return the entries of a request."""
        rules = {
            "canvas_rule": self.image and asdict(self.image),
            "picture_rules": [(name, rule and asdict(rule)) for name, rule in self.pictures.items()],
            "max_pixels": self.max_pixels,
            "large_pixels": self.large_pixels,
        }
        keep = {"keep": asdict(self.keep)} if self.keep.anything else {}
        return rules | keep | ({"frames": True} if self.frames else {})


class HungError(Exception):
    """A decoding process was killed because it did not answer in time."""


class DecodingProcess:
    """A process that decodes images. One thread at a time, but for ``kill_if_hung``."""

    def __init__(self) -> None:
        # -I isolates: neither the working folder nor the environment decides which code decodes untrusted files.
        command = [sys.executable, "-I", "-c", _WORKER_CODE, json.dumps(sys.path)]
        try:
            self._process = subprocess.Popen(  # noqa: S603 - this interpreter, with arguments of ours
                command,
                stdin=subprocess.PIPE,
                stdout=subprocess.PIPE,
                stderr=subprocess.DEVNULL,
                # OpenBLAS and OpenCV start a thread for every core, and there is a decoder for every core already.
                env=os.environ | {"OPENBLAS_NUM_THREADS": "1", "OPENCV_FOR_THREADS_NUM": "1"},
            )
        except OSError as error:
            remedy = f"check that {sys.executable} can be run and that there is enough memory"
            if error.errno == errno.EMFILE:
                remedy = "raise the limit of open files (ulimit -n)"
            raise PolyexportError(
                f"cannot start a process to decode images ({error.strerror})", remedy=remedy
            ) from error
        self._requests = cast(IO[bytes], self._process.stdin)
        self._answers = cast(IO[bytes], self._process.stdout)
        if hasattr(fcntl, "F_SETPIPE_SZ"):
            # Room for several answers: neither side waits for the other in the middle of one.
            with contextlib.suppress(OSError):
                fcntl.fcntl(self._answers, fcntl.F_SETPIPE_SZ, _PIPE_BYTES)
        self._deadline = float("inf")
        self._hung = False

    def ask(self, request: dict[str, Any], given: Sequence[bytes], rules: Rules, timeout_s: float) -> Iterator[Decoded]:
        """Send one request, and yield an answer for each of its images.

        Args:
            request: JSON object of the request.
            given: bytes of the files that have no path.
            rules: placement of the images and their second pictures, as in the request.
            timeout_s: longest time for one image, seconds.

        Raises:
            HungError: the next answer did not come in time.
            EOFError, OSError, ValueError, KeyError, TypeError: the process has ended, or its answer is malformed.
        """
        try:
            self._deadline = time.monotonic() + timeout_s
            send(self._requests, request, b"".join(given))
            for _ in request["images"]:
                self._deadline = time.monotonic() + timeout_s
                answer = receive(self._answers)
                pixels = self._with_pixels(answer, rules) if answer["state"] == "pixels" else {}
                decoded = Decoded(
                    sha256=str(answer["sha256"]),
                    reason=str(answer.get("reason", "")),
                    large=answer["state"] == "large",
                    permanent=bool(answer["permanent"]),
                    warnings=tuple(map(str, answer["warnings"])),
                    read_ms=float(answer.get("read_ms", 0.0)),
                    decode_ms=float(answer.get("decode_ms", 0.0)),
                    **pixels,
                )
                self._deadline = float("inf")
                yield decoded
        except (EOFError, OSError) as error:
            if self._hung:
                raise HungError from error
            raise
        finally:
            self._deadline = float("inf")

    def _with_pixels(self, answer: dict[str, Any], rules: Rules) -> dict[str, Any]:
        """Read what follows an answer with pixels, and return it as fields of ``Decoded``."""
        several = rules.frames and "frames" in answer
        fields: dict[str, Any] = self._frames(answer, rules) if several else {"canvas": self._canvas(answer, rules)}
        first: Canvas = fields["canvas"]
        rows, columns = first.pixels.shape[:2]
        if rules.pictures:
            seconds = [self.receive_array(rows, columns, rule.channels) for rule in rules.pictures.values() if rule]
            fields["pictures"] = tuple(seconds)
        if rules.keep.anything:
            fields["traits"] = self.receive_traits(answer["traits"], rules.keep, (first.height, first.width))
        return fields

    def _frames(self, answer: dict[str, Any], rules: Rules) -> dict[str, Any]:
        """Read the canvases of several frames, and the alpha of each; returns them as fields of ``Decoded``."""
        from polyexport.imaging.frames import MAX_DURATION_MS, MAX_FRAMES, MAX_PLAYS  # which most runs don't need

        entries = [dict(entry) for entry in answer["frames"]]
        sizes = [math.prod(map(int, entry[side])) for entry in entries for side in ("size", "canvas")]
        if not 1 < len(entries) <= MAX_FRAMES or max(sum(sizes[::2]), sum(sizes[1::2])) > MAX_PIXELS:
            raise ValueError("no image has such frames")
        plays, durations = int(answer["plays"]), [int(entry["duration_ms"]) for entry in entries]
        if not 0 <= plays <= MAX_PLAYS or not all(0 <= duration <= MAX_DURATION_MS for duration in durations):
            raise ValueError("no animation has such times")
        frames: list[DecodedFrame] = []
        for entry, duration_ms in zip(entries, durations, strict=True):
            canvas = self._canvas(entry, rules)
            kept = rules.keep.alpha and entry["alpha"]
            alpha = self.receive_array(canvas.height, canvas.width, 1) if kept else None
            frames.append(DecodedFrame(canvas=canvas, alpha=alpha, duration_ms=duration_ms))
        pages = bool(answer["pages"])
        return {"canvas": frames[0].canvas, "frames": tuple(frames), "plays": plays, "pages": pages}

    def _canvas(self, answer: dict[str, Any], rules: Rules) -> Canvas:
        assert rules.image is not None
        rows, columns = (int(side) for side in answer["canvas"])
        (height, width), (inner_height, inner_width) = map(int, answer["size"]), map(int, answer["inner"])
        tiles = rules.image.tiles if rules.image.tiles is not None and rules.image.tiles.cuts(rows, columns) else None
        most = MAX_NATIVE_PIXELS if tiles is None else 2 * rules.max_pixels  # with what pads an image
        if not (0 < rows * columns <= most and 0 < inner_height <= rows and 0 < inner_width <= columns):
            raise ValueError("no canvas has this size")
        if not (height > 0 and width > 0 and height * width <= rules.max_pixels):
            raise ValueError("no image has this size")
        pixels = self.receive_array(rows, columns, rules.image.channels)
        canvas = Canvas(
            pixels=pixels,
            height=height,
            width=width,
            inner_height=inner_height,
            inner_width=inner_width,
            edges=self._edges(answer, height, width) if answer.get("edges") else None,
            original=self._original(str(answer["original"]), pixels, height, width) if "original" in answer else None,
            tiles=tiles,
        )
        return replace(canvas, first_look=self._first_look(answer, canvas)) if "first_look" in answer else canvas

    def _first_look(self, answer: dict[str, Any], canvas: Canvas) -> Canvas:
        rows, columns, height, width = (int(side) for side in answer["first_look"])
        if canvas.edges is None or not (0 < height <= rows and 0 < width <= columns and rows * columns <= MAX_PIXELS):
            raise ValueError("no first look has this size")
        pixels = self.receive_array(rows, columns, canvas.pixels.shape[2])
        return replace(canvas, pixels=pixels, inner_height=height, inner_width=width, original=None)

    def receive_array(self, rows: int, columns: int, channels: int) -> Pixels:
        """Read pixels, uint8 [rows, columns, channels]."""
        pixels = np.empty((rows, columns, channels), np.uint8)
        receive_into(self._answers, pixels)
        return pixels

    def _original(self, which: str, canvas: Pixels, height: int, width: int) -> Pixels:
        if which == "canvas" and canvas.shape[:2] == (height, width):
            return canvas
        return self.receive_array(height, width, ORIGINAL_CHANNELS)

    def _edges(self, answer: dict[str, Any], height: int, width: int) -> InkEdges:
        if answer["ink_bytes"] is None:
            return InkEdges(None, height, width)
        size = int(answer["ink_bytes"])
        if not 0 < size <= 2 * height * width:
            raise ValueError("no drawing has so much ink")
        ink = bytearray(size)
        receive_into(self._answers, ink)
        return InkEdges(bytes(ink), height, width)

    def send(self, request: dict[str, Any]) -> None:
        """Send a request whose answers ``receive`` reads, one by one."""
        send(self._requests, request)

    def receive(self, timeout_s: float) -> dict[str, Any]:
        """Read the JSON object of one answer.

        Raises:
            HungError: it did not come in time.
            EOFError, OSError: the process has ended.
        """
        try:
            self._deadline = time.monotonic() + timeout_s
            return receive(self._answers)
        except (EOFError, OSError) as error:
            if self._hung:
                raise HungError from error
            raise
        finally:
            self._deadline = float("inf")

    def receive_traits(self, announced: dict[str, Any], keep: Keep, size: tuple[int, int] | None = None) -> Traits:
        """Read the traits of an image, which an answer has announced.

        Args:
            announced: entries of the answer.
            keep: traits that were asked for.
            size: height and width of the image; None if its alpha was not asked for.

        Raises:
            EOFError, OSError, ValueError, KeyError, TypeError: the process has ended, or its answer is malformed.
        """
        format_name, bits = str(announced["format"]), int(announced["bits"])
        if format_name not in FORMATS:
            raise ValueError("no image has this format")
        if len(announced) == len(PLAIN_ENTRIES):
            return _plain_traits(format_name, bits)
        sizes, limits = [int(size) for size in announced["bytes"]], (MAX_PROFILE_BYTES, MAX_EXIF_BYTES, MAX_XMP_BYTES)
        if not all(0 <= size <= limit * keep.metadata for size, limit in zip(sizes, limits, strict=True)):
            raise ValueError("no image has so much metadata")
        parts = [bytearray(size) for size in sizes]
        for part in parts:
            receive_into(self._answers, part)
        profile, exif, xmp = map(bytes, parts)
        dpi = None
        if announced["dpi"] is not None:
            horizontal, vertical = map(float, announced["dpi"])
            dpi = horizontal, vertical
        return Traits(
            format=format_name,
            bits=bits,
            icc_profile=profile,
            exif=exif,
            xmp=xmp,
            dpi=dpi,
            alpha=self.receive_array(*size, 1) if size and keep.alpha and announced["alpha"] else None,
        )

    def kill_if_hung(self, now: float) -> None:
        """Kill the process if its next answer is overdue at a time of ``time.monotonic``."""
        if now > self._deadline:
            self._hung = True
            self._process.kill()

    def end(self) -> int:
        """Kill the process if it still runs; returns its exit status as ``subprocess.Popen.returncode`` gives it."""
        self._process.kill()
        for stream in (self._requests, self._answers):
            with contextlib.suppress(OSError):
                stream.close()
        return self._process.wait()


@functools.lru_cache
def _plain_traits(format_name: str, bits: int) -> Traits:
    """Return the traits of an image that has nothing beside its pixels, as most have."""
    return Traits(format=format_name, bits=bits)
