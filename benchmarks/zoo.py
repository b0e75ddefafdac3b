"""Export networks of public packages with random weights, run them, and keep which of them succeed.

    python benchmarks/zoo.py spandrel [NAME ...] [--output benchmarks/results/zoo_spandrel.json]
    python benchmarks/zoo.py masks [NAME ...]

`spandrel` writes a file of weights of every architecture of spandrel, as its project saves it, and gives `polyexport
export` that file alone; `masks` gives networks of segmentation-models-pytorch and monai by their import paths, which
needs `pip install 'polyexport[zoo]'`. Each model file then runs on two pictures with `polyexport infer`. Commands run
in processes of their own, forked from one that has imported torch. With names, the rows of these are renewed in the
file of results. `benchmarks/tables.py` makes tables of it.
"""

import argparse
import json
import multiprocessing
import os
import re
import sys
import tempfile
import time
from dataclasses import asdict, dataclass
from pathlib import Path

import numpy as np
from PIL import Image

SERVER = multiprocessing.get_context("forkserver")
SERVER.set_forkserver_preload(["torch.onnx", "torch._dynamo", "onnxscript", "onnxsim", "polyexport.export.source.load"])

ROOT = Path(__file__).parents[1]
RESULTS = ROOT / "benchmarks" / "results"
LIMIT_S = 1800

sys.path.insert(0, str(ROOT / "tests" / "networks"))


@dataclass(frozen=True, kw_only=True)
class Done:
    """How a command ended."""

    code: int
    errors: str


@dataclass(kw_only=True)
class Row:
    name: str
    exported: bool = False
    inferred: bool = False
    reason: str = ""
    takes: str = ""
    gives: str = ""
    sizes: str = ""
    batch_one: bool = False
    max_abs_diff: float | None = None
    nodes: int = 0
    export_s: float = 0


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("packages", choices=("spandrel", "masks"))
    parser.add_argument("names", nargs="*")
    parser.add_argument("--output", type=Path)
    parser.add_argument("--keep", type=Path, metavar="DIR", help="keep files and models, and do not export these again")
    arguments = parser.parse_args()
    output = arguments.output or RESULTS / f"zoo_{arguments.packages}.json"
    rows = {row["name"]: row for row in json.loads(output.read_text())} if output.exists() else {}
    for name in arguments.names or names_of(arguments.packages):
        with tempfile.TemporaryDirectory() as temporary:
            folder = arguments.keep / name if arguments.keep else Path(temporary)
            folder.mkdir(parents=True, exist_ok=True)
            row = tried(arguments.packages, name, folder)
        rows[name] = asdict(row)
        output.write_text(json.dumps([rows[key] for key in sorted(rows, key=str.lower)], indent=1) + "\n")
        print(
            f"{name}: {'exported' if row.exported else 'refused'}, {'ran' if row.inferred else 'not run'} {row.reason}",
            flush=True,
        )
    ran = sum(row["inferred"] for row in rows.values())
    print(f"{ran} of {len(rows)} are exported and run; the file is {output}")


def names_of(packages: str) -> list[str]:
    if packages == "spandrel":
        from spandrel_files import ARCHITECTURES

        return [each.name for each in ARCHITECTURES]
    from mask_networks import MASK_NETWORKS

    return [each.name for each in MASK_NETWORKS]


def source_of(packages: str, name: str, folder: Path) -> list[str]:
    """Write the file of weights of a network, and return what `polyexport export` is given for it."""
    if packages == "spandrel":
        from spandrel_files import ARCHITECTURES, write_file

        return [str(write_file(next(each for each in ARCHITECTURES if each.name == name), folder))]
    from mask_networks import MASK_NETWORKS, options, write_weights

    network = next(each for each in MASK_NETWORKS if each.name == name)
    return options(network, write_weights(network, folder / f"{name}.pth"))


