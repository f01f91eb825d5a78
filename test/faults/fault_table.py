"""Rows of the table of faults, and how they are made of what was heard. No ROS in it."""

from __future__ import annotations

import datetime
from collections.abc import Sequence
from dataclasses import asdict, dataclass

from catalogue import SEED, Fault

from emollama_ros.conditions import Condition, recognise
from emollama_ros.estimate import Status
from emollama_ros.labels import UNKNOWN

SECOND = 1_000_000_000
#: Longest silence while a node is active, and longest recovery: two hops, s.
LONGEST_SILENCE_S, HOPS, HOP_S = 1.0, 2, 0.5


@dataclass(frozen=True)
class Row:
    """What one fault did.

    Attributes:
        fault: What happened.
        expected: Status and name of the condition that states, or /diagnostics, were to tell.
        observed: What they told.
        notice_s: Time from its beginning to the first state, or report, that told; ``None``: nothing to tell.
        recover_s: Time from its end to the first state with a label and no complaint; 0: labels never ceased
            to be good.
        silent_s: Longest time between two states, from its beginning to the recovery.
    """

    fault: str
    expected: str
    observed: str
    notice_s: float | None
    recover_s: float | None
    silent_s: float | None


@dataclass(frozen=True)
class Said:
    """A state, or an entry of /diagnostics, as far as it matters here; ``ns``: when it was sent, epoch."""

    ns: int
    status: Status
    text: str
    label: str = UNKNOWN

    def tells(self, condition: Condition) -> bool:
        return condition in recognise(self.text)

    @property
    def is_good(self) -> bool:
        return self.status is Status.OK and self.label != UNKNOWN


def judge(fault: Fault, on_ns: int, off_ns: int, states: Sequence[Said], reports: Sequence[Said]) -> Row:
    """Make the row of a fault.

    Args:
        fault: Which.
        on_ns: When it began.
        off_ns: When it was over.
        states: Of its source.
        reports: What /diagnostics said of its source and of the pipeline; only those that warn.
    """
    meanwhile = [s for s in states if on_ns <= s.ns < off_ns]
    told, recovered = tells(fault, on_ns, off_ns, states, reports), recovery(on_ns, off_ns, states)
    end_ns = off_ns if recovered is None else off_ns + recovered
    observed = "nothing of it" if told is None and is_told(fault) else describe(fault, told, meanwhile)
    return Row(
        fault.name,
        fault.expected,
        observed,
        None if told is None else seconds(told.ns - on_ns),
        None if recovered is None else seconds(recovered),
        silence(on_ns, end_ns, states),
    )


def is_told(fault: Fault) -> bool:
    return fault.says is not None or fault.warns is not None


def tells(
    fault: Fault, on_ns: int, off_ns: int, states: Sequence[Said], reports: Sequence[Said]
) -> Said | None:
    """Return the first state, or report, that tells of a fault while it lasts, or right after."""
    heard, condition = (states, fault.says) if fault.says is not None else (reports, fault.warns)
    if condition is None:
        return None
    late_ns = off_ns + 2 * SECOND
    return next((s for s in heard if on_ns <= s.ns < late_ns and s.tells(condition)), None)


def recovery(on_ns: int, off_ns: int, states: Sequence[Said]) -> int | None:
    """Return after how long states were good again, ns; 0 if they never ceased to be."""
    if all(s.is_good for s in states if on_ns <= s.ns < off_ns + SECOND):
        return 0
    return next((s.ns - off_ns for s in states if s.ns >= off_ns and s.is_good), None)


def silence(begin_ns: int, end_ns: int, states: Sequence[Said]) -> float | None:
    """Return the longest time between two states of which one lies within an interval."""
    times = [s.ns for s in states]
    gaps = [
        after - before
        for before, after in zip(times, times[1:], strict=False)
        if after >= begin_ns and before <= end_ns
    ]
    return seconds(max(gaps)) if gaps else None


def describe(fault: Fault, told: Said | None, states: Sequence[Said]) -> str:
    """Say what was told; of a fault that changes nothing, what states said meanwhile."""
    if told is None:
        odd = next((s for s in states if not s.is_good), None)
        return "OK" if odd is None else f"{odd.status.name}: {odd.text}"
    condition = fault.says or fault.warns
    assert condition is not None
    words = next(part for part in (*told.text.split("; "), told.text) if condition.pattern.search(part))
    return f"{told.status.name}: {words}" if fault.says else f"OK; /diagnostics: {words}"


def seconds(duration_ns: int) -> float:
    return round(duration_ns / SECOND, 2)


HEADINGS = (
    "fault",
    "expected state",
    "observed state",
    "noticed after",
    "recovered after",
    "longest silence",
)


def cells(row: Row) -> tuple[str, ...]:
    times = ("-" if t is None else f"{t:.2f} s" for t in (row.notice_s, row.recover_s, row.silent_s))
    return (row.fault, row.expected, row.observed, *times)


def plain(rows: Sequence[Row], width: int = 60) -> list[str]:
    """Lines of a table for a terminal."""
    table = [HEADINGS, *map(cells, rows)]
    shown = [[c if len(c) <= width else c[: width - 3] + "..." for c in line] for line in table]
    widths = [max(len(line[i]) for line in shown) for i in range(len(HEADINGS))]
    return ["  ".join(c.ljust(w) for c, w in zip(line, widths, strict=True)).rstrip() for line in shown]


def document(rows: Sequence[Row]) -> dict:
    """Put the rows together with machine, versions, commit and date."""
    from benchmark.record import document as record
    from benchmark.record import summary

    settings = {"hop_s": HOP_S, "date": datetime.date.today().isoformat(), "seed": SEED}
    found = {"rows": [asdict(row) for row in rows]}
    for name in ("notice_s", "recover_s", "silent_s"):
        if times := [t for row in rows if (t := getattr(row, name)) is not None]:
            found[name] = summary(times)
    return record("faults", settings, [], found)
