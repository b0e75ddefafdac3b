"""Load test of the service: `python benchmarks/serve.py` writes results/service.json.

Sixteen clients, each with one connection, send drawings as fast as they are answered, for a minute without batching and
a minute with it, one after the other in the same run. One request in twenty is bad, of eight kinds. Every picture is
compared with the bytes that `polyexport infer` writes. Then a service under the same load is told to stop. All traffic
stays on this machine, and every loop ends by itself.

`--against DIR` compares the service of this source tree with that of another one: both get the same load in turn, for
`--rounds` rounds, and the medians are printed as a table. Nothing is written.
"""

import argparse
import http.client
import json
import os
import random
import signal
import socket
import statistics
import struct
import subprocess
import sys
import tempfile
import threading
import time
import tokenize
import zlib
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any

import numpy as np
from PIL import Image

from polyexport.bench.environment import environment
from polyexport.data.drawings import draw

CLIENTS = 16
DRAWINGS = 64
BAD_SHARE = 0.05
HERE = Path(__file__).resolve().parents[1]
RESULTS = HERE / "benchmarks" / "results" / "service.json"


@dataclass
class Load:
    """What the clients of one load received."""

    seconds: list[float] = field(default_factory=list)
    """Times from request to answer of the good requests."""

    wrong: int = 0
    """Answers with other bytes than `polyexport infer` writes."""

    statuses: dict[str, int] = field(default_factory=dict)
    """Number of answers by HTTP status."""

    unexpected: int = 0
    """Bad requests that did not get their 4xx, and good ones that were not answered with 200."""

    lost: int = 0
    """Requests that were sent before the service was told to stop, and never answered."""

    turned_away: int = 0
    """Requests after that, whose connection was refused or reset."""

    stopped_at: float = float("inf")

    lock: threading.Lock = field(default_factory=threading.Lock)


def multipart(fields: dict[str, str], image: bytes | None) -> tuple[bytes, dict[str, str]]:
    """Build a form as browsers send it: its body and its headers."""
    parts = [
        f'--b\r\nContent-Disposition: form-data; name="{name}"\r\n\r\n{value}\r\n'.encode()
        for name, value in fields.items()
    ]
    if image is not None:
        head = (
            b'--b\r\nContent-Disposition: form-data; name="image"; filename="a.png"\r\nContent-Type: image/png\r\n\r\n'
        )
        parts.append(head + image + b"\r\n")
    return b"".join(parts) + b"--b--\r\n", {"Content-Type": "multipart/form-data; boundary=b"}


def huge_png() -> bytes:
    """Build the header of a PNG file of 200 megapixels, without any pixel."""
    chunks = b"IHDR" + struct.pack(">IIBBBBB", 20000, 10000, 8, 2, 0, 0, 0), b"IDAT"
    framed = [struct.pack(">I", len(one) - 4) + one + struct.pack(">I", zlib.crc32(one)) for one in chunks]
    return b"\x89PNG\r\n\x1a\n" + b"".join(framed)


def bad_requests(good: bytes) -> list[tuple[int, bytes, dict[str, str]]]:
    """Build bad requests: the status that must answer each, its body and its headers."""
    text = {"Content-Type": "application/json"}
    return [
        (422, *multipart({"color": "red"}, None)),
        (422, *multipart({"color": "red"}, huge_png())),
        (422, *multipart({"color": "red"}, b"no picture")),
        (422, *multipart({"color": "nocolor"}, good)),
        (422, *multipart({"color": "red"}, good[:-40])),
        (422, *multipart({"color": "red", "what": "1"}, good)),
        (400, b"{", text),
        (415, b"hello", {"Content-Type": "text/plain"}),
    ]


class Service:
    """A running service."""

    def __init__(self, *options: str, code: Path = HERE) -> None:
        """Start the service of one source tree with options of the command line, and wait until it answers."""
        with socket.socket() as free:
            free.bind(("127.0.0.1", 0))
            self.port = free.getsockname()[1]
        command = [sys.executable, "-m", "polyexport.cli.main", "serve", "--port", str(self.port), *options]
        environment_variables = os.environ | {"PYTHONPATH": str(code)}
        self.process = subprocess.Popen(command, stdout=subprocess.PIPE, text=True, cwd=code, env=environment_variables)
        assert self.process.stdout is not None
        if not self.process.stdout.readline().startswith("http://"):
            raise SystemExit("the service did not start")

    def tree(self) -> list[int]:
        """List its process and all processes that it has started."""
        children: dict[int, list[int]] = {}
        for stat in Path("/proc").glob("[0-9]*/stat"):
            try:
                fields = stat.read_text().rpartition(")")[2].split()
                children.setdefault(int(fields[1]), []).append(int(stat.parent.name))
            except OSError:
                continue
        found, waiting = [], [self.process.pid]
        while waiting:
            found.append(waiting.pop())
            waiting += children.get(found[-1], [])
        return found

    def rss_mib(self) -> float:
        """Sum the resident memory of all its processes, MiB; memory that they share counts in each."""
        total = 0
        for pid in self.tree():
            try:
                total += int(Path(f"/proc/{pid}/statm").read_text().split()[1]) * os.sysconf("SC_PAGESIZE")
            except OSError:
                continue
        return total / 2**20

    def cpu_s(self) -> float:
        """Sum the CPU time of all its processes, seconds."""
        ticks = 0
        for pid in self.tree():
            try:
                fields = Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()
            except OSError:
                continue
            ticks += int(fields[11]) + int(fields[12])
        return ticks / os.sysconf("SC_CLK_TCK")


