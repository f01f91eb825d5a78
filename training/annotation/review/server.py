"""The local page of the human check.

It listens on 127.0.0.1 only. A page of another site, open in the same browser, can neither read nor mark:
the Host header has to be this machine (against DNS rebinding), a mark has to come from this page's origin,
and scripts run from this folder only. What records say is data: the page never makes markup of it.
"""

from __future__ import annotations

import io
import json
import socket
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from starlette.applications import Starlette
from starlette.concurrency import run_in_threadpool
from starlette.exceptions import HTTPException
from starlette.middleware import Middleware
from starlette.middleware.trustedhost import TrustedHostMiddleware
from starlette.requests import Request
from starlette.responses import FileResponse, JSONResponse, Response
from starlette.routing import Mount, Route
from starlette.staticfiles import StaticFiles

from emollama_ros.errors import InputError
from emollama_ros.streams.media import VideoEvent, read_media
from training.annotation.measuring.unit_names import NAMES
from training.annotation.review.marks import FIELDS, VERDICTS, Mark, MarkFile, field_text, make_mark
from training.annotation.review.sample import stratified_sample
from training.mmeverse.schema import Record, read_records

HOST = "127.0.0.1"
_HOSTS = ["127.0.0.1", "localhost"]
_STATIC = Path(__file__).parent / "static"
_LARGEST_MARK = 16_384
_KINDS = ("video", "audio", "image")
_HEADERS = {
    "Content-Security-Policy": (
        "default-src 'none'; script-src 'self'; style-src 'self'; img-src 'self'; media-src 'self'; "
        "connect-src 'self'; base-uri 'none'; form-action 'none'; frame-ancestors 'none'"
    ),
    "X-Content-Type-Options": "nosniff",
    "Referrer-Policy": "no-referrer",
    "Cross-Origin-Resource-Policy": "same-origin",
    "Cache-Control": "no-store",
}


@dataclass(frozen=True)
class Desk:
    """What lies before the reviewer.

    Attributes:
        records: To be looked at, in order.
        root: Folder their media lie in.
        marks: Where the marks go.
        reviewer: Who looks.
    """

    records: Sequence[Record]
    root: Path
    marks: MarkFile
    reviewer: str

    def record(self, request: Request) -> Record:
        """The record whose number is in the address."""
        number = request.path_params["number"]
        if number >= len(self.records):
            raise HTTPException(404, f"there are {len(self.records)} clips")
        return self.records[number]

    def media(self, name: str | None) -> Path:
        """The path of a file that a record names; nothing outside the root, links included."""
        path = (self.root / name).resolve() if name else self.root
        if not path.is_relative_to(self.root.resolve()) or not path.is_file():
            raise HTTPException(404, f"{name or 'this clip'}: no such file under the root folder")
        return path


def create_app(desk: Desk) -> Starlette:
    """The page and what it asks for."""

    async def index(request: Request) -> Response:
        return FileResponse(_STATIC / "index.html")

    async def overview(request: Request) -> Response:
        clips = [_outline(desk, record) for record in desk.records]
        return JSONResponse({"reviewer": desk.reviewer, "verdicts": VERDICTS, "clips": clips})

    async def clip(request: Request) -> Response:
        return JSONResponse(_details(desk, desk.record(request)))

    async def media(request: Request) -> Response:
        kind = request.path_params["kind"]
        if kind not in _KINDS:
            raise HTTPException(404, f"media are: {', '.join(_KINDS)}")
        return FileResponse(desk.media(getattr(desk.record(request).media, kind)))

    async def peak(request: Request) -> Response:
        record = desk.record(request)
        if record.clues.peak_frame is None or record.media.video is None:
            raise HTTPException(404, "this clip has no peak frame")
        path = desk.media(record.media.video)
        jpeg = await run_in_threadpool(_frame_as_jpeg, path, record.clues.peak_frame)
        return Response(jpeg, media_type="image/jpeg")

    async def mark(request: Request) -> Response:
        _require_own_origin(request)
        made = _read_mark(await _body(request), desk.record(request), desk.reviewer)
        await run_in_threadpool(desk.marks.append, made)
        return JSONResponse(_shown(made), status_code=201)

    routes = [
        Route("/", index),
        Route("/api/clips", overview),
        Route("/api/clips/{number:int}", clip),
        Route("/api/clips/{number:int}/marks", mark, methods=["POST"]),
        Route("/api/clips/{number:int}/peak.jpg", peak),
        Route("/api/clips/{number:int}/media/{kind}", media),
        Mount("/static", StaticFiles(directory=_STATIC)),
    ]
    middleware = [
        Middleware(TrustedHostMiddleware, allowed_hosts=_HOSTS, www_redirect=False),
        Middleware(_SafeHeaders),
    ]
    return Starlette(routes=routes, middleware=middleware, exception_handlers={HTTPException: _explain})


class _SafeHeaders:
    """Adds the headers that keep other sites out to every answer."""

    def __init__(self, app: Any) -> None:
        self._app = app

    async def __call__(self, scope: Any, receive: Any, send: Any) -> None:
        async def send_with_headers(message: Any) -> None:
            if message["type"] == "http.response.start":
                added = [(name.lower().encode(), value.encode()) for name, value in _HEADERS.items()]
                message = {**message, "headers": [*message.get("headers", []), *added]}
            await send(message)

        await self._app(scope, receive, send_with_headers)


