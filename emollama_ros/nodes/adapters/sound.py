"""Messages of microphones to one plain value, whatever package they come from."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from emollama_ros.errors import InputError
from emollama_ros.nodes.adapters.choice import Adapter
from emollama_ros.nodes.adapters.samples import looks_like_mp3, pcm, within_full_scale
from emollama_ros.nodes.clock import require_stamp

RATES_HZ = (8000, 192000)
MAX_CHANNELS = 64
#: Names under which ``coding_format`` says that samples are not compressed.
_PLAIN = ("", "wave", "wav", "raw", "pcm")
#: Sample formats of PortAudio (portaudio.h): where mgonzs13's message keeps them, and as what.
_PORTAUDIO = {
    0x01: ("float32_data", np.float32),
    0x02: ("int32_data", np.int32),
    0x08: ("int16_data", np.int16),
    0x10: ("int8_data", np.int8),
    0x20: ("uint8_data", np.uint8),
}


@dataclass(frozen=True)
class Form:
    """How to read bytes of sound whose message does not say it.

    Attributes:
        rate: Samples per second and channel, Hz.
        channels: Interleaved channels.
        sample_format: As GStreamer names it.
        coding: Compression, such as ``mp3``; empty or ``wave`` for none.
        told: Whether an ``AudioInfo`` said so; otherwise it is an assumption.
    """

    rate: int = 16000
    channels: int = 1
    sample_format: str = "S16LE"
    coding: str = ""
    told: bool = False


@dataclass(frozen=True)
class Chunk:
    """Some consecutive sound as a driver sent it.

    Attributes:
        stamp_ns: Capture time of the first sample; ``None`` if the message does not say it.
        rate: Samples per second and channel, Hz.
        channels: Interleaved channels.
        samples: ``[n * channels]``; integer PCM, or float32 within [-1, 1] where NaN means not recorded.
        sequence: Number of the chunk, if the driver counts.
        frame_id: Frame of the microphone.
    """

    stamp_ns: int | None
    rate: int
    channels: int
    samples: NDArray[Any]
    sequence: int | None = None
    frame_id: str = ""

    def __post_init__(self) -> None:
        if not RATES_HZ[0] <= self.rate <= RATES_HZ[1]:
            raise InputError(f"sample_rate is {self.rate} Hz; it must be {RATES_HZ[0]} to {RATES_HZ[1]}")
        if not 1 <= self.channels <= MAX_CHANNELS:
            raise InputError(f"channels is {self.channels}; it must be 1 to {MAX_CHANNELS}")
        if len(self.samples) == 0 or len(self.samples) % self.channels:
            raise InputError(
                f"{len(self.samples)} samples for {self.channels} channel(s); send whole frames, at least one"
            )


def form_of(info: Any) -> Form:
    """Return what an ``audio_common_msgs/AudioInfo`` of ros-drivers says."""
    return Form(info.sample_rate, info.channels, info.sample_format, info.coding_format, told=True)


def from_audio_chunk(message: Any, form: Form) -> Chunk:
    """Read our own AudioChunk."""
    return Chunk(
        require_stamp(message),
        message.sample_rate,
        message.channels,
        np.frombuffer(message.samples, np.int16),
        message.sequence,
        message.header.frame_id,
    )


def from_audio_stamped(message: Any, form: Form) -> Chunk:
    """Read AudioStamped of mgonzs13/audio_common.

    Its driver takes the time before the read that blocks. As reads follow each other, that is when the
    first sample was captured, late by what the sound card buffers.
    """
    info = message.audio.info
    if info.format not in _PORTAUDIO:
        raise InputError(
            f"audio.info.format is {info.format}, which is none of PortAudio's formats that AudioData holds;"
            " set the capturer's format to 8 (16 bits)"
        )
    name, kind = _PORTAUDIO[info.format]
    samples = np.frombuffer(getattr(message.audio.audio_data, name), kind)
    if not len(samples):
        raise InputError(
            f"audio.audio_data.{name} is empty, though audio.info.format is {info.format}; fill it"
        )
    stamp = require_stamp(message)
    return Chunk(stamp, info.rate, info.channels, _usable(samples), None, message.header.frame_id)


def from_audio_data_stamped(message: Any, form: Form) -> Chunk:
    """Read AudioDataStamped of ros-drivers/audio_common, stamped with GStreamer's capture time."""
    samples = _decoded(message.audio.data, form)
    return Chunk(require_stamp(message), form.rate, form.channels, samples, None, message.header.frame_id)


