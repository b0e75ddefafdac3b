"""Decoding process: a hostile image that crashes a decoder crashes this process and nothing else.

The process reads requests from stdin and answers on stdout until stdin ends. In both directions a message is a length,
a JSON object and the bytes that the object announces. ``decoding.pool`` starts and watches the process.
"""

import contextlib
import hashlib
import json
import os
import signal
import struct
import time
from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import IO, TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray
from PIL import Image

from polyexport.errors import ImageError, OutOfMemoryError, out_of_memory, reason_of
from polyexport.imaging.pixels import (
    MAX_FILE_BYTES,
    MAX_PIXELS,
    DecodedImage,
    Pixels,
    decode,
    inspect_header,
    to_channels,
)
from polyexport.imaging.traits import Keep
from polyexport.model.canvas import Canvas, CanvasRule, check_same_size
from polyexport.pipeline.decoding.trait_messages import announced, carried
from polyexport.storage.files import read_limited

if TYPE_CHECKING:
    from polyexport.imaging.frames import DecodedFrames

__all__ = [
    "MAX_HEADER_BYTES",
    "MAX_MEMORY_BYTES",
    "ORIGINAL_CHANNELS",
    "combined_sha256",
    "input_sha256",
    "main",
    "receive",
    "receive_into",
    "send",
]

ORIGINAL_CHANNELS = 3
"""Channels of the pixels of an image that its canvas keeps, RGB."""

MAX_MEMORY_BYTES = 4 * 1024**3
"""Limit of the process's address space. An RGBA PNG of 8192x8192, the largest that is accepted, took 1.6 GB of
it, and 2.2 GB with the ink of toned paper."""

MAX_HEADER_BYTES = 4 * 1024 * 1024
"""Longest JSON object of a message: the paths of several images and of their second pictures, escaped."""

_BYTES_PER_PIXEL = 4  # of the largest file of an image, where the limit of pixels was raised
_ANSWER_BUFFER_BYTES = 256 * 1024  # a small answer is one write, so that its reader wakes up once

_PREFIX = struct.Struct(">I")


def send(stream: IO[bytes], header: dict[str, Any], *payloads: bytes | NDArray[np.uint8]) -> None:
    """Write one message."""
    data = json.dumps(header).encode("ascii")
    stream.write(_PREFIX.pack(len(data)) + data)
    for payload in payloads:
        if len(payload):
            stream.write(payload.data if isinstance(payload, np.ndarray) else payload)
    stream.flush()


def receive(stream: IO[bytes]) -> dict[str, Any]:
    """Read the JSON object of one message; the bytes that it announces are still to be read.

    Raises:
        EOFError: the other side has ended, or its message is malformed.
    """
    (length,) = _PREFIX.unpack(_exactly(stream, _PREFIX.size))
    if length > MAX_HEADER_BYTES:
        raise EOFError
    try:
        return dict(json.loads(_exactly(stream, length)))
    except (ValueError, TypeError) as error:
        raise EOFError from error


def receive_into(stream: IO[bytes], buffer: bytearray | NDArray[np.uint8]) -> None:
    """Read bytes until a buffer is full.

    Raises:
        EOFError: the other side ended before that.
    """
    view = memoryview(buffer).cast("B")  # type: ignore[arg-type]
    while view:
        count = stream.readinto(view)  # type: ignore[attr-defined]
        if not count:
            raise EOFError
        view = view[count:]


def _exactly(stream: IO[bytes], count: int) -> bytes:
    data = stream.read(count)
    if len(data) < count:
        raise EOFError
    return data


def input_sha256(files: Sequence[bytes]) -> str:
    """Return the SHA-256 of an input, lowercase hex: of its bytes; with second pictures, of the hashes of all files."""
    return combined_sha256([hashlib.sha256(data).hexdigest() for data in files])


def combined_sha256(hashes: Sequence[str]) -> str:
    """Return the SHA-256 of an input from those of its files."""
    return hashes[0] if len(hashes) == 1 else hashlib.sha256(" ".join(hashes).encode()).hexdigest()


