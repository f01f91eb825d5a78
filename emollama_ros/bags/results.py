"""What was perceived, as the messages that the node publishes, into a bag."""

from __future__ import annotations

import shutil
from collections.abc import Mapping, Sequence
from dataclasses import fields
from pathlib import Path
from typing import Any

from emollama_ros.bags.contents import (
    DIAGNOSTICS,
    DIAGNOSTICS_TOPIC,
    PARAMETER_TOPIC,
    PARAMETERS,
    RESULTS,
    Source,
)
from emollama_ros.bags.definitions import EVENT, REASONING, STATE
from emollama_ros.bags.replay import Perceived, Sink
from emollama_ros.bags.writing import BagWriter
from emollama_ros.estimate import EmotionEstimate, Reasoning
from emollama_ros.labels import UNKNOWN
from emollama_ros.nodes.clock import SECOND
from emollama_ros.nodes.parameters import PerceptionParameters

TIME, DURATION, HEADER = (
    "builtin_interfaces/msg/Time",
    "builtin_interfaces/msg/Duration",
    "std_msgs/msg/Header",
)
VALUE, PARAMETER = "rcl_interfaces/msg/ParameterValue", "rcl_interfaces/msg/Parameter"
ENTRY, STATUS = "diagnostic_msgs/msg/KeyValue", "diagnostic_msgs/msg/DiagnosticStatus"


