"""Publishes what a microphone hears, stamped with the time it was said."""

from __future__ import annotations

import array
import threading
from collections.abc import Callable
from contextlib import suppress
from dataclasses import dataclass
from functools import partial
from typing import Any

from rclpy.node import Node

from emollama_ros.errors import ConfigError, InputError
from emollama_ros.msg import AudioChunk
from emollama_ros.nodes import qos
from emollama_ros.nodes.clock import SECOND, CaptureClock, ros_time
from emollama_ros.nodes.outbox import Outbox
from emollama_ros.nodes.parameters import MicrophoneParameters, declare
from emollama_ros.nodes.running import main_of

#: paInt16 of PortAudio.
INT16 = 8
LONGEST_PAUSE_S = 10.0
INSTALL = "install it with: sudo apt install portaudio19-dev && pip install pyaudio"


@dataclass(frozen=True)
class Device:
    """An input device as PortAudio lists it."""

    index: int
    name: str
    channels: int
    rate: int

    def __str__(self) -> str:
        """Return one line for a list."""
        return f"[{self.index}] {self.name} ({self.channels} channel(s), {self.rate} Hz)"


def load_pyaudio() -> Any:
    """Import PyAudio.

    Raises:
        ConfigError: It is not installed, or not usable; names what to install.
    """
    try:
        import pyaudio
    except (ImportError, OSError) as error:
        raise ConfigError(
            f"the microphone needs PyAudio, which cannot be loaded ({error}); {INSTALL}"
        ) from error
    return pyaudio


def input_devices(audio: Any) -> list[Device]:
    """Return the devices that can record, of an opened ``pyaudio.PyAudio``."""
    infos = [audio.get_device_info_by_index(i) for i in range(audio.get_device_count())]
    return [
        Device(
            int(info["index"]),
            str(info["name"]),
            int(info["maxInputChannels"]),
            int(info["defaultSampleRate"]),
        )
        for info in infos
        if info["maxInputChannels"] > 0
    ]


def choose(devices: list[Device], wanted: str, default_index: int | None) -> Device:
    """Choose a device by index, by part of its name in any case, or the default one.

    Raises:
        InputError: There is none, or the name fits none or several; lists what there is.
    """
    if not devices:
        raise InputError("no microphone: PortAudio lists no input device; plug one in and check `arecord -l`")
    listed = "; ".join(map(str, devices))
    if not wanted:
        return next((d for d in devices if d.index == default_index), devices[0])
    if wanted.isdigit():  # many names have digits in them
        fitting = [d for d in devices if d.index == int(wanted)]
    else:
        fitting = [d for d in devices if wanted.lower() in d.name.lower()]
    exact = [d for d in fitting if d.name.lower() == wanted.lower()]
    if len(exact or fitting) != 1:
        found = "several devices" if fitting else "no device"
        raise InputError(
            f"microphone {wanted!r} fits {found}; set device to the index or part of the name of: {listed}"
        )
    return (exact or fitting)[0]


