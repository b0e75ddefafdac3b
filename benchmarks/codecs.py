"""CPU time of decoding and encoding with Pillow, its settings, and other codec packages.

    python benchmarks/codecs.py DRAWINGS --rounds 15 [--output FILE.json]

DRAWINGS is a folder of 128x128 PNG files, at any depth. CPU time per image, one thread; the codecs run in turn, in
every round, and the median of the rounds counts. Packages that are not installed are left out. Every PNG is decoded
again and every decoded picture compared: equal pixels, or no figure. JPEG decoders may differ by a few levels, which
is recorded. ``numpy and zlib`` is a PNG writer of fifteen lines, as
``polyexport.imaging.codecs.png.encode_png`` is one: one filter for all rows, and the standard library's zlib.
"""

import argparse
import io
import json
import statistics
import struct
import subprocess
import sys
import time
import zlib
from collections.abc import Callable
from dataclasses import asdict
from importlib import import_module, metadata
from pathlib import Path
from typing import Any

import numpy as np
from PIL import Image

from polyexport.bench.environment import environment
from polyexport.imaging.codecs.png import encode_png
from polyexport.imaging.pixels import Pixels, decode

Decoder = Callable[[bytes], Pixels]
Encoder = Callable[[Pixels], bytes]

PACKAGES = {
    "pillow": "PIL.Image, PIL.PngImagePlugin",
    "opencv-python-headless": "cv2",
    "imagecodecs": "imagecodecs",
    "pyspng": "pyspng",
    "pyvips": "pyvips",
}
STRATEGIES = {"default": 0, "filtered": 1, "huffman": 2, "rle": 3, "fixed": 4}
LEVELS = (0, 1, 3, 6)


def pillow_decode(data: bytes) -> Pixels:
    with Image.open(io.BytesIO(data)) as image:
        return np.asarray(image.convert("RGB"))


def pillow_encoder(level: int, strategy: int) -> Encoder:
    def encode(pixels: Pixels) -> bytes:
        buffer = io.BytesIO()
        Image.fromarray(pixels).save(buffer, "PNG", compress_level=level, compress_type=strategy)
        return buffer.getvalue()

    return encode


def zlib_encoder(level: int, strategy: int, row_filter: int) -> Encoder:
    """PNG filter 0 (none) or 2 (up) for every row."""

    def chunk(name: bytes, body: bytes) -> bytes:
        return struct.pack(">I", len(body)) + name + body + struct.pack(">I", zlib.crc32(body, zlib.crc32(name)))

    def encode(pixels: Pixels) -> bytes:
        height, width, channels = pixels.shape
        rows = pixels.reshape(height, width * channels)
        raw = np.empty((height, 1 + width * channels), np.uint8)
        raw[:, 0] = row_filter
        raw[:, 1:] = rows
        if row_filter == 2:
            raw[1:, 1:] -= rows[:-1]
        compressor = zlib.compressobj(level, zlib.DEFLATED, 15, 9, strategy)
        body = compressor.compress(raw) + compressor.flush()  # type: ignore[arg-type]
        header = struct.pack(">IIBBBBB", width, height, 8, 2 if channels == 3 else 6, 0, 0, 0)
        return b"\x89PNG\r\n\x1a\n" + chunk(b"IHDR", header) + chunk(b"IDAT", body) + chunk(b"IEND", b"")

    return encode


def optional(name: str) -> Any:
    """Import a module; None if it is not installed."""
    try:
        return import_module(name)
    except ImportError:
        return None


def codecs() -> tuple[dict[str, Decoder], dict[str, Decoder], dict[str, Encoder]]:
    """PNG decoders, JPEG decoders and PNG encoders, by name."""
    png: dict[str, Decoder] = {"polyexport": lambda data: decode(data).pixels, "pillow": pillow_decode}
    jpeg = dict(png)
    encoders: dict[str, Encoder] = {"polyexport": encode_png}
    for level in LEVELS:
        for name, strategy in STRATEGIES.items():
            if level or name == "default":
                encoders[f"pillow level {level} {name}"] = pillow_encoder(level, strategy)
    for label, row_filter in (("none", 0), ("up", 2)):
        for name in ("default", "rle"):
            encoders[f"numpy and zlib, filter {label}, level 1 {name}"] = zlib_encoder(1, STRATEGIES[name], row_filter)
    if cv2 := optional("cv2"):
        cv2.setNumThreads(1)

        def opencv_decode(data: bytes) -> Pixels:
            bgr = cv2.imdecode(np.frombuffer(data, np.uint8), cv2.IMREAD_COLOR)
            return np.asarray(cv2.cvtColor(bgr, cv2.COLOR_BGR2RGB))

        def opencv_encoder(*parameters: int) -> Encoder:
            def encode(pixels: Pixels) -> bytes:
                bgr = cv2.cvtColor(pixels, cv2.COLOR_RGB2BGR)
                return bytes(cv2.imencode(".png", bgr, parameters)[1] if parameters else cv2.imencode(".png", bgr)[1])

            return encode

        png["opencv"] = jpeg["opencv"] = opencv_decode
        encoders["opencv without parameters"] = opencv_encoder()
        encoders["opencv level 1"] = opencv_encoder(cv2.IMWRITE_PNG_COMPRESSION, 1)
    if imagecodecs := optional("imagecodecs"):
        png["imagecodecs"] = lambda data: np.asarray(imagecodecs.png_decode(data))
        jpeg["imagecodecs"] = lambda data: np.asarray(imagecodecs.jpeg8_decode(data))
        encoders["imagecodecs level 1"] = lambda pixels: bytes(imagecodecs.png_encode(pixels, level=1))
        encoders["imagecodecs spng level 1"] = lambda pixels: bytes(imagecodecs.spng_encode(pixels, level=1))
    if pyspng := optional("pyspng"):
        png["pyspng"] = lambda data: np.asarray(pyspng.load(data))
    if pyvips := optional("pyvips"):
        png["pyvips"] = jpeg["pyvips"] = lambda data: np.asarray(pyvips.Image.new_from_buffer(data, "")[:3].numpy())
        encoders["pyvips level 1"] = lambda pixels: bytes(
            pyvips.Image.new_from_array(pixels).pngsave_buffer(compression=1)
        )
    return png, jpeg, encoders


