"""Speed and losses of Ray beside the engine of one machine: `python benchmarks/cluster.py` writes results/cluster.json.

Two machines are simulated on this one, with a core each. 5,000 drawings are colored by the local engine, by the
cluster, by the cluster with an actor killed on the way, and by the cluster with a machine taken out; each time every
image must be reported once, and the tree of outputs must have the same hash.
"""

import hashlib
import json
import os
import signal
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable
from dataclasses import asdict
from pathlib import Path
from typing import Any

import numpy as np
from PIL import Image

from polyexport.bench.environment import environment
from polyexport.data.drawings import draw

COUNT = 5000
TIME_LIMIT_S = 300
RESULTS = Path(__file__).parent / "results" / "cluster.json"


def tree_hash(folder: Path) -> str:
    """SHA-256 of the names and bytes of all outputs."""
    total = hashlib.sha256()
    for path in sorted(folder.rglob("*.png")):
        total.update(f"{path.relative_to(folder)} {hashlib.sha256(path.read_bytes()).hexdigest()}\n".encode())
    return total.hexdigest()


def infer(inputs: Path, output: Path, *options: str, meanwhile: Callable[[], None] = lambda: None) -> dict[str, Any]:
    """Run the command once, and return its report."""
    command = [sys.executable, "-m", "polyexport.cli.main", "infer", str(inputs), "--color", "tomato", "--json"]
    started = time.monotonic()
    with subprocess.Popen(
        [*command, "-o", str(output), "--provider", "cpu", *options], stdout=subprocess.PIPE, text=True
    ) as process:
        while process.poll() is None and len(list((output / ".polyexport").glob("tmp-*"))) < 50 and "ray" in options:
            time.sleep(0.02)
        meanwhile()
        rows = [json.loads(line) for line in process.communicate()[0].splitlines()]
    images, run = rows[:-1], rows[-1]
    return {
        "exit_code": process.returncode,
        "reported": len(images),
        "reported_once": len({row["name"] for row in images}),
        "ok": run["ok"],
        "images_per_s": run["images_per_s"],
        "command_s": time.monotonic() - started,
        "tree_sha256": tree_hash(output),
        "temporary_files": len(list(output.rglob("tmp-*"))),
    }


def main() -> None:
    """Run all four, print and write the results."""
    os.environ["RAY_USAGE_STATS_ENABLED"] = "0"
    from ray.cluster_utils import Cluster

    results: dict[str, Any] = {}
    with tempfile.TemporaryDirectory() as name:
        root = Path(name)
        (root / "in").mkdir()
        for number in range(COUNT):
            Image.fromarray(draw(np.random.default_rng(number), 128).image).save(root / "in" / f"{number:04}.png")
        results["local"] = infer(root / "in", root / "local")
        for case in ("ray", "actor killed", "machine removed"):
            cluster = Cluster(initialize_head=True, head_node_args={"num_cpus": 1, "include_dashboard": False})
            second = cluster.add_node(num_cpus=1)
            cluster.wait_for_nodes()

            def kill() -> None:
                found = subprocess.run(["pgrep", "-f", "ray::Worker"], check=True, capture_output=True, text=True)
                os.kill(int(found.stdout.split()[0]), signal.SIGKILL)

            def remove(cluster: Any = cluster, second: Any = second) -> None:
                cluster.remove_node(second, allow_graceful=False)

            losses = {"actor killed": kill, "machine removed": remove}
            options = ("--engine", "ray", "--ray-address", cluster.address, "--time-limit", str(TIME_LIMIT_S))
            results[case] = infer(root / "in", root / case, *options, meanwhile=losses.get(case, lambda: None))
            cluster.shutdown()
    for case, result in results.items():
        result["same_bytes"] = result["tree_sha256"] == results["local"]["tree_sha256"]
        print(case, json.dumps(result))
    record = {"images": COUNT, "time_limit_s": TIME_LIMIT_S, "environment": asdict(environment()), "runs": results}
    RESULTS.write_text(json.dumps(record, indent=2) + "\n")


if __name__ == "__main__":
    main()
