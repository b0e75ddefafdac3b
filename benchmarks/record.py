"""Measure models at several sizes with `polyexport bench`, beside other ways, and keep the reports.

    python benchmarks/record.py small.onnx=small.safetensors base-int8.onnx=base.safetensors \
        [--provider auto] [--size 128 --size 256] [--seconds 1] [--attempts 3] [--machine xeon-amx-2core] \
        [--output benchmarks/results]

Each MODEL=CHECKPOINT is a model file and what it was exported from. The same command with `--provider cuda` records the
same files on a machine with a GPU. A file is named model-size_precision_provider_machine_date.json;
`benchmarks/tables.py` makes the README's table of those of one machine and date.
"""

import argparse
import datetime
import json
import re
import subprocess
import sys
from pathlib import Path

CONTENDERS = "torch,torch-compile,openvino,onnxruntime-loop"


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
    scratch = arguments.output / "recording.json"
    for model, _, checkpoint in (pair.partition("=") for pair in arguments.models):
        for size in arguments.size or [128, 256]:
            command = [sys.executable, "-m", "polyexport.cli.main", "bench", "latency", "throughput", "--model", model]
            command += ["--size", str(size), "--seconds", str(arguments.seconds), "--provider", arguments.provider]
            command += ["--compare", CONTENDERS, "--checkpoint", checkpoint, "--target-ms", "1e9", "--quiet"]
            for _ in range(arguments.attempts):
                done = subprocess.run([*command, "--output", str(scratch)], check=False)
                if done.returncode not in (0, 7):  # 7: a figure was UNSTABLE
                    raise SystemExit(done.returncode)
                report = json.loads(scratch.read_text())
                if all(row["stable"] for row in report["rows"]) and all(one["p50_ms"] for one in report["compared"]):
                    break
            machine = arguments.machine or re.sub(r"\W+", "-", report["environment"]["cpu"]).strip("-").lower()
            precision, provider = report["model"]["precision"], report["model"]["execution_provider"]
            name = re.sub(f"-{precision}$", "", Path(model).stem)
            runtime = provider.removesuffix("ExecutionProvider").lower()
            target = arguments.output / f"{name}-{size}_{precision}_{runtime}_{machine}_{date}.json"
            scratch.rename(target)
            print(target, flush=True)


if __name__ == "__main__":
    main()
