"""Logs that a robot can be left alone with: one line a matter, not one a frame. No ROS in it.

A fault that repeats thirty times a second would fill a disk and hide every other one. So each distinct
message is let through once per period, and the next time it says how many of its kind were left out.
"""

from __future__ import annotations

import json
import logging
import re
import threading
import time
from collections import OrderedDict
from collections.abc import Callable
from dataclasses import dataclass

#: Seconds in which a message is said once.
PERIOD_S = 30.0
#: Kinds of message remembered; the one that was silent longest is forgotten first.
KINDS = 128

_NUMBERS = re.compile(r"\d+(\.\d+)?")
_PLAIN = re.compile(r"[^\s=\"'\\]+")


@dataclass
class _Said:
    at_s: float
    left_out: int = 0


class Throttle:
    """Lets each distinct message through once per period. Thread-safe; memory is bounded."""

    def __init__(
        self, period_s: float = PERIOD_S, kinds: int = KINDS, now_s: Callable[[], float] = time.monotonic
    ) -> None:
        """Start having said nothing.

        Args:
            period_s: Seconds in which messages of a kind are said once.
            kinds: How many kinds are remembered.
            now_s: A clock that never goes back, seconds.
        """
        self._period_s, self._kinds, self._now_s = period_s, kinds, now_s
        self._said: OrderedDict[str, _Said] = OrderedDict()
        self._lock = threading.Lock()

    def admit(self, message: str, kind: str | None = None) -> str | None:
        """Return what to log, or ``None`` to leave it out.

        Args:
            message: The line.
            kind: What it is a case of; the message without its numbers if left out, so that a topic that is
                silent for 3.1 s and for 4.1 s is one matter.

        Returns:
            The message, with the number of those of its kind that were left out since the last.
        """
        kind = _NUMBERS.sub("#", message) if kind is None else kind
        with self._lock:
            now, said = self._now_s(), self._said.get(kind)
            if said is not None and now - said.at_s < self._period_s:
                said.left_out += 1
                return None
            self._said.pop(kind, None)
            self._said[kind] = _Said(now)
            if len(self._said) > self._kinds:
                self._said.popitem(last=False)
        if said is None or not said.left_out:
            return message
        return f"{message} (and {said.left_out} more like this in {now - said.at_s:.0f} s)"


class ThrottleFilter(logging.Filter):
    """The same for ``logging``: put it on a logger or a handler. Debug messages pass."""

    def __init__(self, throttle: Throttle | None = None) -> None:
        """Filter by a throttle, one of its own if none is given."""
        super().__init__()
        self._throttle = throttle or Throttle()

    def filter(self, record: logging.LogRecord) -> bool:
        """Whether a record is logged; the count of those left out is put into its message."""
        if record.levelno <= logging.DEBUG:
            return True
        admitted = self._throttle.admit(record.getMessage())
        if admitted is None:
            return False
        record.msg, record.args = admitted, ()
        return True


def structured(event: str, **facts: object) -> str:
    """Return one line that people and programs can read: ``event key=value key="two words"``.

    Args:
        event: What happened, a fixed phrase.
        **facts: The particulars; ``None`` is left out, floats have three digits, and what is more than a word
            is quoted as in JSON.
    """
    return " ".join([event, *(f"{key}={_value(value)}" for key, value in facts.items() if value is not None)])


def _value(value: object) -> str:
    text = f"{value:.3g}" if isinstance(value, float) else str(value)
    return text if _PLAIN.fullmatch(text) else json.dumps(text, ensure_ascii=False)
