"""Writers that take a picture in bands of rows, so that memory is bounded by the band and not by the picture."""

import io
import queue
import threading
import zlib
from abc import ABC, abstractmethod
from dataclasses import dataclass
from typing import Any, Protocol

import numpy as np
from numpy.typing import NDArray

from polyexport.errors import ImageError, reason_of
from polyexport.imaging.codecs.png import FILTER_UP, PNG_SIGNATURE, png_chunk, png_header
from polyexport.imaging.encoders import encoder_of
from polyexport.imaging.encoders.png import trait_chunks
from polyexport.imaging.output_format import DEFAULT_QUALITY, OutputFormat
from polyexport.imaging.traits import NO_TRAITS, Traits

__all__ = ["RowWriter", "open_row_writer"]

_IDAT_BYTES = 1 << 20
_PIECES_AHEAD = 4  # pieces of a file that wait for libvips
_POLL_S = 0.2
_STORED = OutputFormat(compression=0)
_BIG_TIFF_BYTES = 3 << 30  # size of the pixels from which on a TIFF file gets offsets of 64 bits
_MM_PER_INCH = 25.4


@dataclass(frozen=True, slots=True)
class _Size:
    height: int
    width: int
    channels: int


class _Writable(Protocol):
    def write(self, data: memoryview, /) -> int | None: ...


class RowWriter(ABC):
    """Writer of one file. One thread at a time."""

    @abstractmethod
    def write(self, rows: NDArray[np.uint8]) -> None:
        """Write the next rows, uint8 [n, width, channels].

        Raises:
            OSError: the file cannot be written.
            ImageError: the format does not hold the picture.
        """

    @abstractmethod
    def close(self) -> None:
        """Write what ends the file; all rows have been written. It raises what ``write`` raises."""

    @abstractmethod
    def abort(self) -> None:
        """Stop before all rows have been written."""


def open_row_writer(
    file: io.FileIO,
    size: tuple[int, int, int],
    output: OutputFormat,
    traits: Traits,
    notes: list[str],
    *,
    suffix: str,
) -> RowWriter:
    """Begin a file.

    Args:
        file: new file, open for reading and writing.
        size: height, width and channels of the picture.
        output: format of the file, quality and compression.
        traits: profile and metadata that the file gets.
        notes: a list that gets one line for each thing that was dropped.
        suffix: suffix of the file's name, which decides the format ``same``.

    Raises:
        ImageError: the format cannot be written in bands, or does not hold so many pixels.
        OSError: the file cannot be written.
    """
    height, width, channels = size
    encoder = encoder_of(output.format, suffix, traits.format)
    if max(height, width) > encoder.max_side:
        raise ImageError(
            f"{encoder.name} holds at most {encoder.max_side} pixels a side, and the result has {width}x{height}",
            remedy="use --format png or tiff",
        )
    if encoder.name == "PNG":
        return _PngRows(file, _Size(*size), output, traits, notes)
    if encoder.name == "TIFF" or (encoder.name == "JPEG" and channels in (1, 3)):
        return _VipsRows(encoder.name, file, _Size(*size), output, traits, notes)
    raise ImageError(
        f"{encoder.name} of {channels} channels cannot be written in bands, which {width}x{height} pixels need",
        remedy="use --format png or tiff",
    )


class _PngRows(RowWriter):
    """Writer of PNG: what ``encode_png`` writes, in several chunks."""

    def __init__(self, file: _Writable, size: _Size, output: OutputFormat, traits: Traits, notes: list[str]) -> None:
        self._file = file
        self._above = np.zeros((1, size.width * size.channels), np.uint8)
        level, strategy = (
            (1, zlib.Z_RLE) if output.compression is None else (output.compression, zlib.Z_DEFAULT_STRATEGY)
        )
        self._compressor = zlib.compressobj(level=level, memLevel=9, strategy=strategy)
        self._waiting = bytearray()
        header = png_header(size.height, size.width, size.channels)
        _write_all(file, PNG_SIGNATURE + header + trait_chunks(traits, notes))

    def write(self, rows: NDArray[np.uint8]) -> None:
        """See ``RowWriter``."""
        flat = rows.reshape(len(rows), -1)
        filtered = np.empty((len(rows), 1 + flat.shape[1]), np.uint8)
        filtered[:, 0] = FILTER_UP
        np.subtract(flat, np.concatenate([self._above, flat[:-1]]), out=filtered[:, 1:])
        self._above = flat[-1:].copy()
        self._waiting += self._compressor.compress(filtered.data)
        if len(self._waiting) >= _IDAT_BYTES:
            self._flush()

    def close(self) -> None:
        """See ``RowWriter``."""
        self._waiting += self._compressor.flush()
        self._flush()
        _write_all(self._file, png_chunk(b"IEND", b""))

    def abort(self) -> None:
        """See ``RowWriter``."""

    def _flush(self) -> None:
        _write_all(self._file, png_chunk(b"IDAT", bytes(self._waiting)))
        self._waiting.clear()


