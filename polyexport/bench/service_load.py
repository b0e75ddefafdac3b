"""Load test of a running ``polyexport serve``: what it runs, the requests that it gets, and the report."""

import datetime
import os
import re
import ssl
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import numpy as np

from polyexport.bench.changes import changes, differences
from polyexport.bench.document import SCHEMA, BenchReport, Measured
from polyexport.bench.environment import environment
from polyexport.bench.gate import judge
from polyexport.bench.http_client import Address, Answer, AnswerError, parse_address
from polyexport.bench.http_load import MAX_RESULT_BYTES, HttpClients, ask_once, fault_of
from polyexport.bench.machine import MachineWatch
from polyexport.bench.rows import capacity_row
from polyexport.bench.run import Extras
from polyexport.bench.scenarios.capacity import CapacitySearch
from polyexport.bench.scenarios.scenario import Settings
from polyexport.data.drawings import draw
from polyexport.errors import UsageError, reason_of
from polyexport.imaging.codecs.png import encode_png
from polyexport.imaging.pixels import to_channels
from polyexport.model.conditions.fields import LabelFields, NumberFields, VectorFields
from polyexport.storage.strict_json import read_json
from polyexport.storage.typed_json import build

__all__ = ["Served", "bench_service", "describe_service", "make_requests"]

_DRAWINGS = 16
_MAX_SIDE = 4096
_MAX_INFO_BYTES = 8 * 2**20
_CONNECT_S = 10.0
_LEAST_TIMEOUT_S, _MOST_TIMEOUT_S = 10.0, 120.0
_LEAST_ALONE = 20
_BOUNDARY = "polyexport-bench-7c1f0d9e5b2a4836"
_Textual = LabelFields | NumberFields | VectorFields
_TEXTUAL: dict[str, type[_Textual]] = {"label": LabelFields, "number": NumberFields, "vector": VectorFields}


@dataclass(frozen=True, kw_only=True, slots=True)
class Served:
    """A service, as its ``/info`` describes it, and the fields of a request."""

    model: str
    sha256: str
    execution_provider: str
    precision: str
    size: int
    """Training size of the model, pixels."""

    channels: int
    """Number of channels of an image."""

    texts: tuple[tuple[str, str], ...]
    """Name and value of each field that is a text."""

    pictures: tuple[tuple[str, int], ...]
    """Name and number of channels of each field that is a second picture."""


def bench_service(
    scenario: CapacitySearch, settings: Settings, extras: Extras, *, progress: Callable[[str], None] = lambda line: None
) -> BenchReport:
    """Search for the highest rate of a running service, or judge one rate.

    Args:
        scenario: address, bound and rate.
        settings: size of the images, and seconds of the probes.
        extras: an older report to compare with; the rest of it is about models.
        progress: called with a line before the test, and after each rate.

    Raises:
        UsageError: nobody answers at the address, it is no such service, or it refuses the requests.
        PolyexportError: the service went away.
    """
    try:
        address = parse_address(scenario.url or "")
    except ValueError as error:
        raise UsageError(f"--url: {error}", remedy="give the line that `polyexport serve` prints") from error
    served = describe_service(address)
    size = settings.size or served.size
    requests = make_requests(address, served, size)
    _try(address, requests[0])
    timeout_s = min(_MOST_TIMEOUT_S, max(_LEAST_TIMEOUT_S, 5 * scenario.max_p99_ms / 1e3))
    clients = HttpClients(address, requests, scenario.clients, timeout_s=timeout_s)
    progress(f"{scenario.name} of {address}, {scenario.clients} connections at most, images of {size}x{size}")
    begun = datetime.datetime.now(datetime.UTC)
    place = environment()
    measured = Measured(
        name=served.model,
        sha256=served.sha256,
        precision=served.precision,
        execution_provider=served.execution_provider,
        fallback_reason="",
        placement={},
        macs=0,
        multiplied="",
    )
    apart = differences(place, measured, extras.baseline) if extras.baseline else ()
    for line in apart:
        progress(f"{extras.baseline_name} differs in {line}")
    watch = MachineWatch(count_others=False)
    alone_ms = clients.alone(settings.seconds, least=_LEAST_ALONE)
    found = scenario.find(clients, alone_ms, 1, settings, progress)
    machine = watch.finish()
    rows = (capacity_row(scenario, found, scenario.row_name, size=size, callers=scenario.clients),)
    return BenchReport(
        schema=SCHEMA,
        measured_at=begun.isoformat(timespec="seconds"),
        environment=place,
        machine=machine,
        model=measured,
        limits=(),
        rules={scenario.name: scenario.rule},
        rows=rows,
        gate=judge(rows, settings, machine),
        compared=(),
        variants=(),
        profile=None,
        changes=changes(rows, extras.baseline, tolerance=extras.tolerance) if extras.baseline else (),
        baseline=extras.baseline_name,
        baseline_differences=apart,
    )


def describe_service(address: Address) -> Served:
    """Ask a service for its model, and for the conditions that a request has to give.

    Raises:
        UsageError: nobody answers, or something that is no polyexport service.
    """
    answer = _ask(address, address.request("GET", "/info"), _MAX_INFO_BYTES)
    if 300 <= answer.status < 400:
        place = _shown(answer.headers.get("location", ""))
        raise UsageError(
            f"{address} answers with a redirect to {place!r}, which is not followed", remedy="give the final address"
        )
    if answer.status != 200:
        raise UsageError(
            f"{address} is no polyexport service (its /info has status {answer.status})",
            remedy="give the address of one",
        )
    try:
        return _served(read_json(answer.body))
    except (ArithmeticError, LookupError, TypeError, AttributeError, ValueError) as error:
        raise UsageError(
            f"{address} is no polyexport service ({_shown(reason_of(error))})", remedy="give the address of one"
        ) from error