def main() -> None:
    """Answer requests until stdin ends."""
    # A terminal's Ctrl-C and a service manager signal the whole process group; this process ends when its parent does.
    for number in (signal.SIGINT, signal.SIGTERM):
        signal.signal(number, signal.SIG_IGN)
    requests = os.fdopen(os.dup(0), "rb")
    answers = os.fdopen(os.dup(1), "wb", buffering=_ANSWER_BUFFER_BYTES)
    # Native decoders may print to stdout, so the answers go to a descriptor that the decoders do not have.
    nothing = os.open(os.devnull, os.O_RDWR)
    for descriptor in (0, 1, 2):
        os.dup2(nothing, descriptor)
    _limit()
    try:
        while True:
            _serve(requests, answers)
    except (EOFError, BrokenPipeError):
        os._exit(0)  # the parent needs no more answers


def _limit() -> None:
    try:
        import resource
    except ImportError:  # no such limits on this system
        return
    soft, hard = resource.getrlimit(resource.RLIMIT_AS)
    # A lower limit of the process that started this one stays.
    wanted = MAX_MEMORY_BYTES if soft == resource.RLIM_INFINITY else min(soft, MAX_MEMORY_BYTES)
    for limit, value in ((resource.RLIMIT_AS, (wanted, hard)), (resource.RLIMIT_CORE, (0, 0))):
        with contextlib.suppress(OSError, ValueError):  # some systems have the limit and do not let it be changed
            resource.setrlimit(limit, value)


@dataclass(frozen=True, slots=True)
class _Settings:
    """Entries of a request that hold for all of its images."""

    canvas_rule: CanvasRule | None
    """Rule that places images; None to read only their headers."""

    picture_rules: Sequence[tuple[str, CanvasRule | None]]
    """Name of each second picture, and how it is placed."""

    max_pixels: int
    large_pixels: int
    """Largest size of an image that is accepted, to be decoded in bands by another request; 0 where none is."""

    keep: Keep
    """Traits of the images, not of the second pictures, that are kept."""

    frames: bool
    """Whether every frame of the images is decoded, not the first alone."""


def _serve(requests: IO[bytes], answers: IO[bytes]) -> None:
    request = receive(requests)
    if "rows" in request:
        from polyexport.pipeline.decoding.row_worker import serve_rows

        serve_rows(request, answers, send)
        return
    settings = _Settings(
        request["canvas_rule"] and CanvasRule.of_entries(request["canvas_rule"]),
        [(name, rule and CanvasRule.of_entries(rule)) for name, rule in request["picture_rules"]],
        int(request["max_pixels"]),
        int(request["large_pixels"]),
        Keep(**request.get("keep", {})),
        bool(request.get("frames")),
    )
    if max(settings.max_pixels, settings.large_pixels) > MAX_PIXELS:
        Image.MAX_IMAGE_PIXELS = None  # pillow's own limit; the size is checked against that of the user
    images = [
        (image["skip_sha256"], [bytearray(size) if path is None else path for path, size in image["files"]])
        for image in request["images"]
    ]
    # The whole request is read before the first answer, or both sides might wait for each other to read.
    for _, files in images:
        for file in files:
            if isinstance(file, bytearray):
                receive_into(requests, file)
    for skip_sha256, files in images:
        # A process without a parent must not hang for ever: the default action of SIGALRM ends even a decoder that
        # never returns to Python.
        signal.alarm(int(request["timeout_s"]) + 5)
        answer, payload = _answer(files, skip_sha256, settings)
        if answer["state"] == "failed" and settings.large_pixels:
            from polyexport.pipeline.decoding.row_worker import found_large

            answer |= found_large(files[0], settings.max_pixels, settings.large_pixels)
        send(answers, answer, *payload)
    signal.alarm(0)


