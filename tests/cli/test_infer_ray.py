"""A plan on a cluster of two machines, simulated on this one; machines and actors that are lost on the way."""

import json
import os
import signal
import socket
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from PIL import Image

from polyexport.data.drawings import draw

Cli = Callable[..., subprocess.CompletedProcess[str]]

IMAGES = 400

# A process of its own: Ray starts threads and servers, and leaves some of them behind.
CLUSTER = """
import sys
from ray.cluster_utils import Cluster
cluster = Cluster(initialize_head=True, head_node_args={"num_cpus": 1, "include_dashboard": False})
second = cluster.add_node(num_cpus=1)
cluster.wait_for_nodes()
print(cluster.address, flush=True)
for line in sys.stdin:
    cluster.remove_node(second, allow_graceful=False)
    print("removed", flush=True)
cluster.shutdown()
"""


@pytest.fixture
def cluster() -> Iterator[subprocess.Popen[str]]:
    environment = os.environ | {"RAY_USAGE_STATS_ENABLED": "0"}
    command = [sys.executable, "-c", CLUSTER]
    with subprocess.Popen(
        command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, stderr=subprocess.DEVNULL, text=True, env=environment
    ) as process:
        yield process
        process.communicate(timeout=60)


@pytest.fixture(scope="module")
def many(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("many") / "in"
    folder.mkdir()
    for number in range(IMAGES):
        Image.fromarray(draw(np.random.default_rng(number), 128).image).save(folder / f"{number:04}.png")
    (folder / "bad.png").write_text("no picture")
    return folder


def pictures(folder: Path) -> dict[str, bytes]:
    return {str(path.relative_to(folder)): path.read_bytes() for path in folder.rglob("*.png")}


def actors() -> list[int]:
    found = subprocess.run(["pgrep", "-f", "ray::Worker"], capture_output=True, text=True).stdout
    return [int(pid) for pid in found.split()]


@pytest.mark.skipif(sys.platform != "linux", reason="kills processes by their names")
@pytest.mark.slow
def test_lost_actors_and_machines_cost_no_image(
    cli: Cli, cluster: subprocess.Popen[str], many: Path, tmp_path: Path
) -> None:
    assert cluster.stdin is not None
    assert cluster.stdout is not None
    arguments = ("infer", many, "--color", "red", "--provider", "cpu")
    cli(*arguments, "-o", tmp_path / "local", check=3)
    command = [sys.executable, "-m", "polyexport.cli.main", *map(str, arguments), "-o", str(tmp_path / "out")]
    command += ["--engine", "ray", "--json", "--time-limit", "240", "--ray-address", cluster.stdout.readline().strip()]
    with subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True) as run:
        state = tmp_path / "out" / ".polyexport"
        while len(list(state.glob("tmp-*"))) < 20 and run.poll() is None:
            time.sleep(0.02)
        os.kill(actors()[0], signal.SIGKILL)
        cluster.stdin.write("remove\n")
        cluster.stdin.flush()
        assert cluster.stdout.readline() == "removed\n"
        stdout, stderr = run.communicate(timeout=300)

    assert run.returncode == 3, stderr
    rows: list[dict[str, Any]] = [json.loads(line) for line in stdout.splitlines()]
    assert [row["name"] for row in rows[:-1]] == sorted([f"{n:04}.png" for n in range(IMAGES)] + ["bad.png"])
    assert {row["name"] for row in rows[:-1] if row["status"] != "ok"} == {"bad.png"}
    assert (rows[-1]["ok"], rows[-1]["failed"], rows[-1]["written"]) == (IMAGES, 1, IMAGES)
    assert pictures(tmp_path / "out") == pictures(tmp_path / "local")
    assert [path.name for path in state.iterdir()] == ["journal.jsonl"]
    assert stderr.splitlines() == [f"failed: {many / 'bad.png'}: {rows[-2]['reason']}"]
    # The journal is of the same kind, so the engine of one machine carries on where this one ended.
    again = cli(*arguments, "-o", tmp_path / "out", check=3)
    assert f"{IMAGES + 1} images: 0 ok, {IMAGES} skipped, 1 failed; 0 written" in again.stdout


@pytest.mark.slow
def test_what_ray_cannot_do(refused: Callable[..., str], drawings: Path, tmp_path: Path) -> None:
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        nobody = f"127.0.0.1:{free.getsockname()[1]}"
    arguments = ("infer", drawings, "--color", "red", "-o", tmp_path / "out")
    ray = (*arguments, "--engine", "ray")
    assert f"no Ray cluster answers at {nobody}" in refused(1, *ray, "--ray-address", nobody)
    with socket.socket() as silent:
        silent.bind(("127.0.0.1", 0))
        silent.listen()
        mute = f"127.0.0.1:{silent.getsockname()[1]}"
        assert "(no answer in 3 s)" in refused(1, *ray, "--ray-address", mute, "--time-limit", "3")
    assert "not an address of a Ray cluster" in refused(2, *ray, "--ray-address", "cluster")
    assert "--ray-address was given without --engine ray" in refused(2, *arguments, "--ray-address", nobody)
    assert "--time-limit was given without --engine ray" in refused(2, *arguments, "--time-limit", "5")
    assert "--device-id does not go" in refused(2, *ray, "--device-id", "1")
    assert not (tmp_path / "out").exists()


@pytest.mark.skipif(sys.platform != "linux", reason="looks into /proc")
@pytest.mark.slow
def test_a_signal_while_ray_starts_ends_all_of_it(drawings: Path, tmp_path: Path) -> None:
    command = [sys.executable, "-m", "polyexport.cli.main", "infer", str(drawings), "--color", "red"]
    command += ["-o", str(tmp_path / "out"), "--engine", "ray"]
    with tempfile.TemporaryDirectory() as short:  # paths of sockets have little room
        environment = os.environ | {"RAY_TMPDIR": short}
        with subprocess.Popen(command, stderr=subprocess.PIPE, text=True, env=environment) as run:
            while run.poll() is None and not list(Path(short).glob("ray-*/session_*")):
                time.sleep(0.02)
            run.terminate()
            stderr = run.communicate(timeout=60)[1]
        assert (run.returncode, stderr) == (143, "terminated\n")
        assert os.listdir(short) == []
        assert short not in subprocess.run(["ps", "-eo", "args"], capture_output=True, text=True).stdout
    assert [path.name for path in tmp_path.iterdir()] == ["drawings"]


@pytest.mark.slow
def test_the_time_limit_ends_the_run(refused: Callable[..., str], drawings: Path, tmp_path: Path) -> None:
    arguments = ("infer", drawings, "--color", "red", "-o", tmp_path / "out")
    line = refused(1, *arguments, "--engine", "ray", "--time-limit", "0.1")
    assert line.startswith("error: 0 of 6 images were done after 0.1 s, the time limit")
    assert not (tmp_path / "out").exists()
