"""The guard of "nothing is sent": every address but loopback and Unix sockets is refused.

It is an audit hook of the interpreter, so no import order and no library in Python gets around it. ``attempts`` keeps
what was refused, for a program may swallow the error.
"""

import ipaddress
import os
import sys
from typing import Any

attempts: list[str] = []
REFUSED = 97  # exit code of a child that tried


class NetworkRefused(RuntimeError):
    """A test tried to reach another machine."""


def _is_here(host: Any) -> bool:
    if not isinstance(host, (str, bytes)):
        return host is None
    text = host.decode() if isinstance(host, bytes) else host
    if text in ("", "localhost"):
        return True
    try:
        return ipaddress.ip_address(text).is_loopback
    except ValueError:
        return False


def _address_is_here(address: Any) -> bool:
    """A Unix socket's address is a path, an Internet one a tuple."""
    return _is_here(address[0]) if isinstance(address, tuple) and address else True


def refuse(event: str, arguments: tuple[Any, ...]) -> None:
    if event in ("socket.connect", "socket.sendto", "socket.sendmsg"):
        allowed, target = _address_is_here(arguments[1]), arguments[1]
    elif event in ("socket.getaddrinfo", "socket.gethostbyname", "socket.gethostbyaddr"):
        allowed, target = _is_here(arguments[0]), arguments[0]
    else:
        return
    if not allowed:
        attempts.append(f"{event} {target!r}")
        raise NetworkRefused(f"a test tried to reach the network: {event} {target!r}")


def refuse_and_die(event: str, arguments: tuple[Any, ...]) -> None:
    """Ends the process, so that nobody can swallow the refusal."""
    try:
        refuse(event, arguments)
    except NetworkRefused as error:
        os.write(2, f"{error}\n".encode())
        os._exit(REFUSED)


def install(*, in_child: bool = False) -> None:
    sys.addaudithook(refuse_and_die if in_child else refuse)
