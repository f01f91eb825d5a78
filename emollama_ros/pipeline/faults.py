"""Faults in words, and in the log once."""

from __future__ import annotations

import logging

from emollama_ros.errors import EmollamaError

_LOG = logging.getLogger(__name__)


def describe_fault(what: str, error: Exception, known: str) -> str:
    """Say in words what failed, and log it unless it is what was already known.

    Unforeseen errors are named by their class and logged with a traceback. A fault that repeats with every
    window is logged once, not twice a second.
    """
    foreseen = isinstance(error, EmollamaError)
    text = str(error) if foreseen else f"{type(error).__name__}: {error}"
    if text != known:
        _LOG.error("%s failed: %s", what, text, exc_info=None if foreseen else error)
    return text
