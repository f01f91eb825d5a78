"""The parameters of every node, declared once: default, meaning and range stand beside the field.

Nothing here needs ROS to be imported, so the tables can be tested, printed into the documentation
and used by launch files; :func:`declare` alone talks to a node.
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import Field, dataclass, field, fields
from typing import TYPE_CHECKING, Any, TypeVar

from emollama_ros.errors import ConfigError

if TYPE_CHECKING:
    from rclpy.node import Node

Table = TypeVar("Table")


#: When a parameter that is set takes effect, and what a user reads about it.
TAKES_EFFECT = {
    "live": "at once",
    "restart": "at once; the buffered input is forgotten",
    "configure": "only while unconfigured",
    "start": "only at start",
}


def option(
    default: Any,
    doc: str,
    low: float | None = None,
    high: float | None = None,
    *,
    choices: tuple[str, ...] = (),
    effect: str = "start",
) -> Any:
    """Describe one parameter as a dataclass field.

    Args:
        default: Default value; its type is the type of the parameter. A tuple is an array of names.
        doc: Meaning and unit, one sentence.
        low: Smallest legal value (numbers only; needs ``high``).
        high: Largest legal value (numbers only; needs ``low``).
        choices: The legal values (strings only); empty for free text.
        effect: ``live`` (applied at once), ``restart`` (the node starts a fresh pipeline and subscribes again
            by itself; the model stays), ``configure`` (can be set only while the node is unconfigured) or
            ``start`` (read when the process starts; cannot be set later).
    """
    metadata = {"doc": doc, "low": low, "high": high, "choices": choices, "effect": effect}
    return field(default=default, metadata=metadata)


@dataclass(frozen=True)
class PerceptionParameters:
    """Parameters of ``perception_node``; ``effect`` says when a new value is used."""

    autostart: bool = option(
        False, "go to active by itself; false = a lifecycle manager, or `ros2 lifecycle set`, does it"
    )
    enabled: bool = option(True, "perceive; false = pause, as the service emotion/enable does", effect="live")
    bundle: str = option("", "folder of the model bundle; empty = the default bundle", effect="configure")
    engine: str = option(
        "auto",
        "inference engine; auto takes CUDA where a GPU and its provider are present, else the CPU",
        choices=("auto", "cpu", "cuda", "tensorrt"),
        effect="configure",
    )
    threads: int = option(2, "CPU threads of the inference engine", 1, 64, effect="configure")
    sources: tuple[str, ...] = option(
        (),
        "names of several cameras or people, each with topics under NAME/; empty = one source without a name",
        effect="configure",
    )
    source_id: str = option(
        "",
        "person, face or voice id written into the states; empty = whoever the sensors show;"
        " with sources, their names are written",
        effect="live",
    )
    window_s: float = option(
        4.0, "length of the window that one state describes, seconds", 1.0, 30.0, effect="restart"
    )
    hop_s: float = option(0.5, "time from one state to the next, seconds", 0.1, 10.0, effect="live")
    patience_s: float = option(
        0.3, "how long a window waits for the slower of two streams, seconds", 0.0, 5.0, effect="live"
    )
    expect: str = option(
        "auto",
        "inputs whose absence degrades the state; auto = those that were there and stopped",
        choices=("auto", "video", "audio", "video+audio"),
        effect="live",
    )
    timeout_s: float = option(
        0.8,
        "silence after which an input is missed and the state is STALE, seconds; a slow stream is given"
        " three of its own intervals",
        0.2,
        60.0,
        effect="live",
    )
    watchdog_s: float = option(
        15.0,
        "the process ends with status 1 when one window takes longer than this, seconds; 0 = never",
        0.0,
        600.0,
        effect="live",
    )
    smoothing_s: float = option(
        0.5,
        "time constant of the moving average over scores, valence and arousal, seconds; 0 = off",
        0.0,
        30.0,
        effect="live",
    )
    label_margin: float = option(
        0.05,
        "how much likelier than the present label a new one must be, probability",
        0.0,
        1.0,
        effect="live",
    )
    min_dwell_s: float = option(0.0, "least time that a label stays, seconds", 0.0, 30.0, effect="live")
    least_confidence: float = option(
        -1.0,
        "probability below which the label is `uncertain`; 0 = never, negative = what the bundle says",
        -1.0,
        1.0,
        effect="live",
    )
    adaptation: str = option(
        "person",
        "off, or person = learn how the one in front of the robot differs from others, and allow for it",
        choices=("off", "person"),
        effect="live",
    )
    adaptation_after_s: float = option(
        8.0,
        "how long somebody must have been perceived before that counts, seconds",
        0.0,
        600.0,
        effect="live",
    )
    adaptation_forget_s: float = option(
        300.0,
        "time constant of forgetting what was learnt of a person, seconds",
        10.0,
        86400.0,
        effect="live",
    )
    reasoning: bool = option(True, "explain the states in words on emotion/reasoning", effect="live")
    reasoning_interval_s: float = option(
        3.0,
        "least time between the starts of two reasonings, unless the label changes, seconds",
        0.0,
        3600.0,
        effect="live",
    )
    reasoning_url: str = option(
        "",
        "vLLM server that writes the reasonings, for example http://gpu.local:8000; empty = this machine",
        effect="configure",
    )
    reasoning_timeout_s: float = option(
        5.0, "longest time to wait for an answer of reasoning_url, seconds", 0.5, 60.0, effect="configure"
    )
    image_transport: str = option(
        "raw",
        "raw = sensor_msgs/Image; compressed = sensor_msgs/CompressedImage on camera/image_raw/compressed",
        choices=("raw", "compressed"),
        effect="restart",
    )
    image_reliability: str = option(
        "best_effort",
        "QoS reliability asked of the camera",
        choices=("best_effort", "reliable"),
        effect="restart",
    )
    audio_type: str = option(
        "auto",
        "message type of the microphone; auto = the type its publisher has",
        choices=(
            "auto",
            "emollama_ros/AudioChunk",
            "audio_common_msgs/AudioStamped",
            "audio_common_msgs/AudioDataStamped",
            "audio_common_msgs/AudioData",
            "std_msgs/Int16MultiArray",
        ),
        effect="restart",
    )
    audio_reliability: str = option(
        "reliable",
        "QoS reliability asked of the microphone; falls back to best_effort if it offers no more",
        choices=("best_effort", "reliable"),
        effect="restart",
    )
    audio_rate: int = option(
        16000, "samples per second of a type that does not say it, Hz", 8000, 192000, effect="restart"
    )
    audio_channels: int = option(1, "channels of a type that does not say it", 1, 8, effect="restart")
    audio_latency_ms: float = option(
        0.0,
        "delay from sound to stamp; stamps of sound are set back by it, ms",
        0.0,
        2000.0,
        effect="restart",
    )
    transcript_type: str = option(
        "auto",
        "message type of the speech recogniser; auto = the type its publisher has",
        choices=("auto", "std_msgs/String", "hri_msgs/LiveSpeech"),
        effect="restart",
    )
    speech_to_text: bool = option(
        False, "write the transcript here, with the packaged recogniser, from the sound", effect="configure"
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


#: What the name of a source may be: one token of a topic name.
SOURCE_NAME = re.compile(r"[A-Za-z](_?[A-Za-z0-9])*")
MAX_SOURCES = 16


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
    return table(**{name: checked(known[name], value) for name, value in values.items() if name in known})


def checked(item: Field, value: Any) -> Any:
    """Return a value in the type of its parameter: a whole number will do where a float is asked for.

    Raises:
        ConfigError: The value is not legal.
    """
    if isinstance(item.default, tuple):
        return _checked_names(item.name, value)
    if isinstance(item.default, float) and type(value) is int:
        value = float(value)
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
    return value


def _checked_names(name: str, value: Any) -> tuple[str, ...]:
    if not isinstance(value, (list, tuple)) or not all(isinstance(entry, str) for entry in value):
        raise ConfigError(
            f"parameter {name}: {value!r} is not an array of strings, for example ['left', 'right']"
        )
    names = tuple(entry for entry in value if entry)  # [""] is how an empty array is written in a file
    for entry in names:
        if not SOURCE_NAME.fullmatch(entry):
            raise ConfigError(
                f"parameter {name}: {entry!r} cannot be part of a topic name: a letter, then letters, digits"
                " and single underscores"
            )
    if len(set(names)) < len(names) or len(names) > MAX_SOURCES:
        raise ConfigError(f"parameter {name}: {list(names)} must be at most {MAX_SOURCES} different names")
    return names


def table_rows(table: type) -> list[tuple[str, str, str, str]]:
    """Return (name, default, legal values, meaning) of each parameter, for documentation."""
    return [(item.name, default_text(item), legal_text(item), item.metadata["doc"]) for item in fields(table)]


def effects(table: type) -> dict[str, str]:
    """Return when each parameter of a table takes effect, by name; see ``option``."""
    return {item.name: item.metadata["effect"] for item in fields(table)}


def default_text(item: Field) -> str:
    """Return a default as it is written in a parameter file."""
    if isinstance(item.default, bool):
        return str(item.default).lower()
    return repr(list(item.default) if isinstance(item.default, tuple) else item.default).replace("'", '"')


def legal_text(item: Field) -> str:
    """Say which values are legal."""
    low, high, choices = (item.metadata[key] for key in ("low", "high", "choices"))
    if isinstance(item.default, bool):
        return "true, false"
    if isinstance(item.default, tuple):
        return f"at most {MAX_SOURCES} different names"
    return ", ".join(choices) if choices else f"{low} .. {high}" if low is not None else "any"


def declare(node: Node, table: type[Table]) -> Table:
    """Declare the parameters of a table on a node, refuse wrong values set later, return the present ones.

    Raises:
        ConfigError: A value given at start (file, launch, command line) is not legal.
    """
    from rcl_interfaces.msg import SetParametersResult
    from rclpy.exceptions import InvalidParameterValueException

    for item in fields(table):  # type: ignore[arg-type]
        # ROS cannot tell the type of an empty array.
        default = [""] if item.default == () else item.default
        try:
            node.declare_parameter(item.name, default, _descriptor(item))
        except InvalidParameterValueException as error:
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
    values = {}
    for item in fields(table):  # type: ignore[arg-type]
        value = node.get_parameter(item.name).value
        # An array that is written `[]` in a file or on the command line arrives without a value.
        values[item.name] = () if value is None and item.default == () else value
    return check(table, values)


def _descriptor(item: Field) -> Any:
    from rcl_interfaces.msg import FloatingPointRange, IntegerRange, ParameterDescriptor

    low, high, choices, effect = (item.metadata[key] for key in ("low", "high", "choices", "effect"))
    descriptor = ParameterDescriptor(
        description=f"{item.metadata['doc']} [takes effect: {TAKES_EFFECT[effect]}]",
        read_only=effect == "start",
        # So that `hop_s: 1` is not refused; other wrong types are, in ``checked``, with a better reason.
        dynamic_typing=True,
    )
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
