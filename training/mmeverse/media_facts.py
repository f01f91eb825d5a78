"""One pass over a media file: does it decode, what is in it, and what would a copy of it look and sound like?

Two prints tell copies that were encoded anew, scaled or made louder:

- pictures: the perceptual hash of Zauner 2010 (DCT of a 32 x 32 grey picture, signs of 8 x 8 low frequencies
  against their median, 64 bits), of four pictures spread over the clip;
- sound: the same idea on the picture that its spectrum paints (log energies of 32 bands in 32 parts of the
  clip), 128 bits. Louder adds one number to all log energies, which is the DCT's first coefficient, left out.

A picture of one colour and silence have no print: all of them would be copies of each other.
"""

from __future__ import annotations

import hashlib
import math
from collections.abc import Iterator, Sequence
from fractions import Fraction
from functools import cache
from pathlib import Path
from typing import Annotated, Any

import av
import numpy as np
from av.error import FFmpegError
from numpy.typing import NDArray
from PIL import Image, ImageOps
from pydantic import BaseModel, ConfigDict, Field

from emollama_ros.errors import InputError
from emollama_ros.streams.media import MediaInfo, open_media

#: Raised with every change of what is computed: facts of an older version are computed anew.
FACTS_VERSION = 1

PICTURES = 4
PICTURE_BITS = 64
SOUND_BITS = 128
#: Spans may end this much after the file does: tables round, and containers disagree about their last packet.
SPAN_SLACK_S = 0.5
#: A stream that ends this much before its announced end was cut off.
_MISSING_S = 0.5
#: A gap longer than this is jumped over instead of decoded.
_SEEK_S = 10.0
#: No more sound than this is taken into a print, so that an hour-long film costs no more than a clip.
_SOUND_S = 60.0
_SIDE, _LOW = 32, 8
_RATE, _FRAME, _HOP = 8000, 512, 256
_BANDS_HZ = (100.0, 3400.0)
#: What is this much weaker than the loudest part of the clip is noise that an encoder may drop.
_FLOOR_DB = 30.0
#: Grey levels, and dB: below this spread there is nothing to compare.
_FLAT_LEVELS, _FLAT_DB = 2.0, 1.0
_IMAGE_SUFFIXES = frozenset({".jpg", ".jpeg", ".png", ".bmp", ".webp", ".gif", ".tif", ".tiff"})

Span = tuple[float | None, float | None]
Bits = NDArray[np.bool_]


class _Fact(BaseModel):
    model_config = ConfigDict(frozen=True, extra="forbid")


class Print(_Fact):
    """What a copy of one clip of a file would look and sound like.

    Attributes:
        start_s: Begin of the clip in the file, s; None for the beginning of the file.
        end_s: Its end; None for that of the file.
        pictures: Hashes in hexadecimal, 64 bits each, in time; "" for a picture of one colour.
        sound: Print in hexadecimal, 128 bits; "" without sound, for silence and for less than half a second.
        problem: Why the clip cannot be used; "" if it can.
    """

    start_s: float | None = None
    end_s: float | None = None
    pictures: tuple[Annotated[str, Field(pattern=r"^([0-9a-f]{16})?$")], ...] = ()
    sound: Annotated[str, Field(pattern=r"^([0-9a-f]{32})?$")] = ""
    problem: str = ""

    @property
    def span(self) -> Span:
        """Where it is in its file."""
        return self.start_s, self.end_s


class MediaFacts(_Fact):
    """What is known of a file.

    Attributes:
        file: Relative to the source's folder, with ``/``.
        bytes: Its size.
        sha256: Of its content.
        duration_s: 0 for a picture.
        has_picture: It has moving pictures, or is a picture.
        has_sound: It has sound.
        prints: Of each clip that is cut from it.
        problem: Why nothing of it can be used; "" if it can.
    """

    file: str
    bytes: int = 0
    sha256: str = ""
    duration_s: float = 0.0
    has_picture: bool = False
    has_sound: bool = False
    prints: tuple[Print, ...] = ()
    problem: str = ""

    def print_of(self, span: Span) -> Print:
        """The print of one of the spans that were asked for.

        Raises:
            KeyError: It was not asked for.
        """
        for found in self.prints:
            if found.span == span:
                return found
        raise KeyError(span)


def examine(root: Path, file: str, spans: Sequence[Span] = ((None, None),)) -> MediaFacts:
    """Open, decode and hash a file; never raises for what is wrong with it.

    Args:
        root: Folder of the source.
        file: Relative to it.
        spans: Clips cut from the file, each from start to end in seconds.
    """
    path = root / file
    try:
        size, sha256 = _content(path)
        look = _image if path.suffix.lower() in _IMAGE_SUFFIXES else _film
        return look(path, spans).model_copy(update={"file": file, "bytes": size, "sha256": sha256})
    except InputError as error:
        return MediaFacts(file=file, problem=str(error).removeprefix(f"{path}: "))


