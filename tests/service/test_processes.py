"""A service of several processes."""

import contextlib
import itertools
import json
import os
import re
import signal
import socket
import subprocess
import sys
import threading
import time
from concurrent.futures import ThreadPoolExecutor
from http.client import HTTPException
from pathlib import Path
from typing import Any

import pytest

from polyexport.errors import UsageError
from polyexport.imaging.codecs.png import encode_png
from polyexport.model.file import default_model_path
from polyexport.model.model import Model
from polyexport.runtime.cores import granted_cores
from polyexport.service.options import Limits, ServiceOptions
from polyexport.service.processes import _shares

pytestmark = [
    pytest.mark.skipif(sys.platform != "linux", reason="processes are bound to cores"),
    pytest.mark.skipif(granted_cores() < 2, reason="one core"),
]

FORM = {"Content-Type": "multipart/form-data; boundary=b"}


def form(image: bytes, color: str = "#ff8800") -> bytes:
    head = b'--b\r\nContent-Disposition: form-data; name="image"; filename="a.png"\r\n\r\n'
    field = f'--b\r\nContent-Disposition: form-data; name="color"\r\n\r\n{color}\r\n'.encode()
    return field + head + image + b"\r\n--b--\r\n"


def parts(service: Any) -> list[int]:
    """The processes that answer."""
    found = []
    for pid in service.tree():
        words = Path(f"/proc/{pid}/cmdline").read_bytes().split(b"\0")
        if any(b"answer_connections" in word for word in words):
            found.append(pid)
    return found


def test_both_answer_as_one_and_count_together(serve: Any, drawings: Path, shipped: Model) -> None:
    service = serve("--processes", "2")
    assert len(parts(service)) == 2
    files = sorted(drawings.iterdir())
    expected = [encode_png(shipped.colorize([file], ["#ff8800"])[0][0]) for file in files]

    def client(number: int) -> list[tuple[int, bytes]]:
        connection, answers = service.connect(), []
        for file in files:
            connection.request("POST", "/infer", form(file.read_bytes()), FORM)
            answer = connection.getresponse()
            answers.append((answer.status, answer.read()))
        connection.close()
        return answers

    with ThreadPoolExecutor(4) as pool:
        for answers in pool.map(client, range(4)):
            assert answers == [(200, picture) for picture in expected]
    for _ in range(2):  # whichever process answers, it counts what all have done
        metrics = service.ask("GET", "/metrics")[1].decode()
        assert re.search(r'polyexport_requests_total\{status="200"\} 24\.0', metrics)
        assert re.search(r"polyexport_requests_in_flight 0\.0", metrics)
    used = [
        sum(map(int, Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[11:13])) for pid in parts(service)
    ]
    assert min(used) > 0
    assert {len(os.sched_getaffinity(pid)) for pid in parts(service)} == {len(os.sched_getaffinity(0)) // 2}
    service.end()
    assert service.process.returncode == 143


def test_a_signal_under_load_loses_nothing_that_was_accepted(serve: Any, drawings: Path) -> None:
    service = serve("--processes", "2")
    body = form((drawings / "0.png").read_bytes())
    told_at, lost, answered = float("inf"), [], []

    def client() -> None:
        with contextlib.closing(service.connect()) as connection:
            while True:
                sent_at = time.monotonic()
                try:
                    connection.request("POST", "/infer", body, FORM)
                    answered.append(connection.getresponse().read())
                except (OSError, HTTPException):
                    if sent_at < told_at:
                        lost.append(sent_at)
                    return

    threads = [threading.Thread(target=client) for _ in range(8)]
    for thread in threads:
        thread.start()
    time.sleep(1)
    everything, told_at = service.tree(), time.monotonic()
    service.process.send_signal(signal.SIGTERM)
    assert service.process.wait(30) == 143
    for thread in threads:
        thread.join()
    assert lost == []
    assert len(answered) >= 8
    assert len(set(answered)) == 1
    gone(everything)


def gone(processes: set[int]) -> None:
    """Wait until none of the processes is there."""
    deadline = time.monotonic() + 40
    while alive := [pid for pid in processes if Path(f"/proc/{pid}").exists()]:
        assert time.monotonic() < deadline, alive
        time.sleep(0.05)


@pytest.mark.parametrize("victim", ["a part", "the first"])
def test_none_goes_on_alone(serve: Any, victim: str) -> None:
    service = serve("--processes", "2")
    some = parts(service)
    everything = service.tree()
    os.kill(some[0] if victim == "a part" else service.process.pid, signal.SIGKILL)
    _, errors = service.process.communicate(timeout=30)
    if victim == "a part":
        assert service.process.returncode == 1
        assert errors.splitlines()[-1].startswith("error: a process of the service has ended (SIGKILL)")
    deadline = time.monotonic() + 30
    while alive := [pid for pid in everything if Path(f"/proc/{pid}").exists()]:
        assert time.monotonic() < deadline, alive
        time.sleep(0.05)


def test_a_second_signal_ends_all_at_once(serve: Any, drawings: Path) -> None:
    service = serve("--processes", "2", "--grace-s", "60")
    everything = service.tree()
    with socket.create_connection(("127.0.0.1", service.port)) as half:
        body = form((drawings / "0.png").read_bytes())
        head = f"POST /infer HTTP/1.1\r\nHost: localhost\r\nContent-Length: {len(body)}\r\n"
        half.sendall(f"{head}Content-Type: {FORM['Content-Type']}\r\n\r\n".encode() + body[:-1])
        time.sleep(0.3)
        service.process.send_signal(signal.SIGTERM)
        time.sleep(0.5)
        service.process.send_signal(signal.SIGTERM)
        assert service.process.wait(5) == -signal.SIGTERM
    gone(everything)


@pytest.mark.parametrize(
    ("options", "code", "message"),
    [
        (("--processes", "1000"), 2, "error: 1000 processes for "),
        (("--processes", "2", "-m", "no.onnx"), 4, "error: model no.onnx cannot be read"),
        (("--processes", "2", "--provider", "cuda"), 6, "error: the cuda execution provider "),
    ],
)
def test_what_is_wrong_is_said_in_one_line(options: tuple[str, ...], code: int, message: str) -> None:
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        port = free.getsockname()[1]
    command = [sys.executable, "-m", "polyexport.cli.main", "serve", "--port", str(port), *options]
    done = subprocess.run(command, capture_output=True, text=True, timeout=60, env=os.environ | {"NO_COLOR": "1"})
    if "cuda" in options and done.returncode == -signal.SIGTERM:
        pytest.skip("there is a GPU")
    assert done.returncode == code, done.stderr
    assert done.stderr.splitlines()[-1].startswith(message)
    assert "Traceback" not in done.stderr


def test_options_come_through_the_channel_as_they_are() -> None:
    options = ServiceOptions(
        model=default_model_path(), signed_by=Path("key.pem"), allow_hosts=("a.example",), limits=Limits(max_requests=7)
    )
    assert ServiceOptions.of_entries(json.loads(json.dumps(options.to_entries()))) == options
    plain = ServiceOptions(model=Path("x.onnx"))
    assert ServiceOptions.of_entries(json.loads(json.dumps(plain.to_entries()))) == plain


def test_every_core_belongs_to_one_process() -> None:
    shares = _shares(2)
    assert sorted(itertools.chain(*shares)) == sorted(os.sched_getaffinity(0))
    assert all(shares)
    with pytest.raises(UsageError, match="cores"):
        _shares(granted_cores() + 1)
