"""Sound to numbers: mono 16 kHz, level, and Whisper's log-mel spectrogram, in NumPy."""

from __future__ import annotations

from functools import lru_cache
from typing import Any

import numpy as np
from numpy.typing import ArrayLike, NDArray

from emollama_ros.errors import InputError

#: The rate of everything after the microphone, Hz.
SAMPLE_RATE = 16000

#: Whisper's spectrogram (Radford et al. 2022; openai/whisper ``audio.py``): 25 ms windows every 10 ms.
N_FFT = 400
HOP = 160
N_MELS = 80

# 16 * 80 * 201 products stay below OpenBLAS's threshold for threads (4 * 65536).
_BLOCK = 16

#: Below this level nothing is said: a quiet room with a usual microphone is around -60 dBFS, quiet
#: speech at arm's length around -45 dBFS.
SILENCE_DBFS = -55.0

#: What ``level_dbfs`` returns for digital silence.
FLOOR_DBFS = -120.0

#: Sample types: (value of silence, full scale).
_PCM = {"int8": (0, 2**7), "int16": (0, 2**15), "int32": (0, 2**31), "uint8": (128, 2**7)}


def to_float(samples: ArrayLike) -> NDArray[np.float32]:
    """Return samples of any PCM type as float32 with full scale 1, shape unchanged.

    Args:
        samples: int8, int16, int32, uint8 (offset 128, as in WAV), or floating point.

    Raises:
        InputError: Another type; names it.
    """
    data = np.asarray(samples)
    plain: NDArray[np.float32] = np.asarray(data, np.float32)
    if data.dtype.kind == "f":
        return plain
    if data.dtype.name not in _PCM:
        raise InputError(f"audio samples are {data.dtype}; give {', '.join(_PCM)} or float32")
    zero, full_scale = _PCM[data.dtype.name]
    scaled: NDArray[np.float32] = (plain - np.float32(zero)) / np.float32(full_scale)
    return scaled


def mix_down(samples: ArrayLike, channels: int) -> NDArray[np.float32]:
    """Return interleaved samples as mono float32 ``[n]``: the mean of the channels.

    Args:
        samples: Any PCM type; ``[n * channels]`` interleaved, or ``[n, channels]``.
        channels: Number of channels, 1 or more.

    Raises:
        InputError: The number of samples is no multiple of ``channels``.
    """
    data = to_float(samples)
    if channels < 1 or data.size % channels:
        raise InputError(
            f"{data.size} audio samples cannot be {channels} interleaved channels; "
            "check the channels of the audio source"
        )
    mono = data.reshape(-1) if channels == 1 else data.reshape(-1, channels).mean(axis=1)
    return np.ascontiguousarray(mono, dtype=np.float32)


class Resampler:
    """Streaming conversion of interleaved chunks to mono at one rate (FFmpeg's swresample).

    The output does not depend on how the input was cut into chunks, has no delay in time (its first
    sample is at the time of the first input sample), and after ``flush`` is ``round(n * out / in)`` long.
    Until then the last 1 to 2 ms are withheld. Not thread-safe.
    """

    def __init__(self, rate_in: int, channels: int = 1, rate_out: int = SAMPLE_RATE) -> None:
        """Make a resampler.

        Args:
            rate_in: Rate of the input, 1000 to 768000 Hz.
            channels: Interleaved channels of the input; their mean is taken.
            rate_out: Rate of the output, Hz.

        Raises:
            InputError: A rate or the number of channels is out of range.
        """
        for name, rate in (("input", rate_in), ("output", rate_out)):
            if not 1000 <= rate <= 768000:
                raise InputError(f"audio {name} rate is {rate} Hz; it must be 1000 to 768000 Hz")
        if not 1 <= channels <= 64:
            raise InputError(f"audio has {channels} channels; it must have 1 to 64")
        self.rate_in = rate_in
        self.rate_out = rate_out
        self._channels = channels
        self._swr = self._fresh()

    def push(self, samples: ArrayLike) -> NDArray[np.float32]:
        """Return what is ready after one more chunk, float32 ``[m]``; ``m`` may be 0.

        Args:
            samples: Any PCM type, ``[n * channels]`` interleaved or ``[n, channels]``.

        Raises:
            InputError: Unknown sample type, or not a whole number of frames.
        """
        mono = mix_down(samples, self._channels)
        if self.rate_in == self.rate_out or not len(mono):
            return mono
        import av

        frame = av.AudioFrame.from_ndarray(mono[None], format="flt", layout="mono")
        frame.sample_rate = self.rate_in
        return _joined(self._swr.resample(frame))

    def flush(self) -> NDArray[np.float32]:
        """Return the withheld end, float32 ``[m]``; the next ``push`` starts a new sound."""
        if self.rate_in == self.rate_out:
            return np.zeros(0, np.float32)
        rest, self._swr = _joined(self._swr.resample(None)), self._fresh()
        return rest

    def _fresh(self) -> Any:
        import av  # here, because training reads this module where there is no PyAV

        return av.AudioResampler(format="flt", layout="mono", rate=self.rate_out)


def _joined(frames: list[Any]) -> NDArray[np.float32]:
    parts = [frame.to_ndarray()[0] for frame in frames if frame is not None]
    return np.concatenate(parts) if parts else np.zeros(0, np.float32)