class Recorder:
    """An opened device that is read chunk by chunk."""

    def __init__(self, pyaudio: Any, settings: MicrophoneParameters) -> None:
        """Open the device.

        Raises:
            InputError: It does not exist, or cannot record in this form.
        """
        self._settings = settings
        self._frames = max(1, settings.rate * settings.chunk_ms // 1000)
        self._audio = pyaudio.PyAudio()
        try:
            self.device = choose(input_devices(self._audio), settings.device, self._default_index())
            self._stream = self._open()
            latency_ns = round((self._stream.get_input_latency() + settings.audio_latency_ms / 1000) * SECOND)
        except BaseException:
            self._audio.terminate()
            raise
        self.clock = CaptureClock(settings.rate, latency_ns)

    def read(self, now_ns: Callable[[], int]) -> tuple[int, int, bytes]:
        """Wait for a chunk.

        Returns:
            (index of its first sample, capture time of it in ns, interleaved int16 samples)

        Raises:
            OSError: The device is gone.
        """
        # An overflow loses samples and must not end the recording; the capture clock notices.
        data = self._stream.read(self._frames, exception_on_overflow=False)
        if not data:
            raise OSError("the device delivers no more samples")
        first = self.clock.samples
        count = len(data) // (2 * self._settings.channels)
        return first, self.clock.chunk(now_ns(), count), data

    def close(self) -> None:
        """Give the device back; a device that is gone is not an error."""
        with suppress(OSError):
            self._stream.close()
        self._audio.terminate()

    def _default_index(self) -> int | None:
        try:
            return int(self._audio.get_default_input_device_info()["index"])
        except OSError:
            return None

    def _open(self) -> Any:
        asked = self._settings
        try:
            return self._audio.open(
                rate=asked.rate,
                channels=asked.channels,
                format=INT16,
                input=True,
                input_device_index=self.device.index,
                frames_per_buffer=self._frames,
            )
        except (OSError, ValueError) as error:
            raise InputError(
                f"microphone {self.device}: not {asked.channels} channel(s) at {asked.rate} Hz ({error}); "
                f"set rate to {self.device.rate} or channels to {self.device.channels} or less"
            ) from error


class MicrophoneNode(Node):
    """Records in a thread of its own, for reading blocks; publishes from the executor's.

    A device that is lost, or not there yet, is tried again with growing pauses; nothing else stops
    because of it.
    """

    def __init__(self, pyaudio: Any = None, **node_options: Any) -> None:
        """Start recording.

        Args:
            pyaudio: The module to record with; ``None`` imports PyAudio.
            **node_options: Of ``rclpy.node.Node``.

        Raises:
            ConfigError: PyAudio is missing, or a parameter is not legal.
        """
        self._pyaudio = pyaudio or load_pyaudio()
        super().__init__("microphone", **node_options)
        self._settings = declare(self, MicrophoneParameters)
        self._publisher = self.create_publisher(AudioChunk, "audio", qos.AUDIO_OUT)
        self._outbox = Outbox(self)
        self._sequence = 0
        self._ending = threading.Event()
        self._thread = threading.Thread(target=self._work, name="microphone", daemon=True)
        self._thread.start()

    def close(self) -> None:
        """Stop recording."""
        self._ending.set()
        self._thread.join(timeout=2.0)

    def _work(self) -> None:
        pause_s = self._settings.retry_s
        while not self._ending.is_set():
            try:
                recorder = Recorder(self._pyaudio, self._settings)
                self.get_logger().info(f"recording from {recorder.device}")
                pause_s = self._record(recorder, pause_s)
            except (InputError, OSError) as error:
                self.get_logger().error(f"{error}; trying again in {pause_s:.1f} s")
            self._ending.wait(pause_s)
            pause_s = min(2 * pause_s, LONGEST_PAUSE_S)

    def _record(self, recorder: Recorder, pause_s: float) -> float:
        """Record until the end or until the device is lost; returns the pause before trying again."""
        try:
            while not self._ending.is_set():
                chunk = recorder.read(lambda: self.get_clock().now().nanoseconds)
                self._outbox.put(partial(self._publish, *chunk))
                pause_s = self._settings.retry_s
        except OSError as error:
            self.get_logger().error(
                f"microphone {recorder.device} lost ({error}); trying again in {pause_s:.1f} s"
            )
        finally:
            recorder.close()
        return pause_s

    def _publish(self, first: int, stamp_ns: int, data: bytes) -> None:
        samples = array.array("h")
        samples.frombytes(data)
        message = AudioChunk(
            sample_rate=self._settings.rate,
            channels=self._settings.channels,
            sequence=self._sequence % 2**32,
            first_sample=first,
            samples=samples,
        )
        message.header.stamp, message.header.frame_id = ros_time(stamp_ns), self._settings.frame_id
        self._publisher.publish(message)
        self._sequence += 1


main = main_of(MicrophoneNode)

if __name__ == "__main__":
    main()
