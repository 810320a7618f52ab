"""Which URLs may be fetched, and to which addresses a connection may go.

A URL is written in one plain form or refused: no user names, no backslashes, no unusual forms of
numbers. Every address of its host is checked, and the connection goes to one of these addresses. So
a name cannot resolve to another address in between.
"""

import ipaddress
import re
from dataclasses import dataclass
from functools import partial
from ipaddress import IPv4Address, IPv6Address
from typing import Annotated, Literal

from pydantic import Field

from uad.config import Settings
from uad.errors import RequestRefused

Address = IPv4Address | IPv6Address
Scheme = Literal["http", "https"]

_URL = re.compile(
    r"(?P<scheme>https?)://(?P<host>[a-z0-9.-]{1,253}|\[[0-9a-f:.]{2,45}\])"
    r"(?::(?P<port>[1-9][0-9]{0,4}))?(?P<path>/[!-\[\]-~]*)?",
    re.IGNORECASE,
)
_LABEL = re.compile(r"(?!-)[a-z0-9-]{1,63}(?<!-)")
_NUMBER = re.compile(r"0x[0-9a-f]*|[0-9]+")
_PORTS = {"http": 80, "https": 443}
_NEVER = [
    ipaddress.ip_network(each)
    for each in (
        "0.0.0.0/8", "169.254.0.0/16", "192.0.0.0/24", "224.0.0.0/3",  # metadata, multicast
        "::/96", "64:ff9b::/96", "64:ff9b:1::/48", "2001::/23", "2002::/16",  # IPv4 in disguise
        "::ffff:0:0:0/96", "fe80::/10", "fec0::/10", "ff00::/8", "fd00:ec2::/32", "100::/64",
    )
]  # fmt: skip
LONGEST_URL = 2048
not_allowed = partial(
    RequestRefused, 403, "this server may not fetch that URL; send the image as base64"
)


class UrlInput(Settings):
    """Fetching images by URL; off unless `enabled`."""

    enabled: bool = False
    schemes: tuple[Scheme, ...] = ("http", "https")
    ports: tuple[int, ...] = (80, 443)
    hosts: tuple[str, ...] = ()
    """Names, or `*.example.com`; empty: any."""
    networks: tuple[str, ...] = ()
    """CIDRs that a connection may go to, for example the cameras'; empty: the public internet."""
    bytes: Annotated[int, Field(ge=1024)] = 32 * 2**20
    """Longest image."""
    seconds: Annotated[float, Field(gt=0, le=300)] = 10.0
    """For everything together: names, connections, redirects, content."""
    redirects: Annotated[int, Field(ge=0, le=10)] = 3


@dataclass(frozen=True)
class CheckedUrl:
    """A URL that may be fetched if its host's addresses may be connected to."""

    scheme: str
    host: str
    port: int
    path: str
    address: Address | None
    """The host, if it is an address."""

    @property
    def authority(self) -> str:
        """For the Host header."""
        host = f"[{self.host}]" if ":" in self.host else self.host
        return host if self.port == _PORTS[self.scheme] else f"{host}:{self.port}"


def checked_url(url: str, rules: UrlInput) -> CheckedUrl:
    """Read a URL strictly.

    Raises:
        RequestRefused: 403, it is written in an odd way or names what may not be fetched.
    """
    match = _URL.fullmatch(url.strip(" \r\n\t").partition("#")[0])
    if match is None or len(url) > LONGEST_URL:
        raise not_allowed()
    scheme, host = match["scheme"].lower(), match["host"].lower()
    port = int(match["port"] or _PORTS[scheme])
    address = _address(host)
    if scheme not in rules.schemes or port not in rules.ports or not _is_listed(host, rules):
        raise not_allowed()
    return CheckedUrl(scheme, host.strip("[]"), port, match["path"] or "/", address)


def may_connect(address: Address, rules: UrlInput) -> bool:
    """Whether a connection to `address` is allowed."""
    if isinstance(address, IPv6Address) and address.ipv4_mapped is not None:
        address = address.ipv4_mapped
    if any(address in network for network in _NEVER):
        return False
    if rules.networks:
        return any(address in ipaddress.ip_network(each) for each in rules.networks)
    return address.is_global and not address.is_multicast


def _address(host: str) -> Address | None:
    """`host` as an address, or None if it is a name; ambiguous hosts are refused."""
    try:
        if host.startswith("["):
            return IPv6Address(host[1:-1])
        if _NUMBER.fullmatch(host.rpartition(".")[2]):
            return IPv4Address(host)  # four plain decimals and nothing else
    except ValueError as exc:
        raise not_allowed() from exc
    if not all(_LABEL.fullmatch(label) for label in host.split(".")):
        raise not_allowed()
    return None


def _is_listed(host: str, rules: UrlInput) -> bool:
    if not rules.hosts:
        return True
    return any(
        host == name.lower() or (name.startswith("*.") and host.endswith(name[1:].lower()))
        for name in rules.hosts
    )
