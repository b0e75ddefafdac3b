"""`polyexport infer` over a folder beside competent loops, as whole processes in turn.

    python benchmarks/throughput.py [IMAGES] [--model artifacts/small-int8.onnx] [--copies 5000] [--rounds 5] \\
        [--size 128 --size 256 --size 512] [--provider cpu --provider openvino] [--output FILE.json]

The rivals are in `benchmarks/rivals/`: a pool of threads around ONNX Runtime for the provider `cpu`, OpenVINO's
asynchronous queue for `openvino`. Each program runs once without being counted, and then in every round, in an order
that alternates, into a new folder. Interpreter start, model loading and every file operation count; for `infer` also
the syncing of every file and of the journal, and the exact edges that it draws around a fill, which the loops do not.

The loops give every picture to the network at its own size. `infer` first gives it a far smaller one where the model's
result is a fill, and one of at most the training size where that leaves a doubt; the edges come from the ink of the
whole drawing. So every size is also run with `infer --size N`, in which the network has the same work as in the loop.

IMAGES is a folder of drawings, at any depth, which are scaled to each size; without it, drawings are generated. They
are copied until there are as many as asked. The ratio is of times, in pairs of one round, with a confidence interval of
95 %; above 1, `infer` is the faster one. Results that are more than a few levels apart are not recorded: one of the
programs has done something else.

5,000 pictures of 512x512 take hours. Sizes can be recorded one by one, with a file each; `benchmarks/tables.py` shows
all files `results/throughput_*.json` together.
"""

import argparse
import json
import shutil
import sys
import tempfile
from collections.abc import Sequence
from dataclasses import asdict, replace
from pathlib import Path

from PIL import Image

from polyexport.bench.document import Compared
from polyexport.bench.environment import environment
from polyexport.bench.inputs import write_drawings
from polyexport.bench.programs import Program, infer_program
from polyexport.bench.race import Race
from polyexport.model.file import read_contract
from polyexport.runtime.cores import granted_cores

COLOR = "#ff8800"
MOST_LEVELS_APART = 8.0
RIVALS = Path(__file__).parent / "rivals"
LOOPS = {"cpu": "onnxruntime_pool.py", "openvino": "openvino_queue.py"}
VERSION = 1
"""Version of the record, which `benchmarks/tables.py` reads."""


def pictures(images: Path | None, size: int, count: int, root: Path) -> Path:
    """A folder of as many pictures of one size as asked, each source in turn."""
    scaled = root / f"scaled-{size}"
    if images is None:
        write_drawings(scaled, size)
    else:
        scaled.mkdir()
        for number, path in enumerate(sorted(images.rglob("*.png"))):
            image = Image.open(path).convert("RGB")
            if image.size != (size, size):
                image = image.resize((size, size), Image.Resampling.LANCZOS)
            image.save(scaled / f"{number:06}.png")
    sources = sorted(scaled.iterdir())
    if not sources:
        raise SystemExit(f"{images} holds no PNG files")
    folder = root / f"in-{size}"
    folder.mkdir()
    for number in range(count):
        shutil.copy(sources[number % len(sources)], folder / f"{number:06}.png")
    return folder


def loop(provider: str) -> Program:
    """The command of the rival for a provider."""
    script = str(RIVALS / LOOPS[provider])
    words: tuple[str, ...] = ("{input}", "{output}", "{model}", "--color", "{color}")
    words += ("--workers", str(granted_cores()))  # fewer than the loop sees, in a container with a quota
    return Program(
        name=LOOPS[provider],
        words=(sys.executable, script, *words),
        shown=" ".join(("python", f"benchmarks/rivals/{LOOPS[provider]}", *words)),
    )


def show(size: int, provider: str, compared: Sequence[Compared]) -> None:
    """Print one run, and end the program if its results are not to be recorded."""
    for one in compared:
        if one.failure:
            raise SystemExit(f"{one.name}: {one.failure}")
        rates = [1e3 / ms for ms in one.block_ms]
        print(
            f"{size} px, {provider}, {one.name}: {min(rates):.1f} to {max(rates):.1f} images/s, {one.cpu_ms:.2f} "
            f"CPU ms; time over infer's {one.ratio or 1}; mean difference {one.mean_difference} levels",
            flush=True,
        )
        if one.mean_difference is None or one.mean_difference > MOST_LEVELS_APART:
            raise SystemExit(f"the results of {one.name} are not those of infer")


def main() -> None:
    """Measure, print, and record if asked."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("images", type=Path, nargs="?")
    parser.add_argument("--model", type=Path, default=RIVALS.parents[1] / "artifacts" / "small-int8.onnx")
    parser.add_argument("--provider", action="append", choices=LOOPS, help="both by default")
    parser.add_argument("--size", type=int, action="append", help="128, 256 and 512 by default")
    parser.add_argument("--copies", type=int, default=5000)
    parser.add_argument("--rounds", type=int, default=5)
    parser.add_argument("--output", type=Path)
    given = parser.parse_args()
    contract = read_contract(given.model.read_bytes())
    runs: list[dict[str, object]] = []
    report = {
        "throughput": VERSION,
        "environment": asdict(environment()),
        "model": given.model.name,
        "images": given.copies,
        "rounds": given.rounds,
        "runs": runs,
    }
    for size in given.size or [128, 256, 512]:
        if size % contract.size_multiple:
            raise SystemExit(f"the network cannot take size {size}: give a multiple of {contract.size_multiple}")
        with tempfile.TemporaryDirectory() as temporary:
            root = Path(temporary)
            source = pictures(given.images, size, given.copies, root)
            for provider in given.provider or LOOPS:
                scratch = root / provider
                scratch.mkdir()
                race = Race(
                    pictures=source,
                    values={"model": str(given.model.resolve()), "color": COLOR},
                    scratch=scratch,
                    rounds=given.rounds,
                    timeout_s=3600.0,
                )
                others = [loop(provider)]
                rule = contract.canvas_rule()
                if rule.first_look or size > rule.size:
                    whole = infer_program(provider=provider, color=True, size=size)
                    others.insert(0, replace(whole, name=f"infer --size {size}"))
                compared = race.run(infer_program(provider=provider, color=True), others)
                show(size, provider, compared)
                runs.append({"size": size, "provider": provider, "compared": [asdict(one) for one in compared]})
        if given.output:  # after each size: a run takes hours
            given.output.write_text(json.dumps(report, indent=1) + "\n")


if __name__ == "__main__":
    main()