class _Pipe:
    """Bytes on their way from the thread that has the rows to the thread of libvips."""

    def __init__(self) -> None:
        self._pieces: queue.Queue[bytes] = queue.Queue(_PIECES_AHEAD)
        self._rest = memoryview(b"")
        self._ended = False
        self.closed = threading.Event()
        """Set when nothing is read any more."""

    def write(self, data: bytes | memoryview) -> int:
        """Write bytes, and wait while there is no room; nothing comes of them once nothing is read any more."""
        while data and not self.closed.is_set():
            try:
                self._pieces.put(bytes(data), timeout=_POLL_S)
            except queue.Full:
                continue
            break
        return len(data)

    def end(self) -> None:
        """End the bytes."""
        while not self.closed.is_set():
            try:
                self._pieces.put(b"", timeout=_POLL_S)
            except queue.Full:
                continue
            break

    def read(self, size: int) -> bytes:
        """Read at most so many bytes; none at the end."""
        if not self._rest and not self._ended:
            self._rest = memoryview(self._pieces.get())
            self._ended = not self._rest
        piece, self._rest = self._rest[:size], self._rest[size:]
        return bytes(piece)


class _VipsRows(RowWriter):
    """Writer of TIFF and JPEG: libvips, which reads the rows as a PNG without compression in a thread of its own."""

    def __init__(
        self, name: str, file: io.FileIO, size: _Size, output: OutputFormat, traits: Traits, notes: list[str]
    ) -> None:
        try:
            import pyvips
        except (ImportError, OSError) as error:
            raise ImageError(
                f"{name} of {size.width}x{size.height} pixels needs libvips, which is not installed",
                remedy="install polyexport[large], or use --format png",
            ) from error
        if traits.exif and name == "TIFF":
            notes.append("TIFF that is written in bands holds no EXIF data: left out")
        self._pyvips = pyvips
        self._pipe = _Pipe()
        self._error: Exception | None = None
        self._thread = threading.Thread(
            target=self._run, args=(name, file, size, output, traits), name="encode-rows", daemon=True
        )
        self._thread.start()
        self._rows = _PngRows(self._pipe, size, _STORED, NO_TRAITS, [])

    def write(self, rows: NDArray[np.uint8]) -> None:
        """See ``RowWriter``."""
        self._rows.write(rows)
        self._check()

    def close(self) -> None:
        """See ``RowWriter``."""
        self._rows.close()
        self._pipe.end()
        self._thread.join()
        self._check()

    def abort(self) -> None:
        """See ``RowWriter``."""
        self._pipe.end()
        self._thread.join()

    def _check(self) -> None:
        if isinstance(self._error, OSError):
            raise self._error
        if self._error is not None:
            raise ImageError(f"cannot be encoded ({reason_of(self._error)})", remedy="use --format png")

    def _run(self, name: str, file: io.FileIO, size: _Size, output: OutputFormat, traits: Traits) -> None:
        try:
            source = self._pyvips.SourceCustom()
            source.on_read(self._pipe.read)
            image = self._pyvips.Image.pngload_source(source, access="sequential", fail_on="error")
            image = _with_traits(image, name, traits)
            # libvips says only that it cannot write; the descriptor says why.
            target = self._pyvips.Target.new_to_descriptor(file.fileno())
            if name == "JPEG":
                quality = output.quality or DEFAULT_QUALITY
                chroma = "off" if quality >= DEFAULT_QUALITY else "on"
                image.jpegsave_target(target, Q=quality, subsample_mode=chroma)
            else:
                level = output.compression
                options: dict[str, Any] = {"compression": "none"}
                if level != 0:
                    options = {"compression": "deflate", "predictor": "horizontal"}
                pixels = size.height * size.width * size.channels
                image.tiffsave_target(target, bigtiff=pixels > _BIG_TIFF_BYTES, **options)
        except self._pyvips.Error as error:
            self._error = _why(file) or error
        except Exception as error:  # noqa: BLE001 - it is raised where the rows come from
            self._error = error
        finally:
            self._pipe.closed.set()


def _with_traits(image: Any, name: str, traits: Traits) -> Any:
    image = image.copy()
    blobs = {"icc-profile-data": traits.icc_profile, "xmp-data": traits.xmp}
    if name == "JPEG":
        blobs["exif-data"] = traits.exif
    import pyvips

    for key, data in blobs.items():
        if data:
            image.set_type(pyvips.GValue.blob_type, key, data)
    if traits.dpi:
        image = image.copy(xres=traits.dpi[0] / _MM_PER_INCH, yres=traits.dpi[1] / _MM_PER_INCH)
    return image


def _why(file: io.FileIO) -> OSError | None:
    """Return the error of writing to a file, if it cannot be written; None if it can."""
    try:
        file.seek(0, io.SEEK_END)
        _write_all(file, b"\0" * 4096)
    except OSError as error:
        return error
    return None


def _write_all(file: _Writable, data: bytes) -> None:
    view = memoryview(data)
    while view:
        view = view[file.write(view) or 0 :]
