"""Time of a new process that colors one image, `polyexport infer one.png`, beside the bare import of its libraries.

    python benchmarks/cold_start.py IMAGE.png [--model small-int8.onnx] [--runs 20] [--output FILE.json]

The two run in turn, each as a process of its own; files are in the cache of the system after the first, uncounted, run.
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

from polyexport.bench.environment import environment
from polyexport.model.file import default_model_path


def seconds_of(command: Sequence[str]) -> float:
    """Run one process and return its wall-clock seconds."""
    started = time.perf_counter()
    subprocess.run(command, check=True, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
    return time.perf_counter() - started


def main() -> None:
    """Measure, print, and record if asked."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("image", type=Path)
    parser.add_argument("--model", type=Path, default=default_model_path())
    parser.add_argument("--provider", default="auto")
    parser.add_argument("--runs", type=int, default=20)
    parser.add_argument("--output", type=Path)
    arguments = parser.parse_args()
    program = [str(Path(sys.executable).with_name("polyexport")), "infer", str(arguments.image), "--color", "red"]
    program += ["-m", str(arguments.model), "--provider", arguments.provider]
    bare = [sys.executable, "-c", "import onnxruntime, numpy, PIL.Image"]
    infer_s, import_s = [], []
    with tempfile.TemporaryDirectory() as root:
        for number in range(arguments.runs + 1):
            infer_s.append(seconds_of([*program, "-o", f"{root}/{number}"]))
            import_s.append(seconds_of(bare))
    infer_s, import_s = infer_s[1:], import_s[1:]
    p50, bare_p50 = statistics.median(infer_s), statistics.median(import_s)
    print(f"p50 of {arguments.runs}: infer {p50:.3f} s, import {bare_p50:.3f} s, {p50 - bare_p50:.3f} s more")
    report = {
        "environment": asdict(environment()),
        "model": arguments.model.name,
        "provider": arguments.provider,
        "infer_s": infer_s,
        "import_s": import_s,
        "p50_difference_s": p50 - bare_p50,
    }
    if arguments.output:
        arguments.output.write_text(json.dumps(report, indent=2) + "\n")


if __name__ == "__main__":
    main()
