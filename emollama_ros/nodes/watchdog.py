"""An engine that hangs: a thread stuck in native code cannot be ended, so the process is."""

from __future__ import annotations

import faulthandler
import os
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager

STDERR = 2


def end_process() -> None:
    """End this process with status 1 at once, saying on stderr where every thread is.

    Nothing is closed: closing would wait for the thread that hangs. What starts nodes again (``use_respawn``
    of launch, systemd) starts this one again.
    """
    faulthandler.dump_traceback(file=STDERR, all_threads=True)
    os._exit(1)


class Watchdog:
    """Ends the process when a window takes too long."""

    def __init__(self, say: Callable[[str], object], end: Callable[[], None] = end_process) -> None:
        """Begin to watch when asked to.

        Args:
            say: Told why, before the end.
            end: Ends the process.
        """
        self._say, self._end = say, end

    def look(self, busy_ms: float, limit_s: float) -> None:
        """End the process if the present window takes longer than the limit.

        Args:
            busy_ms: How long it has taken.
            limit_s: The most it may take; 0 = no limit.
        """
        if limit_s and busy_ms > limit_s * 1000:
            self._bite(limit_s)

    @contextmanager
    def waiting(self, limit_s: float) -> Iterator[None]:
        """End the process if the body, which waits for the worker threads, takes longer than the limit."""
        timer = threading.Timer(limit_s, self._bite, [limit_s])
        timer.daemon = True
        if limit_s:
            timer.start()
        try:
            yield
        finally:
            timer.cancel()

    def _bite(self, limit_s: float) -> None:
        self._say(
            f"the model has been at one window for more than watchdog_s = {limit_s:g} s: ending the process"
        )
        self._end()