def make_requests(address: Address, served: Served, size: int) -> list[bytes]:
    """Make requests for ``/infer`` with different drawings, whole, as they are sent.

    Args:
        address: place of the service.
        served: fields of a request.
        size: height and width of the drawings, pixels.
    """
    return [
        address.request("POST", "/infer", _form(served, size, number), f"multipart/form-data; boundary={_BOUNDARY}")
        for number in range(_DRAWINGS)
    ]


def _served(info: Any) -> Served:
    contract = info["contract"]
    texts, pictures = [], []
    if contract["contract_version"] == 2:
        entries = [{"kind": "color", "name": "", "palette": contract["palette"]}]
    else:
        entries = contract["conditions"]
    for entry in entries:
        kind, name = entry["kind"], _name(entry["name"] or "color")
        if kind == "color":
            texts.append((name, _plain(entry["palette"][0][0]) if entry["palette"] else "tomato"))
        elif kind == "image":
            pictures.append((name, _whole(entry["channels"], 1, 4)))
        else:
            fields = build(_TEXTUAL[kind], entry)
            if fields.default is None:
                texts.append((name, _plain(_value_of(fields))))
    return Served(
        model=_shown(info["model"]),
        sha256=_shown(info["sha256"]),
        execution_provider=_shown(info["execution_provider"]),
        precision=_shown(contract["precision"]),
        size=_whole(contract["training_size"], 1, _MAX_SIDE),
        channels=_whole(contract.get("image_channels", 3), 1, 4),
        texts=tuple(texts),
        pictures=tuple(pictures),
    )


def _value_of(fields: _Textual) -> str:
    """Text of a value that a condition takes."""
    if isinstance(fields, VectorFields):
        return ",".join(["0"] * fields.dim)
    return fields.labels[0] if isinstance(fields, LabelFields) else f"{fields.minimum:g}"


def _form(served: Served, size: int, number: int) -> bytes:
    pixels = draw(np.random.default_rng(number), size).image
    image = encode_png(to_channels(pixels, served.channels))
    parts = [("image", image, True)]
    parts += [(name, encode_png(to_channels(pixels, channels)), True) for name, channels in served.pictures]
    parts += [(name, value.encode(), False) for name, value in served.texts]
    body = b""
    for name, value, is_file in parts:
        file = f'; filename="{name}.png"\r\nContent-Type: image/png' if is_file else ""
        head = f'--{_BOUNDARY}\r\nContent-Disposition: form-data; name="{name}"{file}\r\n\r\n'
        body += head.encode() + value + b"\r\n"
    return body + f"--{_BOUNDARY}--\r\n".encode()


def _try(address: Address, request: bytes) -> None:
    """Send a request that has to be answered with a picture.

    Raises:
        UsageError: it is not.
    """
    answer = _ask(address, request, MAX_RESULT_BYTES)
    fault = fault_of(answer)
    if fault:
        told = re.search(rb'"detail"\s*:\s*"([^"\\]{1,200})', answer.body[:4096])
        detail = f": {_shown(told[1].decode('utf-8', 'replace'))}" if told else ""
        raise UsageError(
            f"{address} does not answer a drawing with a picture ({fault}{detail})", remedy="look at its log"
        )


def _ask(address: Address, request: bytes, max_bytes: int) -> Answer:
    remedy = "start `polyexport serve`, and give the address that it prints"
    try:
        return ask_once(address, request, timeout_s=_CONNECT_S, max_bytes=max_bytes)
    except TimeoutError as error:
        raise UsageError(f"{address} does not answer within {_CONNECT_S:g} s", remedy=remedy) from error
    except ssl.SSLError as error:
        raise UsageError(f"{address} does not speak TLS as it should ({reason_of(error)})", remedy=remedy) from error
    except OSError as error:
        # asyncio puts the address into the error's text, and gives several addresses one error without a number.
        reason = os.strerror(error.errno) if error.errno is not None and error.errno > 0 else reason_of(error)
        raise UsageError(f"nobody answers at {address} ({reason})", remedy=remedy) from error
    except AnswerError as error:
        raise UsageError(f"{address} is no polyexport service ({error})", remedy=remedy) from error


def _name(value: Any) -> str:
    if not isinstance(value, str) or not re.fullmatch(r"[a-z_][a-z0-9_]{0,63}", value):
        raise ValueError("a condition has no name")
    return value


def _plain(value: Any) -> str:
    if not isinstance(value, str) or not re.fullmatch(r"[\w .,#+-]{1,65536}", value):
        raise ValueError("a condition has a value that no form can hold")
    return value


def _whole(value: Any, least: int, most: int) -> int:
    if type(value) is not int or not least <= value <= most:
        raise ValueError(f"a number that must be {least} to {most} is {repr(value)[:40]}")
    return value


def _shown(value: Any) -> str:
    """Text of a stranger, short and without control characters."""
    if not isinstance(value, str):
        raise ValueError(f"a text is {type(value).__name__}")  # noqa: TRY004 - callers catch one exception
    return "".join(character if character.isprintable() else "?" for character in value[:200])
