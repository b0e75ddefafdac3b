"""Names that a server answers to.

A page of any web site can point a name of its own at this machine (DNS rebinding) and then read the answers of a server
here as those of its own site. The browser sends that name in the Host header, so a server that answers only to names
that no such page can have is safe from it.
"""

import ipaddress
import re
from collections.abc import Sequence
from dataclasses import dataclass
from urllib.parse import urlsplit

__all__ = ["HostRule"]

_HOST = re.compile(r"(\[[0-9a-f:.]+\]|[a-z0-9._-]{1,253})(?::(\d{0,5}))?", re.IGNORECASE)
_ANY_ADDRESS = ("0.0.0.0", "::")  # noqa: S104 - compared, not listened on
_Address = ipaddress.IPv4Address | ipaddress.IPv6Address


@dataclass(frozen=True, slots=True)
class HostRule:
    """Rule for the names that a server answers to.

    Localhost, loopback addresses and the server's own address are always allowed; any other IP address if the server
    listens on all of them. Names without a dot are allowed as well: containers and machines of one network reach each
    other by them, and no page of the public web has one. Ports do not matter.
    """

    bound: str
    """Address that the server listens on."""

    names: tuple[str, ...] = ()
    """Further names and addresses that are allowed, without a port."""

    def __post_init__(self) -> None:
        for name in self.names:
            match = _HOST.fullmatch(f"[{name}]" if ":" in name else name)
            if match is None or (":" in name and _address(name) is None):
                raise ValueError(f"a host to allow is a name or an address without a port, got {name!r}")

    def host(self, values: Sequence[str]) -> str:
        """Read the Host header of a request.

        Args:
            values: the values of all Host headers.

        Returns:
            The name in lowercase, or the address without brackets.

        Raises:
            ValueError: the header is missing, given twice or malformed.
        """
        if len(values) != 1:
            raise ValueError(f"the request has {len(values)} Host headers, not one")
        match = _HOST.fullmatch(values[0])
        name = match[1].strip("[]").lower().removesuffix(".") if match is not None else ""
        is_address_wrong = match is not None and match[1].startswith("[") and _address(name) is None
        if match is None or not name or is_address_wrong or int(match[2] or 0) > 65535:
            raise ValueError("the Host header is malformed")
        return name

    def allows(self, host: str) -> bool:
        """Whether the server answers to a name or an address, as ``host`` returns it."""
        return self._is_own(host) or (self.bound in _ANY_ADDRESS and _address(host) is not None)

    def allows_origin(self, origin: str, host: str) -> bool:
        """Whether a page may send requests that are more than reading.

        Args:
            origin: the Origin header of the request, which browsers send.
            host: the name in its Host header, as ``host`` returns it.
        """
        try:
            parts = urlsplit(origin)
            name = self.host([parts.netloc])
        except ValueError:
            return False
        return parts.scheme in ("http", "https") and (name == host or self._is_own(name))

    def _is_own(self, host: str) -> bool:
        address = _address(host)
        if host in (name.lower() for name in self.names):
            return True
        if address is None:
            return "." not in host
        return address.is_loopback or address == _address(self.bound)


def _address(text: str) -> _Address | None:
    try:
        address = ipaddress.ip_address(text)
    except ValueError:
        return None
    return getattr(address, "ipv4_mapped", None) or address
