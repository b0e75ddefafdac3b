"""`polyexport infer` over a folder, beside its bound, a plain loop, and PyTorch eager, one image at a time.

    python benchmarks/throughput.py IMAGES --model small-int8.onnx --copies 5000 --rounds 3 \\
        [--provider cpu --provider openvino] [--eager base.safetensors] [--output FILE.json]

IMAGES is a folder of 128x128 drawings, at any depth; its files are copied until there are as many as asked. The
programs run in turn, each as a process of its own, so interpreter start, model loading and every file operation count;
for `infer` also the syncing of every file and of the journal. Every round compares the outputs with the loop's: equal
pixels on the provider `cpu`, and elsewhere less than half a level on average, or no figure.

The bound is what these cores could give if nothing but the stages cost anything: cores divided by the CPU time that
the stages take per image, each measured alone, before and after the run: read and decode, infer (as many images a call
as `infer` takes), encode, stage and commit. It is given twice: with `infer` measured in one thread while the other
cores are idle, and as it runs, with a call on every core, where it costs more.

The loop opens each image with Pillow, runs ONNX Runtime with its default options and saves with Pillow. PyTorch
runs eagerly on one 256x256 image at a time, with Pillow; only its loop is timed, without the import of torch, and it
gets few images, because it is slow. `infer` gets the same images, more of them, at --size 256.
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
from concurrent.futures import ThreadPoolExecutor
from dataclasses import asdict
from pathlib import Path

import numpy as np
from PIL import Image

from polyexport.bench.environment import environment
from polyexport.imaging.codecs.png import encode_png
from polyexport.imaging.pixels import decode
from polyexport.model.loading.load import load_model
from polyexport.model.model import Model
from polyexport.model.settings import setting_from
from polyexport.pipeline.outputs.disk import OutputFolder, UnpublishedOutput
from polyexport.pipeline.outputs.journal import Record

COLOR = "#ff8800"
MAX_DIFFERENCE = 0.5
ALL_CORES = "infer, a call on every core"

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

EAGER = """
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


def all_cores_ms(work: Callable[[int], object], count: int) -> float:
    """As ``cpu_ms``, of as many threads at a time as there are cores."""
    cores = environment().cores_granted
    with ThreadPoolExecutor(cores) as pool:
        return cpu_ms(lambda _: list(pool.map(work, range(count))), 1) / count


def stages(files: Sequence[Path], model: Model, root: Path, size: int) -> dict[str, float]:
    """CPU milliseconds per image of each stage, alone."""
    canvas_rule = model.contract.canvas_rule(size)
    canvases = [canvas_rule.place(decode(path.read_bytes()).pixels) for path in files[:64]]
    setting = setting_from(model.conditions, {model.color_condition.name: COLOR})
    count = min(len(canvases), model.session.images_per_call)
    calls = [canvases[first : first + count] for first in range(0, len(canvases) - count + 1, count)]
    outputs = [model.run_canvases([one], [setting])[0] for one in canvases]
    pngs = [encode_png(canvas.restore(output)) for canvas, output in zip(canvases, outputs, strict=True)]
    many = len(canvases)

    def read(number: int) -> None:
        data = files[number % len(files)].read_bytes()
        hashlib.sha256(data)
        canvas_rule.place(decode(data).pixels)

    def encode(number: int) -> None:
        hashlib.sha256(encode_png(canvases[number % many].restore(outputs[number % many])))

    def infer(number: int) -> None:
        model.run_canvases(calls[number % len(calls)], [setting] * count)

    shutil.rmtree(root / "stages", ignore_errors=True)
    with OutputFolder(root / "stages") as folder:
        written = 0

        def write(_: int) -> None:
            nonlocal written
            group = []
            for png in pngs[:32]:
                name = folder.stage(png)
                group.append(UnpublishedOutput(f"red/{written}.png", Record("a" * 64, "b" * 64, "c" * 64), name))
                written += 1
            folder.publish(group)

        return {
            "read and decode": cpu_ms(read, 500),
            "infer": cpu_ms(infer, 100) / count,
            ALL_CORES: all_cores_ms(infer, 200) / count,
            "encode": cpu_ms(encode, 500),
            "stage and commit": cpu_ms(write, 4) / min(32, many),
        }


