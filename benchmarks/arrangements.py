"""Images per second of different arrangements of sessions, threads and batches on the cores of this machine.

    python benchmarks/arrangements.py --model small-int8.onnx [--size 128] [--rounds 3] [--output FILE.json]

The network alone, on random pixels in memory: one session of ONNX Runtime with all threads in each call, spinning (as
ONNX Runtime comes) or not; one session with a call of one thread for each core; a session of its own for each core; and
OpenVINO, where it is installed, with a stream for each core, called by as many threads and by one more. Every
arrangement runs once a round, in turn.
"""

import argparse
import importlib.util
import json
import statistics
import threading
import time
from collections.abc import Callable
from dataclasses import asdict, dataclass
from pathlib import Path

import numpy as np
import onnxruntime as ort

from polyexport.bench.environment import environment
from polyexport.model.loading.load import load_model
from polyexport.runtime.cores import granted_cores

BATCHES = (1, 2, 4, 8, 16)


@dataclass(frozen=True)
class Arrangement:
    """Threads that call the network, each with its own function for it."""

    name: str
    calls: list[Callable[[int], object]]
    """Each takes the number of images."""


def arrangements(model: Path, size: int) -> list[Arrangement]:
    """Build every arrangement that is compared."""
    cores = granted_cores()
    images = np.random.default_rng(0).integers(0, 256, (max(BATCHES), size, size, 3), dtype=np.uint8)
    colors = np.full((max(BATCHES), 3), 128, np.uint8)

    def session(threads: int, *, spinning: bool) -> Callable[[int], object]:
        options = ort.SessionOptions()
        options.intra_op_num_threads = threads
        options.log_severity_level = 3
        options.add_session_config_entry("session.intra_op.allow_spinning", str(int(spinning)))
        loaded = ort.InferenceSession(model, options, providers=["CPUExecutionProvider"])
        return lambda batch: loaded.run(["colored"], {"image": images[:batch], "color": colors[:batch]})

    shared = session(1, spinning=False)
    found = [
        Arrangement("one call on all cores, spinning", [session(cores, spinning=True)]),
        Arrangement("one call on all cores", [session(cores, spinning=False)]),
        Arrangement("one session, a call a core", [shared] * cores),
        Arrangement("a session and a call a core", [session(1, spinning=False) for _ in range(cores)]),
    ]
    if importlib.util.find_spec("openvino"):
        compiled = load_model(model, provider="openvino", threads=1, streams=cores)

        def call(batch: int) -> object:
            return compiled.run(images[:batch], colors[:batch])

        found.append(Arrangement("OpenVINO, a caller a stream", [call] * cores))
        found.append(Arrangement("OpenVINO, one caller more", [call] * (cores + 1)))
    return found


def images_per_s(arrangement: Arrangement, batch: int, seconds: float) -> float:
    """Measure the throughput of all callers of an arrangement together."""
    for call in set(arrangement.calls):
        call(batch)
    end = time.perf_counter() + seconds
    counts = [0] * len(arrangement.calls)

    def work(number: int) -> None:
        while time.perf_counter() < end:
            arrangement.calls[number](batch)
            counts[number] += batch

    threads = [threading.Thread(target=work, args=(number,)) for number in range(len(counts))]
    started = time.perf_counter()
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    return sum(counts) / (time.perf_counter() - started)


def main() -> None:
    """Measure, print, and record if asked."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--model", type=Path, required=True)
    parser.add_argument("--size", type=int, default=128)
    parser.add_argument("--seconds", type=float, default=2.0)
    parser.add_argument("--rounds", type=int, default=3)
    parser.add_argument("--output", type=Path)
    arguments = parser.parse_args()
    compared = arrangements(arguments.model, arguments.size)
    rates: dict[str, dict[int, list[float]]] = {one.name: {batch: [] for batch in BATCHES} for one in compared}
    for _ in range(arguments.rounds):
        for batch in BATCHES:
            for one in compared:
                rates[one.name][batch].append(images_per_s(one, batch, arguments.seconds))
    medians = {name: {batch: statistics.median(values) for batch, values in of.items()} for name, of in rates.items()}
    print(f"images/s, batch {', '.join(map(str, BATCHES))}")
    for name, of in medians.items():
        print(f"  {name:32} " + " ".join(f"{rate:8.1f}" for rate in of.values()))
    if arguments.output:
        report = {
            "environment": asdict(environment()),
            "model": arguments.model.name,
            "size": arguments.size,
            "images_per_s": rates,
        }
        arguments.output.write_text(json.dumps(report, indent=2) + "\n")


if __name__ == "__main__":
    main()
