"""The parameters of every node, declared once: default, meaning and range stand beside the field.

Nothing here needs ROS to be imported, so the tables can be tested, printed into the documentation
and used by launch files; :func:`declare` alone talks to a node.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import Field, dataclass, field, fields
from typing import TYPE_CHECKING, Any, TypeVar

from emollama_ros.errors import ConfigError

if TYPE_CHECKING:
    from rclpy.node import Node

Table = TypeVar("Table")


def option(
    default: Any, doc: str, low: float | None = None, high: float | None = None, choices: tuple[str, ...] = ()
) -> Any:
    """Describe one parameter as a dataclass field.

    Args:
        default: Default value; its type is the type of the parameter.
        doc: Meaning and unit, one sentence.
        low: Smallest legal value (numbers only; needs ``high``).
        high: Largest legal value (numbers only; needs ``low``).
        choices: The legal values (strings only); empty for free text.
    """
    return field(default=default, metadata={"doc": doc, "low": low, "high": high, "choices": choices})


@dataclass(frozen=True)
class PerceptionParameters:
    """Parameters of ``perception_node``; read when the node is configured."""

    autostart: bool = option(
        False, "go to active by itself; false = a lifecycle manager, or `ros2 lifecycle set`, does it"
    )
    bundle: str = option("", "folder of the model bundle; empty = the default bundle")
    engine: str = option(
        "auto",
        "inference engine; auto takes CUDA where a GPU and its provider are present, else the CPU",
        choices=("auto", "cpu", "cuda", "tensorrt"),
    )
    threads: int = option(2, "CPU threads of the inference engine", 1, 64)
    window_s: float = option(4.0, "length of the window that one state describes, seconds", 1.0, 30.0)
    hop_s: float = option(0.5, "time from one state to the next, seconds", 0.1, 10.0)
    patience_s: float = option(
        0.3, "how long a window waits for the slower of two streams, seconds", 0.0, 5.0
    )
    expect: str = option(
        "auto",
        "inputs whose absence degrades the state; auto = those that were there and stopped",
        choices=("auto", "video", "audio", "video+audio"),
    )
    timeout_s: float = option(2.0, "silence after which the state is STALE, seconds", 0.5, 60.0)
    reasoning: bool = option(True, "explain the states in words on emotion/reasoning")
    reasoning_url: str = option(
        "", "vLLM server that writes the reasonings, for example http://gpu.local:8000; empty = this machine"
    )
    reasoning_timeout_s: float = option(
        5.0, "longest time to wait for an answer of reasoning_url, seconds", 0.5, 60.0
    )
    image_transport: str = option(
        "raw",
        "raw = sensor_msgs/Image; compressed = sensor_msgs/CompressedImage on camera/image_raw/compressed",
        choices=("raw", "compressed"),
    )
    image_reliability: str = option(
        "best_effort", "QoS reliability asked of the camera", choices=("best_effort", "reliable")
    )
    audio_reliability: str = option(
        "reliable",
        "QoS reliability asked of the microphone; falls back to best_effort if it offers no more",
        choices=("best_effort", "reliable"),
    )
    source_id: str = option(
        "", "person, face or voice id written into the states; empty = whoever the sensors show"
    )


@dataclass(frozen=True)
class MicrophoneParameters:
    """Parameters of ``microphone_node``; read when the node starts."""

    device: str = option("", "index, or part of the name, of the input device; empty = the system's default")
    rate: int = option(16000, "samples per second, Hz", 8000, 192000)
    channels: int = option(1, "channels to record", 1, 8)
    chunk_ms: int = option(32, "length of one message, milliseconds", 5, 500)
    audio_latency_ms: float = option(
        0.0,
        "delay from sound to driver on top of what PortAudio reports; stamps are set back by it, ms",
        0.0,
        2000.0,
    )
    retry_s: float = option(
        0.5, "first pause before a lost device is opened again; doubles up to 10 s", 0.05, 10.0
    )
    frame_id: str = option("microphone", "frame_id of the messages")


@dataclass(frozen=True)
class MediaPlayerParameters:
    """Parameters of ``media_player_node``; read when the node starts."""

    path: str = option("", "media file to play; required")
    rate: float = option(
        1.0,
        "speed: 1 = real time, 2 = twice as fast, 0 = each message waits only for the previous to arrive",
        0.0,
        100.0,
    )
    loop: bool = option(False, "start again at the end, stamps going on, until stopped")
    wait_for_subscribers: float = option(
        0.0, "longest time to wait for a subscriber on each topic before playing, seconds", 0.0, 3600.0
    )
    settle_s: float = option(
        1.0, "pause after that, for the subscribers to know the player too, seconds", 0.0, 10.0
    )
    max_side: int = option(
        640, "larger pictures are scaled down to this, pixels; 0 = as in the file", 0, 8192
    )
    frame_id: str = option("media", "frame_id of the messages")


def check(table: type[Table], values: Mapping[str, Any]) -> Table:
    """Make a parameter table from values, refusing what is out of range.

    Args:
        table: One of the dataclasses above.
        values: Parameter values by name; missing ones take their default.

    Raises:
        ConfigError: A value of the wrong type or out of its range; the message names parameter,
            value and what is legal.
    """
    known = {f.name: f for f in fields(table)}  # type: ignore[arg-type]
    for name, value in values.items():
        if name in known:
            _check_one(known[name], value)
    return table(**{name: value for name, value in values.items() if name in known})


def _check_one(item: Field, value: Any) -> None:
    low, high, choices = (item.metadata[key] for key in ("low", "high", "choices"))
    if type(value) is not type(item.default):
        raise ConfigError(
            f"parameter {item.name}: {value!r} is of type {type(value).__name__}, "
            f"it must be {type(item.default).__name__}"
        )
    if choices and value not in choices:
        raise ConfigError(f"parameter {item.name}: {value!r} is not one of {', '.join(choices)}")
    if low is not None and not low <= value <= high:
        raise ConfigError(f"parameter {item.name}: {value!r} is not within {low} .. {high}")


def table_rows(table: type) -> list[tuple[str, str, str, str]]:
    """Return (name, default, legal values, meaning) of each parameter, for documentation."""
    rows = []
    for item in fields(table):
        low, high, choices = (item.metadata[key] for key in ("low", "high", "choices"))
        default = str(item.default).lower() if isinstance(item.default, bool) else repr(item.default)
        legal = ", ".join(choices) if choices else f"{low} .. {high}" if low is not None else "any"
        legal = "true, false" if isinstance(item.default, bool) else legal
        rows.append((item.name, default.replace("'", '"'), legal, item.metadata["doc"]))
    return rows


def declare(node: Node, table: type[Table]) -> Table:
    """Declare the parameters of a table on a node, refuse wrong values set later, return the present ones.

    Raises:
        ConfigError: A value given at start (file, launch, command line) is not legal.
    """
    from rcl_interfaces.msg import SetParametersResult
    from rclpy.exceptions import InvalidParameterTypeException, InvalidParameterValueException

    for item in fields(table):  # type: ignore[arg-type]
        try:
            node.declare_parameter(item.name, item.default, _descriptor(item))
        except (InvalidParameterTypeException, InvalidParameterValueException) as error:
            raise ConfigError(f"{node.get_name()}: {error}") from error

    def refuse_wrong(changed: list) -> SetParametersResult:
        try:
            check(table, {p.name: p.value for p in changed})
        except ConfigError as error:
            return SetParametersResult(successful=False, reason=str(error))
        return SetParametersResult(successful=True)

    node.add_on_set_parameters_callback(refuse_wrong)
    return read(node, table)


def read(node: Node, table: type[Table]) -> Table:
    """Return the present values of a node's parameters as a checked table.

    Raises:
        ConfigError: A value is not legal.
    """
    names = [item.name for item in fields(table)]  # type: ignore[arg-type]
    return check(table, {name: node.get_parameter(name).value for name in names})


def _descriptor(item: Field) -> Any:
    from rcl_interfaces.msg import FloatingPointRange, IntegerRange, ParameterDescriptor

    low, high, choices = (item.metadata[key] for key in ("low", "high", "choices"))
    descriptor = ParameterDescriptor(description=item.metadata["doc"])
    if choices:
        descriptor.additional_constraints = "one of " + ", ".join(choices)
    elif isinstance(item.default, bool) or low is None:
        pass
    elif isinstance(item.default, int):
        descriptor.integer_range = [IntegerRange(from_value=int(low), to_value=int(high), step=0)]
    else:
        descriptor.floating_point_range = [
            FloatingPointRange(from_value=float(low), to_value=float(high), step=0.0)
        ]
    return descriptor
