"""The server: one process, on this machine alone unless it is told otherwise."""

from __future__ import annotations

import asyncio
import secrets
import socket
import sys
from typing import Any

import uvicorn
from uvicorn.protocols.http.h11_impl import H11Protocol

from fusevae.core.errors import InputError
from fusevae.explorer.application import make
from fusevae.explorer.guard import is_loopback
from fusevae.explorer.known import Runs

HEADERS_IN = 10.0  # seconds until the headers of a request have come
CONNECTIONS = 64


class Patient(H11Protocol):
    """HTTP that waits so long for the headers of a request, and no longer: uvicorn waits for ever."""

    waiting: asyncio.TimerHandle | None = None

    def connection_made(self, transport: Any) -> None:
        """Begin to wait."""
        super().connection_made(transport)
        self._wait()

    def data_received(self, data: bytes) -> None:
        """Some bytes: wait for the rest, unless a request is whole."""
        super().data_received(data)
        self._wait()

    def connection_lost(self, exc: Exception | None) -> None:
        """Nothing to wait for any more."""
        self._wait(ended=True)
        super().connection_lost(exc)

    def _wait(self, ended: bool = False) -> None:
        answering = self.cycle is not None and not self.cycle.response_complete
        if self.waiting is not None and (answering or ended):
            self.waiting.cancel()
            self.waiting = None
        if self.waiting is None and not answering and not ended:
            self.waiting = self.loop.call_later(HEADERS_IN, self._late)

    def _late(self) -> None:
        self.waiting = None
        if (self.cycle is None or self.cycle.response_complete) and not self.transport.is_closing():
            self.transport.close()


def server(runs: Runs, host: str, port: int, token: str = "") -> tuple[uvicorn.Server, socket.socket, str]:
    """A server, the socket that it listens at, and its address with the token, if there is one.

    Args:
        runs: that are shown.
        host: where it listens.
        port: likewise; 0 takes a free one.
        token: that has to be shown; one is drawn where others can reach the host.
    """
    token = token or ("" if is_loopback(host) else secrets.token_urlsafe(24))
    try:
        family, *_, address = socket.getaddrinfo(host.strip("[]"), port, type=socket.SOCK_STREAM)[0]
        listening = socket.socket(family, socket.SOCK_STREAM)
        listening.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        # an answer's body needn't wait for the page to confirm its head, up to 40 ms; connections inherit it
        listening.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        listening.bind(address)
    except (OSError, OverflowError) as error:
        raise InputError(f"nothing can listen at {host}, port {port} ({error}): give another --port") from None
    port = listening.getsockname()[1]
    configuration = uvicorn.Config(
        make(runs, host, port, token), http=Patient, ws="none", lifespan="off", log_level="warning", access_log=False,
        server_header=False, timeout_keep_alive=5, limit_concurrency=CONNECTIONS, timeout_graceful_shutdown=2,
        h11_max_incomplete_event_size=2**14,
    )  # fmt: skip
    name = f"[{host}]" if ":" in host and "[" not in host else host
    return uvicorn.Server(configuration), listening, f"http://{name}:{port}/" + (f"?token={token}" if token else "")


def serve(runs: Runs, host: str, port: int) -> None:
    """Serve until Ctrl-C."""
    found, listening, address = server(runs, host, port)
    names = ", ".join(runs.all())
    print(f"showing {names}\n{address}\nCtrl-C ends it", file=sys.stderr, flush=True)
    with listening:
        found.run(sockets=[listening])