def client(port: int, goods: list[tuple[bytes, bytes]], bads: list[Any], load: Load, ends: float, seed: int) -> None:
    """Send requests until the time ``ends``, on one connection that is opened again when it was closed."""
    rng = random.Random(seed)
    connection: http.client.HTTPConnection | None = None
    while time.monotonic() < ends:
        bad = rng.random() < BAD_SHARE
        status, body, headers, expected = 200, b"", {}, b""
        if bad:
            status, body, headers = rng.choice(bads)
        else:
            image, expected = rng.choice(goods)
            body, headers = multipart({"color": "tomato"}, image)
        started = time.perf_counter()
        sent = False
        try:
            if connection is None:
                connection = http.client.HTTPConnection("127.0.0.1", port, timeout=60)
                connection.connect()
            connection.request("POST", "/infer", body, headers)
            sent = True
            answer = connection.getresponse()
            data = answer.read()
        except (OSError, http.client.HTTPException):
            connection = None
            with load.lock:
                early = sent and started < load.stopped_at
                load.lost += early
                load.turned_away += not early
            if load.stopped_at < float("inf"):
                return
            continue
        with load.lock:
            load.statuses[str(answer.status)] = load.statuses.get(str(answer.status), 0) + 1
            load.unexpected += answer.status != status
            if not bad and answer.status == 200:
                load.seconds.append(time.perf_counter() - started)
                load.wrong += data != expected


def run(service: Service, goods: list[tuple[bytes, bytes]], seconds: float) -> dict[str, Any]:
    """Put one load on a service, and measure its answers and its memory."""
    load, bads = Load(), bad_requests(goods[0][0])
    # Warm first: the first calls start processes and allocate.
    _clients(service.port, goods, bads, Load(), time.monotonic() + 3)
    before, peak, started, cpu_before_s = service.rss_mib(), 0.0, time.monotonic(), service.cpu_s()
    threads = _clients(service.port, goods, bads, load, started + seconds, wait=False)
    while any(thread.is_alive() for thread in threads):
        time.sleep(0.5)
        peak = max(peak, service.rss_mib())
    took = time.monotonic() - started
    times = sorted(load.seconds)
    return {
        "requests_per_s": sum(load.statuses.values()) / took,
        "images_per_s": len(times) / took,
        "cpu_ms_per_request": 1e3 * (service.cpu_s() - cpu_before_s) / sum(load.statuses.values()),
        "p50_ms": 1e3 * statistics.median(times),
        "p99_ms": 1e3 * times[int(0.99 * len(times))],
        "statuses": load.statuses,
        "wrong_images": load.wrong,
        "unexpected_answers": load.unexpected,
        "lost": load.lost,
        "rss_before_mib": before,
        "rss_peak_mib": peak,
        "rss_after_mib": service.rss_mib(),
    }


def _clients(port: int, goods: Any, bads: Any, load: Load, ends: float, *, wait: bool = True) -> list[threading.Thread]:
    threads = [threading.Thread(target=client, args=(port, goods, bads, load, ends, seed)) for seed in range(CLIENTS)]
    for thread in threads:
        thread.start()
    for thread in threads if wait else ():
        thread.join()
    return threads


def stop_under_load(service: Service, goods: list[tuple[bytes, bytes]]) -> dict[str, Any]:
    """Send SIGTERM while all clients wait for answers."""
    load = Load()
    ends = time.monotonic() + 6
    threads = _clients(service.port, goods, bad_requests(goods[0][0]), load, ends, wait=False)
    time.sleep(3)
    tree, started = service.tree(), time.monotonic()
    load.stopped_at = time.perf_counter()
    service.process.send_signal(signal.SIGTERM)
    code = service.process.wait(60)
    took = time.monotonic() - started
    for thread in threads:
        thread.join()
    left = [
        pid
        for pid in tree
        if Path(f"/proc/{pid}").exists() and "Z" not in Path(f"/proc/{pid}/stat").read_text().split()[2]
    ]
    with socket.socket() as probe:
        probe.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        probe.bind(("127.0.0.1", service.port))
    return {
        "exit_code": code,
        "seconds": took,
        "answered": sum(load.statuses.values()),
        "statuses": load.statuses,
        "lost": load.lost,
        "turned_away": load.turned_away,
        "wrong_images": load.wrong,
        "processes_left": len(left),
        "port_free": True,
    }


