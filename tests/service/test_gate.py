"""The gate in front of every route: hosts, pages of other sites, requests of doubtful meaning."""

import json
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

Headers = list[tuple[bytes, bytes]]
HOST = (b"host", b"127.0.0.1:8000")
ROUTES = [("GET", "/health"), ("GET", "/info"), ("GET", "/metrics"), ("GET", "/openapi.json"), ("POST", "/infer")]


def ask(
    app: Any, method: str, path: str, *headers: tuple[bytes, bytes], query: bytes = b""
) -> tuple[int, dict[str, Any]]:
    status, told, answer = app.ask(method, path, headers, query=query, host=None)
    assert not any(name.startswith("access-control") for name in told)
    return status, json.loads(answer) if told["content-type"] == "application/problem+json" else {}


@pytest.mark.parametrize(("method", "path"), ROUTES)
def test_no_route_answers_to_a_name_that_anybody_can_point_here(app: Any, method: str, path: str) -> None:
    status, problem = ask(app, method, path, (b"host", b"evil.example"))
    assert (status, problem["code"]) == (421, "host")
    assert problem["detail"] == "the service does not answer to 'evil.example'; start it with --allow-host to allow it"
    assert ask(app, method, path, (b"host", b"polyexport:80"))[0] in (200, 415)


@pytest.mark.parametrize(
    "headers",
    [
        [],
        [HOST, HOST],
        [(b"host", b"a b")],
        [(b"host", b"")],
        [HOST, (b"content-length", b"3"), (b"transfer-encoding", b"chunked")],
    ],
)
def test_what_is_malformed_on_every_route(app: Any, headers: Headers) -> None:
    for method, path in ROUTES:
        status, told, answer = app.ask(method, path, headers, host=None)
        assert (status, told["connection"], json.loads(answer)["code"]) == (400, "close", "malformed")


@pytest.mark.parametrize(
    ("method", "headers", "status"),
    [
        ("POST", [(b"origin", b"http://evil.example")], 403),
        ("POST", [(b"origin", b"null")], 403),
        ("POST", [(b"sec-fetch-site", b"cross-site")], 403),
        ("POST", [(b"origin", b"http://127.0.0.1:8000"), (b"origin", b"http://evil.example")], 403),
        ("POST", [(b"origin", b"http://127.0.0.1:8000"), (b"sec-fetch-site", b"same-origin")], 415),
        ("POST", [(b"origin", b"http://localhost:3000"), (b"sec-fetch-site", b"same-site")], 415),
        ("POST", [], 415),
        ("PUT", [(b"origin", b"http://evil.example")], 403),
        ("OPTIONS", [(b"origin", b"http://evil.example"), (b"access-control-request-method", b"POST")], 405),
        ("GET", [(b"origin", b"http://evil.example")], 405),
    ],
)
def test_a_page_of_another_site_sends_nothing(app: Any, method: str, headers: Headers, status: int) -> None:
    told, problem = ask(app, method, "/infer", HOST, *headers)
    assert told == status
    assert problem["code"] == {403: "cross_site", 415: "unsupported", 405: "method"}[status]


def test_a_name_stands_once_in_a_query(app: Any) -> None:
    assert ask(app, "GET", "/health", HOST, query=b"x=1&y=1&&")[0] == 200
    for query in (b"x=1&x=1", b"x&y&%78=2", b"+=1&%20"):
        status, problem = ask(app, "GET", "/health", HOST, query=query)
        assert (status, problem["code"]) == (422, "field")


VALUES = st.text(st.characters(max_codepoint=255, exclude_characters="\0\r\n"), max_size=30).map(
    lambda text: text.encode("latin-1").strip()
)


@given(st.sampled_from([b"host", b"origin", b"sec-fetch-site"]), VALUES, st.sampled_from(ROUTES))
def test_no_header_is_an_error_of_the_service(app: Any, name: bytes, value: bytes, route: tuple[str, str]) -> None:
    for headers in ([(name, value)], [HOST, (name, value)]):
        assert ask(app, *route, *headers)[0] < 500