class Results:
    """Numbers and writes the results of one source, as ``nodes.outlet.Outlet`` publishes them."""

    def __init__(self, bag: BagWriter, source: Source, source_id: str) -> None:
        """Make the topics.

        Args:
            bag: Where to.
            source: Whose.
            source_id: Written into every message.
        """
        for name, kind in RESULTS.items():
            bag.add(source.home + name, kind, is_kept=kind == STATE)
        self._bag, self._source, self._id = bag, source, source_id
        self._count = self._reasonings = 0
        self._numbers: dict[int, int] = {}
        self._label, self._since_ns = UNKNOWN, 0
        self._told: tuple[str, int, int] = ("", 0, 0)

    def state(self, estimate: EmotionEstimate, log_ns: int, frame_id: str) -> None:
        """Write an estimate, and an event if the label is another."""
        number, self._count = self._count, self._count + 1
        self._numbers[estimate.sequence] = number
        text, stamp_ns, explained = self._told
        header = self._header(estimate.end_ns, frame_id)
        message = self._bag.make(
            STATE,
            header=header,
            window_start=self._time(estimate.start_ns),
            sequence=number,
            source_id=self._id,
            label=estimate.label,
            labels=list(estimate.labels),
            scores=_floats(estimate.scores),
            valence=float(estimate.valence),
            arousal=float(estimate.arousal),
            confidence=float(estimate.confidence),
            modalities=int(estimate.modalities),
            reasoning=text,
            reasoning_stamp=self._time(stamp_ns),
            reasoning_sequence=explained,
            latency_ms=float(estimate.stage_ms.get("total", 0.0)),
            status=int(estimate.status),
            status_text=estimate.status_text,
        )
        self._bag.put(self._source.state, log_ns, message)
        if estimate.label != self._label:
            self._event(estimate, number, header, log_ns)

    def reasoning(self, reasoning: Reasoning, log_ns: int, frame_id: str) -> None:
        """Write a finished reasoning."""
        number, self._reasonings = self._reasonings, self._reasonings + 1
        explains = self._numbers[reasoning.estimate_sequence]
        message = self._bag.make(
            REASONING,
            header=self._header(reasoning.end_ns, frame_id),
            window_start=self._time(reasoning.start_ns),
            sequence=number,
            explains=explains,
            source_id=self._id,
            label=reasoning.label,
            text=reasoning.text,
            final=True,
            tokens=reasoning.tokens,
            elapsed_ms=float(reasoning.elapsed_ms),
        )
        self._bag.put(self._source.reasoning, log_ns, message)
        self._told = reasoning.text, reasoning.end_ns, explains

    def begin_anew(self) -> None:
        """The pipeline began anew: what it counts begins at 0 again, what is published goes on."""
        self._numbers.clear()
        self._told = ("", 0, 0)

    def _event(self, estimate: EmotionEstimate, number: int, header: Any, log_ns: int) -> None:
        lasted_ns = max(0, estimate.end_ns - self._since_ns) if self._since_ns else 0
        message = self._bag.make(
            EVENT,
            header=header,
            source_id=self._id,
            previous=self._label,
            label=estimate.label,
            confidence=float(estimate.confidence),
            valence=float(estimate.valence),
            arousal=float(estimate.arousal),
            state_sequence=number,
            previous_for=self._bag.make(DURATION, sec=lasted_ns // SECOND, nanosec=lasted_ns % SECOND),
            modalities=int(estimate.modalities),
        )
        self._bag.put(self._source.event, log_ns, message)
        self._label, self._since_ns = estimate.label, estimate.end_ns

    def _header(self, time_ns: int, frame_id: str) -> Any:
        return self._bag.make(HEADER, stamp=self._time(time_ns), frame_id=frame_id)

    def _time(self, time_ns: int) -> Any:
        return time_of(self._bag, time_ns)


def time_of(bag: BagWriter, time_ns: int) -> Any:
    """Make a time."""
    return bag.make(TIME, sec=max(0, time_ns) // SECOND, nanosec=max(0, time_ns) % SECOND)


def put_parameters(bag: BagWriter, node: str, settings: PerceptionParameters, log_ns: int) -> None:
    """Write what a node is set to, as the event that says so."""
    bag.add(PARAMETER_TOPIC, PARAMETERS)
    bag.put_raw(PARAMETER_TOPIC, log_ns, parameter_event(bag, node, settings, log_ns))


def parameter_event(bag: BagWriter, node: str, settings: PerceptionParameters, log_ns: int) -> memoryview:
    """Return the event that says what a node is set to, as it goes over the network."""
    made = [
        bag.make(PARAMETER, name=item.name, value=_parameter(bag, getattr(settings, item.name)))
        for item in fields(settings)
    ]
    stamp = time_of(bag, log_ns)
    event = bag.make(
        PARAMETERS, stamp=stamp, node=node, new_parameters=made, changed_parameters=[], deleted_parameters=[]
    )
    return bag.packed(PARAMETERS, event)


def _parameter(bag: BagWriter, value: Any) -> Any:
    import numpy as np

    kinds = {bool: (1, "bool_value"), int: (2, "integer_value"), float: (3, "double_value")}
    kinds |= {str: (4, "string_value"), tuple: (9, "string_array_value")}
    number, name = kinds[type(value)]
    filled: dict[str, Any] = {
        "bool_value": False,
        "integer_value": 0,
        "double_value": 0.0,
        "string_value": "",
        "byte_array_value": np.zeros(0, np.uint8),
        "bool_array_value": np.zeros(0, np.bool_),
        "integer_array_value": np.zeros(0, np.int64),
        "double_array_value": np.zeros(0, np.float64),
        "string_array_value": [],
    }
    filled[name] = list(value) if isinstance(value, tuple) else value
    return bag.make(VALUE, type=number, **filled)


def put_model(bag: BagWriter, facts: Mapping[str, str], log_ns: int) -> None:
    """Write which model perceived, as the diagnostics of the node say it."""
    bag.add(DIAGNOSTICS_TOPIC, DIAGNOSTICS)
    values = [bag.make(ENTRY, key=key, value=value) for key, value in facts.items()]
    status = bag.make(
        STATUS, level=0, name="emollama replay: model", message="", hardware_id="", values=values
    )
    header = bag.make(HEADER, stamp=time_of(bag, log_ns), frame_id="")
    bag.put(DIAGNOSTICS_TOPIC, log_ns, bag.make(DIAGNOSTICS, header=header, status=[status]))


def _floats(values: tuple[float, ...]) -> Any:
    import numpy as np

    return np.asarray(values, np.float32)


class ResultsInBag(Sink):
    """Writes what a replay perceives into a new bag; a context manager."""

    def __init__(self, path: Path | str) -> None:
        """Make the bag.

        Raises:
            InputError: There is something of that name, or it cannot be made.
        """
        self._bag = BagWriter(path)
        self._results: tuple[Results, ...] = ()

    def __enter__(self) -> ResultsInBag:
        return self

    def __exit__(self, kind: object, *_: object) -> None:
        self._bag.close()
        if kind is not None and not any(self._bag.counts.values()):
            shutil.rmtree(self._bag.path)  # a replay that was refused leaves nothing behind

    def begin(
        self, sources: Sequence[Source], settings: PerceptionParameters, facts: Mapping[str, str], log_ns: int
    ) -> None:
        """Make the topics; say by what and how was perceived."""
        names = [
            s.home.rstrip("/").rpartition("/")[2] if len(sources) > 1 else settings.source_id for s in sources
        ]
        self._results = tuple(Results(self._bag, s, name) for s, name in zip(sources, names, strict=True))
        put_parameters(self._bag, "/emollama_replay", settings, log_ns)
        put_model(self._bag, facts, log_ns)

    def begin_anew(self, source: int) -> None:
        """See ``Sink``."""
        self._results[source].begin_anew()

    def state(self, perceived: Perceived) -> None:
        """Write the state, and the event if there is one."""
        results, log_ns = self._results[perceived.source], perceived.told.log_ns
        results.state(perceived.estimate, log_ns, perceived.frame_id)

    def reasoning(self, source: int, reasoning: Reasoning, log_ns: int, frame_id: str) -> None:
        """Write it."""
        self._results[source].reasoning(reasoning, log_ns, frame_id)