def compare(ours: Path, theirs: Path, *, exact: bool) -> float:
    """Mean absolute difference of the outputs, in levels."""
    means = []
    for path in sorted(theirs.iterdir()):
        pair = (np.asarray(Image.open(one), np.int16) for one in (ours / path.name, path))
        means.append(float(np.abs(np.subtract(*pair)).mean()))
    difference = statistics.mean(means)
    if difference > (0 if exact else MAX_DIFFERENCE):
        raise SystemExit(f"the outputs of {ours.parent.name} differ from the loop's by {difference:.3f} levels")
    return difference


def copies(sources: Sequence[Path], folder: Path, count: int) -> None:
    """A folder of as many files, each source in turn."""
    folder.mkdir()
    for number in range(count):
        shutil.copy(sources[number % len(sources)], folder / f"{number:06}.png")


def spread(values: Sequence[float]) -> dict[str, float]:
    """Median, smallest and largest."""
    return {"median": statistics.median(values), "min": min(values), "max": max(values)}


def ratios(ours: Sequence[float], theirs: Sequence[float]) -> dict[str, float]:
    """Of times per image, round by round."""
    return spread([other / own for own, other in zip(ours, theirs, strict=True)])


def infer_seconds(folder: Path, output: Path, model: Path, provider: str, *options: str) -> float:
    """Wall-clock seconds of a whole run."""
    shutil.rmtree(output, ignore_errors=True)
    program = str(Path(sys.executable).with_name("polyexport"))
    command = [program, "infer", str(folder), "--color", COLOR, "--provider", provider, "-m", str(model)]
    return seconds_of([*command, "-o", str(output), "-q", *options])


def beside_the_loop(sources: Sequence[Path], arguments: argparse.Namespace, root: Path) -> dict[str, object]:
    """Rates and bounds of each provider, and of the loop, at the model's own size."""
    copies(sources, root / "in", arguments.copies)
    files, cores = sorted((root / "in").iterdir()), environment().cores_granted
    loop = [sys.executable, "-c", LOOP, str(arguments.model), str(root / "in"), str(root / "loop")]
    models = {name: load_model(arguments.model, provider=name, threads=1) for name in arguments.provider}
    loops: list[float] = []
    found: dict[str, dict[str, list[float]]] = {name: {"s": [], "difference": []} for name in models}
    costs: dict[str, list[dict[str, float]]] = {name: [] for name in models}
    for _ in range(arguments.rounds):
        shutil.rmtree(root / "loop", ignore_errors=True)
        loops.append(seconds_of(loop) / arguments.copies)
        for name, model in models.items():
            before = stages(files, model, root, model.contract.training_size)
            found[name]["s"].append(infer_seconds(root / "in", root / name, arguments.model, name) / arguments.copies)
            after = stages(files, model, root, model.contract.training_size)
            costs[name].append({stage: (before[stage] + after[stage]) / 2 for stage in before})
            ours = root / name / COLOR[1:]
            found[name]["difference"].append(compare(ours, root / "loop", exact=name == "cpu"))
    report: dict[str, object] = {"loop_images_per_s": [1 / seconds for seconds in loops]}
    print(f"plain loop {1 / statistics.median(loops):.1f} images/s")
    for name, values in found.items():
        rates = [1 / seconds for seconds in values["s"]]
        times = ratios(values["s"], loops)
        stage_ms = {stage: statistics.median(cost[stage] for cost in costs[name]) for stage in costs[name][0]}
        bounds: dict[str, list[float]] = {}
        parts: dict[str, dict[str, float]] = {}
        for inferring, without in (("infer", ALL_CORES), (ALL_CORES, "infer")):
            limits = [1e3 * cores / (sum(cost.values()) - cost[without]) for cost in costs[name]]
            bounds[inferring] = limits
            parts[inferring] = spread([rate / limit for rate, limit in zip(rates, limits, strict=True)])
        report[name] = {
            "stage_cpu_ms": stage_ms,
            "infer_images_per_s": rates,
            "bound_images_per_s": bounds,
            "fraction_of_bound": parts,
            "times_the_loop": times,
            "mean_difference_levels": max(values["difference"]),
        }
        print(f"{name}: " + ", ".join(f"{stage} {value:.3f} ms" for stage, value in stage_ms.items()))
        print(f"  infer {statistics.median(rates):.1f} images/s", end="; ")
        for kind, part in parts.items():
            print("{median:.3f} ({min:.3f} to {max:.3f}) of the bound".format(**part), end="")
            print("; " if kind == "infer" else " with a call on every core; ", end="")
        print("{median:.2f} ({min:.2f} to {max:.2f}) times the loop".format(**times))
    return report


