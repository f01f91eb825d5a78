"""The web server of the dashboard: the page, its events, its pictures and its buttons. No ROS in it.

Events come as server-sent events, which browsers take up again by themselves. A page asks for each picture
when it has drawn the one before, so that a slow one gets fewer and never old ones. Starlette and uvicorn are
an extra of the package: import this module through ``load``.
"""

from __future__ import annotations

import asyncio
import json
import socket
import threading
from collections.abc import AsyncIterator, Callable, Mapping
from concurrent.futures import Future
from dataclasses import dataclass
from typing import Any

import uvicorn
from starlette.applications import Starlette
from starlette.exceptions import HTTPException
from starlette.middleware import Middleware
from starlette.requests import Request
from starlette.responses import FileResponse, JSONResponse, Response, StreamingResponse
from starlette.routing import Mount, Route
from starlette.staticfiles import StaticFiles

from emollama_ros.dashboard.board import Board
from emollama_ros.dashboard.guard import PAGE, Access, Guard
from emollama_ros.errors import ConfigError

#: Pages that may be open at once, of all sources.
MOST_PAGES = 16
#: A page hears something at least this often, seconds, so that it knows when the server is gone.
HEARTBEAT_S = 2.0
#: Longest wait for a picture; the page then asks again, seconds.
FRAME_WAIT_S = 10.0
#: Longest wait for what a button does, seconds.
ANSWER_S = 10.0
#: A page that takes nothing for so long is gone, ms.
GONE_MS = 10_000
#: What may wait in the kernel for a slow page, bytes.
BACKLOG = 65_536
_LARGEST_BODY = 1024
#: The buttons.
ACTIONS = ("pause", "resume", "new_person", "set_neutral")


@dataclass(frozen=True)
class Answer:
    """What became of a button that was pressed."""

    success: bool
    message: str


#: Does what a button says to a source; may be called in any thread.
Press = Callable[[str, str], "Future[Answer]"]


def create_app(boards: Mapping[str, Board], press: Press, access: Access) -> Starlette:
    """Make the page and what it asks for.

    Args:
        boards: By name of the source; one without a name is ``""``.
        press: Gets an action and a source.
        access: Who may look.
    """

    def board_of(request: Request) -> Board:
        name = request.query_params.get("source", next(iter(boards)))
        if name not in boards:
            raise HTTPException(404, f"sources are: {', '.join(boards)}")
        return boards[name]

    async def index(request: Request) -> Response:
        return FileResponse(PAGE / "index.html")

    async def events(request: Request) -> Response:
        board = board_of(request)
        if sum(each.pages for each in boards.values()) >= MOST_PAGES:
            raise HTTPException(503, f"{MOST_PAGES} pages are open already; close one")
        hello = {"sources": list(boards), "actions": ACTIONS}
        return StreamingResponse(_stream(board, hello), media_type="text/event-stream")

    async def frame(request: Request) -> Response:
        after = request.query_params.get("after", "0")
        if not after.isdecimal():
            raise HTTPException(400, "after is the number of the picture before")
        found = await board_of(request).frame(int(after), FRAME_WAIT_S)
        if found is None:
            return Response(status_code=204)
        return Response(found[1], media_type="image/jpeg", headers={"X-Frame": str(found[0])})

    async def do(request: Request) -> Response:
        action, source = await _read_press(request, boards)
        try:
            answer = await asyncio.wait_for(asyncio.wrap_future(press(action, source)), ANSWER_S)
        except asyncio.TimeoutError:
            raise HTTPException(503, "the perception node does not answer") from None
        return JSONResponse({"success": answer.success, "message": answer.message})

    routes = [
        Route("/", index),
        Route("/events", events),
        Route("/frame.jpg", frame),
        Route("/do", do, methods=["POST"]),
        Mount("/page", StaticFiles(directory=PAGE)),
    ]
    middleware = [Middleware(Guard, access=access)]
    return Starlette(routes=routes, middleware=middleware, exception_handlers={HTTPException: _explain})


