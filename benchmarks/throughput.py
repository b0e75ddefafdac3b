"""`polyexport infer` over a folder, beside its bound, the loop one would write instead, and the seed's way.

    python benchmarks/throughput.py IMAGES --model small-int8.onnx --copies 5000 --rounds 3 \\
        [--seed base.safetensors] [--output FILE.json]

IMAGES is a folder of 128x128 drawings, at any depth; its files are copied until there are as many as asked. The
programs run in turn, each as a process of its own, so interpreter start, model loading and every file operation count;
for `infer` also the syncing of every file and of the journal. Every round compares the outputs: equal pixels, or no
figure.

The bound is what these cores could give if nothing but the stages cost anything: cores divided by the CPU time that
the stages take per image, each measured alone, in one thread: read and decode, infer, encode, stage and commit.

The loop opens each image with Pillow, runs ONNX Runtime with its default options and saves with Pillow. The seed's way
is PyTorch, eager, one 256x256 image at a time, with Pillow; only its loop is timed, without the import of torch, and it
gets few images, because it is slow. `infer` gets the same pictures, more of them, at --size 256.
"""

import argparse
import hashlib
import json
import shutil
import statistics
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Sequence
from dataclasses import asdict
from pathlib import Path

import numpy as np
from PIL import Image

from polyexport.bench.environment import environment
from polyexport.color import parse_color
from polyexport.image import decode, encode_png
from polyexport.model import Model, load_model
from polyexport.pipeline.journal import Record
from polyexport.pipeline.outputs import OutputFolder, Pending

COLOR = "#ff8800"

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

SEED = """
import sys, time
from pathlib import Path
import numpy as np
import torch
from PIL import Image
from trainer.checkpoint import load_checkpoint

model = load_checkpoint(Path(sys.argv[1])).model.eval()
color = torch.tensor([[255, 136, 0]]) / 127.5 - 1
output = Path(sys.argv[3])
output.mkdir(parents=True)
paths = sorted(Path(sys.argv[2]).iterdir())[: int(sys.argv[4])]

def one(path):
    image = torch.from_numpy(np.asarray(Image.open(path).convert("RGB")).copy()).permute(2, 0, 1)[None] / 127.5 - 1
    with torch.no_grad():
        colored = model(image, color)[0]
    pixels = ((colored + 1) * 127.5).round().clamp(0, 255).byte().permute(1, 2, 0).numpy()
    Image.fromarray(pixels).save(output / path.name)

one(paths[0])
started = time.perf_counter()
for path in paths:
    one(path)
print(time.perf_counter() - started)
"""


