"""A real service with good and bad requests, signals and lost processes."""

import base64
import contextlib
import io
import json
import os
import re
import shutil
import signal
import socket
import struct
import subprocess
import sys
import threading
import time
import zlib
from http.client import HTTPException
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from PIL import Image

from polyexport.errors import UsageError
from polyexport.imaging.codecs.png import encode_png
from polyexport.imaging.matte import transparent
from polyexport.model.loading.load import open_model
from polyexport.model.model import Model
from polyexport.service.options import ServiceOptions
from polyexport.service.server import serve as run_service

JSON = {"Content-Type": "application/json"}
FORM = {"Content-Type": "multipart/form-data; boundary=b"}


def form(image: bytes | None, *fields: tuple[str, str]) -> bytes:
    parts = [
        f'--b\r\nContent-Disposition: form-data; name="{name}"\r\n\r\n{value}\r\n'.encode() for name, value in fields
    ]
    if image is not None:
        head = b'--b\r\nContent-Disposition: form-data; name="image"; filename="a.png"\r\n\r\n'
        parts.append(head + image + b"\r\n")
    return b"".join(parts) + b"--b--\r\n"


def head_of(body: bytes) -> bytes:
    kind = FORM["Content-Type"]
    return f"POST /infer HTTP/1.1\r\nHost: x\r\nContent-Type: {kind}\r\nContent-Length: {len(body)}\r\n\r\n".encode()


def order(image: bytes, **fields: Any) -> bytes:
    return json.dumps({"image": base64.b64encode(image).decode(), "color": "red"} | fields).encode()


def header_of(width: int, height: int) -> bytes:
    chunks = b"IHDR" + struct.pack(">IIBBBBB", width, height, 8, 2, 0, 0, 0), b"IDAT"
    framed = [struct.pack(">I", len(one) - 4) + one + struct.pack(">I", zlib.crc32(one)) for one in chunks]
    return b"\x89PNG\r\n\x1a\n" + b"".join(framed)


@pytest.fixture
def drawing(drawings: Path) -> bytes:
    return (drawings / "3.png").read_bytes()


def test_the_picture_is_what_infer_writes(service: Any, drawing: bytes, drawings: Path, shipped: Model) -> None:
    [[expected]] = shipped.colorize([drawings / "3.png"], ["#1e90ff"])
    answer, png = service.ask("POST", "/infer", form(drawing, ("color", "#1e90ff")), FORM)
    assert (answer.status, answer.getheader("content-type"), png) == (200, "image/png", encode_png(expected))
    answer, body = service.ask("POST", "/infer", order(drawing, color="#1e90ff", background="transparent"), JSON)
    assert answer.status == 200
    assert json.loads(body)["warnings"] == []
    assert base64.b64decode(json.loads(body)["image"]) == encode_png(transparent(expected))


def test_shapes_that_come_together_are_told_apart(service: Any, drawings: Path, shipped: Model) -> None:
    sizes = [(64, 64), (80, 48), (48, 80), (64, 64), (200, 100)] * 4
    images, results = [], [b""] * len(sizes)
    for number, size in enumerate(sizes):
        file = io.BytesIO()
        Image.open(drawings / f"{number % 6}.png").resize(size).save(file, "PNG")
        images.append(file.getvalue())

    def ask(number: int) -> None:
        body = form(images[number], ("color", "red"), ("size", "native"))
        results[number] = service.ask("POST", "/infer", body, FORM)[1]

    threads = [threading.Thread(target=ask, args=(number,)) for number in range(len(sizes))]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    for image, result in zip(images, results, strict=True):
        [[expected]] = shipped.colorize([Image.open(io.BytesIO(image))], ["red"], size="native")
        assert result == encode_png(expected)