def code_lines(folder: Path) -> int:
    """Count the lines of Python code in a folder, without blank lines, comments and docstrings."""
    total = 0
    for file in folder.rglob("*.py"):
        lines: set[int] = set()
        with file.open("rb") as stream:
            tokens = list(tokenize.tokenize(stream.readline))
        layout = {tokenize.ENCODING, tokenize.COMMENT, tokenize.NL, tokenize.NEWLINE, tokenize.INDENT, tokenize.DEDENT}
        after_layout = True
        for token in tokens:
            if token.type not in layout and not (token.type == tokenize.STRING and after_layout):
                lines.update(range(token.start[0], token.end[0] + 1))
            after_layout = token.type in layout - {tokenize.COMMENT, tokenize.NL} or (
                after_layout and token.type in layout
            )
        total += len(lines) - 1  # the end marker
    return total


def compare(goods: list[tuple[bytes, bytes]], other: Path, rounds: int, seconds: float, provider: str) -> None:
    """Put the same load on the services of two source trees in turn, and print the medians of the rounds."""
    runs: dict[Path, list[dict[str, Any]]] = {other: [], HERE: []}
    for _ in range(rounds):
        for code, results in runs.items():
            service = Service("--provider", provider, code=code)
            results.append(run(service, goods, seconds) | {"processes": len(service.tree())})
            service.process.terminate()
            service.process.wait(60)
            print(code, json.dumps(results[-1]), flush=True)
    print(
        "| source tree | requests/s | p50 ms | p99 ms | CPU ms a request | peak RSS MiB | processes "
        "| wrong, unexpected, lost | code lines |"
    )
    print("| --- | --- | --- | --- | --- | --- | --- | --- | --- |")
    for code, results in runs.items():
        names = ("requests_per_s", "p50_ms", "p99_ms", "cpu_ms_per_request", "rss_peak_mib", "processes")
        medians = [f"{statistics.median(result[name] for result in results):.4g}" for name in names]
        bad = [str(sum(result[name] for result in results)) for name in ("wrong_images", "unexpected_answers", "lost")]
        print("|", " | ".join([str(code), *medians, ", ".join(bad), str(code_lines(code / "polyexport/service"))]), "|")


def main() -> None:
    """Measure, print and write."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--seconds", type=float, default=60.0, help="Duration of each load.")
    parser.add_argument("--provider", default="cpu", help="Execution provider.")
    parser.add_argument("--against", type=Path, metavar="DIR", help="Other source tree to compare with.")
    parser.add_argument("--rounds", type=int, default=3, help="Rounds of --against.")
    arguments = parser.parse_args()
    with tempfile.TemporaryDirectory() as folder:
        root = Path(folder)
        (root / "in").mkdir()
        for number in range(DRAWINGS):
            Image.fromarray(draw(np.random.default_rng(number), 128).image).save(root / "in" / f"{number:03}.png")
        infer = [sys.executable, "-m", "polyexport.cli.main", "infer", str(root / "in"), "--color", "tomato", "-q"]
        subprocess.run([*infer, "-o", str(root / "out"), "--provider", arguments.provider], check=True)
        names = sorted(path.name for path in (root / "in").iterdir())
        goods = [((root / "in" / n).read_bytes(), (root / "out" / "tomato" / n).read_bytes()) for n in names]
    if arguments.against is not None:
        compare(goods, arguments.against.resolve(), arguments.rounds, arguments.seconds, arguments.provider)
        return
    results: dict[str, Any] = {}
    for name, options in (("unbatched", ("--max-batch-size", "1")), ("batched", ("--max-batch-size", "8"))):
        service = Service("--provider", arguments.provider, *options)
        results[name] = run(service, goods, arguments.seconds)
        if name == "batched":
            results["stop"] = stop_under_load(service, goods)
        else:
            service.process.terminate()
            service.process.wait(60)
        print(name, json.dumps(results[name], indent=1), flush=True)
    print("stop", json.dumps(results["stop"], indent=1))
    record = {
        "clients": CLIENTS,
        "bad_share": BAD_SHARE,
        "seconds": arguments.seconds,
        "environment": asdict(environment()),
    }
    RESULTS.write_text(json.dumps(record | results, indent=2) + "\n")


if __name__ == "__main__":
    main()
