import json
import socket
import threading
import time
from email.parser import BytesParser
from typing import Any

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from stub_services import INFO, Respond, after, answer, picture, service, stub

from polyexport.bench.document import read_report
from polyexport.bench.html import render
from polyexport.bench.http_client import parse_address
from polyexport.bench.run import Extras
from polyexport.bench.scenarios.capacity import CapacitySearch
from polyexport.bench.scenarios.scenario import Settings
from polyexport.bench.service_load import bench_service, describe_service, make_requests
from polyexport.bench.table import lines
from polyexport.errors import UsageError

QUICK = Settings(size=16, seconds=0.1)


def test_a_rate_that_a_service_holds(tmp_path: Any) -> None:
    lines_seen: list[str] = []
    with service(after(0.001)) as running:
        scenario = CapacitySearch(url=running.url, rate=300.0, max_p99_ms=400.0, probe_seconds=8.0, clients=16)
        report = bench_service(scenario, QUICK, Extras(), progress=lines_seen.append)
    (row,) = report.rows
    assert row.capacity is not None
    assert (row.callers, row.size, row.name) == (16, 16, "300 requests/s, p99 <= 400 ms, HTTP")
    assert report.gate.verdict == row.capacity.verdict == "met"
    assert row.capacity.holds_per_s == 300
    assert (report.model.name, report.model.sha256) == ("tiny.onnx", "ab" * 32)
    assert report.machine is not None
    assert report.machine.others is None  # the service is no disturbance
    assert "300.0 requests/s: holds" in lines_seen[-1]
    (tmp_path / "report.json").write_text(report.to_json())
    assert read_report(tmp_path / "report.json") == report
    text, page = "\n".join(lines(report)), render(report)
    assert "a rate that holds the bound: met" in text
    for part in ("300 requests/s hold p99 &lt;= 400 ms", "Capacity: 300 requests/s"):
        assert part in page
    assert "Measurements" not in page


@pytest.mark.slow
def test_errors_make_a_rate_fail_and_are_counted() -> None:
    busy = answer(b'{"code": "busy"}', "503 Service Unavailable")

    begun = time.monotonic()

    def infer(request: bytes, number: int) -> bytes:
        return answer(picture()) if time.monotonic() < begun + 1 or number % 4 else busy

    with service(infer) as running:
        scenario = CapacitySearch(url=running.url, rate=300.0, max_p99_ms=400.0, probe_seconds=3.0)
        report = bench_service(scenario, QUICK, Extras())
    (row,) = report.rows
    assert row.capacity is not None
    (probe,) = row.capacity.probes
    assert report.gate.verdict == "missed"
    assert probe.errors["503 busy"] > 10
    assert not probe.saturated
    assert "503 busy" in "\n".join(lines(report))
    assert "503 busy" in render(report)


def test_requests_are_forms_of_real_drawings() -> None:
    with service(after(0.0)) as running:
        address = parse_address(running.url)
        requests = make_requests(address, describe_service(address), 16)
    assert len(set(requests)) == len(requests) == 16
    head, _, body = requests[0].partition(b"\r\n\r\n")
    kind = next(line for line in head.split(b"\r\n") if line.startswith(b"Content-Type"))
    _, image, color = BytesParser().parsebytes(kind + b"\r\n\r\n" + body).walk()
    assert image.get_filename() == "image.png"
    assert bytes(image.get_payload(decode=True)).startswith(b"\x89PNG")
    assert color.get_payload(decode=True) == b"tomato"


CONDITIONS = [
    {"kind": "color", "name": "", "palette": [["dark red", [100, 0, 0]]]},
    {"kind": "label", "name": "style", "labels": ["ukiyo e", "oil"], "default": None},
    {"kind": "label", "name": "other", "labels": ["a"], "default": "a"},
    {"kind": "number", "name": "sigma", "minimum": 0.5, "maximum": 75.0, "default": None, "unit": ""},
    {"kind": "vector", "name": "code", "dim": 3, "default": None},
    {"kind": "image", "name": "mask", "channels": 1},
]


def described(contract: dict[str, Any]) -> Any:
    info = INFO | {"contract": INFO["contract"] | contract}
    with service(after(0.0), info=info) as running:
        return describe_service(parse_address(running.url))


def test_every_kind_of_condition_gets_a_value() -> None:
    served = described({"contract_version": 3, "conditions": CONDITIONS, "image_channels": 1})
    assert served.texts == (("color", "dark red"), ("style", "ukiyo e"), ("sigma", "0.5"), ("code", "0,0,0"))
    assert served.pictures == (("mask", 1),)
    assert served.channels == 1


