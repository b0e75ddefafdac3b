"""Color outline drawings with the model beside this file. It needs onnxruntime, numpy and pillow, nothing else.

    python run.py drawing.png --color red --color "#1e90ff" -o colored

Outputs are PNG files, DIR/COLOR/NAME.png, at the size of their inputs. Before the first drawing the model's SHA-256 is
compared with SHA256SUMS beside it, and the golden sample in its metadata is repeated. Exit codes: 0 all done, 1 fatal,
2 usage, 3 some drawings failed, 4 model refused, 5 output unusable, 6 execution provider unavailable, 130 and 143
interrupted and terminated.
"""

import argparse
import base64
import contextlib
import errno
import hashlib
import io
import json
import os
import re
import secrets
import signal
import stat
import struct
import sys
import warnings
import zlib
from collections import Counter
from collections.abc import Sequence
from pathlib import Path
from typing import Any, NoReturn, TextIO

os.environ.setdefault("ORT_DISABLE_TELEMETRY", "1")  # read when ONNX Runtime is imported

try:
    import numpy as np
    import onnxruntime as ort
    from numpy.typing import NDArray
    from PIL import Image, ImageCms, ImageColor, UnidentifiedImageError
except ImportError as missing:
    sys.exit(f"error: {missing.name or missing} cannot be imported; pip install -r requirements.txt")

__all__ = ["Model", "Stop", "decode", "encode_png", "main"]

Pixels = NDArray[np.uint8]
"""[H, W, 3], RGB, 0 to 255."""

RGB = tuple[int, int, int]

FATAL, USAGE, SOME_FAILED, MODEL_REFUSED, OUTPUT_UNUSABLE, NO_PROVIDER = 1, 2, 3, 4, 5, 6
INTERRUPTED, TERMINATED = 130, 143

CONTRACT_VERSION = 2
METADATA_KEY = "polyexport.contract"
MANIFEST = "SHA256SUMS"
FORMATS = ("PNG", "JPEG", "BMP", "GIF", "TIFF", "WEBP", "PPM")
MAX_PIXELS = 64 * 1024 * 1024
MAX_FILE_BYTES = 256 * 1024 * 1024
MAX_MODEL_BYTES = 2**31 - 1
MAX_BATCH_PIXELS = 2048**2
GOLDEN_TOLERANCE = 0.5
TEMPORARY_SUFFIX = ".polyexport-tmp"

_CPU, _CUDA = "CPUExecutionProvider", "CUDAExecutionProvider"
_HEAVY_NODES = frozenset(("Conv", "Resize", "MaxPool", "Concat", "Gemm", "MatMul"))
_EXTERNAL_DATA = re.compile(rb"(?:\x08|\x88\x80*\x00)location")
_HEX = re.compile(r"#?([0-9a-f]{3}|[0-9a-f]{6})")
_FUNCTION = re.compile(r"(rgb|hsl)\(\s*([\d.]+%?)(?:deg)?(?:\s*,\s*|\s+)([\d.]+%?)(?:\s*,\s*|\s+)([\d.]+%?)\s*\)")
# Of these the file alone is at fault; any other error means that the output folder cannot be used.
_ONE_FILE_ERRNOS = frozenset((errno.ENAMETOOLONG, errno.EISDIR, errno.EINVAL, errno.EILSEQ))
# What pillow raises on hostile files.
_DECODE_ERRORS = (
    OSError,
    ValueError,
    SyntaxError,
    NotImplementedError,
    EOFError,
    TypeError,
    KeyError,
    IndexError,
    OverflowError,
    RuntimeError,
    ZeroDivisionError,
    struct.error,
    zlib.error,
    ImageCms.PyCMSError,
    Warning,  # under python -W error
)
_PNG_SIGNATURE = b"\x89PNG\r\n\x1a\n"
_SIGNATURE = re.compile(
    rb"(?P<PNG>\x89PNG\r\n\x1a\n)|(?P<JPEG>\xff\xd8\xff)|(?P<BMP>BM)|(?P<GIF>GIF8[79]a)|"
    rb"(?P<TIFF>II[*+]\0|MM\0[*+])|(?P<WEBP>RIFF....WEBP)|(?P<PPM>P[1-6][\s#])",
    re.DOTALL,
)
# By the orientation in EXIF data, 2 to 8.
_TURNS = dict(enumerate(map(Image.Transpose, (0, 3, 1, 5, 4, 6, 2)), start=2))