def tried(packages: str, name: str, folder: Path) -> Row:
    row = Row(name=name)
    model, pictures, masks = folder / "model.onnx", folder / "pictures", folder / "masks"
    start = time.perf_counter()
    if not model.exists():
        made = polyexport("export", *source_of(packages, name, folder), "-o", str(model), "--quiet")
        row.export_s = round(time.perf_counter() - start, 1)
        if made.code:
            row.reason = last_line(made.errors)
            return row
    row.exported = True
    from polyexport.model.file import peek_contract

    contract = peek_contract(model)
    row.max_abs_diff, row.nodes = contract.parity.final.max_abs_diff, contract.parity.final.nodes
    kinds = [f"{fields.kind} {fields.name}" for fields in contract.conditions]
    row.takes = ", ".join([f"{contract.image_channels} channels", *kinds])
    row.gives = f"{contract.result.channels} channels, x{contract.result.scale}"
    row.batch_one = contract.batch_one
    if contract.fixed_shape is not None:
        row.sizes = f"{contract.fixed_shape[1]}x{contract.fixed_shape[0]}"
    else:
        row.sizes = f"multiples of {contract.size_multiple}" if contract.size_multiple > 1 else "all"
        row.sizes += f" from {contract.smallest_size}" if contract.smallest_size > 1 else ""
    draw(pictures, masks)
    second = ["--with", f"mask={masks}"] if any(fields.kind == "image" for fields in contract.conditions) else []
    ran = polyexport("infer", str(pictures), "--model", str(model), "-o", str(folder / "made"), "--overwrite", *second)
    if ran.code:
        row.reason = last_line(ran.errors)
        return row
    for drawn in sorted(pictures.iterdir()):
        found = list((folder / "made").rglob(f"{drawn.stem}.png"))
        if len(found) != 1:
            row.reason = f"{len(found)} results of {drawn.name}"
            return row
        with Image.open(drawn) as before, Image.open(found[0]) as after:
            wanted = tuple(int(side * contract.result.ratio) for side in before.size)
            if after.size != wanted:
                row.reason = f"a result of {after.size} for a picture of {before.size}"
                return row
    row.inferred = True
    return row


def draw(pictures: Path, masks: Path) -> None:
    """Write two pictures of different sizes, and a mask for each."""
    for folder in (pictures, masks):
        folder.mkdir(exist_ok=True)
    for number, (height, width) in enumerate(((50, 66), (64, 64))):
        rows, columns = np.mgrid[:height, :width]
        picture = np.stack([rows * 255 // height, columns * 255 // width, (rows + columns) % 256], axis=2)
        Image.fromarray(picture.astype(np.uint8)).save(pictures / f"{number}.png")
        inside = (abs(rows - height // 2) < 10) & (abs(columns - width // 2) < 12)
        Image.fromarray((inside * 255).astype(np.uint8)).save(masks / f"{number}.png")


def polyexport(*words: str) -> Done:
    """Run a command of polyexport in a process of its own, and return how it ended."""
    with tempfile.NamedTemporaryFile("w+") as errors:
        process = SERVER.Process(target=command, args=(words, errors.name))
        process.start()
        process.join(LIMIT_S)
        if process.exitcode is None:
            process.kill()
            process.join()
            return Done(code=1, errors=f"not done after {LIMIT_S} s")
        return Done(code=process.exitcode, errors=errors.read())


def command(words: tuple[str, ...], errors: str) -> None:
    from polyexport.cli.main import main

    with Path(errors).open("w") as file:
        os.dup2(file.fileno(), 2)
        sys.stderr = file
        sys.argv = ["polyexport", *words]
        main()


def last_line(text: str) -> str:
    """Return the error of a command, without the paths of this run."""
    lines = [line for line in text.splitlines() if line.strip()]
    return re.sub(r"/\S*/", "", lines[-1].removeprefix("error: "))[:400] if lines else "no word of it"


if __name__ == "__main__":
    main()