def seconds_of(command: Sequence[str]) -> float:
    """Wall-clock seconds of one process."""
    started = time.perf_counter()
    subprocess.run(command, check=True, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
    return time.perf_counter() - started


def cpu_ms(work: Callable[[int], object], count: int) -> float:
    """CPU milliseconds of one call, all of this process's threads, kernel included; the median of five rounds."""
    work(0)
    rounds = []
    for _ in range(5):
        started = time.process_time()
        for number in range(count):
            work(number)
        rounds.append(1e3 * (time.process_time() - started) / count)
    return statistics.median(rounds)


def stages(files: Sequence[Path], model: Model, root: Path, size: int) -> dict[str, float]:
    """CPU milliseconds per image of each stage, alone."""
    framing = model.framing(size)
    framed = [framing.frame(decode(path.read_bytes()).pixels) for path in files[:64]]
    color = parse_color(COLOR)
    canvases = [model.run_canvases([one], [color])[0] for one in framed]
    pngs = [encode_png(one.restore(canvas)) for one, canvas in zip(framed, canvases, strict=True)]
    many = len(framed)

    def read(number: int) -> None:
        data = files[number % len(files)].read_bytes()
        hashlib.sha256(data)
        framing.frame(decode(data).pixels)

    def encode(number: int) -> None:
        hashlib.sha256(encode_png(framed[number % many].restore(canvases[number % many])))

    with OutputFolder(root / "stages") as folder:
        written = 0

        def write(_: int) -> None:
            nonlocal written
            group = []
            for png in pngs[:32]:
                name = folder.stage(png)
                group.append(Pending(f"red/{written}.png", Record("a" * 64, "b" * 64, "c" * 64), name))
                written += 1
            folder.commit(group)

        return {
            "read and decode": cpu_ms(read, 500),
            "infer": cpu_ms(lambda number: model.run_canvases([framed[number % many]], [color]), 100),
            "encode": cpu_ms(encode, 500),
            "stage and commit": cpu_ms(write, 4) / min(32, many),
        }


def differing(ours: Path, theirs: Path) -> int:
    """How many outputs have other pixels."""
    return sum(
        not np.array_equal(np.asarray(Image.open(ours / path.name)), np.asarray(Image.open(path)))
        for path in sorted(theirs.iterdir())
    )


def copies(sources: Sequence[Path], folder: Path, count: int) -> None:
    """A folder of as many files, each source in turn."""
    folder.mkdir()
    for number in range(count):
        shutil.copy(sources[number % len(sources)], folder / f"{number:06}.png")


def ratios(ours: Sequence[float], theirs: Sequence[float]) -> dict[str, float]:
    """Of times per image, round by round."""
    values = [other / own for own, other in zip(ours, theirs, strict=True)]
    return {"median": statistics.median(values), "min": min(values), "max": max(values)}


def main() -> None:
    """Measure, print, and record if asked."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("images", type=Path)
    parser.add_argument("--model", type=Path, required=True)
    parser.add_argument("--copies", type=int, default=5000)
    parser.add_argument("--rounds", type=int, default=3)
    parser.add_argument("--seed", type=Path, help="checkpoint for the seed's way")
    parser.add_argument("--output", type=Path)
    arguments = parser.parse_args()
    sources = sorted(arguments.images.rglob("*.png"))
    report: dict[str, object] = {
        "environment": asdict(environment()),
        "model": arguments.model.name,
        "images": arguments.copies,
    }
    model = load_model(arguments.model, provider="cpu", threads=1)
    with tempfile.TemporaryDirectory() as temporary:
        root = Path(temporary)
        copies(sources, root / "in", arguments.copies)
        infer = [
            str(Path(sys.executable).with_name("polyexport")),
            "infer",
            "--color",
            COLOR,
            "--provider",
            "cpu",
            "-q",
        ]
        infer += ["-m", str(arguments.model)]
        ours_command = [*infer, str(root / "in"), "-o", str(root / "ours")]
        loop_command = [sys.executable, "-c", LOOP, str(arguments.model), str(root / "in"), str(root / "loop")]
        rates: list[float] = []
        loops: list[float] = []
        fractions: list[float] = []
        costs: list[dict[str, float]] = []
        for _ in range(arguments.rounds):
            for folder in ("ours", "loop", "stages"):
                shutil.rmtree(root / folder, ignore_errors=True)
            costs.append(stages(sorted((root / "in").iterdir()), model, root, model.contract.training_size))
            rates.append(seconds_of(ours_command) / arguments.copies)
            loops.append(seconds_of(loop_command) / arguments.copies)
            bound = 1e3 * environment().cores_granted / sum(costs[-1].values())
            fractions.append(1 / rates[-1] / bound)
            wrong = differing(root / "ours" / COLOR[1:], root / "loop")
            if wrong:
                raise SystemExit(f"{wrong} of {arguments.copies} outputs differ")
        stage_ms = {name: statistics.median(cost[name] for cost in costs) for name in costs[0]}
        report |= {
            "stage_cpu_ms": stage_ms,
            "bound_images_per_s": 1e3 * environment().cores_granted / sum(stage_ms.values()),
            "infer_images_per_s": [1 / seconds for seconds in rates],
            "loop_images_per_s": [1 / seconds for seconds in loops],
            "fraction_of_bound": fractions,
            "times_the_loop": ratios(rates, loops),
            "differing_outputs": 0,
        }
        print(", ".join(f"{name} {value:.3f} ms" for name, value in stage_ms.items()))
        print(f"bound {report['bound_images_per_s']:.1f} images/s; infer {1 / statistics.median(rates):.1f}", end="; ")
        print(f"fraction {statistics.median(fractions):.3f} ({min(fractions):.3f} to {max(fractions):.3f})")
        print(f"plain loop {1 / statistics.median(loops):.1f} images/s: infer is", end=" ")
        print("{median:.2f} times as fast ({min:.2f} to {max:.2f})".format(**ratios(rates, loops)))
        if arguments.seed:
            large = root / "large"
            large.mkdir()
            for source in sources[:16]:
                Image.open(source).convert("RGB").resize((256, 256), Image.Resampling.LANCZOS).save(large / source.name)
            many, few = arguments.copies // 5, 12
            copies(sorted(large.iterdir()), root / "in256", many)
            rates, seeds = [], []
            for _ in range(arguments.rounds):
                for folder in ("ours256", "seed"):
                    shutil.rmtree(root / folder, ignore_errors=True)
                command = [*infer, str(root / "in256"), "--size", "256", "-o", str(root / "ours256")]
                rates.append(seconds_of(command) / many)
                seed = [
                    sys.executable,
                    "-c",
                    SEED,
                    str(arguments.seed),
                    str(root / "in256"),
                    str(root / "seed"),
                    str(few),
                ]
                seeds.append(float(subprocess.run(seed, check=True, capture_output=True, text=True).stdout) / few)
            report["size_256"] = {
                "images": many,
                "infer_images_per_s": [1 / seconds for seconds in rates],
                "seed_way": f"PyTorch eager, {arguments.seed.name}, one image at a time",
                "seed_ms_per_image": [1e3 * seconds for seconds in seeds],
                "times_the_seed_way": ratios(rates, seeds),
            }
            print(f"256x256: infer {1 / statistics.median(rates):.1f} images/s", end="; ")
            print(f"the seed's way {1e3 * statistics.median(seeds):.0f} ms per image: infer is", end=" ")
            print("{median:.1f} times as fast ({min:.1f} to {max:.1f})".format(**ratios(rates, seeds)))
    if arguments.output:
        arguments.output.write_text(json.dumps(report, indent=2) + "\n")


if __name__ == "__main__":
    main()
