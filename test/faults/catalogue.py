"""Every fault that a driver or a model is given here, and what the states must say of it. No ROS in it.

A driver sends a picture and a tenth of a second of sound ten times a second. A fault takes what was to be
sent and returns what is sent instead. What is wrong with the *model* is asked for by the brightness of the
picture, see ``misbehaving_model``.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace

from emollama_ros import conditions
from emollama_ros.conditions import Condition
from emollama_ros.nodes.clock import SECOND

TICK_S = 0.1
TICK_NS = SECOND // 10
HOUR_NS = 3600 * SECOND
#: Of the noise in pictures.
SEED = 7
#: Mean of a healthy picture, and of pictures that the model cannot stand.
BRIGHT, SLOW, RAISE, HANG_A_WHILE, HANG, NO_MEMORY = 220, 200, 190, 180, 170, 210
#: Time of health before a fault, and of the fault itself, s.
HEALTHY_S, SPOILT_S = 2.5, 3.0


@dataclass(frozen=True)
class Picture:
    """What a camera sends. Equal noise makes equal pictures."""

    stamp_ns: int
    noise: int
    mean: int = BRIGHT
    shape: tuple[int, int] = (48, 64)
    encoding: str = "rgb8"


@dataclass(frozen=True)
class Sound:
    """What a microphone sends: a tone of 0.1 s.

    ``rate`` is the true one, ``stated`` what the message says; ``level`` beyond 1 is clipped, NaN is sent.
    """

    stamp_ns: int
    sequence: int
    rate: int = 16000
    stated: int = 16000
    level: float = 0.3


Datum = Picture | Sound
#: Gets the number of the tick since the fault began, and what was to be sent.
Spoil = Callable[[int, Picture, Sound], Sequence[Datum]]


@dataclass(frozen=True)
class Fault:
    """One fault.

    Attributes:
        name: What happens, as the table says it.
        spoil: What is sent instead.
        says: What states must say; ``None``: they stay OK.
        warns: What /diagnostics must say where states stay OK.
        within_s: How long noticing it may take: 1 s, or what must have been seen to tell, and 1 s.
        speed: Ticks sent in the time of one.
        keeps_label: Labels go on meanwhile; if not, the label becomes ``unknown``. ``None``: depends on
            how long it lasts, or on the machine.
    """

    name: str
    spoil: Spoil
    says: Condition | None = None
    warns: Condition | None = None
    within_s: float = 1.0
    speed: int = 1
    keeps_label: bool | None = True

    @property
    def expected(self) -> str:
        """What is expected, in words."""
        if self.says is not None:
            return f"{self.says.status.name}: {self.says.name}"
        return f"OK; /diagnostics: {self.warns.name}" if self.warns is not None else "OK"


def as_usual(tick: int, picture: Picture, sound: Sound) -> Sequence[Datum]:
    return picture, sound


def no_picture(tick: int, picture: Picture, sound: Sound) -> Sequence[Datum]:
    return (sound,)


def no_sound(tick: int, picture: Picture, sound: Sound) -> Sequence[Datum]:
    return (picture,)


def nothing(tick: int, picture: Picture, sound: Sound) -> Sequence[Datum]:
    return ()


def same_picture(tick: int, picture: Picture, sound: Sound) -> Sequence[Datum]:
    return replace(picture, noise=-1), sound


def same_message(tick: int, picture: Picture, sound: Sound) -> Sequence[Datum]:
    return replace(picture, noise=-1, stamp_ns=picture.stamp_ns - tick * TICK_NS), sound


def other_pictures(tick: int, picture: Picture, sound: Sound) -> Sequence[Datum]:
    shape, encoding = [((72, 96), "mono8"), ((120, 160), "bgr8"), ((30, 40), "rgba8")][tick // 10 % 3]
    return replace(picture, shape=shape, encoding=encoding), sound


def no_stamp(tick: int, picture: Picture, sound: Sound) -> Sequence[Datum]:
    return replace(picture, stamp_ns=0), sound


def gaps(tick: int, picture: Picture, sound: Sound) -> Sequence[Datum]:
    """Every fifth chunk is left out by the driver, which does not count it."""
    return (picture,) if tick % 5 == 0 else (picture, replace(sound, sequence=sound.sequence - tick // 5 - 1))


def lost_chunks(tick: int, picture: Picture, sound: Sound) -> Sequence[Datum]:
    """Every fifth chunk is lost on the way: it is missing in the numbers too."""
    return (picture,) if tick % 5 == 0 else (picture, sound)


def twice(tick: int, picture: Picture, sound: Sound) -> Sequence[Datum]:
    return picture, sound, sound


def reordered(tick: int, picture: Picture, sound: Sound) -> Sequence[Datum]:
    """Of every two chunks the second comes first."""
    other = 1 if tick % 2 == 0 else -1
    swapped = replace(sound, stamp_ns=sound.stamp_ns + other * TICK_NS, sequence=sound.sequence + other)
    return picture, swapped


def at_48_khz(tick: int, picture: Picture, sound: Sound) -> Sequence[Datum]:
    return picture, replace(sound, rate=48000, stated=48000)


def wrong_rate(tick: int, picture: Picture, sound: Sound) -> Sequence[Datum]:
    return picture, replace(sound, rate=48000)


def clipped(tick: int, picture: Picture, sound: Sound) -> Sequence[Datum]:
    return picture, replace(sound, level=20.0)


def not_a_number(tick: int, picture: Picture, sound: Sound) -> Sequence[Datum]:
    return picture, replace(sound, level=float("nan"))


def in_the_future(tick: int, picture: Picture, sound: Sound) -> Sequence[Datum]:
    return (
        replace(picture, stamp_ns=picture.stamp_ns + HOUR_NS),
        replace(sound, stamp_ns=sound.stamp_ns + HOUR_NS),
    )


def back_and_forth(tick: int, picture: Picture, sound: Sound) -> Sequence[Datum]:
    """Both clocks leap by an hour every half second."""
    hour = HOUR_NS if tick // 5 % 2 == 0 else -HOUR_NS
    return replace(picture, stamp_ns=picture.stamp_ns + hour), replace(sound, stamp_ns=sound.stamp_ns + hour)


def picture_of(mean: int, ticks: int = 10**9) -> Spoil:
    """Show the model something that makes it misbehave, for so many ticks."""

    def spoil(tick: int, picture: Picture, sound: Sound) -> Sequence[Datum]:
        return (replace(picture, mean=mean) if tick < ticks else picture), sound

    return spoil


#: By source. They come one after the other, in all sources at once.
CAMERA = (
    Fault("camera stops", no_picture, conditions.SILENT),
    Fault("camera freezes: new stamps", same_picture, conditions.FROZEN_PICTURE, within_s=2.0),
    Fault("camera freezes: the last message again", same_message, conditions.STAMPS_STAND),
    Fault("camera changes size and encoding", other_pictures),
    Fault("stamps of the camera are zero", no_stamp, conditions.REFUSED),
)
MICROPHONE = (
    Fault("microphone unplugged", no_sound, conditions.SILENT),
    Fault("gaps in the sound", gaps, conditions.GAPS),
    Fault("chunks lost on the way", lost_chunks, conditions.LOST_SOUND),
    Fault("chunks come twice", twice, warns=conditions.DUPLICATES, within_s=2.0),
    Fault("camera and microphone stop", nothing, conditions.NO_INPUT, keeps_label=False),
)
SAMPLES = (
    Fault("sample rate changes: 48 kHz, stated", at_48_khz),
    Fault("sample rate changes: 48 kHz, not stated", wrong_rate, conditions.WRONG_RATE, within_s=2.0),
    Fault("chunks in another order", reordered, conditions.LOST_SOUND),
)
CONTENT = (
    Fault("sound is clipped", clipped, conditions.CLIPPED_AUDIO),
    Fault("sound is not a number", not_a_number, conditions.BAD_SAMPLES),
)
CLOCK = (
    Fault("stamps an hour ahead", in_the_future, warns=conditions.STAMPS_AHEAD, within_s=2.0),
    Fault(
        "stamps leap back and forth by an hour",
        back_and_forth,
        conditions.STAMPS_LEAP,
        within_s=2.0,
        keeps_label=None,
    ),
)
SPEED = (
    Fault("input at twice real time", as_usual, warns=conditions.NOT_REAL_TIME, within_s=3.0, speed=2),
    Fault(
        "input at four times real time",
        as_usual,
        warns=conditions.NOT_REAL_TIME,
        within_s=3.0,
        speed=4,
        keeps_label=None,
    ),
)
MODEL = (
    Fault("slow engine: 1.4 hops a window", picture_of(SLOW), warns=conditions.SKIPPING, within_s=3.0),
    Fault("engine raises an exception", picture_of(RAISE), conditions.MODEL_FAILS, keeps_label=False),
    Fault(
        "engine hangs for 2.5 s",
        picture_of(HANG_A_WHILE, ticks=5),
        conditions.MODEL_STUCK,
        within_s=1.5,
        keeps_label=False,
    ),
    Fault("language model out of memory", picture_of(NO_MEMORY), conditions.REASONING_FAILS),
)
FALLEN = (
    Fault(
        "engine hangs for good: the process ends with status 1, and is started again",
        picture_of(HANG, ticks=10),
        conditions.MODEL_STUCK,
    ),
)
KILLED = "SIGKILL: the process is started again"
STORM = "50 subscribers join and leave, four times"
#: Sources and their faults, by node.
SCENES = {
    "inputs": {
        "camera": CAMERA,
        "clock": CLOCK,
        "speed": SPEED,
        "steady": (),
    },
    "sounds": {"microphone": MICROPHONE, "samples": SAMPLES, "floats": CONTENT},
    "model": {"person": MODEL},
    "fallen": {"person": FALLEN},
}


def begins_s(index: int) -> float:
    """When the n-th fault of a source begins, s after the beginning of the play."""
    return HEALTHY_S + index * (HEALTHY_S + SPOILT_S)


#: When all faults are over and everything had time to recover, s.
PLAY_S = begins_s(max(len(faults) for sources in SCENES.values() for faults in sources.values())) + 0.5