def _content(path: Path) -> tuple[int, str]:
    """Size in bytes and sha256."""
    if not path.is_file():
        raise InputError(f"{path}: {'is a folder' if path.is_dir() else 'does not exist'}")
    try:
        if not (size := path.stat().st_size):
            raise InputError(f"{path}: is empty (0 bytes)")
        with path.open("rb") as stream:
            return size, _sha256(stream)
    except OSError as error:
        raise InputError(f"{path}: cannot be read ({error.strerror})") from error


def _sha256(stream: Any) -> str:
    digest = hashlib.sha256()
    while block := stream.read(1 << 20):
        digest.update(block)
    return digest.hexdigest()


def _image(path: Path, spans: Sequence[Span]) -> MediaFacts:
    try:
        with Image.open(path) as image:
            grey = ImageOps.exif_transpose(image.convert("L"))
            picture = picture_print(np.asarray(grey.resize((_SIDE, _SIDE), Image.Resampling.BOX)))
    except (OSError, ValueError, SyntaxError, Image.DecompressionBombError) as error:
        reason = str(error).replace(str(path), path.name)
        raise InputError(f"{path}: is not a readable picture, or is cut off ({reason})") from error
    prints = tuple(Print(start_s=start, end_s=end, pictures=(picture,)) for start, end in spans)
    return MediaFacts(file=path.name, has_picture=True, prints=prints)


def _film(path: Path, spans: Sequence[Span]) -> MediaFacts:
    info = open_media(path)
    return MediaFacts(
        file=path.name,
        duration_s=round(info.duration_s, 3),
        has_picture=info.has_video,
        has_sound=info.has_audio,
        prints=tuple(_clip(path, info, span) for span in spans),
    )


def _clip(path: Path, info: MediaInfo, span: Span) -> Print:
    start, end = span[0] or 0.0, span[1] or info.duration_s
    known = {"start_s": span[0], "end_s": span[1]}
    if info.duration_s and max(start, end - SPAN_SLACK_S) > info.duration_s:
        problem = f"the clip is {start:g} to {end:g} s, the file ends at {info.duration_s:.2f} s"
        return Print(**known, problem=problem)
    try:
        pictures = tuple(_pictures(path, start, end)) if info.has_video else ()
        sound = _sound(path, start, end) if info.has_audio else ""
    except (FFmpegError, OSError, ValueError) as error:
        return Print(**known, problem=f"cannot be decoded, is damaged ({getattr(error, 'strerror', error)})")
    except _CutOffError as error:
        return Print(**known, problem=str(error))
    return Print(**known, pictures=pictures, sound=sound)


class _CutOffError(Exception):
    """Less can be decoded than the file announces."""


def _pictures(path: Path, start_s: float, end_s: float) -> Iterator[str]:
    with _open(path) as container:
        stream = container.streams.best("video") or container.streams.video[0]
        # Sound may go on after the last picture.
        stop_s = min(end_s, float(stream.duration * stream.time_base) if stream.duration else end_s)
        targets = [start_s + (stop_s - start_s) * (i + 0.5) / PICTURES for i in range(PICTURES)]
        # Files are shared out to processes: threads inside each would only be in each other's way.
        stream.codec_context.thread_count = 1
        for frame in _frames_at(container, stream, targets):
            grey = frame.reformat(_SIDE, _SIDE, "gray", interpolation="AREA").to_ndarray()
            yield picture_print(np.rot90(grey, int(round(frame.rotation / 90)) % 4))


def _frames_at(container: Any, stream: Any, targets: Sequence[float]) -> Iterator[Any]:
    """The first picture at or after each time, or the last of the file where that is close before it."""
    origin = (stream.start_time or 0) * stream.time_base
    frame, now = None, 0.0
    frames = container.decode(stream)
    for target in targets:
        if target - now > _SEEK_S:
            container.seek(int((target + origin) / stream.time_base), stream=stream)
            frames = container.decode(stream)
        while frame is None or now < target:
            if (following := next(frames, None)) is None:
                break
            frame, now = following, _time(following, now, stream, origin)
        if frame is None or target - now > _MISSING_S:
            raise _CutOffError(
                f"no picture at {target:.2f} s, the last is at {now:.2f} s: cut off or damaged"
            )
        yield frame


def _time(frame: Any, before_s: float, stream: Any, origin: Fraction) -> float:
    """When a picture is shown; in old AVI files some do not say."""
    if frame.pts is None:
        return before_s + 1 / float(stream.average_rate or 25)
    return float(frame.pts * stream.time_base - origin)


def _sound(path: Path, start_s: float, end_s: float) -> str:
    with _open(path) as container:
        stream = container.streams.best("audio") or container.streams.audio[0]
        announced = float((stream.duration or 0) * stream.time_base)
        stop_s = min(end_s or math.inf, start_s + _SOUND_S)
        samples, reached = _samples(container, stream, start_s, stop_s)
    if min(announced, stop_s) - reached > _MISSING_S:
        raise _CutOffError(f"its sound ends at {reached:.2f} s of {announced:.2f} s: cut off or damaged")
    return sound_print(samples)


