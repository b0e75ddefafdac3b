"""`polyexport infer` beside the plain loop that one would write instead, on the same files and the same model.

    python benchmarks/infer_vs_loop.py IMAGES --copies 2000 --rounds 3 [--output FILE.json]

IMAGES is a folder of 128x128 drawings; its files are copied until there are as many as asked. The two run in turn,
each as a process of its own, so interpreter start, model loading and every file operation count for both. The loop
opens each image with Pillow, runs ONNX Runtime with its default options and saves with Pillow. The outputs of every
round are compared: equal pixels, or no figure.
"""

import argparse
import json
import shutil
import subprocess
import sys
import tempfile
import time
from dataclasses import asdict
from pathlib import Path

import numpy as np
from PIL import Image

from polyexport.bench.environment import environment
from polyexport.model import default_model_path

LOOP = """
import sys
from pathlib import Path
import numpy as np
import onnxruntime
from PIL import Image

session = onnxruntime.InferenceSession(sys.argv[1], providers=["CPUExecutionProvider"])
color = np.array([[255, 136, 0]], np.uint8)
output = Path(sys.argv[3])
output.mkdir(parents=True)
for path in sorted(Path(sys.argv[2]).iterdir()):
    image = np.asarray(Image.open(path).convert("RGB"))[None]
    colored = session.run(None, {"image": image, "color": color})[0][0]
    Image.fromarray(colored).save(output / path.name)
"""


def run(command: list[str]) -> float:
    """Wall-clock seconds of one process."""
    started = time.perf_counter()
    subprocess.run(command, check=True, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
    return time.perf_counter() - started


def main() -> None:
    """Measure, print, and record if asked."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("images", type=Path)
    parser.add_argument("--copies", type=int, default=2000)
    parser.add_argument("--rounds", type=int, default=3)
    parser.add_argument("--output", type=Path)
    arguments = parser.parse_args()
    sources = sorted(path for path in arguments.images.iterdir() if path.suffix == ".png")
    model = str(default_model_path())
    with tempfile.TemporaryDirectory() as temporary:
        root = Path(temporary)
        (root / "in").mkdir()
        for number in range(arguments.copies):
            shutil.copy(sources[number % len(sources)], root / "in" / f"{number:06}.png")
        program = [str(Path(sys.executable).with_name("polyexport")), "infer", str(root / "in"), "-m", model]
        commands = {
            "polyexport infer": [*program, "--color", "#ff8800", "--provider", "cpu", "-o", str(root / "ours")],
            "plain loop": [sys.executable, "-c", LOOP, model, str(root / "in"), str(root / "loop")],
        }
        seconds: dict[str, list[float]] = {name: [] for name in commands}
        for _ in range(arguments.rounds):
            for folder in ("ours", "loop"):
                shutil.rmtree(root / folder, ignore_errors=True)
            for name, command in commands.items():
                seconds[name].append(run(command))
            differing = 0
            for path in sorted((root / "loop").iterdir()):
                ours = np.asarray(Image.open(root / "ours" / "ff8800" / path.name))
                differing += not np.array_equal(ours, np.asarray(Image.open(path)))
            if differing:
                raise SystemExit(f"{differing} of {arguments.copies} outputs differ")
    ratios = [loop / ours for ours, loop in zip(seconds["polyexport infer"], seconds["plain loop"], strict=True)]
    report = {
        "environment": asdict(environment()),
        "images": arguments.copies,
        "seconds": seconds,
        "images_per_s": {name: arguments.copies / float(np.median(values)) for name, values in seconds.items()},
        "ratio_median": float(np.median(ratios)),
        "ratio_min": min(ratios),
        "ratio_max": max(ratios),
        "differing_outputs": 0,
    }
    for name, rate in report["images_per_s"].items():  # type: ignore[attr-defined]
        print(f"{name:<17} {rate:8.1f} images/s")
    print(f"ratio {report['ratio_median']:.2f} (from {min(ratios):.2f} to {max(ratios):.2f}), equal outputs")
    if arguments.output:
        arguments.output.write_text(json.dumps(report, indent=2) + "\n")


if __name__ == "__main__":
    main()
