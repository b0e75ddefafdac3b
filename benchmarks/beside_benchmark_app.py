"""`polyexport infer` end to end, beside the bare inference of OpenVINO's own benchmark_app on the same graph.

    python benchmarks/beside_benchmark_app.py IMAGES --model base-int8.onnx --size 256 --copies 1000 --rounds 3 \\
        [--provider openvino] [--output FILE.json]

IMAGES is a folder of drawings, at any depth; they are scaled to the size and copied until there are as many as asked.
The two run in turn. `benchmark_app` gets the graph in its throughput mode, one image a request, inputs in memory, and
times nothing else. `infer` is a process of its own: interpreter start, loading the model, decoding, encoding, writing
and syncing every file count. It chooses its provider, unless one is named.
"""

import argparse
import json
import re
import shutil
import statistics
import subprocess
import sys
import tempfile
import time
from dataclasses import asdict
from importlib.metadata import version
from pathlib import Path

from PIL import Image

from polyexport.bench.environment import environment


def main() -> None:
    """Measure, print, and record if asked."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("images", type=Path)
    parser.add_argument("--model", type=Path, required=True)
    parser.add_argument("--size", type=int, default=256)
    parser.add_argument("--copies", type=int, default=1000)
    parser.add_argument("--rounds", type=int, default=3)
    parser.add_argument("--provider", default="auto")
    parser.add_argument("--seconds", type=int, default=20)
    parser.add_argument("--output", type=Path)
    arguments = parser.parse_args()
    programs, size = Path(sys.executable).parent, arguments.size
    infer_ms, run_ms, bare_ms = [], [], []
    provider = ""
    with tempfile.TemporaryDirectory() as temporary:
        root = Path(temporary)
        (root / "in").mkdir()
        sources = sorted(arguments.images.rglob("*.png"))
        for number in range(arguments.copies):
            target = root / "in" / f"{number:06}.png"
            if number < len(sources):
                Image.open(sources[number]).convert("RGB").resize((size, size), Image.Resampling.LANCZOS).save(target)
            else:
                shutil.copy(root / "in" / f"{number % len(sources):06}.png", target)
        infer = [
            str(programs / "polyexport"),
            "infer",
            str(root / "in"),
            "--color",
            "#ff8800",
            "--provider",
            arguments.provider,
        ]
        infer += ["--size", str(size), "-m", str(arguments.model), "-o", str(root / "out"), "--json"]
        bare = [str(programs / "benchmark_app"), "-m", str(arguments.model), "-d", "CPU", "-hint", "throughput"]
        bare += ["-shape", f"image[1,{size},{size},3],color[1,3]", "-t", str(arguments.seconds)]
        for _ in range(arguments.rounds):
            shutil.rmtree(root / "out", ignore_errors=True)
            started = time.perf_counter()
            done = subprocess.run(infer, check=True, capture_output=True, text=True)
            infer_ms.append(1e3 * (time.perf_counter() - started) / arguments.copies)
            said = json.loads(done.stdout.splitlines()[-1])
            provider = said["execution_provider"]
            run_ms.append(1e3 * said["seconds"] / arguments.copies)
            told = subprocess.run(bare, check=True, capture_output=True, text=True).stdout
            found = re.search(r"Throughput:\s+([\d.]+)\s+FPS", told)
            if not found:
                raise SystemExit(told)
            bare_ms.append(1e3 / float(found[1]))
    ratios = [ours / theirs for ours, theirs in zip(infer_ms, bare_ms, strict=True)]
    print(f"infer on {provider}: {statistics.median(infer_ms):.2f} ms per image end to end", end=" ")
    print(f"({statistics.median(run_ms):.2f} from the first decode to the last write)", end="; ")
    print(f"benchmark_app {statistics.median(bare_ms):.2f} ms bare", end="; ")
    print(f"ratio {statistics.median(ratios):.3f} ({min(ratios):.3f} to {max(ratios):.3f})")
    report = {
        "environment": asdict(environment()),
        "openvino": version("openvino"),
        "model": arguments.model.name,
        "size": size,
        "execution_provider": provider,
        "images": arguments.copies,
        "infer_ms_per_image": infer_ms,
        "run_ms_per_image": run_ms,
        "benchmark_app_ms_per_image": bare_ms,
        "ratio": {"median": statistics.median(ratios), "min": min(ratios), "max": max(ratios)},
    }
    if arguments.output:
        arguments.output.write_text(json.dumps(report, indent=2) + "\n")


if __name__ == "__main__":
    main()
