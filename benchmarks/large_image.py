"""Time and memory of one picture that does not fit the memory, beside those of a small one.

    python benchmarks/large_image.py [--width 30000] [--height 20000] [--output FILE.json]

Makes a picture of smooth noise as a PNG, exports a local network with random weights (eight convolutions of 24
channels), and runs it with `polyexport infer --max-pixels`. Compares

- the sum of the peak resident sets of all processes (VmHWM in /proc; Linux only),
- the time for each megapixel with that of the same network on one picture of 512x512 pixels, run in turn in one process
  on all cores, without decoding and encoding,
- a region in the middle of the result with the same region, and its surroundings, run alone.
"""

import argparse
import json
import statistics
import subprocess
import sys
import tempfile
import time
from collections.abc import Sequence
from dataclasses import asdict
from pathlib import Path
from typing import Any

import numpy as np
import pyvips
import torch
from memory import children, peak_kib  # type: ignore[import-not-found]  # a script beside this one
from numpy.typing import NDArray
from torch import nn

from polyexport.bench.environment import environment
from polyexport.export.export import export_source
from polyexport.export.source.source import UNIT, Source
from polyexport.model.loading.load import load_model
from polyexport.model.model import Model
from polyexport.runtime.cores import granted_cores

_REGION = 1500
_SMALL = 512
_SAMPLE_S = 0.5


class EightConvolutions(nn.Module):
    """What eight convolutions make of an image, added to it."""

    def __init__(self, width: int = 24) -> None:
        super().__init__()
        body: list[nn.Module] = [nn.Conv2d(3, width, 3, padding=1), nn.ReLU()]
        for _ in range(6):
            body += [nn.Conv2d(width, width, 3, padding=1), nn.ReLU()]
        self.body = nn.Sequential(*body, nn.Conv2d(width, 3, 3, padding=1))

    def forward(self, image: torch.Tensor) -> torch.Tensor:
        return torch.clamp(image + self.body(image), 0, 1)


def network() -> Source:
    """The network, with random weights that are always the same."""
    torch.manual_seed(0)
    return Source(
        module=EightConvolutions().eval(),
        value_range=UNIT,
        output_range=UNIT,
        size_multiple=1,
        training_size=128,
        network="benchmark:EightConvolutions",
        sha256="0" * 64,
    )


def picture(path: Path, width: int, height: int) -> None:
    """Write smooth noise: waves of many lengths, other ones in each channel."""
    x = pyvips.Image.xyz(width, height)
    planes = []
    for number in range(3):
        wave = (x[0] * (0.7 + 0.1 * number)).sin() * 40 + (x[1] * (1.3 - 0.2 * number)).cos() * 40
        planes.append((wave + (x[0] * 0.013 + x[1] * 0.021 * (number + 1)).sin() * 47 + 128).cast("uchar"))
    planes[0].bandjoin(planes[1:]).copy(interpretation="srgb").pngsave(str(path), compression=1)


def run(command: Sequence[str]) -> tuple[float, float]:
    """Run a command; returns its seconds, and the sum of the peaks of it and of the processes that it starts, MiB."""
    started = time.perf_counter()
    process = subprocess.Popen(command)
    peaks: dict[int, int] = {}
    while process.poll() is None:
        for pid in (process.pid, *children(process.pid)):
            peaks[pid] = max(peaks.get(pid, 0), peak_kib(pid))
        time.sleep(_SAMPLE_S)
    if process.returncode:
        raise SystemExit(f"{command[0]} ended with {process.returncode}")
    return time.perf_counter() - started, sum(peaks.values()) / 1024


def small_ms(model: Model, times: int) -> float:
    """Median time of the network on one picture of 512x512 pixels, milliseconds."""
    image = np.random.default_rng(0).integers(0, 256, (1, _SMALL, _SMALL, 3), dtype=np.uint8)
    model.run(image)
    taken = []
    for _ in range(times):
        started = time.perf_counter()
        model.run(image)
        taken.append(1e3 * (time.perf_counter() - started))
    return statistics.median(taken)


def region(path: Path, left: int, top: int, side: int) -> NDArray[np.uint8]:
    """Read a square region of a picture."""
    return np.asarray(pyvips.Image.new_from_file(str(path)).crop(left, top, side, side).numpy()[..., :3])


def main() -> None:
    """Measure, print, and record if asked."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--width", type=int, default=30000)
    parser.add_argument("--height", type=int, default=20000)
    parser.add_argument("--format", default="png", choices=["png", "tiff", "jpeg"])
    parser.add_argument("--output", type=Path)
    arguments = parser.parse_args()
    width, height = arguments.width, arguments.height
    with tempfile.TemporaryDirectory() as temporary:
        root = Path(temporary)
        (root / "in").mkdir()
        picture(root / "in" / "large.png", width, height)
        exported = export_source(network(), root / "local.onnx")
        assert exported.locality is not None
        model = load_model(root / "local.onnx", provider="cpu", threads=granted_cores())
        before = small_ms(model, 15)
        command = [str(Path(sys.executable).with_name("polyexport")), "infer", str(root / "in"), "-q"]
        command += ["-m", str(root / "local.onnx"), "--provider", "cpu", "-o", str(root / "out")]
        command += ["--max-pixels", str(width * height), "--format", arguments.format]
        seconds, peak_mib = run(command)
        after = small_ms(model, 15)
        [output] = [path for path in (root / "out").iterdir() if path.is_file()]
        left, top = (width - _REGION) // 2 + 7, (height - _REGION) // 2 + 13
        alone = model.apply([region(root / "in" / "large.png", left, top, _REGION)])[0]
        reach = exported.locality.reach
        inner = slice(reach, _REGION - reach)
        found = region(output, left, top, _REGION)[inner, inner].astype(int)
        difference = np.abs(found - alone[inner, inner])
        file_mib = {"in": (root / "in" / "large.png").stat().st_size >> 20, "out": output.stat().st_size >> 20}
    megapixels = width * height / 1e6
    small = statistics.mean((before, after)) / (_SMALL**2 / 1e6)
    report: dict[str, Any] = {
        "environment": asdict(environment()),
        "width": width,
        "height": height,
        "format": arguments.format,
        "file_mib": file_mib,
        "locality": asdict(exported.locality),
        "seconds": seconds,
        "peak_mib": peak_mib,
        "ms_per_megapixel": 1e3 * seconds / megapixels,
        "ms_per_megapixel_of_512x512": small,
        "ratio": 1e3 * seconds / megapixels / small,
        "region_largest_difference": int(difference.max()),
        "region_values": int(difference.size),
    }
    print(json.dumps({key: value for key, value in report.items() if key != "environment"}, indent=2))
    if arguments.output:
        arguments.output.write_text(json.dumps(report, indent=2) + "\n")


if __name__ == "__main__":
    main()
