"""The application: a page, and what it asks. Every request but for files of the page itself is JSON that is posted."""

from __future__ import annotations

import asyncio
import logging
import threading
import traceback
from importlib import resources
from typing import Any
from urllib.parse import unquote

import anyio
import anyio.to_thread
from pydantic import ValidationError
from starlette.applications import Starlette
from starlette.exceptions import HTTPException
from starlette.requests import Request
from starlette.responses import JSONResponse, Response
from starlette.routing import Route

from fusevae.core.errors import InputError
from fusevae.explorer import single, views
from fusevae.explorer.asked import Beside
from fusevae.explorer.guard import Application, Guard
from fusevae.explorer.known import Runs
from fusevae.explorer.turns import GONE, OFTEN, Busy

logger = logging.getLogger("fusevae")
THREADS = 8  # that answer: each that computes keeps memory of its own
TYPES = {".html": "text/html", ".css": "text/css", ".js": "text/javascript", ".svg": "image/svg+xml"}


def files() -> dict[str, tuple[bytes, str]]:
    """The files of the page by name, with their types: nothing else is served."""
    folder = resources.files("fusevae.explorer") / "static"
    found = {}
    for each in folder.iterdir():
        suffix = "." + each.name.rpartition(".")[2]
        if suffix in TYPES:
            found[each.name] = (each.read_bytes(), f"{TYPES[suffix]}; charset=utf-8")
    return found


def make(runs: Runs, host: str = "127.0.0.1", port: int = 8000, token: str = "") -> Application:
    """The application for some runs, guarded."""
    static, threads = files(), anyio.CapacityLimiter(THREADS)

    async def page(request: Request) -> Response:
        name = request.path_params.get("name", "index.html")
        if name not in static:
            raise HTTPException(404, "there is no such page")
        body, kind = static[name]
        return Response(body, headers={"content-type": kind})

    async def listed(request: Request) -> Response:
        def names() -> list[dict[str, Any]]:
            data = list(dict.fromkeys(k.source for k in runs.all().values()))
            return [{"name": k.name, "ready": k.ready, "data": data.index(k.source)} for k in runs.all().values()]

        return await _answered(names, threads)

    async def action(request: Request) -> Response:
        found = views.ACTIONS.get(request.path_params["name"])
        if found is None:
            raise HTTPException(404, "there is no such view")
        _typed(request, "application/json")
        try:
            asked = found.form.model_validate_json(await request.body())
        except (ValidationError, RecursionError) as error:
            return JSONResponse({"error": _first(error)}, 422)

        def answer() -> Any:
            others = [runs.one(asked.other)] if isinstance(asked, Beside) else []
            return found.answer(runs.one(asked.run), asked, *others)

        gone = threading.Event()
        GONE.set(gone)  # of this request alone: its thread has this context
        watching = asyncio.ensure_future(_left(request, gone))
        try:
            return await _answered(answer, threads)
        finally:
            watching.cancel()

    async def file(request: Request) -> Response:
        _typed(request, "application/octet-stream")
        run, name = (unquote(request.headers.get(f"x-{key}", ""))[:300] for key in ("run", "name"))
        body = await request.body()
        return await _answered(lambda: single.own_file(runs.one(run), body, name), threads)

    routes = [
        Route("/", page, methods=["GET"]),
        Route("/static/{name}", page, methods=["GET"]),
        Route("/api/runs", listed, methods=["GET"]),
        Route("/api/file", file, methods=["POST"]),
        Route("/api/{name}", action, methods=["POST"]),
    ]
    return Guard(Starlette(routes=routes, exception_handlers={HTTPException: _refusal}), host, port, token)


async def _left(request: Request, gone: threading.Event) -> None:
    """Notice when the page no longer waits: what it asked for need not have its turn."""
    while not await request.is_disconnected():
        await asyncio.sleep(OFTEN)
    gone.set()


async def _answered(work: Any, threads: anyio.CapacityLimiter) -> Response:
    """What a function says, in a thread: others are answered meanwhile."""
    try:
        return JSONResponse(await anyio.to_thread.run_sync(work, limiter=threads))
    except Busy as error:
        return JSONResponse({"error": str(error)}, 503)
    except InputError as error:
        return JSONResponse({"error": " ".join(str(error).split())}, 422)
    except Exception:  # said where the server runs, not to whoever asks
        logger.error("the explorer failed: %s", traceback.format_exc())
        return JSONResponse({"error": "this failed: the terminal in which the explorer runs says how"}, 500)


def _typed(request: Request, kind: str) -> None:
    """What is posted must be of a kind that no form of a foreign page can send."""
    if request.headers.get("content-type", "").partition(";")[0].strip().lower() != kind:
        raise HTTPException(415, f"expected {kind}")


def _first(error: Exception) -> str:
    if not isinstance(error, ValidationError):
        return "the request is nested too deep"
    first = error.errors(include_url=False, include_input=False)[0]
    return f"{'.'.join(map(str, first['loc']))[:100] or 'the request'}: {first['msg']}"


async def _refusal(request: Request, error: Exception) -> Response:
    status = error.status_code if isinstance(error, HTTPException) else 500
    text = error.detail if isinstance(error, HTTPException) else "refused"
    return JSONResponse({"error": text}, status, getattr(error, "headers", None))
