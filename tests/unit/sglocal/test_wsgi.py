"""The server: connections stay open, a slow client holds nobody up, and stopping ends it."""

from __future__ import annotations

import http.client
import socket
import threading
from collections.abc import Callable, Iterable, Iterator
from contextlib import contextmanager
from typing import Any

import pytest

from sglocal.wsgi import Server


class Echo:
    """Answers with the request's body; `/held` once it is released."""

    def __init__(self) -> None:
        self.release = threading.Event()
        self.entered = threading.Event()

    def __call__(self, environ: dict[str, Any], start: Callable[..., Any]) -> Iterable[bytes]:
        body = environ["wsgi.input"].read()
        if environ["PATH_INFO"] == "/held":
            self.entered.set()
            self.release.wait(20)
        start("200 OK", [("Content-Length", str(len(body)))])
        return [body]


@pytest.fixture
def echo() -> Iterator[Echo]:
    app = Echo()
    yield app
    app.release.set()


@pytest.fixture
def server(echo: Echo) -> Iterator[Server]:
    served = Server(socket.create_server(("127.0.0.1", 0)), echo, "test", threads=2)
    served.start()
    yield served
    echo.release.set()
    served.stop()


@contextmanager
def connection(server: Server) -> Iterator[http.client.HTTPConnection]:
    client = http.client.HTTPConnection(server.address, server.port, timeout=20)
    yield client
    client.close()


def test_a_connection_serves_one_request_after_another(server: Server) -> None:
    sockets = set()
    with connection(server) as client:
        for number in range(3):
            client.request("POST", "/", f"body {number}")
            assert client.getresponse().read() == f"body {number}".encode()
            sockets.add(client.sock)
    assert len(sockets) == 1


def test_clients_that_send_half_a_request_hold_no_thread(server: Server) -> None:
    slow = [socket.create_connection((server.address, server.port)) for _ in range(5)]
    for each in slow:
        each.sendall(b"POST / HTTP/1.1\r\nHost: x\r\nContent-Length: 10\r\n\r\nhalf")
    with connection(server) as client:
        client.request("POST", "/", "whole")
        assert client.getresponse().read() == b"whole"
    for each in slow:
        each.sendall(b"-other")
        assert each.recv(4096).startswith(b"HTTP/1.1 200")
        each.close()


def test_a_body_is_asked_for_once_with_expect_100_continue(server: Server) -> None:
    with socket.create_connection((server.address, server.port), timeout=20) as client:
        client.sendall(
            b"PUT / HTTP/1.1\r\nHost: x\r\nContent-Length: 4\r\nExpect: 100-continue\r\n\r\n"
        )
        assert client.recv(4096) == b"HTTP/1.1 100 Continue\r\n\r\n"
        client.sendall(b"body")
        assert client.recv(4096).startswith(b"HTTP/1.1 200 OK")


def test_a_stopped_server_refuses_connections_and_its_port_is_free(echo: Echo) -> None:
    served = Server(socket.create_server(("127.0.0.1", 0)), echo, "test", threads=1)
    served.start()
    idle = socket.create_connection((served.address, served.port), timeout=20)
    served.stop()
    assert idle.recv(1) == b""
    idle.close()
    with pytest.raises(ConnectionRefusedError):
        socket.create_connection((served.address, served.port), timeout=5)


def test_stopping_does_not_wait_for_a_request_that_does_not_end(echo: Echo) -> None:
    served = Server(socket.create_server(("127.0.0.1", 0)), echo, "test", threads=1)
    served.start()
    with connection(served) as client:
        client.request("POST", "/held", "x")
        assert echo.entered.wait(20)
        served.stop()
        with pytest.raises(ConnectionRefusedError):
            socket.create_connection((served.address, served.port), timeout=5)
        echo.release.set()
        assert client.getresponse().read() == b"x"