def _answer(
    files: Sequence[str | bytearray], skip_sha256: str, settings: _Settings
) -> tuple[dict[str, Any], Sequence[NDArray[np.uint8] | bytes]]:
    """Decode one image and its second pictures, or only their headers if there is no canvas rule.

    Returns:
        The JSON object of the answer, and what follows it.
    """
    started = time.perf_counter()
    answer: dict[str, Any] = {"state": "failed", "sha256": "", "warnings": [], "permanent": False}
    try:
        image, *seconds = files
        data = _read(image, settings)
        others = [
            _read_second(file, name, settings) for file, (name, _) in zip(seconds, settings.picture_rules, strict=True)
        ]
        answer["sha256"] = input_sha256([data, *others])
        answer["read_ms"] = 1e3 * (time.perf_counter() - started)
        if answer["sha256"] == skip_sha256:
            return answer | {"state": "skipped"}, ()
        if settings.canvas_rule is None:
            return answer | {"state": "header", "size": _inspected(data, others, settings)}, ()
        started = time.perf_counter()
        rule = settings.canvas_rule
        images, decoded, several = _decoded(data, rule, settings)
        del data
        if settings.keep.try_profile and decoded.traits.icc_profile:
            from polyexport.imaging.encoders.profile import try_profile

            try_profile(decoded.traits.icc_profile)
        canvases = _placed(images, rule)
        seconds_placed = [
            _second(other, name, own, canvases, settings)
            for other, (name, own) in zip(others, settings.picture_rules, strict=True)
            if own is not None
        ]
        answer["decode_ms"] = 1e3 * (time.perf_counter() - started)
    except OSError as error:
        return answer | {"reason": f"cannot be read ({error.strerror or error}); give a readable image file"}, ()
    except ImageError as error:
        return answer | {"reason": str(error), "permanent": bool(answer["sha256"])}, ()
    except Exception as error:  # noqa: BLE001 - no input may take the others with it; memory is the usual cause
        short = out_of_memory(error)
        reason = str(OutOfMemoryError("it was decoded", reason_of(error))) if short else reason_of(error)
        return answer | {"reason": f"cannot be decoded ({reason})"}, ()
    answer |= {"state": "pixels", "warnings": decoded.warnings}
    payload: list[NDArray[np.uint8] | bytes] = []
    entries: list[dict[str, Any]] = []
    for index, (pixels, canvas) in enumerate(zip(images, canvases, strict=True)):
        entry, following = _canvas_entry(canvas, pixels, rule)
        entries.append(entry)
        payload += following
        if several:
            frame = several.frames[index]
            entry |= {"duration_ms": frame.duration_ms, "alpha": frame.alpha is not None}
            payload += [] if frame.alpha is None else [np.ascontiguousarray(frame.alpha)]
    answer |= {"frames": entries, "plays": several.plays, "pages": several.pages} if several else entries[0]
    payload += seconds_placed
    if not settings.keep.anything:
        return answer, payload
    return answer | {"traits": announced(decoded.traits)}, [*payload, *carried(decoded.traits)]


def _decoded(
    data: bytes, rule: CanvasRule, settings: _Settings
) -> tuple[Sequence[Pixels], "DecodedImage | DecodedFrames", "DecodedFrames | None"]:
    """Decode an image.

    Returns:
        The pixels of each frame; what has their warnings and traits; and the frames, None if there is one.

    Raises:
        ImageError: The image is refused.
    """
    channels = max(ORIGINAL_CHANNELS if rule.keep_original else rule.channels, rule.channels)
    if not settings.frames:
        decoded = decode(data, max_pixels=settings.max_pixels, channels=channels, keep=settings.keep)
        return [decoded.pixels], decoded, None
    from polyexport.imaging.frames import decode_frames  # which most runs don't need

    several = decode_frames(data, max_pixels=settings.max_pixels, channels=channels, keep=settings.keep)
    pixels = [frame.pixels for frame in several.frames]
    if len(pixels) > 1:
        return pixels, several, several
    return pixels, replace(several, traits=replace(several.traits, alpha=several.frames[0].alpha)), None