def measure(calls: dict[str, Callable[[Any], Any]], items: list[Any], rounds: int) -> dict[str, float]:
    """Median CPU milliseconds per image."""
    seconds: dict[str, list[float]] = {name: [] for name in calls}
    for number in range(rounds + 1):
        for name, call in calls.items():
            started = time.process_time()
            for item in items:
                call(item)
            if number:  # the first round warms up
                seconds[name].append((time.process_time() - started) / len(items))
    return {name: round(1000 * statistics.median(values), 4) for name, values in seconds.items()}


def import_ms(imports: str) -> float:
    """CPU milliseconds of importing, beside numpy, in a fresh interpreter; median of five."""
    code = f"import numpy, time; t = time.process_time(); import {imports}; print(time.process_time() - t)"
    runs = [subprocess.run([sys.executable, "-c", code], check=True, capture_output=True).stdout for _ in range(5)]
    return round(1000 * statistics.median(map(float, runs)), 1)


def package_report(package: str, imports: str) -> dict[str, Any]:
    """Version, import time, and size on disk."""
    files = [Path(str(file.locate())) for file in metadata.files(package) or ()]
    return {
        "version": metadata.version(package),
        "import_ms": import_ms(imports),
        "installed_mb": round(sum(file.stat().st_size for file in files if file.is_file()) / 1e6, 1),
    }


def decoding(calls: dict[str, Decoder], files: list[bytes], rounds: int, *, exact: bool) -> dict[str, Any]:
    """Measure the time of decoding and the largest difference from Pillow, levels."""
    expected = [pillow_decode(data) for data in files]
    differences: dict[str, int] = {}
    for name, call in calls.items():
        pairs = zip(files, expected, strict=True)
        differences[name] = max(int(np.abs(call(data).astype(np.int16) - wanted).max()) for data, wanted in pairs)
        if exact and differences[name]:
            raise SystemExit(f"{name} decodes other pixels")
    times = measure(calls, files, rounds)
    return {name: {"cpu_ms": times[name], "max_abs_diff": differences[name]} for name in calls}


def encoding(calls: dict[str, Encoder], images: list[Pixels], rounds: int) -> dict[str, Any]:
    """Measure the time of encoding and the mean size of the files."""
    sizes: dict[str, float] = {}
    for name, call in calls.items():
        files = [call(pixels) for pixels in images]
        if not all(np.array_equal(decode(data).pixels, pixels) for data, pixels in zip(files, images, strict=True)):
            raise SystemExit(f"{name} encodes other pixels")
        sizes[name] = round(statistics.mean(map(len, files)))
    times = measure(calls, images, rounds)
    return {name: {"cpu_ms": times[name], "size_bytes": sizes[name]} for name in calls}


def main() -> None:
    """Measure, print, and record if asked."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("drawings", type=Path)
    parser.add_argument("--rounds", type=int, default=15)
    parser.add_argument("--output", type=Path)
    arguments = parser.parse_args()
    files = [path.read_bytes() for path in sorted(arguments.drawings.rglob("*.png"))]
    images = [decode(data).pixels for data in files]
    large = np.asarray(Image.fromarray(images[0]).resize((1024, 1024), Image.Resampling.BICUBIC))
    # Smooth light and grain, as a photograph has them, in place of one.
    random = np.random.default_rng(0)
    light = Image.fromarray(random.integers(0, 256, (30, 40, 3), np.uint8)).resize(
        (4000, 3000), Image.Resampling.BICUBIC
    )
    grainy: Any = np.asarray(light) + random.normal(0, 4, (3000, 4000, 1))
    photograph = io.BytesIO()
    Image.fromarray(grainy.clip(0, 255).astype(np.uint8)).save(photograph, "JPEG", quality=90)

    png, jpeg, encoders = codecs()
    few = max(1, arguments.rounds // 3)
    large_png = encode_png(large)
    report: dict[str, Any] = {
        "environment": asdict(environment()),
        "rounds": arguments.rounds,
        "drawings": len(files),
        "packages": {
            package: package_report(package, imports)
            for package, imports in PACKAGES.items()
            if optional(imports.split(",")[0])
        },
        "decode_png_128": decoding(png, files, arguments.rounds, exact=True),
        "decode_png_1024": decoding(png, [large_png], arguments.rounds, exact=True),
        "decode_jpeg_12_megapixel": decoding(jpeg, [photograph.getvalue()], few, exact=False),
        "encode_png_128": encoding(encoders, images, arguments.rounds),
        "encode_png_1024": encoding(encoders, [large], arguments.rounds),
    }
    for title, rows in report.items():
        if isinstance(rows, dict) and title != "environment":
            print(title)
            for name, values in rows.items():
                print(f"  {name:<44} " + "  ".join(f"{key} {value}" for key, value in values.items()))
    if arguments.output:
        arguments.output.write_text(json.dumps(report, indent=2) + "\n")


if __name__ == "__main__":
    main()
