"""Lines for the log: when something began, when it was over, and nothing in between."""

from __future__ import annotations

import logging

from emollama_ros.conditions import Level
from emollama_ros.logs import Throttle
from emollama_ros.nodes.changes import SEVERITIES, Changes
from emollama_ros.nodes.clock import SECOND
from emollama_ros.nodes.diagnostics import Entry

WELL = Entry("inputs left", Level.OK, "camera and microphone flowing")


def silent(seconds):
    return Entry("inputs left", Level.WARN, f"/camera: silent for {seconds:.1f} s")


def told(reports, throttle=None):
    """Lines of one report a second."""
    changes = Changes(throttle)
    return [line for i, entry in enumerate(reports) for line in changes.lines([entry], i * SECOND)]


def test_beginning_and_end_are_said_and_nothing_in_between():
    assert told([WELL, WELL, *map(silent, range(1, 30)), WELL, WELL]) == [
        (
            logging.WARNING,
            'inputs left level=WARN was=OK after_s=2 text="/camera: silent for 1.0 s"',
        ),
        (
            logging.INFO,
            'inputs left level=OK was=WARN after_s=29 text="camera and microphone flowing"',
        ),
    ]


def test_how_it_is_at_first_is_no_change():
    assert told([silent(1), silent(2)]) == []


def test_another_matter_of_the_same_level_is_a_change():
    lost = Entry("inputs left", Level.WARN, "microphone is silent (below -60 dBFS)")
    ((severity, line),) = told([silent(1), silent(2), lost])
    assert severity == logging.WARNING and "was=WARN" in line


def test_what_comes_and_goes_is_said_once_a_period():
    now = [0.0]
    throttle = Throttle(period_s=60, now_s=lambda: now[0])
    changes, lines = Changes(throttle), []
    for second in range(120):
        now[0] = float(second)
        lines += changes.lines([silent(1) if second % 2 else WELL], second * SECOND)
    assert len(lines) == 4
    assert lines[2][1].endswith("(and 29 more like this in 60 s)")


def test_entries_are_followed_apart():
    other = Entry("perception left", Level.OK, "perceiving")
    changes = Changes()
    assert changes.lines([WELL, other], 0) == []
    assert len(changes.lines([silent(1), other], SECOND)) == 1


def test_every_level_has_its_severity():
    assert set(SEVERITIES) == set(Level)
