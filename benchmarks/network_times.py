"""Time of one call of several models side by side, on one thread, at several sizes and on several execution providers.

    python benchmarks/network_times.py before/small.onnx small.onnx --provider cpu --provider openvino \
        [--size 128 --size 256 --size 512 --size 1024] [--rounds 15] [--output FILE.json]

The models take turns in every round, and ratios are those to the first model in the same round. The figure is the time
of the call with one image, uint8 in and out; reading, scaling and writing images are no part of it.
"""

import argparse
import json
import time
from dataclasses import asdict
from pathlib import Path
from typing import Any

import numpy as np

from polyexport.bench.environment import environment
from polyexport.data.drawings import draw
from polyexport.data.sketch_config import SketchConfig
from polyexport.model.loading.load import load_model
from polyexport.model.settings import setting_from


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("models", nargs="+", type=Path, metavar="MODEL")
    parser.add_argument("--provider", action="append")
    parser.add_argument("--size", type=int, action="append")
    parser.add_argument("--rounds", type=int, default=15)
    parser.add_argument("--output", type=Path)
    arguments = parser.parse_args()
    rows: list[dict[str, Any]] = []
    for provider in arguments.provider or ["cpu"]:
        loaded = [load_model(path, provider=provider, threads=1) for path in arguments.models]
        for size in arguments.size or [128, 256, 512, 1024]:
            image = draw(np.random.default_rng(size), size, SketchConfig()).image
            calls = max(1, 512 * 512 // size**2)
            times: list[list[float]] = [[] for _ in loaded]
            for number in range(arguments.rounds + 1):
                for model, each in zip(loaded, times, strict=True):
                    canvas = model.contract.canvas_rule("native").place(image)
                    setting = setting_from(model.conditions, {model.color_condition.name: "red"})
                    started = time.perf_counter()
                    for _ in range(calls):
                        model.run_canvases([canvas], [setting])
                    if number:  # the first round warms up
                        each.append((time.perf_counter() - started) / calls * 1e3)
            for path, each in zip(arguments.models, times, strict=True):
                ratios = np.array(each) / np.array(times[0])
                rows.append(
                    {
                        "model": str(path),
                        "provider": provider,
                        "size": size,
                        "ms": round(float(np.median(each)), 3),
                        "ratio": round(float(np.median(ratios)), 3),
                        "ratio_range": [round(float(ratios.min()), 3), round(float(ratios.max()), 3)],
                    }
                )
                print(rows[-1], flush=True)
    if arguments.output:
        report = {"environment": asdict(environment()), "rounds": arguments.rounds, "rows": rows}
        arguments.output.write_text(json.dumps(report, indent=1) + "\n")


if __name__ == "__main__":
    main()