def beside_eager(sources: Sequence[Path], arguments: argparse.Namespace, root: Path) -> dict[str, object]:
    """Compare `infer` with PyTorch eager, one image at a time, at 256x256."""
    large = root / "large"
    large.mkdir()
    for number, source in enumerate(sources[:16]):
        image = Image.open(source).convert("RGB").resize((256, 256), Image.Resampling.LANCZOS)
        image.save(large / f"{number}.png")
    many, few = arguments.copies // 5, 12
    copies(sorted(large.iterdir()), root / "in256", many)
    eager = [sys.executable, "-c", EAGER, str(arguments.eager), str(root / "in256"), str(root / "eager"), str(few)]
    eager_s: list[float] = []
    found: dict[str, list[float]] = {name: [] for name in arguments.provider}
    for _ in range(arguments.rounds):
        shutil.rmtree(root / "eager", ignore_errors=True)
        eager_s.append(float(subprocess.run(eager, check=True, capture_output=True, text=True).stdout) / few)
        for name, times in found.items():
            seconds = infer_seconds(root / "in256", root / "ours256", arguments.model, name, "--size", "256")
            times.append(seconds / many)
    print(f"256x256: PyTorch eager, one image at a time, {1e3 * statistics.median(eager_s):.0f} ms per image")
    for name, times in found.items():
        print(f"  {name}: infer {1e3 * statistics.median(times):.2f} ms per image", end="; ")
        print("{median:.1f} ({min:.1f} to {max:.1f}) times as fast".format(**ratios(times, eager_s)))
    return {
        "images": many,
        "eager": f"PyTorch eager, {arguments.eager.name}, one image at a time",
        "eager_ms_per_image": [1e3 * seconds for seconds in eager_s],
        **{
            name: {"infer_images_per_s": [1 / one for one in times], "times_eager": ratios(times, eager_s)}
            for name, times in found.items()
        },
    }


def main() -> None:
    """Measure, print, and record if asked."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("images", type=Path)
    parser.add_argument("--model", type=Path, required=True)
    parser.add_argument("--provider", action="append", help="several run in turn; cpu by default")
    parser.add_argument("--copies", type=int, default=5000)
    parser.add_argument("--rounds", type=int, default=3)
    parser.add_argument("--eager", type=Path, help="checkpoint for PyTorch eager, one image at a time")
    parser.add_argument("--output", type=Path)
    arguments = parser.parse_args()
    arguments.provider = arguments.provider or ["cpu"]
    sources = sorted(arguments.images.rglob("*.png"))
    report = {"environment": asdict(environment()), "model": arguments.model.name, "images": arguments.copies}
    with tempfile.TemporaryDirectory() as temporary:
        report |= beside_the_loop(sources, arguments, Path(temporary))
        if arguments.eager:
            report["size_256"] = beside_eager(sources, arguments, Path(temporary))
    if arguments.output:
        arguments.output.write_text(json.dumps(report, indent=2) + "\n")


if __name__ == "__main__":
    main()
