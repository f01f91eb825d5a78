"""Where a node puts the latest of one source, and the pages that are open fetch it. Nothing queues.

The node posts in its thread; pages are served in the event loop of the web server. A page that is slow gets
the latest of each kind and never what was in between. A picture is wanted only while a page waits for one.
"""

from __future__ import annotations

import asyncio
import json
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from time import monotonic
from typing import Any

#: A picture older than this is shown to nobody, seconds: whoever comes back to the page wants the present.
FRESH_S = 1.0


class Mailbox:
    """The latest of each kind for one page. ``put`` in any thread; made and emptied in the event loop."""

    def __init__(self) -> None:
        """Make an empty one; call it in the event loop."""
        self._loop = asyncio.get_running_loop()
        self._lock = threading.Lock()
        self._news = asyncio.Event()
        self._items: dict[str, str] = {}

    def put(self, kind: str, text: str) -> None:
        """Put in something, in place of what there was of its kind."""
        with self._lock:
            self._items[kind] = text
        self.wake()

    def wake(self) -> None:
        """Have ``take`` return."""
        with suppress(RuntimeError):  # the loop is closed: nobody waits any more
            self._loop.call_soon_threadsafe(self._news.set)

    async def take(self, timeout_s: float) -> dict[str, str]:
        """Return everything by kind, and forget it; waits for news, at most so many seconds."""
        with suppress(asyncio.TimeoutError):
            await asyncio.wait_for(self._news.wait(), timeout_s)
        self._news.clear()
        with self._lock:
            items, self._items = self._items, {}
        return items


class Board:
    """The latest of one source, for any number of pages."""

    def __init__(self, on_watched: Callable[[], None] = lambda: None) -> None:
        """Make an empty board.

        Args:
            on_watched: Called, in the event loop, when the first page is opened.
        """
        self._on_watched = on_watched
        self._lock = threading.Lock()
        self._latest: dict[str, str] = {}
        self._pages: set[Mailbox] = set()
        self._waiting: set[Mailbox] = set()
        self._left_s = -1e9
        self._frame: tuple[int, bytes, float] | None = None
        self._frames = 0
        self.is_closed = False

    # --- the side of the node, any thread

    def post(self, kind: str, data: Any) -> None:
        """Show something, in place of what was shown of its kind.

        Args:
            kind: What it is, such as ``state``.
            data: Anything that JSON has.
        """
        text = json.dumps(data, separators=(",", ":"), allow_nan=False)
        with self._lock:
            self._latest[kind] = text
            pages = list(self._pages)
        for page in pages:
            page.put(kind, text)

    def show(self, jpeg: bytes) -> None:
        """Show a picture, in place of the one before."""
        with self._lock:
            self._frames += 1
            self._frame = (self._frames, jpeg, monotonic())
            waiting = list(self._waiting)
        for page in waiting:
            page.wake()

    def forget(self, *kinds: str) -> None:
        """Forget the picture, and what was posted: of some kinds, or everything."""
        with self._lock:
            self._frame = None
            for kind in kinds or list(self._latest):
                self._latest.pop(kind, None)

    def close(self) -> None:
        """Let every page go."""
        self.is_closed = True
        with self._lock:
            everybody = [*self._pages, *self._waiting]
        for page in everybody:
            page.wake()

    @property
    def wants_frame(self) -> bool:
        """Whether a page waits for a picture."""
        return bool(self._waiting)

    @property
    def pages(self) -> int:
        """How many pages are open."""
        return len(self._pages)

    def unwatched_s(self) -> float:
        """How long no page has been open, seconds; 0 while one is."""
        return 0.0 if self._pages else monotonic() - self._left_s

    # --- the side of the pages, in the event loop

    @contextmanager
    def opened(self) -> Iterator[Mailbox]:
        """Follow the board: the mailbox begins with all that is shown now."""
        page = Mailbox()
        with self._lock:
            is_first = not self._pages
            self._pages.add(page)
            latest = dict(self._latest)
        for kind, text in latest.items():
            page.put(kind, text)
        if is_first:
            self._on_watched()
        try:
            yield page
        finally:
            with self._lock:
                self._pages.discard(page)
                self._left_s = monotonic()

    async def frame(self, after: int, timeout_s: float) -> tuple[int, bytes] | None:
        """Return number and JPEG of a fresh picture later than one, waiting for it; ``None`` if none comes.

        A number higher than any so far is one of a server before this; it counts as 0.
        """
        found = self._fresh(after if after <= self._frames else 0)
        if found is not None or self.is_closed:
            return found
        page, seen = Mailbox(), self._frames
        with self._lock:
            self._waiting.add(page)
        try:
            await page.take(timeout_s)
        finally:
            with self._lock:
                self._waiting.discard(page)
        return self._fresh(seen)

    def _fresh(self, after: int) -> tuple[int, bytes] | None:
        with self._lock:
            frame = self._frame
        if frame is None or frame[0] <= after or monotonic() - frame[2] > FRESH_S:
            return None
        return frame[:2]