@pytest.mark.parametrize(
    ("body", "headers", "status", "code", "detail"),
    [
        (form(None, ("color", "red")), FORM, 422, "field", "there is no file 'image'"),
        (form(None, ("color", "red"), ("image", "text")), FORM, 422, "field", "there is no file 'image'"),
        (form(b"no picture", ("color", "red")), FORM, 422, "image", "no image of a known format"),
        (
            form(header_of(20000, 10000), ("color", "red")),
            FORM,
            422,
            "image",
            "more pixels than the limit",
        ),
        (form(header_of(2200, 1000), ("color", "red")), FORM, 422, "image", "2200x1000 pixels, more than"),
        (
            form(encode_png(np.full((1000, 1100, 3), 255, np.uint8)), ("color", "red"), ("size", "native")),
            FORM,
            422,
            "image",
            "1152x1024 pixels, more than the 1048576 that size native allows",
        ),
        (form(header_of(10, 10), ("color", "red")), FORM, 422, "image", "corrupt or truncated"),
        (form(b"x", ("color", "nocolor")), FORM, 422, "color", "nocolor"),
        (form(b"x", ("color", "red"), ("color", "blue")), FORM, 422, "field", "'color' is given twice"),
        (form(b"x", ("color", "red"), ("what", "1")), FORM, 422, "field", "'what'"),
        (form(b"x"), FORM, 422, "field", "'color'"),
        (form(b"x", ("color", "red"), ("size", "7")), FORM, 422, "field", "'size'"),
        (b"--b\r\nnonsense", FORM, 400, "malformed", "the head of a part"),
        (form(b"x", ("color", "red"))[:-7], FORM, 400, "malformed", "no end"),
        (b"x", {"Content-Type": "multipart/form-data"}, 400, "malformed", "boundary"),
        (b"{", JSON, 400, "malformed", "not valid JSON"),
        (b"[" * 10_000, JSON, 400, "malformed", "more than 8 arrays and objects inside each other"),
        (b"[" * 100_000, JSON, 400, "malformed", "more than 65536 bytes besides the image"),
        (b'{"image": "QUJD", "color": "red", "color": "blue"}', JSON, 422, "field", "'color' stands twice"),
        (b"[]", JSON, 400, "malformed", "not an object"),
        (b'{"image": "%%%", "color": "red"}', JSON, 422, "field", "not valid base64"),
        (b'{"image": "\xc3\xa4", "color": "red"}', JSON, 422, "field", "not valid base64"),
        (b'{"image": 1, "color": "red"}', JSON, 422, "field", "'image'"),
        (b"hello", {"Content-Type": "text/plain"}, 415, "unsupported", "text/plain"),
        (b"", {}, 415, "unsupported", "the content type is missing"),
        (form(bytes(2 << 20), ("color", "red")), FORM, 413, "too_large", "1048576 bytes"),
    ],
)
def test_what_is_wrong_is_said(
    service: Any, body: bytes, headers: dict[str, str], status: int, code: str, detail: str
) -> None:
    answer, told = service.ask("POST", "/infer", body, headers)
    problem = json.loads(told)
    assert (answer.status, problem["code"], problem["status"]) == (status, code, status)
    assert answer.getheader("content-type") == "application/problem+json"
    assert detail in problem["detail"]


def test_a_body_without_a_length_is_cut_off_at_the_limit(service: Any) -> None:
    with socket.create_connection(("127.0.0.1", service.port), 30) as client:
        client.sendall(b"POST /infer HTTP/1.1\r\nHost: x\r\nContent-Type: multipart/form-data; boundary=b\r\n")
        client.sendall(b"Transfer-Encoding: chunked\r\n\r\n")
        chunk = form(bytes(100_000))[:-20]
        try:
            for _ in range(40):
                client.sendall(b"%x\r\n%s\r\n" % (len(chunk), chunk))
                chunk = bytes(100_000)
        except OSError:
            return  # it hung up, which is an answer too
        assert client.recv(100).startswith(b"HTTP/1.1 413")