class Stop(Exception):  # noqa: N818 - it names what happens
    """Ends the program in one line."""

    def __init__(self, exit_code: int, message: str, remedy: str) -> None:
        super().__init__(f"{message}; {remedy}")
        self.exit_code = exit_code


class BadImage(Exception):  # noqa: N818
    """One input that fails alone."""


# --- one drawing: bytes -> pixels, upright, alpha on white -----------------------------------------------------------


def read_limited(path: Path, max_bytes: int) -> bytes:
    """A regular file; never blocks on a pipe. Raises OSError."""
    descriptor = os.open(path, os.O_RDONLY | getattr(os, "O_NONBLOCK", 0) | getattr(os, "O_BINARY", 0))
    with os.fdopen(descriptor, "rb") as file:
        status = os.fstat(descriptor)
        if not stat.S_ISREG(status.st_mode):
            raise OSError(errno.EINVAL, "not a regular file")
        data = b"" if status.st_size > max_bytes else file.read(max_bytes + 1)
        if max(status.st_size, len(data)) > max_bytes:
            raise OSError(errno.EFBIG, f"{status.st_size} bytes, more than the limit of {max_bytes}")
        return data


def decode(data: bytes, notes: list[str]) -> Pixels:
    """The first frame of an image file -> uint8 [H, W, 3]; ``notes`` gets what was dropped. Raises BadImage."""
    if not data:
        raise BadImage("the file is empty; write it again")
    try:
        with Image.open(io.BytesIO(data), formats=FORMATS) as image:
            tags = getattr(image, "tag_v2", {})
            for width, height in (image.size, (tags.get(322, 0), tags.get(323, 0))):  # a tile is decoded whole
                if width * height > MAX_PIXELS:
                    raise BadImage(f"{width}x{height} pixels, more than the limit of {MAX_PIXELS}; shrink the image")
            if image.format == "PNG":
                _check_png(data)
            if getattr(image, "is_animated", False):
                notes.append("only the first frame is used")
                image.seek(0)
            # A GIF's frame may cover a part of it; what it leaves out is transparent, and black to pillow.
            frame = image.tile[0][1] if image.format == "GIF" and image.tile else None
            image.load()
            if image.mode == "P":  # pillow makes up a black color for what is outside the palette
                last, colors = int(np.max(np.asarray(image))), len(image.getpalette() or ()) // 3
                if last >= colors:
                    raise ValueError(f"a pixel of color {last} in a palette of {colors}")
            pixels = _to_pixels(image, notes)
    except UnidentifiedImageError as error:
        if known := _SIGNATURE.match(data):
            reason = f"its {known.lastgroup} header cannot be read"
            raise BadImage(f"corrupt or truncated ({reason}); write the file again") from error
        raise BadImage(f"no image of a known format; known formats: {', '.join(FORMATS)}") from error
    except Image.DecompressionBombError as error:
        raise BadImage(f"more pixels than the limit of {MAX_PIXELS}; shrink the image") from error
    except _DECODE_ERRORS as error:
        raise BadImage(f"corrupt or truncated ({_reason(error)}); write the file again") from error
    if frame:
        left, top, right, bottom = frame
        paper = np.full_like(pixels, 255)
        paper[top:bottom, left:right] = pixels[top:bottom, left:right]
        pixels = paper
    return pixels


def _check_png(data: bytes) -> None:
    """Raise ValueError unless every chunk up to IEND matches its checksum: pillow checks neither pixels nor end."""
    view, name, end = memoryview(data), b"", 4
    while name != b"IEND":
        start = end + 4
        end = start + 8 + int.from_bytes(data[start : start + 4], "big")
        if end + 4 > len(data):
            raise ValueError("the file ends before its image does")
        name = data[start + 4 : start + 8]
        if zlib.crc32(view[start + 4 : end]) != int.from_bytes(data[end : end + 4], "big"):
            raise ValueError(f"the checksum of chunk {_ascii(name)} is wrong")


