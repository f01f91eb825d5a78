"""Sound to numbers: exact conversions, aligned resampling, and Whisper's own spectrogram."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from emollama_ros.errors import InputError
from emollama_ros.preprocess.audio import (
    HOP,
    SILENCE_DBFS,
    Resampler,
    level_dbfs,
    log_mel,
    mel_filters,
    mix_down,
    to_float,
    to_mono_16k,
)


def sine(hz: float, rate: int, count: int) -> np.ndarray:
    return (0.5 * np.sin(2 * np.pi * hz * np.arange(count) / rate)).astype(np.float32)


def chirp(count: int) -> np.ndarray:
    """A sweep of 100 to 5000 Hz over 4 s that fades in."""
    t = np.arange(count) / 16000
    return (np.minimum(1, t) * 0.3 * np.sin(2 * np.pi * (100 * t + 612.5 * t**2))).astype(np.float32)


@pytest.mark.parametrize(
    ("dtype", "low", "zero", "high"),
    [
        ("int8", -128, 0, 127),
        ("int16", -32768, 0, 32767),
        ("int32", -(2**31), 0, 2**31 - 1),
        ("uint8", 0, 128, 255),
    ],
)
def test_full_scale_is_one(dtype: str, low: int, zero: int, high: int) -> None:
    out = to_float(np.array([low, zero, high], dtype))
    assert out.dtype == np.float32
    np.testing.assert_allclose(out, [-1, 0, 1], atol=1 / 100)
    assert out[0] == -1 and out[1] == 0


def test_unknown_sample_types_are_refused() -> None:
    with pytest.raises(InputError, match="uint32"):
        to_float(np.zeros(3, np.uint32))


def test_channels_are_averaged() -> None:
    np.testing.assert_allclose(mix_down(np.array([16384, 0, -16384, 0], np.int16), 2), [0.25, -0.25])
    np.testing.assert_allclose(
        mix_down(np.array([[0.5, 0.1], [0.2, 0.4]], np.float32), 2), [0.3, 0.3], rtol=1e-6
    )
    with pytest.raises(InputError, match="3 interleaved channels"):
        mix_down(np.zeros(4, np.float32), 3)


@pytest.mark.parametrize("rate", [8000, 11025, 16000, 22050, 44100, 48000, 96000])
def test_resampling_keeps_pitch_level_and_time(rate: int) -> None:
    out = to_mono_16k(sine(440, rate, rate), rate)
    assert len(out) == 16000
    np.testing.assert_allclose(out[200:-200], sine(440, 16000, 16000)[200:-200], atol=1e-3)


def test_what_16_khz_cannot_hold_is_filtered_out() -> None:
    assert level_dbfs(to_mono_16k(sine(12000, 48000, 48000), 48000)[200:-200]) < -60


def test_six_channels_of_int16() -> None:
    tone = (sine(300, 48000, 4800) * 32767).astype(np.int16)
    out = to_mono_16k(np.repeat(tone, 6), 48000, 6)
    np.testing.assert_allclose(out[50:-50], sine(300, 16000, 1600)[50:-50], atol=1e-3)


@settings(deadline=None, max_examples=25)
@given(points=st.lists(st.integers(0, 5000), max_size=20), rate=st.sampled_from([8000, 44100, 48000]))
def test_resampling_does_not_depend_on_the_chunks(points: list[int], rate: int) -> None:
    sound = np.random.default_rng(1).normal(0, 0.1, 5000).astype(np.float32)
    resampler = Resampler(rate)
    parts = [resampler.push(part) for part in np.split(sound, sorted(points))]
    np.testing.assert_allclose(
        np.concatenate([*parts, resampler.flush()]), to_mono_16k(sound, rate), atol=1e-6
    )


def test_little_is_withheld_and_flush_starts_again() -> None:
    resampler = Resampler(48000)
    assert len(resampler.push(sine(440, 48000, 4800))) >= 1600 - 32
    resampler.flush()
    again = np.concatenate([resampler.push(sine(440, 48000, 4800)), resampler.flush()])
    np.testing.assert_allclose(again, to_mono_16k(sine(440, 48000, 4800), 48000), atol=1e-6)


@pytest.mark.parametrize(("rate", "channels"), [(0, 1), (999, 1), (10**6, 1), (16000, 0), (16000, 65)])
def test_resampler_ranges(rate: int, channels: int) -> None:
    with pytest.raises(InputError, match="audio"):
        Resampler(rate, channels)


def test_empty_sounds() -> None:
    assert len(to_mono_16k(np.zeros(0, np.int16), 48000)) == 0
    assert len(Resampler(48000).push(np.zeros(0, np.float32))) == 0


def test_levels() -> None:
    assert level_dbfs(np.ones(100, np.float32)) == pytest.approx(0.0)
    assert level_dbfs(2 * sine(1000, 16000, 16000)) == pytest.approx(-3.01, abs=0.01)
    assert level_dbfs(np.zeros(100, np.float32)) == level_dbfs(np.zeros(0, np.float32)) == -120.0
    assert level_dbfs(np.full(100, 1e-3, np.float32)) < SILENCE_DBFS


def slow_log_mel(samples: np.ndarray) -> np.ndarray:
    """The definition, written down without FFT, strides or matrix filters."""
    mel_points = np.linspace(0, 15 + 27 * np.log(8) / np.log(6.4), 82)
    hz = [m * 200 / 3 if m < 15 else 1000 * 6.4 ** ((m - 15) / 27) for m in mel_points]
    window = [np.sin(np.pi * i / 400) ** 2 for i in range(400)]
    basis = np.exp(-2j * np.pi * np.outer(np.arange(201), np.arange(400)) / 400)
    ends = np.concatenate([samples[200:0:-1], samples, samples[-2:-202:-1]]).astype(float)
    columns = []
    for frame in range(len(samples) // 160):
        power = np.abs(basis @ (ends[frame * 160 : frame * 160 + 400] * window)) ** 2
        bands = [
            2 / (hz[b + 2] - hz[b]) * (np.interp(np.arange(201) * 40.0, hz[b : b + 3], [0, 1, 0]) @ power)
            for b in range(80)
        ]
        columns.append(np.log10(np.maximum(bands, 1e-10)))
    log = np.array(columns).T
    return (np.maximum(log, log.max() - 8) + 4) / 4


@pytest.mark.parametrize("count", [201, 400, 3200, 5000])
def test_log_mel_is_its_definition(count: int) -> None:
    samples = chirp(20000)[-count:]
    out = log_mel(samples)
    assert out.shape == (80, count // HOP) and out.dtype == np.float32
    np.testing.assert_allclose(out, slow_log_mel(samples), atol=1e-5)


#: log_mel(chirp(4 s))[band, frame], computed with transformers 5.23 (WhisperFeatureExtractor, no padding).
GOLDEN = [
    (0, 0, -0.03648),
    (2, 1, 0.32514),
    (8, 50, -0.63199),
    (20, 120, -0.68879),
    (45, 200, -0.56401),
    (60, 333, -0.46638),
    (70, 390, -0.68879),
    (79, 399, -0.28029),
]


@pytest.mark.parametrize(("band", "frame", "value"), GOLDEN)
def test_log_mel_golden_values(band: int, frame: int, value: float) -> None:
    assert log_mel(chirp(64000))[band, frame] == pytest.approx(value, abs=1e-4)


@pytest.mark.parametrize("count", [400, 4800, 16001, 64000, 64159])
@pytest.mark.parametrize("kind", ["noise", "chirp", "loud", "quiet"])
def test_log_mel_equals_whisper(count: int, kind: str) -> None:
    transformers = pytest.importorskip("transformers", reason="needs the training extra")
    noise = np.random.default_rng(count).normal(0, 0.1, count).astype(np.float32)
    samples = {"noise": noise, "chirp": chirp(count), "loud": 10 * noise, "quiet": 1e-5 * noise}[kind]
    whisper = transformers.WhisperFeatureExtractor()
    theirs = whisper(samples, sampling_rate=16000, padding=False, return_tensors="np").input_features[0]
    np.testing.assert_allclose(log_mel(samples), theirs, atol=1e-4)


@given(st.integers(0, 1000))
def test_log_mel_of_any_length_is_finite(count: int) -> None:
    out = log_mel(sine(200, 16000, count))
    assert out.shape == (80, count // HOP) and np.isfinite(out).all()


def test_log_mel_of_silence_is_flat() -> None:
    np.testing.assert_allclose(log_mel(np.zeros(1600, np.float32)), -1.5)


def test_log_mel_wants_mono() -> None:
    with pytest.raises(InputError, match="mono"):
        log_mel(np.zeros((2, 1600), np.float32))


def test_the_cached_filters_cannot_be_changed() -> None:
    assert mel_filters().shape == (80, 201)
    with pytest.raises(ValueError, match="read-only"):
        mel_filters()[0, 0] = 1