def _samples(container: Any, stream: Any, start_s: float, stop_s: float) -> tuple[NDArray[np.float32], float]:
    """Mono sound at 8 kHz from start to stop, and the time up to which there was any."""
    origin = float((stream.start_time or 0) * stream.time_base)
    if start_s > _SEEK_S:
        container.seek(int((start_s + origin) / stream.time_base), stream=stream)
    resampler = av.AudioResampler(format="flt", layout="mono", rate=_RATE)
    parts: list[NDArray[np.float32]] = []
    first_s, reached = None, 0.0
    for frame in container.decode(stream):
        begin = reached if frame.pts is None else float(frame.pts * stream.time_base) - origin
        first_s = begin if first_s is None else first_s
        reached = begin + frame.samples / frame.sample_rate
        parts += [part.to_ndarray().ravel() for part in resampler.resample(frame)]
        if reached >= stop_s:
            break
    if not parts:
        raise _CutOffError("its sound cannot be decoded")
    parts += [part.to_ndarray().ravel() for part in resampler.resample(None)]
    sound, skip = np.concatenate(parts), max(0, round((start_s - (first_s or 0.0)) * _RATE))
    wanted = sound[skip:] if math.isinf(stop_s) else sound[skip : skip + round((stop_s - start_s) * _RATE)]
    return wanted, reached


def _open(path: Path) -> Any:
    return av.open(str(path.resolve()), options={"protocol_whitelist": "file"})


def picture_print(grey: NDArray[np.uint8]) -> str:
    """Hash a picture.

    Args:
        grey: ``[32, 32]``, 0 to 255.

    Returns:
        16 hexadecimal digits; "" where all is of one colour.
    """
    if float(grey.std()) < _FLAT_LEVELS:
        return ""
    return _hexadecimal(_low_frequencies(grey.astype(np.float64), _LOW, _LOW))


def sound_print(samples: NDArray[np.float32]) -> str:
    """Hash a sound.

    Args:
        samples: Mono at 8 kHz.

    Returns:
        32 hexadecimal digits; "" for silence, one steady noise, and less than half a second.
    """
    if len(samples) < _RATE // 2:
        return ""
    columns = _spectrum(samples)
    columns = np.maximum(columns, columns.max() - _FLOOR_DB)
    if float((columns - columns.mean(axis=1, keepdims=True)).std()) < _FLAT_DB:
        return ""
    return _hexadecimal(_low_frequencies(columns, _LOW, SOUND_BITS // _LOW))


def _spectrum(samples: NDArray[np.float32]) -> NDArray[np.float64]:
    """Log energies, dB: ``[32 bands, 32 parts of the clip]``."""
    frames = np.lib.stride_tricks.sliding_window_view(samples, _FRAME)[::_HOP]
    power = np.abs(np.fft.rfft(frames * np.hanning(_FRAME).astype(np.float32))) ** 2
    # Each part is the mean of its frames, so that a copy which begins some milliseconds later is still alike.
    edges = np.linspace(0, len(power), _SIDE + 1)
    steps = np.vstack([np.zeros((1, power.shape[1])), np.cumsum(power, axis=0)])
    whole = edges.astype(int)
    part = np.minimum(whole + 1, len(power))
    sums = steps[whole] + (edges - whole)[:, None] * (steps[part] - steps[whole])
    energy = np.diff(sums, axis=0) @ _bands().T
    return 10 * np.log10(np.maximum(energy, 1e-12)).T


@cache
def _bands() -> NDArray[np.float64]:
    """Triangles, even on the mel scale: ``[32, bins]``."""
    mel = np.linspace(*(1127 * np.log1p(hz / 700) for hz in _BANDS_HZ), _SIDE + 2)
    hz, bins = 700 * np.expm1(mel / 1127), np.arange(_FRAME // 2 + 1) * _RATE / _FRAME
    rising = (bins - hz[:-2, None]) / np.diff(hz)[:-1, None]
    falling = (hz[2:, None] - bins) / np.diff(hz)[1:, None]
    return np.clip(np.minimum(rising, falling), 0, None)


def _low_frequencies(values: NDArray[np.float64], rows: int, columns: int) -> Bits:
    """Which of the low frequencies of ``[32, 32]`` values, without the zeroth, exceed their median."""
    found = _cosines()[1 : rows + 1] @ values @ _cosines()[1 : columns + 1].T
    return np.asarray(found > np.median(found)).ravel()


@cache
def _cosines() -> NDArray[np.float64]:
    """The DCT-II of 32 values as a matrix."""
    k = np.arange(_SIDE)
    return np.cos(np.pi / _SIDE * np.outer(k, k + 0.5))


def _hexadecimal(bits: Bits) -> str:
    return np.packbits(bits).tobytes().hex()
