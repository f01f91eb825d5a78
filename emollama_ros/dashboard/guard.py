"""Who may look: host names, the token, and headers that keep other sites out. No ROS in it.

On the loopback address whoever is on the machine may look, as they may subscribe to the topics. Elsewhere
a token is needed. A page of another site, open in the same browser, can neither read nor press a button:
the Host header has to be this machine's (against DNS rebinding), buttons have to come from this page's
origin, and scripts run from this folder only.
"""

from __future__ import annotations

import hmac
import ipaddress
import secrets
import socket
from collections.abc import Iterable
from dataclasses import dataclass
from http.cookies import CookieError, SimpleCookie
from pathlib import Path
from typing import Any
from urllib.parse import parse_qs

from emollama_ros.errors import ConfigError

#: Shortest token that a user may choose: what can be guessed is none.
SHORTEST_TOKEN = 16
LOOPBACK_NAMES = frozenset({"localhost", "127.0.0.1", "[::1]"})
#: Program and looks of the page: the same for everybody, so that the page without a token has looks too.
PUBLIC = "/page/"
PAGE = Path(__file__).parent / "page"
HEADERS = {
    "Content-Security-Policy": (
        "default-src 'none'; script-src 'self'; style-src 'self'; img-src 'self'; connect-src 'self'; "
        "base-uri 'none'; form-action 'self'; frame-ancestors 'none'"
    ),
    "X-Content-Type-Options": "nosniff",
    "Referrer-Policy": "no-referrer",
    "Cross-Origin-Resource-Policy": "same-origin",
    "Cross-Origin-Opener-Policy": "same-origin",
    "Permissions-Policy": "camera=(), microphone=(), geolocation=()",
    "Cache-Control": "no-store",
}


@dataclass(frozen=True)
class Access:
    """Who may look.

    Attributes:
        names: Host names, in lower case and without port, under which the page is asked for.
        any_address: Whether any IP address will do as well; a rebound name is never one.
        token: What has to be shown; empty = nothing.
    """

    names: frozenset[str]
    any_address: bool = False
    token: str = ""

    def knows(self, host: str) -> bool:
        """Whether a Host header names this machine."""
        name = host_name(host)
        return name in self.names or (self.any_address and _is_address(name))

    def admits(self, token: str) -> bool:
        """Whether a token is the one; takes as long for every wrong one."""
        return not self.token or hmac.compare_digest(token.encode(), self.token.encode())


def access_to(host: str, token: str = "", names: Iterable[str] = ()) -> Access:
    """Say who may look at a page that listens on an address.

    Args:
        host: What is listened on.
        token: Asked for by the user; empty = none on the loopback address, a random one elsewhere.
        names: Further host names by which the machine is reached.

    Raises:
        ConfigError: The token is short, or has characters that an address cannot.
    """
    if token and (len(token) < SHORTEST_TOKEN or not token.isascii() or not token.isprintable()):
        raise ConfigError(
            f"the dashboard's token has {len(token)} characters; it must have at least {SHORTEST_TOKEN}, all"
            " ASCII: python3 -c 'import secrets; print(secrets.token_urlsafe())' makes one"
        )
    known = LOOPBACK_NAMES | {name.lower() for name in names}
    if is_loopback(host):
        return Access(known, token=token)
    own = socket.gethostname().lower()
    known |= {host.lower(), own, f"{own}.local"}
    return Access(frozenset(known), any_address=True, token=token or secrets.token_urlsafe())


def is_loopback(host: str) -> bool:
    """Whether an address can be reached from this machine alone."""
    if host.lower() == "localhost":
        return True
    try:
        return ipaddress.ip_address(host).is_loopback
    except ValueError:
        return False


def host_name(host: str) -> str:
    """Return a Host header in lower case without its port."""
    name = host.strip().lower()
    if name.startswith("["):
        return name.partition("]")[0] + "]"
    return name.partition(":")[0]


def _is_address(name: str) -> bool:
    try:
        ipaddress.ip_address(name.strip("[]"))
    except ValueError:
        return False
    return True


class Guard:
    """Lets through who may look. An ASGI application around another.

    The token comes once in the address, ``/?token=...``, and is a cookie from then on, so that it stands
    neither in the address bar nor in the history; or as ``Authorization: Bearer`` from programs.
    """

    def __init__(self, app: Any, access: Access) -> None:
        """Stand before an application."""
        self._app, self._access = app, access

    async def __call__(self, scope: Any, receive: Any, send: Any) -> None:
        """Serve a request, or refuse it."""
        if scope["type"] != "http":
            if scope["type"] == "lifespan":
                await self._app(scope, receive, send)
            return
        headers = {name.decode("latin-1"): value.decode("latin-1") for name, value in scope["headers"]}
        answer = self._refusal(scope, headers)
        await (answer or self._app)(scope, receive, _with_headers(send))

    def _refusal(self, scope: Any, headers: dict[str, str]) -> Any | None:
        """Return what is answered in place of what was asked for; ``None`` if nothing is."""
        from starlette.responses import JSONResponse, RedirectResponse

        host, path = headers.get("host", ""), scope["path"]
        if not self._access.knows(host):
            return JSONResponse({"error": f"{host_name(host)!r} is not a name of this page"}, 400)
        if scope["method"] not in ("GET", "HEAD") and headers.get("origin") not in (
            f"http://{host}",
            f"https://{host}",  # a proxy that adds TLS
        ):
            return JSONResponse({"error": "buttons are pressed on this page only"}, 403)
        if not self._access.token or path.startswith(PUBLIC):
            return None
        given = parse_qs(scope["query_string"].decode("latin-1")).get("token", [""])[0]
        if path == "/" and given and self._access.admits(given):
            answer = RedirectResponse("/", 303)
            answer.set_cookie(_cookie_name(host), given, httponly=True, samesite="lax", path="/")
            return answer
        if given or not self._access.admits(_token_of(headers)):
            return _no_entry(path, bool(given))
        return None


def _token_of(headers: dict[str, str]) -> str:
    scheme, _, bearer = headers.get("authorization", "").partition(" ")
    if scheme.lower() == "bearer":
        return bearer.strip()
    try:
        cookies = SimpleCookie(headers.get("cookie", ""))
    except CookieError:
        return ""
    found = cookies.get(_cookie_name(headers.get("host", "")))
    return found.value if found else ""


def _cookie_name(host: str) -> str:
    """Cookies are shared by all ports of a host, and two dashboards may run on one."""
    port = host.rpartition(":")[2]
    return f"emollama_dashboard_{port if port.isdigit() else '80'}"


def _no_entry(path: str, was_given: bool) -> Any:
    from starlette.responses import HTMLResponse, JSONResponse

    if path != "/":
        return JSONResponse({"error": "the token is missing or wrong"}, 401)
    page = (PAGE / "token.html").read_text()
    said = "That is not the token of this dashboard." if was_given else "This dashboard asks for its token."
    return HTMLResponse(page.replace("{{said}}", said), 401)


def _with_headers(send: Any) -> Any:
    async def send_with_headers(message: Any) -> None:
        if message["type"] == "http.response.start":
            added = [(name.lower().encode(), value.encode()) for name, value in HEADERS.items()]
            message = {**message, "headers": [*message.get("headers", []), *added]}
        await send(message)

    return send_with_headers