@pytest.mark.parametrize(
    "contract",
    [
        {"contract_version": 3},
        {"contract_version": 3, "conditions": [{"kind": "smell", "name": "x"}]},
        {"contract_version": 3, "conditions": [{"kind": "image", "name": "x", "channels": 10**9}]},
        {"contract_version": 3, "conditions": [{"kind": "image", "name": 'x"\r\n', "channels": 1}]},
        {"contract_version": 3, "conditions": [{"kind": "vector", "name": "x", "dim": 10**9, "default": None}]},
        {"contract_version": 3, "conditions": [{"kind": "color", "name": "", "palette": [["a\r\n--b", []]]}]},
        {"training_size": 10**9},
        {"training_size": "16"},
        {"precision": 5},
        {"palette": {}},
    ],
)
def test_a_contract_of_a_stranger_is_refused(contract: dict[str, Any]) -> None:
    if contract == {"palette": {}}:  # no colors
        assert described(contract).texts == (("color", "tomato"),)
        return
    with pytest.raises(UsageError, match="is no polyexport service"):
        described(contract)


@pytest.mark.parametrize(
    ("told", "fault"),
    [
        (answer(b"<html>"), "is no polyexport service"),
        (answer(b"[]"), "is no polyexport service"),
        (answer(b"[" * 100_000), "is no polyexport service"),
        (answer(b"{}"), "is no polyexport service"),
        (answer(b"", "404 Not Found"), "its /info has status 404"),
        (answer(b"", "301 Moved", "Location: http://x/\x1b[31m\r\n"), "a redirect to 'http://x/?[31m', which is not"),
        (b"SSH-2.0\r\n\r\n", "no answer of HTTP/1.1"),
        (b"HTTP/1.1 200 OK\r\nContent-Length: 99999999\r\n\r\n", "more than 8388608 bytes"),
        (None, "closed without an answer"),
    ],
)  # fmt: skip
def test_something_else_answers(told: bytes | None, fault: str) -> None:
    with stub(lambda request, number: told) as running:
        with pytest.raises(UsageError) as refusal:
            bench_service(CapacitySearch(url=running.url), QUICK, Extras())
        assert fault in refusal.value.message
        assert refusal.value.message.isprintable()
        assert len(running.requests) == 1


@settings(max_examples=25, deadline=None, suppress_health_check=[HealthCheck.too_slow])
@given(st.data())
def test_any_description_is_read_or_refused(data: st.DataObject) -> None:
    value = json.loads(
        json.dumps(INFO | {"contract": INFO["contract"] | {"contract_version": 3, "conditions": CONDITIONS}})
    )
    target = data.draw(st.sampled_from([value, value["contract"], *value["contract"]["conditions"]]))
    target[data.draw(st.sampled_from(sorted(target)))] = data.draw(
        st.none() | st.booleans() | st.integers() | st.text(max_size=5) | st.lists(st.text(max_size=3), max_size=2)
    )
    with service(after(0.0), info=value) as running:
        address = parse_address(running.url)
        try:
            served = describe_service(address)
        except UsageError:
            return
        assert all(len(request) < 100_000 for request in make_requests(address, served, 16)[:1])


def refuses(infer: Respond) -> str:
    with service(infer) as running, pytest.raises(UsageError) as refusal:
        bench_service(CapacitySearch(url=running.url), QUICK, Extras())
    return refusal.value.message


def test_a_service_that_refuses_the_drawings_is_told_with_its_reason() -> None:
    told = answer(b'{"code": "field", "detail": "no sigma\\u001b was given"}', "422 Unprocessable")
    assert "(422 field" in refuses(lambda request, number: told)
    plain = answer(b'{"code": "field", "detail": "no sigma was given"}', "422 Unprocessable")
    assert "(422 field: no sigma was given)" in refuses(lambda request, number: plain)
    assert "(answer that is no PNG file)" in refuses(lambda request, number: answer(b"hello"))


def test_a_url_that_is_none() -> None:
    with pytest.raises(UsageError, match="--url: 'localhost' is not the URL of a service.*; give the line that"):
        bench_service(CapacitySearch(url="localhost"), QUICK, Extras())
    with pytest.raises(
        UsageError, match=r"nobody answers at http://127.0.0.1:1 \(Connection refused\); start `polyexport serve`"
    ):
        bench_service(CapacitySearch(url="http://127.0.0.1:1"), QUICK, Extras())


def test_a_service_without_tls() -> None:
    def greet() -> None:
        client, _ = listener.accept()
        with client:
            client.sendall(b"220 no TLS here\r\n")
            client.recv(1)

    with socket.create_server(("127.0.0.1", 0)) as listener:
        thread = threading.Thread(target=greet)
        thread.start()
        url = f"https://127.0.0.1:{listener.getsockname()[1]}"
        with pytest.raises(UsageError, match="does not speak TLS as it should"):
            bench_service(CapacitySearch(url=url), QUICK, Extras())
        thread.join()