async def _stream(board: Board, hello: Mapping[str, Any]) -> AsyncIterator[str]:
    yield f"retry: 500\nevent: hello\ndata: {json.dumps(hello)}\n\n"
    with board.opened() as page:
        while not board.is_closed:
            items = await page.take(HEARTBEAT_S)
            # json.dumps writes no line breaks, which would end an event.
            yield (
                "".join(f"event: {k}\ndata: {v}\n\n" for k, v in items.items()) or "event: beat\ndata: 0\n\n"
            )


async def _explain(request: Request, error: Exception) -> Response:
    assert isinstance(error, HTTPException)
    return JSONResponse({"error": error.detail}, status_code=error.status_code)


async def _read_press(request: Request, boards: Mapping[str, Board]) -> tuple[str, str]:
    """Return action and source of a button.

    Raises:
        HTTPException: It is none.
    """
    if request.headers.get("content-type", "").partition(";")[0] != "application/json":
        raise HTTPException(415, "a button is sent as application/json")
    body = b""
    async for piece in request.stream():
        body += piece
        if len(body) > _LARGEST_BODY:
            raise HTTPException(413, "a button is smaller than this")
    try:
        data = json.loads(body)
        action, source = data["action"], data.get("source", next(iter(boards)))
    except (ValueError, KeyError, TypeError, AttributeError, RecursionError):
        raise HTTPException(400, 'a button is {"action": ..., "source": ...}') from None
    if action not in ACTIONS or not isinstance(source, str) or source not in boards:
        raise HTTPException(400, f"actions are: {', '.join(ACTIONS)}; sources are: {', '.join(boards)}")
    return action, source


class WebServer:
    """Serves in a thread of its own until it is stopped."""

    def __init__(
        self, boards: Mapping[str, Board], press: Press, access: Access, host: str, port: int
    ) -> None:
        """Take the port and begin to serve.

        Args:
            boards: What is shown, by source.
            press: Does what buttons say.
            access: Who may look.
            host: Address to listen on.
            port: 0 = any that is free.

        Raises:
            ConfigError: The address cannot be listened on.
        """
        self._boards = boards
        self._socket = _listen(host, port)
        self.port: int = self._socket.getsockname()[1]
        config = uvicorn.Config(
            create_app(boards, press, access),
            log_level="warning",
            access_log=False,  # a token may be in an address
            lifespan="off",
            server_header=False,
            timeout_graceful_shutdown=1,
            timeout_keep_alive=30,
        )
        self._server = uvicorn.Server(config)
        self._thread = threading.Thread(target=self._serve, name="dashboard-web", daemon=True)
        self._thread.start()

    def stop(self) -> None:
        """Let every page go and end; returns when the port is free."""
        for board in self._boards.values():
            board.close()
        self._server.should_exit = True
        self._thread.join(5.0)
        self._socket.close()

    def _serve(self) -> None:
        self._server.run(sockets=[self._socket])


def _listen(host: str, port: int) -> socket.socket:
    family = socket.AF_INET6 if ":" in host else socket.AF_INET
    listening = socket.socket(family, socket.SOCK_STREAM)
    listening.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
    listening.setsockopt(socket.SOL_SOCKET, socket.SO_SNDBUF, BACKLOG)
    if hasattr(
        socket, "TCP_USER_TIMEOUT"
    ):  # else a phone that left the room is waited for a quarter of an hour
        listening.setsockopt(socket.IPPROTO_TCP, socket.TCP_USER_TIMEOUT, GONE_MS)
    try:
        listening.bind((host, port))
        listening.listen()
    except OSError as error:
        listening.close()
        raise ConfigError(
            f"the dashboard cannot listen on {host} port {port} ({error.strerror or error}); set its"
            " parameters host and port; port 0 takes any that is free"
        ) from None
    return listening
