"""The guard that all tests stand behind."""

import socket
from pathlib import Path

import pytest

from support import network, processes


@pytest.mark.parametrize(
    "reach",
    [
        lambda s: s.connect(("192.0.2.1", 80)),
        lambda s: s.connect_ex(("192.0.2.1", 80)),
        lambda s: s.sendto(b"x", ("192.0.2.1", 80)),
        lambda s: socket.getaddrinfo("example.org", 80),
        lambda s: socket.gethostbyname("example.org"),
        lambda s: socket.create_connection(("example.org", 80)),
    ],
)
def test_another_machine_cannot_be_reached(reach):
    with socket.socket(type=socket.SOCK_DGRAM) as s, pytest.raises(network.NetworkRefused):
        reach(s)
    assert network.attempts
    network.attempts.clear()


def test_loopback_and_unix_sockets_are_allowed(tmp_path: Path):
    with socket.create_server(("127.0.0.1", 0)) as server, socket.create_connection(server.getsockname()):
        pass
    with socket.socket(socket.AF_UNIX) as server, socket.socket(socket.AF_UNIX) as client:
        server.bind(str(tmp_path / "s"))
        server.listen()
        client.connect(str(tmp_path / "s"))
        assert client.getpeername() == str(tmp_path / "s")  # not refused: it is connected


SWALLOWED = """
import socket
try:
    socket.create_connection(("192.0.2.1", 80), 1)
except BaseException:
    pass
"""


def test_children_cannot_reach_another_machine_either():
    done = processes.finished("-c", SWALLOWED)
    assert done.returncode == network.REFUSED
    assert "192.0.2.1" in done.stderr