def _to_pixels(image: Image.Image, notes: list[str]) -> Pixels:
    turn = _TURNS.get(_orientation(image, notes))
    upright = image if turn is None else image.transpose(turn)
    if upright.mode.startswith("I") or upright.mode == "F":
        return _from_deep_grey(upright, image, notes)
    if upright.mode == "LAB":
        profiles = ImageCms.createProfile("LAB"), ImageCms.createProfile("sRGB")
        upright = ImageCms.profileToProfile(upright, *profiles, outputMode="RGB") or upright
    if upright.has_transparency_data:
        rgba = upright.convert("RGBA")
        upright = Image.alpha_composite(Image.new("RGBA", rgba.size, "white"), rgba)
    return np.asarray(upright.convert("RGB"))


def _orientation(image: Image.Image, notes: list[str]) -> int:
    if "exif" not in image.info and image.format != "TIFF":
        return 1
    with warnings.catch_warnings(record=True) as caught:
        warnings.simplefilter("always")
        try:
            if "exif" in image.info:
                Image.Exif().load(image.info["exif"])
            orientation, broken = image.getexif().get(274, 1), False
        except _DECODE_ERRORS:
            orientation, broken = 1, True
    if broken or caught:
        notes.append("broken EXIF data is ignored")
    return orientation if isinstance(orientation, int) else 1


def _from_deep_grey(image: Image.Image, opened: Image.Image, notes: list[str]) -> Pixels:
    """Greys of more than 8 bits; ``opened`` has the tags that turning the image loses."""
    tags = getattr(opened, "tag_v2", {})
    (bits, *_), (sample_format, *_) = _tuple(tags.get(258, 16)), _tuple(tags.get(339, 1))
    values = np.asarray(image)
    if image.mode == "I" and sample_format == 1 and bits == 32:
        values = values.view(np.uint32)
    unknown = np.isnan(values)  # none, where values are integers
    if unknown.any():
        notes.append("values that are not numbers are white")
    peak = float(np.max(values, initial=0.0, where=np.isfinite(values)))
    scales: tuple[float, ...]
    if image.mode == "F":
        scales = (1.0, 255.0, 65535.0)
    elif bits == 32:
        scales = (255.0, 65535.0, float(2**31 - 1), float(2**32 - 1))
    else:
        scales = (float(2 ** (bits - (sample_format == 2)) - 1),)
    full_scale = next((scale for scale in scales if peak <= scale), peak)
    finite = np.nan_to_num(values.astype(np.float32), posinf=full_scale, neginf=0.0)
    grey = np.clip(np.rint(finite * np.float32(255 / full_scale)), 0, 255).astype(np.uint8)
    if tags.get(262) == 0:  # white is zero
        grey = 255 - grey
    grey[unknown] = 255
    transparent = image.info.get("transparency")
    if isinstance(transparent, int):
        grey = np.where(values == transparent, np.uint8(255), grey)
    return np.repeat(grey[..., None], 3, axis=2)


def _tuple(tag: Any) -> tuple[Any, ...]:
    return tag if isinstance(tag, tuple) and tag else (tag,)


def encode_png(pixels: Pixels) -> bytes:
    """Rows as differences from the row above, runs alone compressed: small for flat colors, and fast."""
    height, width, _ = pixels.shape
    rows = pixels.reshape(height, width * 3)
    filtered = np.full((height, 1 + width * 3), 2, np.uint8)  # the filter "up"
    filtered[:1, 1:] = rows[:1]
    np.subtract(rows[1:], rows[:-1], out=filtered[1:, 1:])
    compressor = zlib.compressobj(level=1, memLevel=9, strategy=zlib.Z_RLE)
    body = compressor.compress(filtered.data) + compressor.flush()
    chunks = (b"IHDR", struct.pack(">IIBBBBB", width, height, 8, 2, 0, 0, 0)), (b"IDAT", body), (b"IEND", b"")
    return _PNG_SIGNATURE + b"".join(
        struct.pack(">I", len(part)) + name + part + struct.pack(">I", zlib.crc32(part, zlib.crc32(name)))
        for name, part in chunks
    )


# --- one color: what a person types -> sRGB --------------------------------------------------------------------------


