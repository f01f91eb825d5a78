"""Bytes of sound to numbers: the sample formats that GStreamer, PulseAudio and ALSA name. No ROS in it."""

from __future__ import annotations

from typing import Any

import numpy as np
from numpy.typing import ArrayLike, NDArray

from emollama_ros.errors import InputError

#: NumPy types of the formats; those of three bytes are widened by hand.
_TYPES = {
    "S8": "i1",
    "U8": "u1",
    "S16LE": "<i2",
    "S16BE": ">i2",
    "S32LE": "<i4",
    "S32BE": ">i4",
    "F32LE": "<f4",
    "F32BE": ">f4",
    "F64LE": "<f8",
    "F64BE": ">f8",
}
_THREE_BYTES = ("S24LE", "S24BE")
#: Sample formats that can be read.
SAMPLE_FORMATS = (*_TYPES, *_THREE_BYTES)

#: Bit rates of MPEG layer III in kbit/s, of MPEG 1 and of MPEG 2 and 2.5 (ISO 11172-3, 13818-3).
_MP3_KBITS = (
    (32, 40, 48, 56, 64, 80, 96, 112, 128, 160, 192, 224, 256, 320),
    (8, 16, 24, 32, 40, 48, 56, 64, 80, 96, 112, 128, 144, 160),
)
_MP3_RATES = {3: (44100, 48000, 32000), 2: (22050, 24000, 16000), 0: (11025, 12000, 8000)}


def pcm(data: Any, sample_format: str) -> NDArray[Any]:
    """Return bytes as samples in the machine's byte order, ``[n]``, without a copy where none is needed.

    Args:
        data: Anything with a buffer of bytes.
        sample_format: One of ``SAMPLE_FORMATS``, in any case, with or without ``_`` (``S16_LE``).

    Returns:
        int8, uint8, int16, int32 (of 24 bits: scaled up), float32 or float64.

    Raises:
        InputError: Another format, or a length that is no whole number of samples.
    """
    name = sample_format.upper().replace("_", "")
    if name not in SAMPLE_FORMATS:
        raise InputError(
            f"sample_format is {sample_format!r}, which is not read; set it to S16LE, or another of"
            f" {', '.join(SAMPLE_FORMATS)}"
        )
    raw = np.frombuffer(data, np.uint8)
    width = 3 if name in _THREE_BYTES else np.dtype(_TYPES[name]).itemsize
    if len(raw) % width:
        raise InputError(f"{len(raw)} bytes are no whole samples of {name} ({width} bytes each)")
    if name in _THREE_BYTES:
        return _widened(raw.reshape(-1, 3), name)
    samples = raw.view(_TYPES[name])
    return samples.astype(samples.dtype.newbyteorder("="), copy=False)


def _widened(raw: NDArray[np.uint8], name: str) -> NDArray[np.int32]:
    """Return samples of 24 bits as the upper bytes of 32."""
    wide = np.zeros((len(raw), 4), np.uint8)
    wide[:, 1:] = raw if name == "S24LE" else raw[:, ::-1]
    return wide.view("<i4")[:, 0].astype(np.int32)


def within_full_scale(samples: ArrayLike) -> NDArray[np.float32]:
    """Return floating-point sound as float32 within [-1, 1]; what is not finite becomes NaN.

    The audio ring stores NaN as silence that was not recorded, and counts it. A stray sample beyond full
    scale is clipped; sound that mostly lies beyond it was scaled for another type.

    Raises:
        InputError: More than half of the samples lie beyond full scale.
    """
    data = np.asarray(samples)
    size = np.abs(data)
    beyond = int(np.count_nonzero(np.isfinite(size) & (size > 1)))
    if 2 * beyond > len(data):
        loudest = np.nanmax(np.where(np.isfinite(size), size, 0))
        raise InputError(
            f"float samples reach {loudest:g}, but full scale is 1; divide them by their full scale"
            " (32768 for 16 bits) at the source"
        )
    with np.errstate(invalid="ignore"):  # a NaN of another kind is a NaN
        return np.clip(np.where(np.isinf(data), np.nan, data), -1, 1).astype(np.float32)


def looks_like_mp3(data: Any) -> bool:
    """Whether bytes are exactly one frame of MPEG layer III, as GStreamer's encoder sends them."""
    head = bytes(memoryview(data)[:4])
    if len(head) < 4 or head[0] != 0xFF or head[1] & 0xE6 != 0xE2:  # synchronisation, layer III
        return False
    version, kbits, rate = head[1] >> 3 & 3, head[2] >> 4, head[2] >> 2 & 3
    if version not in _MP3_RATES or not 1 <= kbits <= 14 or rate == 3:
        return False
    slots, table = (144, 0) if version == 3 else (72, 1)
    size = slots * 1000 * _MP3_KBITS[table][kbits - 1] // _MP3_RATES[version][rate] + (head[2] >> 1 & 1)
    return size == memoryview(data).nbytes