def test_clients_that_hang_up_disturb_nobody(service: Any, drawing: bytes) -> None:
    body = form(drawing, ("color", "red"))
    head = head_of(body)
    before = counted(service.ask("GET", "/metrics")[1]).get('polyexport_requests_total{status="499"}', 0)
    for part in (0, 10, len(body) // 2, len(body)):
        with socket.create_connection(("127.0.0.1", service.port), 30) as client:
            client.sendall(head + body[:part])
    assert service.ask("POST", "/infer", body, FORM)[0].status == 200
    deadline = time.monotonic() + 10
    while b"polyexport_requests_in_flight 0.0" not in service.ask("GET", "/metrics")[1]:
        assert time.monotonic() < deadline
        time.sleep(0.1)
    after = counted(service.ask("GET", "/metrics")[1])
    # The last one sent its whole request: it counts as gone, unless it was answered before it had closed.
    assert after['polyexport_requests_total{status="499"}'] - before in (3, 4)


def test_other_routes(service: Any, shipped: Model) -> None:
    assert service.ask("GET", "/health")[0].status == 200
    info = json.loads(service.ask("GET", "/info")[1])
    assert (info["sha256"], info["execution_provider"]) == (shipped.sha256, "CPUExecutionProvider")
    assert info["contract"]["training_size"] == shipped.contract.training_size
    assert info["limits"]["max_bytes"] == 1 << 20
    expected = {("GET", "/infer"): 405, ("GET", "/docs"): 404, ("POST", "/work"): 404, ("GET", "/"): 404}
    for (method, path), status in expected.items():
        answer, body = service.ask(method, path)
        assert (answer.status, json.loads(body)["status"]) == (status, status)


def counted(text: bytes) -> dict[str, float]:
    lines = [line.rpartition(" ") for line in text.decode().splitlines() if not line.startswith("#")]
    return {name: float(value) for name, _, value in lines}


def test_what_is_counted_adds_up(service: Any, drawing: bytes) -> None:
    before = counted(service.ask("GET", "/metrics")[1])
    for _ in range(3):
        service.ask("POST", "/infer", form(drawing, ("color", "red")), FORM)
    service.ask("POST", "/infer", form(drawing, ("color", "nocolor")), FORM)
    after = counted(service.ask("GET", "/metrics")[1])

    def rise(name: str) -> float:
        return after.get(name, 0) - before.get(name, 0)

    assert rise('polyexport_requests_total{status="200"}') == 3
    assert rise('polyexport_requests_total{status="422"}') == 1
    assert rise('polyexport_failures_total{code="color"}') == 1
    assert rise("polyexport_request_seconds_count") == 4
    assert rise("polyexport_batch_size_sum") == 3


@pytest.mark.slow
def test_no_request_makes_it_fail(service: Any, tmp_path: Path) -> None:
    command = [sys.executable, "-m", "schemathesis.cli", "run", f"http://127.0.0.1:{service.port}/openapi.json"]
    command += ["--checks", "not_a_server_error,status_code_conformance,content_type_conformance"]
    command += ["--max-examples", "20", "--seed", "1", "--suppress-health-check", "all", "--no-color"]
    done = subprocess.run(command, cwd=tmp_path, capture_output=True, text=True, timeout=300)
    assert done.returncode == 0, done.stdout[-3000:] + done.stderr[-2000:]


@pytest.mark.slow
def test_too_many_requests_are_told_to_come_again(serve: Any, drawing: bytes) -> None:
    service = serve("--max-requests", "1")
    body = form(drawing, ("color", "red"))
    head = head_of(body)
    with socket.create_connection(("127.0.0.1", service.port), 30) as slow:
        slow.sendall(head)
        time.sleep(0.3)
        answer, told = service.ask("POST", "/infer", body, FORM)
        assert (answer.status, answer.getheader("retry-after")) == (503, "1")
        assert json.loads(told)["code"] == "busy"
        # Those that are sent away, and do not go, do not count among those that are let in.
        refused = [socket.create_connection(("127.0.0.1", service.port), 30) for _ in range(5)]
        for one in refused:
            one.sendall(head)
            assert one.recv(100).startswith(b"HTTP/1.1 503")
        slow.sendall(body)
        assert slow.recv(100).startswith(b"HTTP/1.1 200")
        assert service.ask("POST", "/infer", body, FORM)[0].status == 200
        for one in refused:
            one.close()

    # And now to its end: what it has accepted is answered, and nothing is left of it.
    tree, statuses = service.tree(), []
    assert tree
    with socket.create_connection(("127.0.0.1", service.port), 30) as slow:
        slow.sendall(head + body[:-1])
        time.sleep(0.3)
        service.process.send_signal(signal.SIGTERM)
        time.sleep(0.5)
        slow.sendall(body[-1:])
        statuses.append(slow.recv(100).split()[1])
    assert statuses == [b"200"]
    assert service.process.wait(30) == 143
    gone(tree)
    with socket.socket() as probe:
        probe.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        probe.bind(("127.0.0.1", service.port))


def test_a_body_that_does_not_arrive_within_the_grace_period_is_refused(serve: Any, drawing: bytes) -> None:
    service = serve("--grace-s", "0.5")
    body = form(drawing, ("color", "red"))
    with socket.create_connection(("127.0.0.1", service.port), 30) as slow:
        slow.sendall(head_of(body) + body[:-1])
        time.sleep(0.3)
        service.process.send_signal(signal.SIGTERM)
        answer = b"".join(iter(lambda: slow.recv(1 << 16), b""))
    head, _, told = answer.partition(b"\r\n\r\n")
    assert head.startswith(b"HTTP/1.1 503")
    assert json.loads(told)["code"] == "stopping"
    assert service.process.wait(30) == 143


def test_a_signal_under_load_loses_nothing_that_was_accepted(serve: Any, drawing: bytes) -> None:
    service = serve()
    body = form(drawing, ("color", "red"))
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

    threads = [threading.Thread(target=client) for _ in range(16)]
    for thread in threads:
        thread.start()
    time.sleep(2)
    tree, told_at = service.tree(), time.monotonic()
    service.process.send_signal(signal.SIGTERM)
    assert service.process.wait(30) == 143
    for thread in threads:
        thread.join()
    assert lost == []
    assert len(answered) >= 16
    assert len(set(answered)) == 1
    gone(tree)


@pytest.mark.parametrize("size", ["fit", "native"])
@pytest.mark.slow
def test_a_call_that_takes_longer_than_the_grace_period_does_not_hold_up_the_end(size: str, serve: Any) -> None:
    service = serve("--grace-s", "0.1", "--max-native-megapixels", "4")
    file = io.BytesIO()
    Image.new("RGB", (2000, 1900), "white").save(file, "PNG")
    body = form(file.getvalue(), ("color", "red"), ("size", size))
    with socket.create_connection(("127.0.0.1", service.port), 30) as client:
        client.sendall(head_of(body) + body)
        time.sleep(1.0)
        service.process.send_signal(signal.SIGTERM)
        answer = client.recv(100)
    assert answer.startswith((b"HTTP/1.1 200", b"HTTP/1.1 503"))
    assert service.process.wait(30) == 143


@pytest.mark.slow
def test_a_second_signal_ends_it_at_once(serve: Any, drawing: bytes) -> None:
    service = serve()
    tree = service.tree()
    body = form(drawing, ("color", "red"))
    with socket.create_connection(("127.0.0.1", service.port), 30) as slow:
        slow.sendall(head_of(body) + body[:-1])
        time.sleep(0.3)
        service.process.send_signal(signal.SIGTERM)
        time.sleep(0.5)
        service.process.send_signal(signal.SIGTERM)
        assert service.process.wait(5) == -signal.SIGTERM
    gone(tree)


def test_a_signal_that_a_shell_ignores_for_it_does_not_end_it(serve: Any) -> None:
    service = serve(prefix=("sh", "-c", "trap '' INT; exec \"$@\"", "sh"))
    service.process.send_signal(signal.SIGINT)
    time.sleep(0.5)
    assert service.ask("GET", "/health")[0].status == 200
    service.process.send_signal(signal.SIGTERM)
    assert service.process.wait(30) == 143


@pytest.mark.skipif(sys.platform != "linux", reason="looks into /proc")
def test_killed_it_takes_the_others_along(serve: Any, drawing: bytes) -> None:
    service = serve()
    assert service.ask("POST", "/infer", form(drawing, ("color", "red")), FORM)[0].status == 200
    tree = service.tree()
    assert tree
    service.process.kill()
    gone(tree)


@pytest.mark.skipif(sys.platform != "linux", reason="looks into /proc")
def test_lost_decoding_processes_are_replaced(serve: Any, drawing: bytes) -> None:
    service = serve()
    body = form(drawing, ("color", "red"))
    assert service.ask("POST", "/infer", body, FORM)[0].status == 200
    before = service.tree()
    for pid in before:
        os.kill(pid, signal.SIGKILL)
    # The request that finds its process gone is told so; the next one has a new process.
    answers = [service.ask("POST", "/infer", body, FORM) for _ in range(len(before) + 1)]
    assert [answer.status for answer, _ in answers[:-1]].count(200) < len(before)
    assert all(b"crashed with SIGKILL" in told for answer, told in answers if answer.status != 200)
    assert answers[-1][0].status == 200
    assert service.tree().isdisjoint(before)
    assert service.tree()


@pytest.mark.skipif(sys.platform != "linux", reason="looks into /proc")
def test_a_signal_while_it_starts_ends_it_in_one_line() -> None:
    for step in range(6):
        service = start_early()
        while not hears_signals(service.pid):
            time.sleep(0.005)
        time.sleep(0.25 * step)
        number, code, word = [(signal.SIGINT, 130, "interrupted"), (signal.SIGTERM, 143, "terminated")][step % 2]
        service.send_signal(number)
        stderr = service.communicate(timeout=30)[1]
        assert service.returncode == code
        said = [line for line in stderr.splitlines() if not line.startswith("running on ")]
        assert said == [word] or (step == 0 and said == [])  # it had no words yet


def hears_signals(pid: int) -> bool:
    (caught,) = re.findall(r"SigCgt:\s*(\w+)", Path(f"/proc/{pid}/status").read_text())
    return bool(int(caught, 16) >> (signal.SIGTERM - 1) & 1)


def start_early() -> subprocess.Popen[str]:
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        port = free.getsockname()[1]
    command = [sys.executable, "-m", "polyexport.cli.main", "serve", "--port", str(port), "--provider", "cpu"]
    return subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True)