def parse_color(text: str) -> tuple[str, RGB]:
    """The name of its output folder, and sRGB. Raises Stop."""
    cleaned = text.strip().lower()
    if cleaned in ImageColor.colormap:
        return cleaned, _rgb(cleaned)
    css = ""
    if match := _HEX.fullmatch(cleaned):
        css = "#" + match[1]
    elif len(cleaned) <= 64 and (match := _FUNCTION.fullmatch(cleaned)):
        css = "{}({},{},{})".format(*match.groups())
    with contextlib.suppress(ValueError):  # out of range, or not numbers after all
        if css:
            rgb = _rgb(css)
            return _hex(rgb), rgb
    raise Stop(
        USAGE, f"unknown color {text[:64]!r}", "give a CSS name, '#ff8800', 'rgb(255, 136, 0)' or 'hsl(32, 100%, 50%)'"
    )


def _rgb(css: str) -> RGB:
    red, green, blue = ImageColor.getrgb(css)[:3]
    if max(red, green, blue) > 255:
        raise ValueError(css)
    return red, green, blue


def _hex(rgb: Sequence[int]) -> str:
    return "".join(f"{channel:02x}" for channel in rgb)


# --- the model -------------------------------------------------------------------------------------------------------


class Model:
    """A verified model file: what its contract says, its session, and colors as its second input takes them.

    Raises:
        Stop: it is not the file of the manifest, not what its contract says, or cannot run where it was asked to.
    """

    def __init__(self, path: Path, *, provider: str = "cpu", threads: int = 0) -> None:
        self._session = _open(_verified(path), provider, threads)
        try:
            contract = json.loads(self._session.get_modelmeta().custom_metadata_map.get(METADATA_KEY, "{}"))
            version = contract.get("contract_version")
            if version != CONTRACT_VERSION:
                raise ValueError(f"contract version {version!r}, expected {CONTRACT_VERSION}")  # noqa: TRY301
            self._size = int(contract["training_size"])
            self._many = bool(contract["many_colors"])
            self._takes_rgb = contract["conditioning"] == "rgb"
            self._palette: dict[str, RGB] = {name: _three(rgb) for name, rgb in contract["palette"]}
            self._embedding = contract["embedding"]
            self._second_input = "color_embedding" if self._embedding else "color"
            self._encoder = self._table = None
            if self._embedding and self._embedding["encoder"]:
                self._encoder = _open(base64.b64decode(self._embedding["encoder"]), "cpu", 1)
            elif self._embedding and self._embedding["table"]:
                values = np.frombuffer(base64.b64decode(self._embedding["table"]), dtype="<f4")
                self._table = values.reshape(len(self._palette), -1).astype(np.float32)
            self._check_golden(contract["golden"])
        except Stop:
            raise
        except Exception as error:
            raise Stop(MODEL_REFUSED, f"the model is refused: {_reason(error)}", "fetch the package again") from error

    def _check_golden(self, golden: dict[str, Any]) -> None:
        image, colored = (decode(base64.b64decode(golden[key]), []) for key in ("image_png", "colored_png"))
        color = golden["color"]
        row = np.frombuffer(base64.b64decode(color), dtype="<f4") if isinstance(color, str) else self._encode(color)
        # Another processor or provider rounds a few values the other way; a wrong weight shifts them all.
        difference = float(np.mean(np.abs(self._infer(image, [row])[0].astype(np.int16) - colored)))
        if difference > GOLDEN_TOLERANCE:
            raise ValueError(f"its golden sample comes out {difference:.2f} levels off, more than {GOLDEN_TOLERANCE}")

    def color(self, text: str) -> tuple[str, NDArray[Any]]:
        """A color as typed -> the name of its output folder, and one row of the second input. Raises Stop."""
        if self._embedding and self._encoder is None and self._table is None:
            raise Stop(
                USAGE,
                f"color {text[:64]!r} cannot be given to this model: it takes embeddings and knows none of its own",
                "call it with vectors, see README.md",
            )
        names = list(self._palette)
        if text in self._palette:  # a palette may have names of its own, not all of them good names for a folder
            folder = text if text in ImageColor.colormap else _hex(self._palette[text])
            return folder, self._encode(names.index(text))
        folder, rgb = parse_color(text)
        if self._takes_rgb:
            return folder, self._encode(rgb)
        if folder in self._palette:
            return folder, self._encode(names.index(folder))
        if rgb in self._palette.values():
            return folder, self._encode(list(self._palette.values()).index(rgb))
        near = sorted(names, key=lambda name: sum(abs(a - b) for a, b in zip(self._palette[name], rgb, strict=True)))
        raise Stop(
            USAGE, f"color {folder} is not one of this model's {len(names)}", f"the nearest are {', '.join(near[:3])}"
        )

    def _encode(self, value: int | Sequence[int]) -> NDArray[Any]:
        if self._encoder is not None:
            row: NDArray[np.float32] = self._encoder.run(None, {"color": np.array([value], np.uint8)})[0][0]
            return row
        if self._table is not None:
            return self._table[np.asarray(value, dtype=np.intp)]
        return np.array(value, dtype=np.uint8 if self._takes_rgb else np.int64)

    def _infer(self, canvas: Pixels, rows: Sequence[NDArray[Any]]) -> Pixels:
        """One canvas in several colors -> uint8 [colors, H, W, 3]."""
        colors = np.stack(rows)
        if self._many:
            feeds = {"image": canvas[None], self._second_input: colors[None]}
        else:
            feeds = {"image": np.repeat(canvas[None], len(rows), axis=0), self._second_input: colors}
        colored: Pixels = self._session.run(["colored"], feeds)[0]
        return colored.reshape(-1, *colored.shape[-3:])

    def colorize(self, pixels: Pixels, rows: Sequence[NDArray[Any]]) -> list[Pixels]:
        """uint8 [H, W, 3] -> the same size, once for each color.

        Drawings larger than the canvas that the network knows are scaled down, smaller ones are padded with white.
        """
        height, width = pixels.shape[:2]
        scale = min(1.0, self._size / max(height, width))
        inner_height, inner_width = max(1, round(height * scale)), max(1, round(width * scale))
        if (inner_height, inner_width) != (height, width):
            resized = Image.fromarray(pixels).resize((inner_width, inner_height), Image.Resampling.LANCZOS)
            pixels = np.asarray(resized)
        canvas = np.full((self._size, self._size, 3), 255, dtype=np.uint8)
        canvas[:inner_height, :inner_width] = pixels
        per_run = max(1, MAX_BATCH_PIXELS // self._size**2)
        results: list[Pixels] = []
        for start in range(0, len(rows), per_run):
            for colored in self._infer(canvas, rows[start : start + per_run]):
                inner = np.ascontiguousarray(colored[:inner_height, :inner_width])
                if (inner_height, inner_width) != (height, width):
                    inner = np.array(Image.fromarray(inner).resize((width, height), Image.Resampling.BILINEAR))
                results.append(inner)
        return results


def _three(rgb: Sequence[int]) -> RGB:
    red, green, blue = rgb
    return red, green, blue


def _verified(path: Path) -> bytes:
    """The bytes of a model that are the ones of the manifest beside it."""
    manifest = path.parent / MANIFEST
    contents = []
    for file, limit in ((path, MAX_MODEL_BYTES), (manifest, 2**20)):
        try:
            contents.append(read_limited(file, limit))
        except OSError as error:
            reason = error.strerror or error
            raise Stop(MODEL_REFUSED, f"{file} cannot be read ({reason})", "give the model of a package") from error
    data, listed = contents
    found = hashlib.sha256(data).hexdigest()
    entries = {name: digest for digest, _, name in (line.partition("  ") for line in _ascii(listed).splitlines())}
    expected = entries.get(path.name, "")
    if found != expected:
        said = f"{expected[:12]}..." if expected else "no entry for it"
        raise Stop(
            MODEL_REFUSED, f"{path} has SHA-256 {found[:12]}..., {manifest} has {said}", "fetch the package again"
        )
    return data


def _ascii(data: bytes) -> str:
    return data.decode("ascii", "backslashreplace")


def _open(model: bytes, provider: str, threads: int) -> Any:
    """A session on the provider that was asked for: ONNX Runtime would otherwise fall back to the CPU in silence."""
    if _EXTERNAL_DATA.search(model):
        raise Stop(MODEL_REFUSED, "the model keeps data in other files, which are never opened", "fetch it again")
    settings = ort.SessionOptions()
    settings.intra_op_num_threads = threads
    settings.log_severity_level = 3
    settings.add_session_config_entry("session.intra_op.allow_spinning", "0")
    providers: list[Any] = [_CPU]
    remedy = "pip install 'onnxruntime-gpu[cuda,cudnn]' in place of onnxruntime, or give --provider cpu"
    if provider == "cuda":
        if _CUDA not in ort.get_available_providers():
            raise Stop(NO_PROVIDER, "this ONNX Runtime was built without the cuda execution provider", remedy)
        settings.add_session_config_entry("session.record_ep_graph_assignment_info", "1")
        options = {"arena_extend_strategy": "kSameAsRequested", "cudnn_conv_algo_search": "HEURISTIC"}
        providers.insert(0, (_CUDA, options))
        ort.set_default_logger_severity(4)  # what it lacks is said below, in one line
        with contextlib.redirect_stdout(io.StringIO()):
            ort.preload_dlls()
    try:
        session = ort.InferenceSession(model, settings, providers=providers, enable_fallback=False)
    except Exception as error:
        if provider == "cuda":
            raise Stop(NO_PROVIDER, f"cuda could not load the model: {_reason(error)}", remedy) from error
        raise Stop(MODEL_REFUSED, f"not a whole ONNX model: {_reason(error)}", "fetch the package again") from error
    if provider == "cuda":
        if session.get_providers()[0] != _CUDA:
            raise Stop(NO_PROVIDER, "asked for cuda, ONNX Runtime gave a CPU session: libraries or driver lack", remedy)
        placed = [part for part in session.get_provider_graph_assignment_info() if part.ep_name == _CPU]
        astray = sorted({node.op_type for part in placed for node in part.get_nodes()} & _HEAVY_NODES)
        if astray:
            raise Stop(NO_PROVIDER, f"cuda left {', '.join(astray)} nodes to the CPU", "give --provider cpu")
    return session


# --- a run -----------------------------------------------------------------------------------------------------------


def write_atomic(path: Path, data: bytes) -> None:
    """Whole or not at all; a link at ``path`` is replaced, never written through. Raises OSError."""
    path.parent.mkdir(parents=True, exist_ok=True)
    temporary = path.parent / f".{secrets.token_hex(8)}{TEMPORARY_SUFFIX}"
    try:
        descriptor = os.open(temporary, os.O_WRONLY | os.O_CREAT | os.O_EXCL | getattr(os, "O_BINARY", 0), 0o666)
        with os.fdopen(descriptor, "wb") as file:
            file.write(data)
            file.flush()
            os.fsync(file.fileno())
        temporary.replace(path)
    except BaseException:
        with contextlib.suppress(OSError):
            temporary.unlink(missing_ok=True)
        raise


def name_outputs(sources: Sequence[Path]) -> dict[Path, str]:
    """NAME.png, or NAME.SUFFIX.png where the suffix alone tells two apart. Raises Stop."""
    plain = {source: source.with_suffix(".png").name for source in sources if source.name}
    merged = {name for name, count in Counter(name.lower() for name in plain.values()).items() if count > 1}
    taken: dict[str, Path] = {}
    for source, name in plain.items():
        if name.lower() in merged and source.suffix.lower() != ".png":
            plain[source] = f"{source.name}.png"
        other = taken.setdefault(plain[source].lower(), source)
        if other is not source:
            raise Stop(USAGE, f"{other} and {source} have the same output {plain[source]}", "rename one of them")
    return plain


def run(arguments: argparse.Namespace) -> int:
    """Color every drawing in every color; one bad drawing fails alone. Raises Stop."""
    output: Path = arguments.output
    names = name_outputs(list(dict.fromkeys(arguments.images)))
    unusable = "free space there or choose another -o"
    try:
        probe = output / f".{secrets.token_hex(8)}{TEMPORARY_SUFFIX}"
        write_atomic(probe, b"")
        probe.unlink()
    except OSError as error:
        raise Stop(OUTPUT_UNUSABLE, f"cannot write {output} ({error.strerror or error})", unusable) from error
    model = Model(arguments.model, provider=arguments.provider, threads=arguments.threads)
    colors = dict(model.color(text) for text in arguments.color)
    _refuse_existing(output, names, list(colors), overwrite=arguments.overwrite)
    failed = 0
    for source, name in names.items():
        notes: list[str] = []
        try:
            pixels = decode(read_limited(source, MAX_FILE_BYTES), notes)
            for folder, colored in zip(colors, model.colorize(pixels, list(colors.values())), strict=True):
                _write(output / folder / name, encode_png(colored))
        except Stop:
            raise
        except Exception as error:  # noqa: BLE001 - no drawing may take the others with it; memory is the usual cause
            failed += 1
            reason = error.strerror if isinstance(error, OSError) else str(error)
            _say(sys.stderr, f"failed: {source}: {reason or type(error).__name__}")
        for note in notes:
            _say(sys.stderr, f"warning: {source}: {note}")
    _say(sys.stdout, f"{len(names)} images: {len(names) - failed} ok, {failed} failed; written to {output}")
    return SOME_FAILED if failed else 0


def _write(path: Path, data: bytes) -> None:
    try:
        write_atomic(path, data)
    except OSError as error:
        message = f"cannot write {path} ({error.strerror or error})"
        if error.errno in _ONE_FILE_ERRNOS:
            raise BadImage(message) from error
        raise Stop(OUTPUT_UNUSABLE, message, "free space there or choose another -o") from error


def _refuse_existing(output: Path, names: dict[Path, str], colors: Sequence[str], *, overwrite: bool) -> None:
    sources = {os.path.realpath(source) for source in names}
    for name in names.values():
        for color in colors:
            target = output / color / name
            if os.path.realpath(target) in sources:
                raise Stop(USAGE, f"the output {target} is an input", "choose another -o")
            if not overwrite and os.path.lexists(target):
                raise Stop(USAGE, f"the output {target} exists already", "add --overwrite or choose another -o")


def _reason(error: BaseException) -> str:
    lines = str(error).strip().splitlines()
    return lines[0][:200] if lines else type(error).__name__


def _say(stream: TextIO | None, line: str) -> None:
    """File names may hold line breaks and bytes that are not text; a stream that is closed does not stop the run."""
    if stream is not None:
        shown = "".join(c if c.isprintable() else c.encode("unicode_escape", "surrogatepass").decode() for c in line)
        try:
            stream.write(shown + "\n")
            stream.flush()
        except OSError:
            os.dup2(os.open(os.devnull, os.O_WRONLY), stream.fileno())


class _Parser(argparse.ArgumentParser):
    def error(self, message: str) -> NoReturn:
        raise Stop(USAGE, message, "see --help")


def _threads(text: str) -> int:
    if not text.isascii() or not text.isdigit() or int(text[:9]) > 1024:
        raise argparse.ArgumentTypeError(f"threads must be 0 to 1024, got {text[:64]!r}")
    return int(text)


def main(arguments: Sequence[str] | None = None) -> int:
    """Run the command line and return its exit code."""
    here = Path(__file__).parent
    parser = _Parser(prog="run.py", description="Color outline drawings.", allow_abbrev=False)
    parser.add_argument("images", nargs="+", type=Path, metavar="IMAGE", help="drawings")
    parser.add_argument(
        "--color", action="append", required=True, help="CSS name, hex, rgb() or hsl(); repeat it for several colors"
    )
    parser.add_argument("-o", "--output", type=Path, default=Path("colored"), metavar="DIR", help="default: colored")
    model = here / "model.onnx"
    parser.add_argument("--model", type=Path, default=model, metavar="FILE", help="default: the one beside run.py")
    parser.add_argument("--provider", choices=("cpu", "cuda"), default="cpu", help="execution provider, required")
    parser.add_argument("--threads", type=_threads, default=0, help="of the CPU; 0: ONNX Runtime decides")
    parser.add_argument("--overwrite", action="store_true", help="replace outputs that exist")
    try:
        return run(parser.parse_args(arguments))
    except Stop as stop:
        _say(sys.stderr, f"error: {stop}")
        return stop.exit_code
    except KeyboardInterrupt:
        _say(sys.stderr, "interrupted")
        return INTERRUPTED
    except Exception as error:  # noqa: BLE001 - the last resort: a bug still ends in one line
        _say(sys.stderr, f"internal error: {type(error).__name__}: {error}")
        return FATAL


def _terminate(*_: object) -> None:
    sys.exit(TERMINATED)  # not an Exception: nothing on the way takes it for a failure


if __name__ == "__main__":
    signal.signal(signal.SIGTERM, _terminate)
    sys.exit(main())
