"""Cost of each further color in a palette graph, as a fraction of a run of the ordinary graph.

    python benchmarks/palette_cost.py MODEL.onnx PALETTE.onnx [--colors 20] [--size 128] [--rounds 9] [--output F.json]

MODEL takes one color an image; PALETTE is the same network, exported with `--palette`. Each round runs MODEL once,
PALETTE with one color and PALETTE with all of them, in turn, in one process. The figure is (T(K) - T(1)) / (K - 1)
over the time of a single run, from medians. The outputs are compared first: at most one 8-bit level apart, in less than
0.1 % of the values, or no figure.
"""

import argparse
import json
import resource
import time
from dataclasses import asdict
from pathlib import Path

import numpy as np
import onnxruntime as ort
from numpy.typing import NDArray

from polyexport.bench.environment import environment

SEED = 0
MAX_UNEQUAL = 1e-3


def session_of(path: Path, threads: int) -> ort.InferenceSession:
    """Open a session on the CPU whose idle threads sleep, so that the two sides do not slow one another."""
    options = ort.SessionOptions()
    options.intra_op_num_threads = threads
    options.add_session_config_entry("session.intra_op.allow_spinning", "0")
    return ort.InferenceSession(path, options, providers=["CPUExecutionProvider"])


def inputs_of(session: ort.InferenceSession, colors: int, size: int) -> dict[str, NDArray[np.generic]]:
    """Make a random image and ``colors`` random colors for a palette graph, whatever its color input is."""
    generator = np.random.default_rng(SEED)
    image, color = session.get_inputs()
    shape = (1, colors, *color.shape[2:])
    values: NDArray[np.generic]
    if color.type == "tensor(uint8)":
        values = generator.integers(0, 256, shape, np.uint8)
    elif color.type == "tensor(int64)":
        values = np.zeros(shape, np.int64)
    else:
        values = generator.standard_normal(shape, np.float32)
    return {image.name: generator.integers(0, 256, (1, size, size, 3), np.uint8), color.name: values}


def milliseconds(session: ort.InferenceSession, feed: dict[str, NDArray[np.generic]]) -> float:
    """Milliseconds of one run."""
    started = time.perf_counter()
    session.run(None, feed)
    return (time.perf_counter() - started) * 1e3


def main() -> None:
    """Compare, measure, print, and record if asked."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("model", type=Path)
    parser.add_argument("palette", type=Path)
    parser.add_argument("--colors", type=int, default=20)
    parser.add_argument("--size", type=int, default=128)
    parser.add_argument("--rounds", type=int, default=9)
    parser.add_argument("--threads", type=int, default=2)
    parser.add_argument("--output", type=Path)
    arguments = parser.parse_args()
    if arguments.colors < 2 or arguments.rounds < 1:
        parser.error("--colors takes at least 2, --rounds at least 1")
    single, palette = (session_of(path, arguments.threads) for path in (arguments.model, arguments.palette))
    feed = inputs_of(palette, arguments.colors, arguments.size)
    image, color = palette.get_inputs()

    def one(index: int) -> dict[str, NDArray[np.generic]]:
        return {image.name: feed[image.name], color.name: feed[color.name][:, index]}

    expected = np.stack([single.run(None, one(index))[0] for index in range(arguments.colors)], axis=1)
    off = np.abs(expected.astype(np.int16) - palette.run(None, feed)[0])
    if off.max() > 1 or np.count_nonzero(off) >= MAX_UNEQUAL * off.size:
        raise SystemExit(
            f"the graphs differ by up to {off.max()} levels, in {np.count_nonzero(off)} of {off.size} values"
        )

    sides = {
        "single": (single, one(0)),
        "palette_1": (palette, {**feed, color.name: feed[color.name][:, :1]}),
        f"palette_{arguments.colors}": (palette, feed),
    }
    latency_ms: dict[str, list[float]] = {name: [] for name in sides}
    for session, its_feed in sides.values():
        milliseconds(session, its_feed)  # warm-up
    for _ in range(arguments.rounds):
        for name, (session, its_feed) in sides.items():
            latency_ms[name].append(milliseconds(session, its_feed))
    once, first, all_colors = (np.array(values) for values in latency_ms.values())
    per_round = (all_colors - first) / (arguments.colors - 1) / once
    further_ms = (np.median(all_colors) - np.median(first)) / (arguments.colors - 1)
    report = {
        "environment": asdict(environment()),
        "model": arguments.model.name,
        "palette": arguments.palette.name,
        "colors": arguments.colors,
        "size": arguments.size,
        "threads": arguments.threads,
        "rounds": arguments.rounds,
        "latency_ms_p50": {name: round(float(np.median(values)), 3) for name, values in latency_ms.items()},
        "fraction_per_further_color": round(float(further_ms / np.median(once)), 4),
        "fraction_per_further_color_by_round": [round(float(value), 4) for value in per_round],
        "ratio_all_colors_to_single_runs": round(float(np.median(all_colors) / np.median(once) / arguments.colors), 4),
        "values_compared": off.size,
        "uint8_max_diff": int(off.max()),
        "uint8_unequal": int(np.count_nonzero(off)),
        "peak_rss_mib": resource.getrusage(resource.RUSAGE_SELF).ru_maxrss // 1024,
    }
    print(json.dumps(report, indent=2))
    if arguments.output:
        arguments.output.write_text(json.dumps(report, indent=2) + "\n")


if __name__ == "__main__":
    main()
