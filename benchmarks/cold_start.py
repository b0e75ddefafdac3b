"""Time of a new process that colors one image, `polyexport infer one.png`, beside the bare import of its libraries.

    python benchmarks/cold_start.py IMAGE.png [--model small-int8.onnx] [--provider NAME] [--runs 20] [--output FILE]

They run in turn, each as a process of its own: `infer` with a cache folder that has the compiled model, `infer` with
`--no-cache`, and the import. Files are in the cache of the system after the first, uncounted, round, which also fills
the cache folder. Beside the wall clock the processor time of each process is recorded, which other programs on the
machine change less.
"""

import argparse
import json
import os
import resource
import statistics
import subprocess
import sys
import tempfile
import time
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path

from polyexport.bench.environment import environment
from polyexport.model.file import default_model_path
from polyexport.storage.cache_folder import CACHE_VARIABLE


@dataclass(frozen=True, kw_only=True, slots=True)
class Run:
    """One process from its start to its end."""

    wall_s: float
    cpu_s: float


def timed(command: Sequence[str], environment: Mapping[str, str]) -> Run:
    """Run one process, and return its wall-clock and processor seconds."""
    before = resource.getrusage(resource.RUSAGE_CHILDREN)
    started = time.perf_counter()
    subprocess.run(command, check=True, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL, env=environment)
    wall_s = time.perf_counter() - started
    after = resource.getrusage(resource.RUSAGE_CHILDREN)
    return Run(wall_s=wall_s, cpu_s=after.ru_utime + after.ru_stime - before.ru_utime - before.ru_stime)


def medians(runs: Sequence[Run]) -> Run:
    """Return the median wall-clock and processor seconds."""
    return Run(wall_s=statistics.median(run.wall_s for run in runs), cpu_s=statistics.median(run.cpu_s for run in runs))


def main() -> None:
    """Measure, print, and record if asked."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("image", type=Path)
    parser.add_argument("--model", type=Path, default=default_model_path())
    parser.add_argument("--provider", default="auto")
    parser.add_argument("--runs", type=int, default=20)
    parser.add_argument("--output", type=Path)
    arguments = parser.parse_args()
    infer = [str(Path(sys.executable).with_name("polyexport")), "infer", str(arguments.image), "--color", "red"]
    infer += ["-m", str(arguments.model), "--provider", arguments.provider]
    runs: dict[str, list[Run]] = {"cached": [], "uncached": [], "import": []}
    with tempfile.TemporaryDirectory() as root:
        environment_of = os.environ | {CACHE_VARIABLE: f"{root}/cache"}
        for number in range(arguments.runs + 1):
            commands = {
                "cached": [*infer, "-o", f"{root}/cached{number}"],
                "uncached": [*infer, "-o", f"{root}/uncached{number}", "--no-cache"],
                "import": [sys.executable, "-c", "import onnxruntime, numpy, PIL.Image"],
            }
            for name, command in commands.items():
                run = timed(command, environment_of)
                if number:
                    runs[name].append(run)
        entries = sum(path.is_file() for path in Path(root, "cache", "compiled-models").glob("*"))
    p50 = {name: medians(each) for name, each in runs.items()}
    for name, one in p50.items():
        print(f"p50 of {arguments.runs}, {name}: {one.wall_s:.3f} s, {one.cpu_s:.3f} s of processor time")
    print(f"compiled models in the cache: {entries}")
    report = {
        "environment": asdict(environment()),
        "model": arguments.model.name,
        "provider": arguments.provider,
        "cached_models": entries,
        "infer_s": [run.wall_s for run in runs["cached"]],
        "uncached_s": [run.wall_s for run in runs["uncached"]],
        "import_s": [run.wall_s for run in runs["import"]],
        "cpu_s": {name: [run.cpu_s for run in each] for name, each in runs.items()},
        "p50": {name: asdict(one) for name, one in p50.items()},
        "p50_difference_s": p50["cached"].wall_s - p50["import"].wall_s,
    }
    if arguments.output:
        arguments.output.write_text(json.dumps(report, indent=2) + "\n")


if __name__ == "__main__":
    main()
