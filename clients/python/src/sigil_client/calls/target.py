"""A server's target and the security of the channel to it. Source: gRPC name resolution, "Name Syntax"."""

from __future__ import annotations

import re
from dataclasses import dataclass, field
from typing import Literal, TypeAlias

import grpc


@dataclass(frozen=True)
class Tls:
    """How the server is authenticated, and with `cert` and `key` this client. PEM, all optional."""

    ca: bytes | None = None
    """Certificates to trust instead of those that gRPC brings."""
    cert: bytes | None = None
    """The client's certificate chain; needs `key`."""
    key: bytes | None = field(default=None, repr=False)
    """The client's private key; needs `cert`."""
    server_name: str | None = None
    """The name to expect in the server's certificate, if not the target's."""

    def __post_init__(self) -> None:
        """Raises TypeError."""
        if (self.cert is None) != (self.key is None):
            raise TypeError("tls.cert and tls.key go together")
        for name in ("ca", "cert", "key"):
            if not isinstance(getattr(self, name), (bytes, type(None))):
                raise TypeError(f"tls.{name} must be the bytes of a PEM file")


Security: TypeAlias = "Tls | Literal['insecure']"

_SCHEME = re.compile(r"(?:dns|ipv4|ipv6|passthrough):(?://[^/]*/)?")
_UNIX = re.compile(r"unix(?:-abstract)?:")
_PORT = re.compile(r"(?<=\])(?::\d+)$|^([^:]*):\d+$")
_LOOPBACK_HOST = re.compile(r"localhost|127(?:\.\d{1,3}){3}|\[?::1\]?", re.IGNORECASE)


def is_loopback(target: str) -> bool:
    """Whether the target is on this machine. False if uncertain."""
    if _UNIX.match(target):
        return True
    return all(_LOOPBACK_HOST.fullmatch(_host(address)) for address in _SCHEME.sub("", target, 1).split(","))


def _host(address: str) -> str:
    return _PORT.sub(r"\1", address)


def channel_credentials(security: Security) -> grpc.ChannelCredentials | None:
    """None for a channel without TLS."""
    if security == "insecure":
        return None
    return grpc.ssl_channel_credentials(security.ca, security.key, security.cert)


Option: TypeAlias = "tuple[str, str | int]"

RECEIVE_BYTES_KEY = "grpc.max_receive_message_length"
_RECEIVE_BYTES_MAX = 4 << 20


def channel_options(target: str, security: Security, given: tuple[Option, ...]) -> tuple[Option, ...]:
    """The caller's options over our defaults, and under what must hold."""
    options: dict[str, str | int] = {
        # Connections to one address within a process share their back-off otherwise.
        "grpc.use_local_subchannel_pool": 1,
        # A server that restarts is found again within a call's deadline.
        "grpc.initial_reconnect_backoff_ms": 100,
        "grpc.min_reconnect_backoff_ms": 1_000,
        "grpc.max_reconnect_backoff_ms": 5_000,
        # While calls are open: a connection that carries nothing any more is given up.
        "grpc.keepalive_time_ms": 30_000,
        "grpc.keepalive_timeout_ms": 10_000,
        RECEIVE_BYTES_KEY: _RECEIVE_BYTES_MAX,
        **dict(given),
        # A text record of the domain could have gRPC repeat what must not be repeated.
        "grpc.service_config_disable_resolution": 1,
    }
    if security != "insecure" and security.server_name is not None:
        options["grpc.ssl_target_name_override"] = security.server_name
        options["grpc.default_authority"] = security.server_name
    # gRPC takes the proxy of `grpc_proxy`, `https_proxy` or `http_proxy` for every channel. Without TLS the proxy could
    # read tokens, and traffic of this machine would leave it: only TLS to another machine may use one.
    if security == "insecure" or is_loopback(target):
        options["grpc.enable_http_proxy"] = 0
        options.pop("grpc.http_proxy", None)
    return tuple(options.items())


def reply_bytes_max(options: tuple[Option, ...]) -> int | None:
    """The largest reply that the channel accepts; None if unlimited."""
    value = dict(options)[RECEIVE_BYTES_KEY]
    return value if isinstance(value, int) and value > 0 else None