async def _explain(request: Request, error: Exception) -> Response:
    assert isinstance(error, HTTPException)
    return JSONResponse({"error": error.detail}, status_code=error.status_code)


def _require_own_origin(request: Request) -> None:
    if request.headers.get("origin") != f"http://{request.headers.get('host')}":
        raise HTTPException(403, "marks are taken from this page only")
    if request.headers.get("content-type", "").partition(";")[0] != "application/json":
        raise HTTPException(415, "a mark is sent as application/json")


async def _body(request: Request) -> Any:
    data = b""
    async for piece in request.stream():
        data += piece
        if len(data) > _LARGEST_MARK:
            raise HTTPException(413, "a mark is smaller than this")
    try:
        return json.loads(data)
    except ValueError:
        raise HTTPException(400, "a mark is a JSON object") from None


def _read_mark(data: Any, record: Record, reviewer: str) -> Mark:
    if not isinstance(data, dict) or not {"field", "verdict"} <= data.keys() <= {"field", "verdict", "note"}:
        raise HTTPException(400, "a mark has a field, a verdict and maybe a note")
    if not all(isinstance(value, str) for value in data.values()):
        raise HTTPException(400, "field, verdict and note are texts")
    try:
        return make_mark(record, data["field"], data["verdict"], reviewer, data.get("note", ""))
    except InputError as error:
        raise HTTPException(400, str(error)) from None


def _outline(desk: Desk, record: Record) -> dict[str, Any]:
    fields = [name for name in FIELDS if field_text(record, name)]
    marked = desk.marks.of(record, desk.reviewer)
    return {"id": record.id, "source": record.source, "fields": len(fields), "marked": len(marked)}


def _details(desk: Desk, record: Record) -> dict[str, Any]:
    marks = desk.marks.of(record, desk.reviewer)
    fields = [
        {"name": name, "title": title, "text": field_text(record, name), "by": _said_by(record, name)}
        for name, title in FIELDS.items()
        if field_text(record, name)
    ]
    units = [
        {"unit": u.unit, "intensity": u.intensity, "name": NAMES.get(u.unit, "")}
        for u in record.clues.action_units
    ]
    return {
        "id": record.id,
        "source": record.source,
        "task": record.task.value,
        "media": {
            "kinds": [kind for kind in _KINDS if getattr(record.media, kind)],
            "start_s": record.media.start_s,
            "end_s": record.media.end_s,
        },
        "fields": fields,
        "action_units": units,
        "marks": {name: _shown(mark) for name, mark in marks.items()},
    }


def _said_by(record: Record, field: str) -> str:
    said = record.provenance.get(field)
    return f"{said.agent}, {said.model}" if said else "the source"


def _shown(mark: Mark) -> dict[str, str]:
    return {"field": mark.field, "verdict": mark.verdict, "note": mark.note}


def _frame_as_jpeg(path: Path, index: int) -> bytes:
    """One frame of a video as JPEG.

    Raises:
        HTTPException: The video cannot be read, or ends before.
    """
    from PIL import Image

    try:
        with read_media(path) as events:
            pictures = (e.rgb for e in events if isinstance(e, VideoEvent))
            for number, picture in enumerate(pictures):
                if number == index:
                    out = io.BytesIO()
                    Image.fromarray(picture).save(out, "JPEG", quality=90)
                    return out.getvalue()
    except InputError as error:
        raise HTTPException(404, str(error)) from None
    raise HTTPException(404, f"frame {index} is after the end of the video")


def serve(
    records: Path, root: Path, out: Path, reviewer: str, sample: int | None, seed: int, port: int
) -> None:
    """Serve the page until interrupted.

    Raises:
        InputError: Nothing to look at, no such folder, or the port is taken.
    """
    import uvicorn

    desk = open_desk(records, root, out, reviewer, sample, seed)
    with _listen(port) as listening:
        print(
            f"review: {len(desk.records)} clips at http://{HOST}:{listening.getsockname()[1]}/ (Ctrl-C ends)"
        )
        config = uvicorn.Config(create_app(desk), log_level="warning", lifespan="off", server_header=False)
        uvicorn.Server(config).run(sockets=[listening])


def open_desk(
    records: Path, root: Path, out: Path, reviewer: str, sample: int | None = None, seed: int = 0
) -> Desk:
    """Read everything that is needed before the page can be served.

    Raises:
        InputError: A file or folder is missing or damaged, or there is nothing to look at.
    """
    if not root.is_dir():
        raise InputError(f"{root}: no such folder; --root is where the media of the records lie")
    if not records.is_file():
        raise InputError(f"{records}: no such file; `python -m training annotate` writes it")
    chosen = stratified_sample(list(read_records(records)), sample, seed)
    if not chosen:
        raise InputError(f"{records}: no records in it")
    return Desk(chosen, root, MarkFile(out), reviewer)


def _listen(port: int) -> socket.socket:
    listening = socket.socket(socket.AF_INET, socket.SOCK_STREAM)
    listening.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
    try:
        listening.bind((HOST, port))
    except OSError as error:
        listening.close()
        raise InputError(
            f"port {port} cannot be used ({error.strerror}); choose another with --port"
        ) from None
    listening.listen()
    return listening
