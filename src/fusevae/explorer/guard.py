"""Who may ask, how much and how slowly: a wrapper around the application that refuses everything else."""

from __future__ import annotations

import asyncio
import hmac
import ipaddress
import json
import socket
from collections.abc import Awaitable, Callable, MutableMapping
from http.cookies import CookieError, SimpleCookie
from typing import Any
from urllib.parse import parse_qs, urlsplit

from starlette.datastructures import Headers

Scope = MutableMapping[str, Any]
Receive = Callable[[], Awaitable[MutableMapping[str, Any]]]
Send = Callable[[MutableMapping[str, Any]], Awaitable[None]]
Application = Callable[[Scope, Receive, Send], Awaitable[None]]

LARGEST, LARGEST_FILE = 2**20, 2**23  # bytes of a request, of an example of the user's own
SLOWEST = 20.0  # seconds until a request has come whole
POLICY = (
    "default-src 'none'; script-src 'self'; style-src 'self'; img-src 'self' data: blob:; media-src data: blob:; "
    "connect-src 'self'; base-uri 'none'; form-action 'none'; frame-ancestors 'none'"
)
HEADERS = {
    "content-security-policy": POLICY,
    "x-content-type-options": "nosniff",
    "referrer-policy": "no-referrer",
    "cross-origin-opener-policy": "same-origin",
    "cross-origin-resource-policy": "same-origin",
    "cache-control": "no-store",
}
COOKIE = "fusevae-explorer"


class Refused(Exception):
    """A request that is not answered: a status and a line."""

    def __init__(self, status: int, text: str) -> None:
        super().__init__(text)
        self.status = status


class Guard:
    """Refuses foreign hosts (a name that was bound to this machine) and origins (another page's requests), whoever has
    not the token where there is one, and bodies that are large or slow.

    Args:
        application: what answers the rest.
        host: that the server listens at.
        port: likewise.
        token: that has to be shown; empty for none.
    """

    def __init__(self, application: Application, host: str, port: int, token: str = "") -> None:
        self.application, self.host, self.port, self.token = application, host, port, token
        self.cookie = f"{COOKIE}-{port}"  # cookies are shared by the ports of a machine

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """One request, of ASGI."""
        if scope["type"] == "lifespan":
            await self.application(scope, receive, send)
            return
        if scope["type"] != "http":  # a web socket, which may be opened from any page
            await send({"type": "websocket.close", "code": 1008})
            return
        begun = False

        async def guarded(message: MutableMapping[str, Any]) -> None:
            nonlocal begun
            if message["type"] == "http.response.start":
                begun = True
                names = {name for name, _ in message.get("headers", ())}
                new = [(k.encode(), v.encode()) for k, v in HEADERS.items() if k.encode() not in names]
                message = {**message, "headers": [*message.get("headers", ()), *new]}
            await send(message)

        try:
            cookie = self.check(scope)
            if cookie:
                await _answer(guarded, 303, "", [(b"location", b"/"), (b"set-cookie", cookie.encode())])
                return
            body = await asyncio.wait_for(_whole(scope, receive), SLOWEST)
            await self.application(scope, _again(body, receive), guarded)
        except Refused as error:
            await _answer(guarded, error.status, str(error))
        except TimeoutError:
            if not begun:
                await _answer(guarded, 408, "the request came too slowly")

    def check(self, scope: Scope) -> str:
        """:class:`Refused` unless the request may be answered; a cookie to be set, where it brought the token."""
        headers = Headers(scope=scope)
        given = headers.getlist("host")
        if len(given) != 1 or not self.is_ours(given[0]):
            raise Refused(421, "this host is not served here")
        api = scope["path"].startswith("/api/")
        if any(origin.lower() != f"http://{given[0].lower()}" for origin in headers.getlist("origin")):
            raise Refused(403, "requests of another page are refused")
        site = headers.get("sec-fetch-site", "none")
        top = headers.get("sec-fetch-mode") == "navigate" and headers.get("sec-fetch-dest") == "document"
        if site not in ("none", "same-origin") and (api or not top or scope["method"] != "GET"):
            raise Refused(403, "requests of another site are refused")
        if not self.token:
            return ""
        query = parse_qs(scope.get("query_string", b"").decode("latin-1"))
        if scope["path"] == "/" and scope["method"] == "GET" and self._is_token(query.get("token", [""])[0]):
            return f"{self.cookie}={self.token}; Path=/; HttpOnly; SameSite=Lax"
        shown = headers.get("authorization", "").removeprefix("Bearer ")
        if not (self._is_token(shown) or self._is_token(_cookie(headers.get("cookie", ""), self.cookie))):
            raise Refused(401, "this page needs the token that the explorer printed when it was started")
        return ""

    def is_ours(self, given: str) -> bool:
        """Whether a Host header names this server: by loopback or the host it listens at; with a token by any address
        or this machine's name. A name that someone else can bind to this machine is none of these."""
        try:
            name, port = urlsplit(f"//{given}").hostname or "", urlsplit(f"//{given}").port or 80
        except ValueError:
            return False
        if port != self.port or any(c in given for c in "@/?#\\ "):
            return False
        if name in ("localhost", "127.0.0.1", "::1", self.host.strip("[]").lower()):
            return True
        return bool(self.token) and (_is_address(name) or name == socket.gethostname().lower())

    def _is_token(self, given: str) -> bool:
        return hmac.compare_digest(given.encode(), self.token.encode())


def is_loopback(host: str) -> bool:
    """Whether only this machine can reach a server there."""
    return host == "localhost" or (_is_address(host) and ipaddress.ip_address(host.strip("[]")).is_loopback)


def _is_address(name: str) -> bool:
    try:
        ipaddress.ip_address(name.strip("[]"))
    except ValueError:
        return False
    return True


def _cookie(header: str, name: str) -> str:
    try:
        found = SimpleCookie(header).get(name)
    except CookieError:
        return ""
    return found.value if found is not None else ""


async def _whole(scope: Scope, receive: Receive) -> bytes:
    """The body, which a server reads piece by piece."""
    headers = Headers(scope=scope)
    limit = LARGEST_FILE if scope["path"] == "/api/file" else LARGEST
    length = headers.get("content-length", "0")
    if not length.isdecimal() or int(length) > limit:
        raise Refused(413, f"the request is larger than {limit:,} bytes")
    body = b""
    while True:
        message = await receive()
        if message["type"] == "http.disconnect":
            raise Refused(400, "the request broke off")
        body += message.get("body", b"")
        if len(body) > limit:
            raise Refused(413, f"the request is larger than {limit:,} bytes")
        if not message.get("more_body", False):
            return body


def _again(body: bytes, receive: Receive) -> Receive:
    given = False

    async def read() -> MutableMapping[str, Any]:
        nonlocal given
        if given:
            return await receive()
        given = True
        return {"type": "http.request", "body": body, "more_body": False}

    return read


async def _answer(send: Send, status: int, text: str, more: list[tuple[bytes, bytes]] | None = None) -> None:
    body = json.dumps({"error": text}).encode() if text else b""
    headers = [(b"content-type", b"application/json"), (b"content-length", str(len(body)).encode()), *(more or [])]
    if status in (408, 413):
        headers.append((b"connection", b"close"))
    await send({"type": "http.response.start", "status": status, "headers": headers})
    await send({"type": "http.response.body", "body": body})