def from_audio_data(message: Any, form: Form) -> Chunk:
    """Read AudioData of ros-drivers/audio_common, which has no header."""
    return Chunk(None, form.rate, form.channels, _decoded(message.data, form))


def from_int16_array(message: Any, form: Form) -> Chunk:
    """Read Int16MultiArray, which has neither header nor rate; its layout may say the channels."""
    layout = message.layout
    samples = np.frombuffer(message.data, np.int16)
    if layout.data_offset > len(samples):
        raise InputError(f"layout.data_offset is {layout.data_offset}, but there are {len(samples)} samples")
    samples = samples[layout.data_offset :]
    sizes = [dimension.size for dimension in layout.dim]
    if len(sizes) < 2:
        return Chunk(None, form.rate, form.channels, samples)
    if len(sizes) > 2 or sizes[0] * sizes[1] != len(samples):
        raise InputError(
            f"layout.dim is {' x '.join(map(str, sizes))}, but there are {len(samples)} samples;"
            " send frames x channels, or no layout"
        )
    axis = _channel_axis(layout.dim)
    interleaved = samples.reshape(sizes) if axis == 1 else samples.reshape(sizes).T
    return Chunk(None, form.rate, sizes[axis], interleaved.reshape(-1))


def _channel_axis(dimensions: Any) -> int:
    """Return which of two dimensions counts the channels: the one labelled so, else the smaller."""
    named = [i for i, dimension in enumerate(dimensions) if "channel" in dimension.label.lower()]
    if len(named) == 1:
        return named[0]
    return 0 if dimensions[0].size < dimensions[1].size else 1


def _decoded(data: Any, form: Form) -> NDArray[Any]:
    coding = form.coding.lower()
    if coding not in _PLAIN:
        raise InputError(
            f"coding_format is {form.coding!r}, and compressed sound is not decoded; start audio_capture with"
            " format:=wave"
        )
    if not form.told and looks_like_mp3(data):
        raise InputError(
            "the bytes are mp3, and compressed sound is not decoded; start audio_capture with format:=wave"
        )
    return _usable(pcm(data, form.sample_format))


def _usable(samples: NDArray[Any]) -> NDArray[Any]:
    return within_full_scale(samples) if samples.dtype.kind == "f" else samples


_ROS_DRIVERS = "install ros-$ROS_DISTRO-audio-common-msgs (of ros-drivers)"
_COUNTED = "arrival of the message less its length, carried on by counting samples"

#: Every message type that a microphone may send, the most preferred first.
SOUNDS = (
    Adapter(
        "emollama_ros/AudioChunk",
        from_audio_chunk,
        ("first_sample",),
        install="build emollama_ros",
        time="its stamp: capture of the first sample, by counting",
    ),
    Adapter(
        "audio_common_msgs/AudioStamped",
        from_audio_stamped,
        ("header", "audio"),
        install="build audio_common_msgs of mgonzs13/audio_common (it cannot be with that of ros-drivers)",
        time="its stamp: the driver's clock before it reads, so late by the sound card's buffer",
    ),
    Adapter(
        "audio_common_msgs/AudioDataStamped",
        from_audio_data_stamped,
        ("header", "audio"),
        install=_ROS_DRIVERS,
        time="its stamp: GStreamer's capture time of the first sample",
        described=True,
    ),
    Adapter(
        "audio_common_msgs/AudioData",
        from_audio_data,
        ("data",),
        install=_ROS_DRIVERS,
        time=_COUNTED,
        stamped=False,
        described=True,
    ),
    Adapter(
        "std_msgs/Int16MultiArray",
        from_int16_array,
        ("layout", "data"),
        install="install ros-$ROS_DISTRO-std-msgs",
        time=_COUNTED,
        stamped=False,
    ),
)
