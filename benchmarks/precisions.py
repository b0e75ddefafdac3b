"""Every precision of a network beside its fp32 graph: parity, quality, size, speed, and whether its bytes repeat.

    python benchmarks/precisions.py CHECKPOINT [--int8 "--max-loss 1.5 --amx"] [--data DIR ...] [--output F.json]

Each precision is exported twice, each time in a process of its own, and the SHA-256 of both files are compared. Quality
is the mean PSNR on the data sets DIR and on generated drawings of every split. Speed is that of a call at the training
size, fp32 and the precision in turn in one process, at batch 1 and 8: the median of the rounds' ratios and their
quartiles, with one thread a call, which is how `infer` runs a folder, and with a thread for every core.
"""

import argparse
import itertools
import json
import shlex
import subprocess
import sys
import tempfile
from collections.abc import Mapping, Sequence
from dataclasses import asdict
from pathlib import Path
from typing import Any

import numpy as np
import onnx
from numpy.typing import NDArray

from polyexport.bench.environment import environment
from polyexport.data.drawings import draw
from polyexport.data.pairs import read_pairs
from polyexport.data.splits import SPLITS
from polyexport.evaluate.predict import predict
from polyexport.export.proof.speed import compare_speed
from polyexport.imaging.psnr import psnr_db
from polyexport.model.contract import COLORED, IMAGE_INPUT
from polyexport.model.loading.load import load_model
from polyexport.model.model import Model
from polyexport.runtime.cores import granted_cores

PRECISIONS = ("fp32", "fp16", "int8")
SEED = 4


def exported(checkpoint: Path, options: Sequence[str], output: Path) -> dict[str, Any]:
    """Export in a process of its own and return its report."""
    command = [
        sys.executable,
        "-m",
        "polyexport.cli.main",
        "export",
        str(checkpoint),
        "-o",
        str(output),
        "--json",
        "-q",
    ]
    done = subprocess.run([*command, *options], check=True, stdout=subprocess.PIPE, text=True)
    report: dict[str, Any] = json.loads(done.stdout)
    return report


def summary(psnr: Sequence[float]) -> dict[str, float]:
    """Mean and smallest value."""
    return {"mean_db": round(float(np.mean(psnr)), 2), "min_db": round(min(psnr), 2), "images": len(psnr)}


def quality(model: Model, data: Sequence[Path], per_split: int) -> dict[str, dict[str, float]]:
    """Mean PSNR against the targets, by data set and by split."""
    scores = {}
    for folder in data:
        psnr = [psnr_db(one.colored, one.pixels.colored) for one in predict(model, read_pairs(folder))]
        scores[folder.name] = summary(psnr)
    for split in SPLITS.values():
        psnr = []
        for number in range(per_split):
            drawing = draw(np.random.default_rng([SEED, number]), model.contract.training_size, split.drawings)
            colored = model.run(drawing.image[None], np.array([drawing.color], np.uint8))[0]
            psnr.append(psnr_db(colored, drawing.colored))
        scores[split.name] = summary(psnr)
    return scores


def speeds(fp32: Path, other: Path, size: int, rounds: int) -> dict[str, dict[str, Any]]:
    """Speed over fp32, by threads and batch size."""
    found = {}
    for threads, batch in itertools.product((1, granted_cores()), (1, 8)):
        drawing = draw(np.random.default_rng(SEED), size)
        feeds: Mapping[str, NDArray[Any]] = {
            IMAGE_INPUT: np.repeat(drawing.image[None], batch, axis=0),
            "color": np.repeat(np.array([drawing.color], np.uint8), batch, axis=0),
        }
        assert load_model(other, provider="cpu").session.run(COLORED, feeds).shape[0] == batch
        speed = compare_speed(
            onnx.load(fp32), onnx.load(other), feeds, "cpu", threads=threads, rounds=rounds, seconds=60
        )
        found[f"{threads} threads, batch {batch}"] = {
            "fp32_ms": round(speed.fp32_ms, 3),
            "ms": round(speed.candidate_ms, 3),
            "ratio": round(speed.ratio, 3),
            "ratio_quartiles": [round(value, 3) for value in speed.ratio_quartiles],
        }
    return found


def main() -> None:
    """Export, measure, print, and record if asked."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("checkpoint", type=Path)
    parser.add_argument("--int8", default="", help="further options of its export")
    parser.add_argument("--data", type=Path, action="append", default=[])
    parser.add_argument("--per-split", type=int, default=100)
    parser.add_argument("--rounds", type=int, default=31)
    parser.add_argument("--output", type=Path)
    arguments = parser.parse_args()
    rows = []
    with tempfile.TemporaryDirectory() as folder:
        files = {precision: Path(folder, f"{precision}.onnx") for precision in PRECISIONS}
        for precision, file in files.items():
            options = ["--precision", precision, *(shlex.split(arguments.int8) if precision == "int8" else [])]
            report = exported(arguments.checkpoint, options, file)
            again = exported(arguments.checkpoint, options, file.with_suffix(".again.onnx"))
            model = load_model(file, provider="cpu")
            final = report["parity"]["stages"][-1]
            row = {
                "network": arguments.checkpoint.stem,
                "options": " ".join(options),
                "nodes_traced": report["nodes_before"],
                "nodes_simplified": report["nodes_after"],
                "nodes": final["nodes"],
                "size_bytes": report["size_bytes"],
                "sha256": report["sha256"],
                "sha256_equal": report["sha256"] == again["sha256"],
                "parity": final,
                "psnr": quality(model, arguments.data, arguments.per_split),
            }
            if precision != "fp32":
                row["speed"] = speeds(files["fp32"], file, model.contract.training_size, arguments.rounds)
            print(json.dumps(row), flush=True)
            rows.append(row)
    if arguments.output:
        document = {"environment": asdict(environment()), "rounds": arguments.rounds, "rows": rows}
        arguments.output.write_text(json.dumps(document, indent=2) + "\n")


if __name__ == "__main__":
    main()