def _placed(images: Sequence[Pixels], rule: CanvasRule) -> list[Canvas]:
    """Place every frame on a canvas of its own.

    Raises:
        ImageError: The network cannot take an image of this size, or several canvases have too many pixels together.
    """
    canvases: list[Canvas] = []
    area = 0
    for pixels in images:
        canvas = rule.place(to_channels(pixels, rule.channels))
        area += canvas.pixels.shape[0] * canvas.pixels.shape[1]
        if len(images) > 1 and area > MAX_PIXELS:
            raise ImageError(f"canvases of more than {MAX_PIXELS} pixels for its frames", remedy="split the file")
        canvases.append(canvas)
    return canvases


def _canvas_entry(
    canvas: Canvas, decoded: Pixels, rule: CanvasRule
) -> tuple[dict[str, Any], list[NDArray[np.uint8] | bytes]]:
    """Return the entries of an answer that announce a canvas, and what follows the answer for it."""
    pixels = np.ascontiguousarray(canvas.pixels)
    ink = None if canvas.edges is None else canvas.edges.ink
    entry: dict[str, Any] = {
        "size": [canvas.height, canvas.width],
        "inner": [canvas.inner_height, canvas.inner_width],
        "canvas": list(pixels.shape[:2]),
        "edges": canvas.edges is not None,
        "ink_bytes": None if ink is None else len(ink),
    }
    payload: list[NDArray[np.uint8] | bytes] = [pixels, ink or b""]
    if rule.keep_original:
        same = pixels.shape == (canvas.height, canvas.width, ORIGINAL_CHANNELS)
        entry["original"] = "canvas" if same else "own"
        payload += [] if same else [np.ascontiguousarray(to_channels(decoded, ORIGINAL_CHANNELS))]
    if look := canvas.first_look:
        entry["first_look"] = [*look.pixels.shape[:2], look.inner_height, look.inner_width]
        payload.append(np.ascontiguousarray(look.pixels))
    return entry, payload


def _read(file: str | bytearray, settings: _Settings) -> bytes:
    if not isinstance(file, str):
        return bytes(file)
    raised = settings.max_pixels > MAX_PIXELS
    return read_limited(file, max(MAX_FILE_BYTES, _BYTES_PER_PIXEL * settings.max_pixels * raised))


def _read_second(file: str | bytearray, name: str, settings: _Settings) -> bytes:
    try:
        return _read(file, settings)
    except OSError as error:
        raise ImageError(
            f"its {name} {file if isinstance(file, str) else ''} cannot be read ({error.strerror or error})",
            remedy="give each image one, of the same relative path and name",
        ) from error


def _inspected(data: bytes, others: Sequence[bytes], settings: _Settings) -> list[int]:
    """Return the height and width of an image from its header, and check those of its second pictures."""
    width, height = inspect_header(data, settings.max_pixels)
    for other, (name, _) in zip(others, settings.picture_rules, strict=True):
        try:
            found = inspect_header(other, settings.max_pixels)
        except ImageError as error:
            raise _in_second(name, error) from error
        check_same_size(name, found[::-1], (height, width))
    return [height, width]


def _second(
    data: bytes, name: str, rule: CanvasRule, canvases: Sequence[Canvas], settings: _Settings
) -> NDArray[np.uint8]:
    """Decode a second picture, and place it as its image is, all of whose frames share it."""
    try:
        pixels = decode(data, max_pixels=settings.max_pixels, channels=rule.channels).pixels
    except ImageError as error:
        raise _in_second(name, error) from error
    for canvas in canvases:
        check_same_size(name, (pixels.shape[0], pixels.shape[1]), (canvas.height, canvas.width))
    return np.ascontiguousarray(rule.place(pixels).pixels)


def _in_second(name: str, error: ImageError) -> ImageError:
    return ImageError(f"its {name}: {error.message}", remedy=error.remedy)
