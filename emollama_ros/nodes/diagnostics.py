"""The report on /diagnostics: what the node gets, what it does, and with what.

The entries and their values are explained in ``diagnostic_contents``, and docs/operations.md with them.
Everything but ``to_message`` is plain data without ROS.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

from emollama_ros import conditions
from emollama_ros.conditions import Finding, Level, worst
from emollama_ros.estimate import Status
from emollama_ros.nodes.clock import SECOND
from emollama_ros.nodes.inputs import InputMeter, Inputs
from emollama_ros.nodes.stamp_watch import StampWatch
from emollama_ros.nodes.vitals import Vitals

if TYPE_CHECKING:
    from diagnostic_msgs.msg import DiagnosticArray

    from emollama_ros.adaptation import PersonReport
    from emollama_ros.pipeline import FeedHealth, Health
    from emollama_ros.speech.listener import SpeechHealth

#: Time over which rates and shares of windows are taken, ns.
RECENT_NS = 10 * SECOND
#: How long a fault of what works only now and then is told, ns.
FAILING_NS = 30 * SECOND
#: How long an event is told: a little more than from one report to the next, so that none is missed.
LATELY_NS = SECOND + SECOND // 10
#: Windows left out, of those due lately, from which it is worth saying.
LEFT_OUT = 0.1
MIB = 2**20

_LEVELS = {Status.OK: Level.OK, Status.DEGRADED: Level.WARN, Status.STALE: Level.STALE}


@dataclass(frozen=True)
class Entry:
    """One entry of a report.

    Attributes:
        name: What it is about: a key of ``CONTENTS``, with the name of its source where it has one.
        level: How bad it is.
        message: In words.
        values: Facts, by the names in ``CONTENTS``.
    """

    name: str
    level: Level
    message: str
    values: Mapping[str, str] = field(default_factory=dict)


@dataclass(frozen=True)
class SourceView:
    """One source as its node sees it.

    Attributes:
        name: Its name; empty where there is but one without a name.
        status: Of its latest state.
        words: What that state says is wrong, or that all is well.
        inputs: What arrived; ``None`` while nothing is subscribed to.
        health: Of its feed; ``None`` while there is no pipeline.
        speech: Of the node's own speech-to-text; ``None`` where it does not write.
        person: What was learnt of the person; ``None`` where nobody is followed.
    """

    name: str
    status: Status
    words: str
    inputs: Inputs | None = None
    health: FeedHealth | None = None
    speech: SpeechHealth | None = None
    person: PersonReport | None = None


@dataclass(frozen=True)
class NodeView:
    """A perception node at one moment.

    Attributes:
        now_ns: Steady clock.
        timeout_ns: Its parameter ``timeout_s``.
        sources: Its sources, in order.
        facts: Of the loaded model; empty while none is.
        notices: What a user should know about the model.
        health: Of the pipeline; ``None`` while there is none.
        reasoning: Whether states are to be explained in words.
    """

    now_ns: int
    timeout_ns: int
    sources: Sequence[SourceView]
    facts: Mapping[str, str] = field(default_factory=dict)
    notices: Sequence[str] = ()
    health: Health | None = None
    reasoning: bool = True


@dataclass
class _Age:
    """Since when a text is there."""

    text: str = ""
    count: int = 0
    since_ns: int = 0

    def facts(self, text: str, count: int, now_ns: int) -> dict[str, str]:
        """Return the text and its age, nothing of an empty one; a higher count makes it new."""
        if (text, count) != (self.text, self.count):
            self.text, self.count, self.since_ns = text, count, now_ns
        if not text:
            return {}
        return {"last error": text, "last error age": _seconds(now_ns - self.since_ns)}


@dataclass
class _Windows:
    """Windows of one source over the last seconds."""

    looks: deque[tuple[int, int, int]] = field(default_factory=deque)

    def look(self, now_ns: int, health: FeedHealth) -> tuple[int, int, float]:
        """Return windows given and left out lately, and over how many seconds."""
        if self.looks and health.windows < self.looks[-1][1]:
            self.looks.clear()  # a fresh pipeline counts from 0
        self.looks.append((now_ns, health.windows, health.windows_skipped))
        while now_ns - self.looks[0][0] > RECENT_NS:
            self.looks.popleft()
        began = self.looks[0]
        return (
            health.windows - began[1],
            health.windows_skipped - began[2],
            (now_ns - began[0]) / SECOND,
        )


class Reporter:
    """Makes the entries of a report; remembers what rates and ages need. One thread only."""

    def __init__(self, now_ns: int) -> None:
        """Start when the node does."""
        self._began_ns = now_ns
        self._cpu = (now_ns, 0.0)
        self._windows: dict[str, _Windows] = {}
        self._errors: dict[str, _Age] = {}

    def entries(self, view: NodeView, vitals: Vitals) -> list[Entry]:
        """Return the entries of one report; call it once a second."""
        made = []
        for source in view.sources:
            made += [self._perception(view, source), _inputs(view, source)]
            made += [*self._speech(view, source), *_person(source)]
        return [
            *made,
            self._pipeline(view),
            self._reasoning(view),
            _model(view),
            self._process(view.now_ns, vitals),
        ]

    def _perception(self, view: NodeView, source: SourceView) -> Entry:
        said = [condition.level for condition in conditions.recognise(source.words)]
        level = max(said, default=_LEVELS[source.status])
        name = _of("perception", source)
        if source.health is None:
            return Entry(name, level, source.words)
        facts = self._window_facts(name, source.health, view.now_ns)
        return Entry(name, level, source.words, facts)

    def _window_facts(self, name: str, health: FeedHealth, now_ns: int) -> dict[str, str]:
        given, _, seconds = self._windows.setdefault(name, _Windows()).look(now_ns, health)
        errors = self._errors.setdefault(name, _Age())
        facts = {
            "windows": str(health.windows),
            "window rate": f"{given / seconds:.2f} Hz" if seconds else "0.00 Hz",
            "windows left out": str(health.windows_skipped),
            "windows failed": str(health.faults),
            "restarts": str(health.restarts),
            "frames received": str(health.frames_received),
            "frames kept": str(health.frames_kept),
            "audio samples": str(health.audio_samples),
            "audio samples lost": str(health.audio_lost),
            "buffers": _mebibytes(health.buffered_bytes),
        }
        facts.update({f"fill {stream}": f"{share:.2f}" for stream, share in health.fill.items()})
        facts.update({f"buffered {stream}": f"{s:.1f} s" for stream, s in health.buffered_s.items()})
        return {**facts, **errors.facts(health.last_error, health.faults, now_ns)}

    def _speech(self, view: NodeView, source: SourceView) -> list[Entry]:
        name, health = _of("speech", source), source.speech
        if health is None:
            return []
        facts = {
            "utterances": str(health.utterances),
            "texts": str(health.texts),
            "dropped": str(health.dropped),
            "left out": ", ".join(f"{count} {why}" for why, count in health.left_out.items()) or "0",
            "failed": str(health.faults),
            "latest": f"{health.last_ms:.0f} ms",
            "busy": f"{health.busy_ms:.0f} ms",
        }
        age = self._errors.setdefault(name, _Age())
        facts.update(age.facts(health.last_error, health.faults, view.now_ns))
        failing = bool(health.last_error) and view.now_ns - age.since_ns <= FAILING_NS
        findings = [conditions.SPEECH_FAILS.say(error=health.last_error)] * failing
        return [Entry(name, worst(findings), _text(findings, "listening"), facts)]

    def _pipeline(self, view: NodeView) -> Entry:
        health = view.health
        if health is None:
            return Entry("pipeline", Level.OK, "not running")
        facts = {
            f"stage {stage}": f"p50 {times['p50']:.1f} ms, p95 {times['p95']:.1f} ms"
            for stage, times in health.stage_ms.items()
        }
        facts.update({"busy": f"{health.busy_ms:.0f} ms", "queue": f"{health.queue_ms:.0f} ms"})
        findings = self._late(view)
        return Entry("pipeline", worst(findings), _text(findings, "keeps pace"), facts)

    def _late(self, view: NodeView) -> list[Finding]:
        """Say that windows are left out, or that one takes long; call it after the sources were looked at."""
        health = view.health
        if health is not None and health.busy_ms * 1e6 > view.timeout_ns:
            return [conditions.MODEL_STUCK.say(seconds=health.busy_ms / 1000)]
        spans = [(w.looks[0], w.looks[-1]) for w in self._windows.values() if w.looks]
        skipped = sum(end[2] - begin[2] for begin, end in spans)
        total = skipped + sum(end[1] - begin[1] for begin, end in spans)
        if not total or skipped < LEFT_OUT * total:
            return []
        return [conditions.SKIPPING.say(skipped=skipped, total=total)]

    def _reasoning(self, view: NodeView) -> Entry:
        loaded, health = view.facts.get("reasoning") == "on", view.health
        if not view.reasoning:
            return Entry("reasoning", Level.OK, "switched off")
        if not loaded:
            why = "; ".join(view.notices) or "no model is loaded"
            return Entry("reasoning", Level.WARN if view.notices else Level.OK, why)
        if health is None:
            return Entry("reasoning", Level.OK, "not running")
        facts = {
            "reasonings": str(health.reasonings),
            "reasonings failed": str(health.reasoning_faults),
            "busy": f"{health.reasoning_busy_ms:.0f} ms",
        }
        error = health.reasoning_error
        age = self._errors.setdefault("reasoning", _Age())
        facts.update(age.facts(error, health.reasoning_faults, view.now_ns))
        findings = [conditions.REASONING_FAILS.say(error=error)] * bool(error)
        return Entry("reasoning", worst(findings), _text(findings, "explaining"), facts)

    def _process(self, now_ns: int, vitals: Vitals) -> Entry:
        (then_ns, then_s), self._cpu = self._cpu, (now_ns, vitals.cpu_s)
        passed_ns = now_ns - then_ns
        facts = {
            "uptime": _seconds(now_ns - self._began_ns),
            "memory": _mebibytes(vitals.memory_bytes),
            "memory peak": _mebibytes(vitals.peak_bytes),
            "processor": f"{(vitals.cpu_s - then_s) * SECOND / passed_ns:.0%}" if passed_ns else "",
            "threads": str(vitals.threads),
            "open files": "" if vitals.open_files is None else str(vitals.open_files),
        }
        if vitals.gpu_used_bytes is not None:
            of = _mebibytes(vitals.gpu_bytes)
            facts["gpu memory"] = f"{_mebibytes(vitals.gpu_used_bytes)} of {of}"
        known = {name: value for name, value in facts.items() if value}
        return Entry("process", Level.OK, f"{known.get('memory', 'memory not known')}", known)


def _inputs(view: NodeView, source: SourceView) -> Entry:
    name, inputs = _of("inputs", source), source.inputs
    if inputs is None:
        return Entry(name, Level.OK, "not subscribed")
    findings = [
        *inputs.findings(view.now_ns, view.timeout_ns, LATELY_NS),
        *inputs.warnings(view.now_ns, view.timeout_ns),
    ]
    facts: dict[str, str] = {}
    for role in ("camera", "microphone", "transcript"):
        facts.update(_meter_facts(role, getattr(inputs, _ATTRIBUTES[role]), view.now_ns))
    facts.update(_drift_facts(inputs))
    return Entry(name, worst(findings), _text(findings, _flow(inputs, view)), facts)


def _person(source: SourceView) -> list[Entry]:
    report = source.person
    if report is None:
        return []
    facts = {"evidence": f"{report.evidence_s:.1f} s", "neutral reference": report.neutral}
    facts.update({f"offset {view}": f"{size:.2f}" for view, size in report.offsets.items()})
    return [Entry(_of("adaptation", source), Level.OK, report.words, facts)]


_ATTRIBUTES = {"camera": "image", "microphone": "audio", "transcript": "transcript"}


def _flow(inputs: Inputs, view: NodeView) -> str:
    """Say which sensors deliver."""
    named = zip(("camera", "microphone"), inputs.sensors, strict=True)
    flowing = [role for role, meter in named if meter.usable(view.now_ns, view.timeout_ns)]
    return f"{' and '.join(flowing)} flowing" if flowing else "nothing arrives"


def _meter_facts(role: str, meter: InputMeter, now_ns: int) -> dict[str, str]:
    usual = meter.pace.usual_hz
    facts = {
        "topic": meter.topic,
        "rate": f"{meter.rate_hz:.1f} Hz" + (f" (usually {usual:.1f})" if usual else ""),
        "received": str(meter.received),
        "refused": str(meter.refused),
        "lost": str(meter.lost),
    }
    if meter.pace.seen_ns is not None:
        facts["age"] = f"{(now_ns - meter.pace.seen_ns) / 1e6:.0f} ms"
    if role != "transcript":  # nobody speaks in a rhythm
        facts.update(_stamp_facts(meter.stamps))
    if role == "microphone":
        facts["gaps"] = f"{meter.stamps.gaps} ({meter.stamps.missing_ns / SECOND:.1f} s)"
    return {f"{role} {name}": value for name, value in facts.items()}


def _stamp_facts(stamps: StampWatch) -> dict[str, str]:
    facts = {
        "duplicates": str(stamps.duplicates),
        "reordered": str(stamps.reordered),
        "leaps": str(stamps.leaps),
    }
    return facts if stamps.ahead_ns is None else {**facts, "ahead": f"{stamps.ahead_ns / 1e6:+.0f} ms"}


def _drift_facts(inputs: Inputs) -> dict[str, str]:
    """Say how the clocks run; nothing before a minute of evidence."""
    drift, counted = inputs.drift(), inputs.audio.stamps.count_drift()
    facts = {}
    if drift is not None:
        facts["clock drift"] = drift.describe("microphone", "camera")
    if counted is not None:
        facts["sample count drift"] = f"{counted.ppm:+.0f} ± {counted.error_ppm:.0f} ppm"
    return facts


def _model(view: NodeView) -> Entry:
    if not view.facts:
        return Entry("model", Level.OK, "none is loaded")
    summary = ", ".join(view.facts[name] for name in ("bundle", "engine") if name in view.facts)
    return Entry("model", Level.OK, summary, view.facts)


def _of(entry: str, source: SourceView) -> str:
    return f"{entry} {source.name}" if source.name else entry


def _text(findings: Iterable[Finding], otherwise: str) -> str:
    return "; ".join(finding.text for finding in findings) or otherwise


def _seconds(duration_ns: int) -> str:
    return f"{duration_ns / SECOND:.0f} s"


def _mebibytes(size: int | None) -> str:
    return "" if size is None else f"{size / MIB:.1f} MiB"


def to_message(stamp: Any, node: str, machine: str, entries: Iterable[Entry]) -> DiagnosticArray:
    """Make the message, with names as ``diagnostic_updater`` makes them.

    Args:
        stamp: Time of the report, ``builtin_interfaces/Time``.
        node: Fully qualified name of the node; without a namespace its name alone begins each entry's.
        machine: What ``hardware_id`` is: the name of the machine.
        entries: Of ``Reporter.entries``.
    """
    from diagnostic_msgs.msg import DiagnosticArray, DiagnosticStatus, KeyValue

    array = DiagnosticArray(
        status=[
            DiagnosticStatus(
                level=bytes([entry.level]),
                name=f"{node.lstrip('/')}: {entry.name}",
                message=entry.message,
                hardware_id=machine,
                values=[KeyValue(key=key, value=value) for key, value in entry.values.items()],
            )
            for entry in entries
        ]
    )
    array.header.stamp = stamp
    return array