def test_a_port_that_somebody_takes_meanwhile(monkeypatch: pytest.MonkeyPatch, shipped_path: Path) -> None:
    with socket.socket() as other:
        other.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        other.bind(("127.0.0.1", 0))
        port = other.getsockname()[1]

        def load(*arguments: Any, **options: Any) -> Model:
            other.listen()  # before the service does, because it loads the model first
            return open_model(*arguments, **options)

        monkeypatch.setattr("polyexport.service.server.open_model", load)
        options = ServiceOptions(model=shipped_path, port=port, provider="cpu")
        with pytest.raises(UsageError, match=rf"cannot listen on 127\.0\.0\.1:{port} \(Address already in use\)"):
            run_service(options, on_ready=lambda *_: None)


def gone(processes: set[int]) -> None:
    """They end, and whoever inherits them says so, in a moment."""
    deadline = time.monotonic() + 10
    while any(Path(f"/proc/{pid}").exists() for pid in processes):
        assert time.monotonic() < deadline
        time.sleep(0.1)


def test_the_pages_commands_do_what_it_says(service: Any, drawings: Path, tmp_path: Path) -> None:
    if shutil.which("curl") is None:
        pytest.skip("needs curl")
    page = (Path(__file__).parents[2] / "docs" / "serve.md").read_text()
    blocks = "".join(re.findall(r"```sh\n(.*?)```", page, flags=re.DOTALL)).replace("\\\n", " ")
    asked = [line for line in blocks.splitlines() if line.startswith("curl ")]
    assert len(asked) == 2
    shutil.copy(drawings / "3.png", tmp_path / "drawing.png")
    form_answer, json_answer = (
        subprocess.run(
            line.replace("localhost:8000", f"127.0.0.1:{service.port}"),
            shell=True,
            cwd=tmp_path,
            capture_output=True,
            check=True,
        ).stdout
        for line in asked
    )
    assert form_answer == b""
    assert Image.open(io.BytesIO((tmp_path / "colored.png").read_bytes())).size == (64, 64)
    assert Image.open(io.BytesIO(base64.b64decode(json.loads(json_answer)["image"]))).size == (64, 64)
