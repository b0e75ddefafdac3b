"""Memory and speed of `polyexport infer` and `polyexport serve` over images of many sizes at full resolution.

    python benchmarks/sizes.py [--model small.onnx] [--count 500] [--provider cpu --provider openvino] [--code DIR] \
        [--output FILE.json]

The same number of images is colored four times, in folders that differ in the number of sizes: one size, 8, 64, and
one for each image. No image is larger than those of one size. The figures are the peak resident set of the process
(VmHWM in /proc) without its decoders, its CPU time with its decoders, and the wall time. The service gets the images of
the first and the last folder one after the other; its resident set is read after each. `--code` measures another source
tree. Linux only.
"""

import argparse
import http.client
import json
import os
import random
import resource
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterable, Sequence
from dataclasses import asdict
from pathlib import Path
from typing import Any

from memory import peak_kib  # type: ignore[import-not-found]  # a script beside this one
from PIL import Image, ImageDraw
from serve import Service, multipart  # type: ignore[import-not-found]  # the same

from polyexport.bench.environment import environment

HERE = Path(__file__).resolve().parents[1]
_STEP = 16  # every network of this toolkit takes multiples of 16 without padding
_LARGEST = 400
_NUMBERS_OF_SIZES = (1, 8, 64)


def sizes(count: int, kinds: int) -> list[tuple[int, int]]:
    """Choose widths and heights for ``count`` images, of ``kinds`` different sizes in a random order that is fixed."""
    rng = random.Random(1)
    sides = range(_STEP, _LARGEST + 1, _STEP)
    every = [(width, height) for width in sides for height in sides][:-1]
    rng.shuffle(every)
    chosen = [(_LARGEST, _LARGEST)] if kinds == 1 else every[:kinds]
    if len(chosen) < kinds:
        raise SystemExit(f"there are only {len(every)} sizes; give a smaller --count")
    if kinds >= count:
        return chosen[:count]
    return [chosen[number] if number < kinds else rng.choice(chosen) for number in range(count)]


def write_images(folder: Path, wanted: Iterable[tuple[int, int]]) -> list[Path]:
    """Write a drawing of a rectangle for each size."""
    folder.mkdir()
    paths = []
    for number, (width, height) in enumerate(wanted):
        image = Image.new("RGB", (width, height), "white")
        box = (width / 4, height / 4, width * 3 / 4, height * 3 / 4)
        ImageDraw.Draw(image).rectangle(box, outline="black", width=2)
        paths.append(folder / f"{number:05}.png")
        image.save(paths[-1])
    return paths


def measure_infer(command: Sequence[str], code: Path) -> dict[str, float]:
    """Run a command; returns its peak memory in MiB and its times in seconds."""
    before, started = resource.getrusage(resource.RUSAGE_CHILDREN), time.perf_counter()
    variables = os.environ | {"PYTHONPATH": str(code)}
    process = subprocess.Popen(command, stdout=subprocess.DEVNULL, cwd=code, env=variables)
    peak = 0
    while process.poll() is None:
        peak = max(peak, peak_kib(process.pid))
        time.sleep(0.02)
    if process.returncode:
        raise SystemExit(f"{' '.join(command)} ended with {process.returncode}")
    after = resource.getrusage(resource.RUSAGE_CHILDREN)
    return {
        "peak_mib": peak / 1024,
        "cpu_s": after.ru_utime + after.ru_stime - before.ru_utime - before.ru_stime,
        "wall_s": time.perf_counter() - started,
    }


def measure_service(service: Service, paths: Sequence[Path]) -> dict[str, float]:
    """Send images one after the other; returns the resident memory of the service's own process in MiB."""

    def held() -> float:
        pages = Path(f"/proc/{service.process.pid}/statm").read_text().split()[1]
        return int(pages) * os.sysconf("SC_PAGESIZE") / 2**20

    connection = http.client.HTTPConnection("127.0.0.1", service.port, timeout=120)
    held_mib = [held()]
    cpu_s = service.cpu_s()
    for path in paths:
        connection.request("POST", "/infer", *multipart({"color": "red", "size": "native"}, path.read_bytes()))
        answer = connection.getresponse()
        if answer.status != 200:
            raise SystemExit(f"the service answered {answer.status}: {answer.read()!r}")
        answer.read()
        held_mib.append(held())
    return {
        "before_mib": held_mib[0],
        "after_half_mib": held_mib[len(held_mib) // 2],
        "after_mib": held_mib[-1],
        "peak_mib": max(held_mib),
        "cpu_s": service.cpu_s() - cpu_s,
    }


def main() -> None:
    """Measure, print, and record if asked."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--model", type=Path, default=HERE / "artifacts" / "small.onnx")
    parser.add_argument("--count", type=int, default=500)
    parser.add_argument("--provider", action="append")
    parser.add_argument("--code", type=Path, default=HERE)
    parser.add_argument("--output", type=Path)
    arguments = parser.parse_args()
    code, model = arguments.code.resolve(), str(arguments.model.resolve())
    measured: dict[str, dict[str, Any]] = {}
    with tempfile.TemporaryDirectory() as temporary:
        root = Path(temporary)
        numbers = [*_NUMBERS_OF_SIZES, arguments.count]
        folders = {kinds: write_images(root / str(kinds), sizes(arguments.count, kinds)) for kinds in numbers}
        for provider in arguments.provider or ["cpu", "openvino"]:
            found = measured.setdefault(provider, {})
            options = ["-m", model, "--provider", provider]
            for kinds in numbers:
                command = [sys.executable, "-m", "polyexport.cli.main", "infer", str(root / str(kinds)), "-c", "red"]
                command += [*options, "--size", "native", "-q", "-o", str(root / f"{provider}-{kinds}")]
                found[f"infer, {kinds} sizes"] = measure_infer(command, code)
                print(provider, f"infer, {kinds} sizes", found[f"infer, {kinds} sizes"], flush=True)
            for kinds in (1, arguments.count):
                service = Service(*options, code=code)
                try:
                    found[f"serve, {kinds} sizes"] = measure_service(service, folders[kinds])
                finally:
                    service.process.terminate()
                    service.process.wait()
                print(provider, f"serve, {kinds} sizes", found[f"serve, {kinds} sizes"], flush=True)
    if arguments.output:
        report = {
            "environment": asdict(environment()),
            "model": arguments.model.name,
            "images": arguments.count,
            "providers": measured,
        }
        arguments.output.write_text(json.dumps(report, indent=2) + "\n")


if __name__ == "__main__":
    main()
