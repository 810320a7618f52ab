"""HTTP of our own, and what we start: this machine is never reached through a proxy.

With `http_proxy` in the environment httpx and requests send even 127.0.0.1 to the proxy, which
cannot reach it.
"""

import os
from collections.abc import MutableMapping
from functools import cache
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from ssl import SSLContext

    import httpx

LOOPBACK = ("localhost", "127.0.0.1", "::1")
_DIRECT: dict[str, None] = {"all://localhost": None, "all://127.0.0.1": None, "all://[::1]": None}


def http_client(**options: Any) -> "httpx.Client":
    """Httpx's client; it uses the environment's proxy for other machines only."""
    import httpx

    return httpx.Client(mounts=_DIRECT, **{"verify": _trusted(), **options})


@cache
def _trusted() -> "SSLContext":
    """The certificates that httpx trusts: read once, for that takes as long as a model's answer."""
    import httpx

    return httpx.create_ssl_context()


def http_get(url: str, **options: Any) -> "httpx.Response":
    """One GET request by `http_client`; `options` are the client's, such as `timeout`."""
    with http_client(**options) as client:
        return client.get(url)


def spare_loopback(environment: MutableMapping[str, str] = os.environ) -> None:
    """Name this machine in NO_PROXY: for other libraries and for the processes that we start."""
    given = environment.get("no_proxy") or environment.get("NO_PROXY") or ""
    hosts = [host.strip() for host in given.split(",") if host.strip()]
    if "*" not in hosts:
        hosts += [host for host in LOOPBACK if host not in hosts]
    for name in ("no_proxy", "NO_PROXY"):
        environment[name] = ",".join(hosts)
