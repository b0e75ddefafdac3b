"""Peak memory of `polyexport infer` over a small and over a large folder.

    python benchmarks/memory.py IMAGES --model small-int8.onnx --small 500 --large 20000 [--output FILE.json]

IMAGES is a folder of drawings, at any depth; its files are linked until there are as many as asked. The figure is the
sum of the peak resident sets (VmHWM in /proc) of the process and the processes that decode for it. Linux only.
"""

import argparse
import contextlib
import json
import os
import subprocess
import sys
import tempfile
import time
from collections.abc import Sequence
from dataclasses import asdict
from pathlib import Path

from polyexport.bench.environment import environment


def children(pid: int) -> list[int]:
    """Find the processes that a process has started, and their children."""
    found = []
    for task in Path(f"/proc/{pid}/task").glob("*/children"):
        with contextlib.suppress(OSError):
            for child in map(int, task.read_text().split()):
                found += [child, *children(child)]
    return found


def peak_kib(pid: int) -> int:
    """Peak resident set of one process so far, KiB; 0 if it has ended."""
    with contextlib.suppress(OSError):
        for line in Path(f"/proc/{pid}/status").read_text().splitlines():
            if line.startswith("VmHWM:"):
                return int(line.split()[1])
    return 0


def peak_of(command: Sequence[str]) -> tuple[float, float]:
    """Run a command and return the peak memory of it and of the processes that it started, MiB."""
    process = subprocess.Popen(command, stdout=subprocess.DEVNULL)
    peaks: dict[int, int] = {}
    while process.poll() is None:
        for pid in (process.pid, *children(process.pid)):
            peaks[pid] = max(peaks.get(pid, 0), peak_kib(pid))
        time.sleep(0.02)
    if process.returncode:
        raise SystemExit(f"{command[0]} ended with {process.returncode}")
    own = peaks.pop(process.pid)
    return own / 1024, sum(peaks.values()) / 1024


def main() -> None:
    """Measure, print, and record if asked."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("images", type=Path)
    parser.add_argument("--model", type=Path, required=True)
    parser.add_argument("--small", type=int, default=500)
    parser.add_argument("--large", type=int, default=20000)
    parser.add_argument("--provider", default="cpu")
    parser.add_argument("--output", type=Path)
    arguments = parser.parse_args()
    sources = sorted(arguments.images.rglob("*.png"))
    peaks: dict[str, dict[str, float]] = {}
    with tempfile.TemporaryDirectory() as temporary:
        root = Path(temporary)
        for count in (arguments.small, arguments.large):
            folder = root / str(count)
            folder.mkdir()
            for number, source in enumerate(sources):
                (folder / f"{number:06}.png").write_bytes(source.read_bytes())
            for number in range(len(sources), count):
                os.link(folder / f"{number % len(sources):06}.png", folder / f"{number:06}.png")
            command = [
                str(Path(sys.executable).with_name("polyexport")),
                "infer",
                str(folder),
                "--color",
                "#ff8800",
                "-q",
            ]
            command += ["-m", str(arguments.model), "--provider", arguments.provider, "-o"]
            for state in ("from nothing", "again, all done"):
                own, others = peak_of([*command, str(root / f"out{count}")])
                peaks[f"{count} images, {state}"] = {
                    "process_mib": own,
                    "decoders_mib": others,
                    "sum_mib": own + others,
                }
                print(f"{count} images, {state}: {own:.1f} MiB and {others:.1f} MiB in decoders")
    small, large = (peaks[f"{count} images, from nothing"]["sum_mib"] for count in (arguments.small, arguments.large))
    print(f"ratio {large / small:.3f}")
    report = {
        "environment": asdict(environment()),
        "model": arguments.model.name,
        "peaks": peaks,
        "ratio": large / small,
    }
    if arguments.output:
        arguments.output.write_text(json.dumps(report, indent=2) + "\n")


if __name__ == "__main__":
    main()
