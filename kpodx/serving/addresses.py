"""Where a service listens, and who may reach it there."""

from __future__ import annotations

import ipaddress
import socket

from kpodx.errors import UsageError


def is_loopback(host: str) -> bool:
    """Whether a name or address means this machine only.

    >>> is_loopback("127.0.0.1"), is_loopback("localhost"), is_loopback("::1"), is_loopback("0.0.0.0")
    (True, True, True, False)
    """
    try:
        return ipaddress.ip_address(host).is_loopback
    except ValueError:
        return host.lower() == "localhost"


def host_of(header: str) -> str:
    """The name in a Host header, without the port.

    >>> host_of("localhost:8000"), host_of("[::1]:8000")
    ('localhost', '::1')
    """
    if header.startswith("["):
        return header[1:].partition("]")[0]
    return header.partition(":")[0]


def check_access(host: str, token: str | None) -> None:
    """UsageError where everybody on the network could ask, or the token is none that a header can carry."""
    if token is not None and not (token and token.isascii() and token.isprintable() and " " not in token):
        raise UsageError(
            "The token is empty, or holds what no HTTP header can carry.", hint="Use ASCII letters and digits."
        )
    if token is None and not is_loopback(host):
        raise UsageError(
            f"--host {host}: whoever reaches this machine could ask, and there is no token.",
            hint="Set KPODX_SERVE_TOKEN, or listen on 127.0.0.1.",
        )


def open_socket(host: str, port: int) -> socket.socket:
    """A socket that listens; UsageError where the address is taken or not ours."""
    try:
        family, kind, protocol, _, address = socket.getaddrinfo(host, port, type=socket.SOCK_STREAM)[0]
        listener = socket.socket(family, kind, protocol)
    except OSError as error:
        raise UsageError(f"--host {host}: no address of this machine ({error.strerror}).") from None
    try:
        listener.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        listener.bind(address)
        listener.listen(1024)
    except OSError as error:
        listener.close()
        raise UsageError(
            f"Nothing can listen on {host}, port {port}: {error.strerror}.",
            hint="Another program may have the port: take another with --port, or 0 for any that is free.",
        ) from None
    listener.setblocking(False)
    return listener


def address_of(listener: socket.socket) -> str:
    """The service's address, for clients."""
    host, port = listener.getsockname()[:2]
    return f"http://{f'[{host}]' if ':' in host else host}:{port}"
