"""Names that a server answers to: none that a page of another site can point at it."""

import ipaddress

import pytest
from hypothesis import given
from hypothesis import strategies as st

from polyexport.web.hosts import HostRule

LOOPBACK = HostRule("127.0.0.1")
ANY = HostRule("0.0.0.0")
NAMED = HostRule("127.0.0.1", ("Color.example", "2001:db8::1", "192.0.2.7"))


@pytest.mark.parametrize(
    ("rule", "value", "allowed"),
    [
        (LOOPBACK, "localhost", True),
        (LOOPBACK, "LOCALHOST:8000", True),
        (LOOPBACK, "localhost.:8000", True),
        (LOOPBACK, "127.0.0.1:8000", True),
        (LOOPBACK, "127.9.9.9", True),
        (LOOPBACK, "[::1]:8000", True),
        (LOOPBACK, "[::ffff:127.0.0.1]", True),
        (LOOPBACK, "polyexport", True),
        (LOOPBACK, "my_service:80", True),
        (LOOPBACK, "evil.example", False),
        (LOOPBACK, "localhost.evil.example", False),
        (LOOPBACK, "127.0.0.1.evil.example", False),
        (LOOPBACK, "0.0.0.0", False),
        (LOOPBACK, "192.0.2.7", False),
        (LOOPBACK, "[2001:db8::1]", False),
        (ANY, "192.0.2.7:8000", True),
        (ANY, "[2001:db8::1]", True),
        (ANY, "evil.example", False),
        (NAMED, "color.example:443", True),
        (NAMED, "COLOR.EXAMPLE.", True),
        (NAMED, "[2001:db8::1]:1", True),
        (NAMED, "192.0.2.7", True),
        (NAMED, "sub.color.example", False),
        (NAMED, "192.0.2.8", False),
        (HostRule("192.0.2.7"), "192.0.2.7", True),
    ],
)
def test_who_is_answered(rule: HostRule, value: str, allowed: bool) -> None:
    assert rule.allows(rule.host([value])) is allowed


@pytest.mark.parametrize(
    "values",
    [[], ["a", "a"], [""], ["."], [":80"], ["a b"], ["a:x"], ["a:65536"], ["a:123456"], ["a@b"], ["a/b"], ["[::1"],
     ["::1"], ["[1.2.3.4]x"], ["[:::]"], ["ä.example"], ["a,b"], ["http://a"]],
)  # fmt: skip
def test_a_header_that_names_no_host(values: list[str]) -> None:
    with pytest.raises(ValueError, match=r"Host header"):
        LOOPBACK.host(values)


@given(st.text(max_size=30))
def test_any_text_is_a_host_or_malformed(value: str) -> None:
    try:
        name = ANY.host([value])
    except ValueError:
        return
    assert name == name.lower()
    assert isinstance(ANY.allows(name), bool)


@given(st.ip_addresses())
def test_every_address_is_read(address: ipaddress.IPv4Address | ipaddress.IPv6Address) -> None:
    value = f"[{address}]" if address.version == 6 else str(address)
    assert ANY.allows(ANY.host([value]))
    mapped = getattr(address, "ipv4_mapped", None) or address
    assert LOOPBACK.allows(LOOPBACK.host([value])) is mapped.is_loopback


@pytest.mark.parametrize(
    ("rule", "origin", "host", "allowed"),
    [
        (LOOPBACK, "http://127.0.0.1:8000", "127.0.0.1", True),
        (LOOPBACK, "http://localhost:3000", "127.0.0.1", True),
        (LOOPBACK, "http://[::1]", "localhost", True),
        (LOOPBACK, "null", "127.0.0.1", False),
        (LOOPBACK, "", "127.0.0.1", False),
        (LOOPBACK, "http://evil.example", "127.0.0.1", False),
        (LOOPBACK, "https://127.0.0.1.evil.example", "127.0.0.1", False),
        (LOOPBACK, "chrome-extension://abc", "127.0.0.1", False),
        (LOOPBACK, "http://[", "127.0.0.1", False),
        (ANY, "http://192.0.2.7:9000", "192.0.2.7", True),
        (ANY, "http://192.0.2.8", "192.0.2.7", False),
        (NAMED, "https://color.example", "color.example", True),
    ],
)
def test_which_pages_may_send(rule: HostRule, origin: str, host: str, allowed: bool) -> None:
    assert rule.allows_origin(origin, host) is allowed


@pytest.mark.parametrize("name", ["", "a:80", "http://a", "a b", "*", "[::1]"])
def test_a_name_to_allow_that_is_none(name: str) -> None:
    with pytest.raises(ValueError, match="without a port"):
        HostRule("127.0.0.1", (name,))
