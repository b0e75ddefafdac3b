"""Time and memory of the edge-exact fit outside of the network: from the picture to its canvas, and from the network's
picture to the result.

    python benchmarks/edges.py small.onnx [--size 256 --size 512 --size 1024 --size 2048 --size 4096] \
        [--kind details --kind large_gaps --kind photo] [--output FILE.json]

Each size and kind is a process of its own. Times are processor seconds of one thread, divided by the pixels of the
picture; memory is the growth of the peak resident set over that of the network's own call, divided likewise.
"""

import argparse
import json
import os
import resource
import subprocess
import sys
import time
from dataclasses import asdict
from pathlib import Path
from typing import Any

import numpy as np

from polyexport.bench.environment import environment
from polyexport.data.drawings import draw
from polyexport.data.splits import SPLITS
from polyexport.model.loading.load import load_model
from polyexport.model.settings import setting_from

ROUNDS = 5
MAX_DRAWN = 1024


def measure(model_path: Path, size: int, kind: str) -> dict[str, Any]:
    """Measure one picture in this process."""
    drawing = draw(np.random.default_rng(5), min(size, MAX_DRAWN), SPLITS[kind].drawings).image
    image = np.ascontiguousarray(drawing.repeat(size // len(drawing), axis=0).repeat(size // len(drawing), axis=1))
    model = load_model(model_path, provider="cpu", threads=1)
    rule, rgb = model.contract.canvas_rule("fit"), (30, 144, 255)
    setting = setting_from(model.conditions, {model.color_condition.name: rgb})
    small = rule.place(np.ascontiguousarray(image[:: size // 256, :: size // 256]))
    small.restore(model.run_canvases([small], [setting])[0], rgb)  # loads what is loaded once
    output = model.run_canvases([rule.place(image)], [setting])[0]
    before = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    place, restore = [], []
    for _ in range(ROUNDS):
        started = time.process_time()
        canvas = rule.place(image)
        placed = time.process_time()
        canvas.restore(output, rgb)
        place.append(placed - started)
        restore.append(time.process_time() - placed)
    peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    pixels = size * size
    return {
        "size": size,
        "kind": kind,
        "place_us_per_pixel": round(min(place) / pixels * 1e6, 4),
        "restore_us_per_pixel": round(min(restore) / pixels * 1e6, 4),
        "us_per_pixel": round((min(place) + min(restore)) / pixels * 1e6, 4),
        "growth_bytes_per_pixel": round((peak - before) * 1024 / pixels, 1),
    }


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("model", type=Path)
    parser.add_argument("--size", type=int, action="append")
    parser.add_argument("--kind", action="append")
    parser.add_argument("--here", action="store_true", help="measure one size and kind in this process")
    parser.add_argument("--output", type=Path)
    arguments = parser.parse_args()
    sizes, kinds = arguments.size or [256, 512, 1024, 2048, 4096], arguments.kind or ["details", "large_gaps", "photo"]
    if arguments.here:
        print(json.dumps(measure(arguments.model, sizes[0], kinds[0])))
        return
    rows = []
    for kind in kinds:
        for size in sizes:
            command = [sys.executable, __file__, str(arguments.model), "--here", "--size", str(size), "--kind", kind]
            environ = os.environ | {"OMP_NUM_THREADS": "1"}
            done = subprocess.run(command, env=environ, check=True, stdout=subprocess.PIPE, text=True)
            rows.append(json.loads(done.stdout.splitlines()[-1]))
            print(rows[-1], flush=True)
    if arguments.output:
        report = {"environment": asdict(environment()), "rounds": ROUNDS, "rows": rows}
        arguments.output.write_text(json.dumps(report, indent=1) + "\n")


if __name__ == "__main__":
    main()