def to_mono_16k(samples: ArrayLike, rate: int, channels: int = 1) -> NDArray[np.float32]:
    """Convert a whole sound to float32 mono ``[m]`` at 16 kHz, full scale 1.

    Args:
        samples: Any PCM type, ``[n * channels]`` interleaved or ``[n, channels]``.
        rate: Its rate, Hz.
        channels: Its channels; their mean is taken.

    Raises:
        InputError: See ``Resampler``.
    """
    resampler = Resampler(rate, channels)
    return np.concatenate([resampler.push(samples), resampler.flush()])


def level_dbfs(samples: NDArray[np.float32]) -> float:
    """Return the root-mean-square level in dB of full scale, at least -120; a full-scale sine has -3.

    Args:
        samples: float32 ``[n]``; an empty sound is silence.
    """
    if not len(samples):
        return FLOOR_DBFS
    power = float(np.mean(np.square(samples, dtype=np.float64)))
    return max(FLOOR_DBFS, 10.0 * float(np.log10(max(power, 1e-30))))


def log_mel(samples: NDArray[np.float32]) -> NDArray[np.float32]:
    """Return Whisper's log-mel spectrogram of a sound as long as it is, not padded to 30 s.

    Equals ``transformers.WhisperFeatureExtractor`` and ``whisper.log_mel_spectrogram`` on unpadded
    input: Hann window of 25 ms every 10 ms, centred with reflected ends, the last frame dropped, power,
    80 Slaney mel bands, log10 limited to 8 below its maximum, then ``(x + 4) / 4``.

    Args:
        samples: float ``[n]``, mono 16 kHz, full scale 1, finite.

    Returns:
        float32 ``[80, n // 160]``, mostly within [-1, 1.5]. Shorter than 160 samples: no frames.

    Raises:
        InputError: Not one-dimensional.
    """
    if samples.ndim != 1:
        raise InputError(f"log_mel takes mono samples [n], not {list(samples.shape)}; use mix_down")
    count = len(samples) // HOP
    if count == 0:
        return np.zeros((N_MELS, 0), np.float32)
    log: NDArray[np.float64] = np.log10(np.maximum(_mel_power(samples, count), 1e-10))
    scaled: NDArray[np.float64] = (np.maximum(log, log.max() - 8.0) + 4.0) / 4.0
    return np.ascontiguousarray(scaled.T, np.float32)


def _mel_power(samples: NDArray[np.float32], count: int) -> NDArray[np.float64]:
    """Return the power in each mel band of ``count`` windows, ``[count, 80]``.

    The product is made in blocks small enough that OpenBLAS keeps it on this thread: waking its others
    takes 30 ms where the model already uses every core, the product itself 0.3 ms.
    """
    blocks = -(-count // _BLOCK)
    power = np.zeros((blocks * _BLOCK, N_FFT // 2 + 1))
    power[:count] = _power(samples, count)
    mel: NDArray[np.float64] = power.reshape(blocks, _BLOCK, -1) @ mel_filters().T
    return mel.reshape(-1, N_MELS)[:count]


def _power(samples: NDArray[np.float32], count: int) -> NDArray[np.float64]:
    """Return the power spectrum of ``count`` windows, ``[count, 201]``.

    In double precision: single-precision FFT noise is 1e-4 in the quietest bands kept.
    """
    padded = np.pad(samples.astype(np.float64), N_FFT // 2, mode="reflect")
    frames = np.lib.stride_tricks.sliding_window_view(padded, N_FFT)[: count * HOP : HOP]
    spectrum = np.fft.rfft(frames * _hann(), axis=1)
    power: NDArray[np.float64] = spectrum.real**2 + spectrum.imag**2
    return power


@lru_cache(maxsize=1)
def _hann() -> NDArray[np.float64]:
    """Return the periodic Hann window (one that tiles), ``[400]``."""
    return 0.5 - 0.5 * np.cos(2.0 * np.pi * np.arange(N_FFT) / N_FFT)


@lru_cache(maxsize=1)
def mel_filters() -> NDArray[np.float64]:
    """Return the triangular mel filters of equal area, ``[80, 201]`` (read-only).

    Source: M. Slaney, Auditory Toolbox (1998), as in ``librosa.filters.mel`` and Whisper.
    """
    edges = _mel_to_hz(np.linspace(0.0, _hz_to_mel(SAMPLE_RATE / 2), N_MELS + 2))
    bins = np.linspace(0.0, SAMPLE_RATE / 2, N_FFT // 2 + 1)
    low, mid, high = edges[:-2, None], edges[1:-1, None], edges[2:, None]
    rise, fall = (bins - low) / (mid - low), (high - bins) / (high - mid)
    filters = np.maximum(0.0, np.minimum(rise, fall)) * (2.0 / (high - low))
    filters.setflags(write=False)
    return filters


# Slaney's scale: linear to 1 kHz (15 mel), then 27 mel to every factor of 6.4.
_MEL_HZ = 200.0 / 3.0
_LOG_STEP = float(np.log(6.4)) / 27.0


def _hz_to_mel(hz: float) -> float:
    return hz / _MEL_HZ if hz < 1000.0 else 15.0 + float(np.log(hz / 1000.0)) / _LOG_STEP


def _mel_to_hz(mel: NDArray[np.float64]) -> NDArray[np.float64]:
    hz: NDArray[np.float64] = np.where(mel < 15.0, mel * _MEL_HZ, 1000.0 * np.exp(_LOG_STEP * (mel - 15.0)))
    return hz
