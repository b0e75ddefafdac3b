"""Measure models at several sizes with `polyexport bench`, beside other programs, and keep the reports.

    python benchmarks/record.py small.onnx=small.safetensors base-int8.onnx=base.safetensors \
        [--provider auto] [--size 128 --size 256] [--seconds 1] [--attempts 3] [--machine xeon-amx-2core] \
        [--output benchmarks/results]

Each MODEL=CHECKPOINT is a model file and what it was exported from. The same command with `--provider cuda` records the
same files on a machine with a GPU. A file is named model-size_precision_provider_machine_date.json,
the frontier of all models frontier_all_all_machine_date.json;
`benchmarks/tables.py` makes the README's table of those of one machine and date.
"""

import argparse
import datetime
import json
import re
import subprocess
import sys
import tempfile
from pathlib import Path
from typing import Any

CONTENDERS = "torch,torch-compile,openvino,onnxruntime-pool,openvino-queue"


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("models", nargs="+", metavar="MODEL=CHECKPOINT")
    parser.add_argument("--provider", default="auto")
    parser.add_argument("--size", type=int, action="append")
    parser.add_argument("--seconds", type=float, default=1.0)
    parser.add_argument("--attempts", type=int, default=3, help="as long as a figure is UNSTABLE")
    parser.add_argument("--machine", help="the processor's name by default")
    parser.add_argument("--output", type=Path, default=Path(__file__).parent / "results")
    arguments = parser.parse_args()
    date = datetime.datetime.now(tz=datetime.UTC).date().isoformat()
    models = [pair.partition("=")[::2] for pair in arguments.models]

    def keep(name: str, report: dict[str, Any]) -> None:
        machine = arguments.machine or re.sub(r"\W+", "-", report["environment"]["cpu"]).strip("-").lower()
        path = arguments.output / f"{name}_{machine}_{date}.json"
        path.write_text(json.dumps(report, indent=1) + "\n")
        print(path, flush=True)

    timed = ["--seconds", str(arguments.seconds)]
    for model, checkpoint in models:
        for size in arguments.size or [128, 256]:
            command = ["latency", "--model", model, "--size", str(size), "--provider", arguments.provider]
            for _ in range(arguments.attempts):
                report = bench([*command, *timed, "--compare", CONTENDERS, "--checkpoint", checkpoint])
                if all(row["stable"] for row in report["rows"]) and all(one["p50_ms"] for one in report["compared"]):
                    break
            precision, provider = report["model"]["precision"], report["model"]["execution_provider"]
            name = re.sub(f"-{precision}$", "", Path(model).stem)
            keep(f"{name}-{size}_{precision}_{provider.removesuffix('ExecutionProvider').lower()}", report)
    command = ["latency", "--model", models[0][0], "--provider", arguments.provider]
    for _ in range(arguments.attempts):
        report = bench([*command, *timed, *(word for model, _ in models for word in ("--frontier", model))])
        if all(one["image_ms"] for one in report["variants"] if not one["note"]):
            break
    keep("frontier_all_all", report)


def bench(arguments: list[str]) -> dict[str, Any]:
    """Run `polyexport bench` and return its report."""
    with tempfile.TemporaryDirectory() as folder:
        report = Path(folder) / "report.json"
        command = [sys.executable, "-m", "polyexport.cli.main", "bench", *arguments, "--target-ms", "1e9", "--quiet"]
        done = subprocess.run([*command, "--output", str(report)], check=False)
        if done.returncode not in (0, 7):  # 7: a figure was UNSTABLE
            raise SystemExit(done.returncode)
        value: dict[str, Any] = json.loads(report.read_text())
        return value


if __name__ == "__main__":
    main()
