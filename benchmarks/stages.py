"""CPU time of each stage of `polyexport infer` alone, and the rate that these cores would give if nothing else cost.

    python benchmarks/stages.py IMAGES --model small-int8.onnx [--provider cpu --provider openvino] [--size 128] \\
        [--rounds 3] [--output FILE.json]

IMAGES is a folder of drawings, at any depth. The stages are: read and decode, infer (as many images a call as `infer`
takes), encode, stage and commit. The bound is the number of cores divided by the CPU time of all stages for an image.
It is given twice: with `infer` measured in one thread while the other cores are idle, and as it runs, with a call on
every core, where it costs more.
"""

import argparse
import hashlib
import json
import shutil
import statistics
import tempfile
import time
from collections.abc import Callable, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import asdict
from pathlib import Path

from polyexport.bench.environment import environment
from polyexport.imaging.codecs.png import encode_png
from polyexport.imaging.pixels import decode
from polyexport.model.loading.load import load_model
from polyexport.model.model import Model
from polyexport.model.settings import setting_from
from polyexport.pipeline.outputs.disk import OutputFolder, UnpublishedOutput
from polyexport.pipeline.outputs.journal import Record

COLOR = "#ff8800"
ALL_CORES = "infer, a call on every core"


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


def main() -> None:
    """Measure, print, and record if asked."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("images", type=Path)
    parser.add_argument("--model", type=Path, required=True)
    parser.add_argument("--provider", action="append", help="several are measured in turn; cpu by default")
    parser.add_argument("--size", type=int, default=128)
    parser.add_argument("--rounds", type=int, default=3)
    parser.add_argument("--output", type=Path)
    given = parser.parse_args()
    files, cores = sorted(given.images.rglob("*.png")), environment().cores_granted
    models = {name: load_model(given.model, provider=name, threads=1) for name in given.provider or ["cpu"]}
    costs: dict[str, list[dict[str, float]]] = {name: [] for name in models}
    with tempfile.TemporaryDirectory() as root:
        for _ in range(given.rounds):
            for name, model in models.items():
                costs[name].append(stages(files, model, Path(root), given.size))
    report: dict[str, object] = {"environment": asdict(environment()), "model": given.model.name, "size": given.size}
    for name, rounds in costs.items():
        stage_ms = {stage: statistics.median(cost[stage] for cost in rounds) for stage in rounds[0]}
        bounds = {
            kind: 1e3 * cores / (sum(stage_ms.values()) - stage_ms[without])
            for kind, without in (("infer", ALL_CORES), (ALL_CORES, "infer"))
        }
        report[name] = {"stage_cpu_ms": stage_ms, "bound_images_per_s": bounds}
        print(f"{name}: " + ", ".join(f"{stage} {value:.3f} ms" for stage, value in stage_ms.items()))
        print("  at most " + ", ".join(f"{rate:.1f} images/s ({kind})" for kind, rate in bounds.items()))
    if given.output:
        given.output.write_text(json.dumps(report, indent=2) + "\n")


if __name__ == "__main__":
    main()
