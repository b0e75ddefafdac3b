"""Every precision of a network beside its fp32 graph: parity, quality, size, speed, and whether its bytes repeat.

    python benchmarks/precisions.py CHECKPOINT... [--data DIR ...] [--per-split 100] [--rounds 31] [--output F.json]

Each precision is exported twice, each time in a process of its own, and the SHA-256 of both files are compared. Quality
is the mean PSNR on the data sets DIR and on generated drawings of every split. Speed is that of a call at 128x128,
fp32 and the precision in turn in one process, at batch 1 and 8: the median of the rounds' ratios, and their spread.
"""

import argparse
import json
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
from polyexport.contract import COLORED, IMAGE_INPUT
from polyexport.dataset import read_pairs
from polyexport.evaluate.metrics import psnr_db
from polyexport.evaluate.predict import predict
from polyexport.export.speed import compare_speed
from polyexport.model import Model, load_model
from trainer.polygons import SPLITS, draw

PRECISIONS = ("fp32", "fp16", "int8")
SEED = 4


def exported(checkpoint: Path, precision: str, output: Path) -> dict[str, Any]:
    """Export in a process of its own and return its report."""
    command = [sys.executable, "-m", "polyexport.cli.main", "export", str(checkpoint), "-o", str(output), "--json"]
    done = subprocess.run([*command, "--precision", precision], check=True, stdout=subprocess.PIPE, text=True)
    report: dict[str, Any] = json.loads(done.stdout)
    return report


def summary(psnr: Sequence[float]) -> dict[str, float]:
    """Mean and least."""
    return {"mean_db": round(float(np.mean(psnr)), 2), "min_db": round(min(psnr), 2), "images": len(psnr)}


def quality(model: Model, data: Sequence[Path], per_split: int) -> dict[str, dict[str, float]]:
    """PSNR against the true images, by data set and by split."""
    scores = {}
    for folder in data:
        psnr = [psnr_db(one.colored, one.pixels.colored) for one in predict(model, read_pairs(folder))]
        scores[folder.name] = summary(psnr)
    for split, config in SPLITS.items():
        psnr = []
        for number in range(per_split):
            drawing = draw(np.random.default_rng([SEED, number]), model.contract.training_size, config)
            colored = model.run(drawing.image[None], np.array([drawing.color], np.uint8))[0]
            psnr.append(psnr_db(colored, drawing.colored))
        scores[split] = summary(psnr)
    return scores


def speeds(fp32: Path, other: Path, size: int, rounds: int) -> dict[str, dict[str, float]]:
    """By batch size."""
    found = {}
    for batch in (1, 8):
        drawing = draw(np.random.default_rng(SEED), size)
        feeds: Mapping[str, NDArray[Any]] = {
            IMAGE_INPUT: np.repeat(drawing.image[None], batch, axis=0),
            "color": np.repeat(np.array([drawing.color], np.uint8), batch, axis=0),
        }
        assert load_model(other, provider="cpu").session.run(COLORED, feeds).shape[0] == batch
        speed = compare_speed(onnx.load(fp32), onnx.load(other), feeds, "cpu", rounds=rounds, seconds=120)
        found[f"batch {batch}"] = {
            "fp32_ms": round(speed.fp32_ms, 3),
            "ms": round(speed.candidate_ms, 3),
            "ratio": round(speed.ratio, 3),
            "ratio_quartiles": [round(value, 3) for value in speed.ratio_quartiles],
        }
    return found


def main() -> None:
    """Export, measure, print, and record if asked."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("checkpoints", type=Path, nargs="+")
    parser.add_argument("--data", type=Path, action="append", default=[])
    parser.add_argument("--per-split", type=int, default=100)
    parser.add_argument("--rounds", type=int, default=31)
    parser.add_argument("--output", type=Path)
    arguments = parser.parse_args()
    rows = []
    with tempfile.TemporaryDirectory() as folder:
        for checkpoint in arguments.checkpoints:
            files = {precision: Path(folder, f"{checkpoint.stem}-{precision}.onnx") for precision in PRECISIONS}
            for precision, file in files.items():
                report = exported(checkpoint, precision, file)
                again = exported(checkpoint, precision, file.with_suffix(".again.onnx"))
                model = load_model(file, provider="cpu")
                final = report["parity"]["stages"][-1]
                row = {
                    "network": checkpoint.stem,
                    "precision": precision,
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
