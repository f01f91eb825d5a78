"""CPU time and memory of a running process, from /proc (Linux)."""

from __future__ import annotations

import os
import time
from dataclasses import dataclass
from pathlib import Path


@dataclass(frozen=True)
class Usage:
    """What a process used between two moments.

    Attributes:
        cpu_percent: CPU time over wall time; 100 is one core fully used.
        resident_mb: Resident memory at the end, MB (10^6 bytes).
        peak_mb: Largest resident memory since its start, MB.
        seconds: Wall time between the two moments.
    """

    cpu_percent: float
    resident_mb: float
    peak_mb: float
    seconds: float


class UsageMeter:
    """Follows one process; the last note before its end counts, because the dead tell nothing."""

    def __init__(self, pid: int) -> None:
        """Take the first reading.

        Args:
            pid: A running process.
        """
        self._folder = Path("/proc") / str(pid)
        self._first = self._last = (time.monotonic(), cpu_seconds(self._folder))
        self._memory = memory_mb(self._folder)

    def note(self) -> None:
        """Take a reading; does nothing once the process has ended."""
        try:
            cpu, memory = cpu_seconds(self._folder), memory_mb(self._folder)
        except (OSError, LookupError):
            return
        self._last, self._memory = (time.monotonic(), cpu), memory

    def usage(self) -> Usage:
        """Usage between the first and the last reading."""
        seconds = self._last[0] - self._first[0]
        cpu = self._last[1] - self._first[1]
        return Usage(100 * cpu / seconds if seconds > 0 else 0.0, *self._memory, seconds)


def cpu_seconds(folder: Path) -> float:
    """CPU time of a process, user and system, s."""
    fields = (folder / "stat").read_text().rpartition(")")[2].split()
    return (int(fields[11]) + int(fields[12])) / os.sysconf("SC_CLK_TCK")


def memory_mb(folder: Path) -> tuple[float, float]:
    """Resident memory now and at its peak, MB.

    Raises:
        LookupError: The process has ended and only its exit status remains.
    """
    lines = dict(line.split(":", 1) for line in (folder / "status").read_text().splitlines() if ":" in line)
    return tuple(int(lines[name].split()[0]) * 1024 / 1e6 for name in ("VmRSS", "VmHWM"))  # type: ignore[return-value]
