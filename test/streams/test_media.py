"""Media files of every kind, made here with PyAV: right times and values, or a clear error."""

from __future__ import annotations

import logging
from collections.abc import Callable, Iterable
from fractions import Fraction
from pathlib import Path

import av
import numpy as np
import pytest

from emollama_ros.errors import InputError
from emollama_ros.streams import AudioEvent, AudioRing, MediaReader, VideoEvent, open_media, read_media

S = 1_000_000_000
H264 = "libx264" if "libx264" in av.codecs_available else "mpeg4"


def grey(value: int, width: int, height: int) -> av.VideoFrame:
    return av.VideoFrame.from_ndarray(np.full((height, width, 3), value, np.uint8), format="rgb24")


def tone(rate: int, channels: int, seconds: float, hz: float = 440.0) -> np.ndarray:
    """Interleaved int16 ``[1, n * channels]``, the same sine of level 0.5 in every channel."""
    wave = 0.5 * np.sin(2 * np.pi * hz * np.arange(round(rate * seconds)) / rate)
    return np.repeat((wave * 32767).astype(np.int16), channels)[None]


def write(
    path: Path,
    *,
    frames: Iterable[av.VideoFrame] = (),
    fps: int = 10,
    codec: str = H264,
    pix_fmt: str = "yuv420p",
    sound: np.ndarray | None = None,
    rate: int = 16000,
    layout: str = "mono",
    audio_codec: str = "aac",
    rotation: int = 0,
    options: dict[str, str] | None = None,
    delay_s: float = 0.0,
) -> Path:
    """Write a clip; ``delay_s`` shifts the sound."""
    frames = list(frames)
    with av.open(str(path), "w", options=options or {}) as out:
        video = audio = None
        if frames:
            video = out.add_stream(codec, rate=fps)
            video.width, video.height, video.pix_fmt = frames[0].width, frames[0].height, pix_fmt
            if rotation:
                video.set_display_rotation(rotation)
        if sound is not None:
            audio = out.add_stream(audio_codec, rate=rate, layout=layout)
        for k, frame in enumerate(frames):
            frame.pts, frame.time_base = k, Fraction(1, fps)
            out.mux(video.encode(frame))
        if video is not None:
            out.mux(video.encode(None))
        if audio is not None:
            frame = av.AudioFrame.from_ndarray(sound, format="s16", layout=layout)
            frame.sample_rate, frame.time_base = rate, Fraction(1, rate)
            frame.pts = round(delay_s * rate)
            out.mux(audio.encode(frame))
            out.mux(audio.encode(None))
    return path


def read(path: Path) -> tuple[MediaReader, list[VideoEvent], list[AudioEvent]]:
    reader = read_media(path)
    events = list(reader)
    assert [e.stamp_ns for e in events] == sorted(e.stamp_ns for e in events)
    video = [e for e in events if isinstance(e, VideoEvent)]
    return reader, video, [e for e in events if isinstance(e, AudioEvent)]


def joined(events: list[AudioEvent]) -> np.ndarray:
    return np.concatenate([e.samples for e in events])


def assert_is_tone(samples: np.ndarray, hz: float = 440.0, level: float = 0.5) -> None:
    """The middle of the sound is a sine of this pitch and amplitude."""
    middle = samples[1600:-1600]
    spectrum = np.abs(np.fft.rfft(middle * np.hanning(len(middle))))
    assert np.argmax(spectrum) * 16000 / len(middle) == pytest.approx(hz, abs=2 * 16000 / len(middle))
    assert np.sqrt(2 * np.mean(middle**2)) == pytest.approx(level, rel=0.05)


def test_picture_and_sound_with_their_times(tmp_path: Path) -> None:
    clip = write(
        tmp_path / "a.mp4", frames=(grey(20 * k, 64, 48) for k in range(10)), sound=tone(16000, 1, 1.0)
    )
    reader, video, audio = read(clip)
    info = reader.info
    assert (info.has_video, info.has_audio, info.width, info.height, info.fps) == (True, True, 64, 48, 10.0)
    assert (info.rate, info.channels) == (16000, 1) and info.duration_s == pytest.approx(1.0, abs=0.1)
    assert [e.stamp_ns for e in video] == [k * S // 10 for k in range(10)]
    np.testing.assert_allclose([e.rgb.mean() for e in video], [20 * k for k in range(10)], atol=4)
    assert all(e.rgb.shape == (48, 64, 3) and e.rgb.dtype == np.uint8 for e in video)
    assert_is_tone(joined(audio))
    assert reader.report.complete and reader.report.frames == 10


@pytest.mark.parametrize(
    ("rate", "layout", "codec", "suffix"),
    [
        (8000, "mono", "pcm_s16le", "wav"),
        (48000, "stereo", "aac", "mp4"),
        (44100, "stereo", "flac", "flac"),
        (48000, "5.1", "aac", "mp4"),
        (48000, "5.1", "ac3", "mkv"),
        (48000, "mono", "libopus", "mkv"),
        (22050, "mono", "pcm_u8", "wav"),
        (96000, "stereo", "pcm_f32le", "wav"),
    ],
)
def test_every_rate_and_layout_becomes_the_same_16_khz_mono(
    tmp_path: Path, rate: int, layout: str, codec: str, suffix: str
) -> None:
    if codec not in av.codecs_available:
        pytest.skip(f"this build of PyAV has no {codec}")
    sound = tone(rate, av.AudioLayout(layout).nb_channels, 1.0)
    clip = write(tmp_path / f"a.{suffix}", sound=sound, rate=rate, layout=layout, audio_codec=codec)
    reader, video, audio = read(clip)
    assert not video and not reader.info.has_video and reader.info.rate == rate
    assert len(joined(audio)) == pytest.approx(16000, abs=1100)  # AAC and Opus pad to whole frames
    assert_is_tone(joined(audio))
    assert {len(e.samples) for e in audio[:-1]} == {512}
    assert all(e.samples.dtype == np.float32 for e in audio)
    assert [e.stamp_ns for e in audio] == [audio[0].stamp_ns + k * 32_000_000 for k in range(len(audio))]


@pytest.mark.parametrize("suffix", ["wav", "mkv"])
def test_the_effects_channel_is_left_out_and_dialogue_leads(tmp_path: Path, suffix: str) -> None:
    """5.1: a tone in the centre is heard, the same in the low-frequency channel is not.

    WAV says which channel is which; Matroska only that there are six.
    """

    def level(channel: int) -> float:
        sound = np.zeros((4800, 6), np.int16)
        sound[:, channel] = tone(48000, 1, 0.1)[0]
        clip = write(
            tmp_path / f"{channel}.{suffix}",
            sound=sound.reshape(1, -1),
            rate=48000,
            layout="5.1",
            audio_codec="pcm_s16le",
        )
        return float(np.abs(joined(read(clip)[2])).max())

    left, centre, effects = level(0), level(2), level(3)
    assert effects == 0 and centre > left > 0.05


def test_sound_that_starts_late_keeps_its_time(tmp_path: Path) -> None:
    clip = write(
        tmp_path / "a.mkv",
        frames=(grey(k, 32, 32) for k in range(20)),
        sound=tone(16000, 1, 1.0),
        audio_codec="pcm_s16le",
        delay_s=0.75,
    )
    _, video, audio = read(clip)
    assert video[0].stamp_ns == 0 and audio[0].stamp_ns == pytest.approx(0.75 * S, abs=0.002 * S)


def test_stamps_count_from_the_beginning_of_the_file(tmp_path: Path) -> None:
    """A recording that begins at 7.5 s on its own clock, as cut-out pieces do."""
    clip = write(tmp_path / "a.mkv", sound=tone(16000, 1, 0.5), audio_codec="pcm_s16le", delay_s=7.5)
    assert read(clip)[2][0].stamp_ns == 0


def test_the_ring_takes_a_file_without_a_gap(tmp_path: Path) -> None:
    clip = write(tmp_path / "a.mp4", sound=tone(44100, 2, 2.0), rate=44100, layout="stereo")
    ring = AudioRing(4.0)
    for event in read(clip)[2]:
        ring.push(event.stamp_ns, event.samples)
    assert (ring.totals.gap_samples, ring.totals.overlap_samples, ring.totals.jumps) == (0, 0, 0)


@pytest.mark.parametrize("rotation", [0, 90, 180, -90])
def test_a_turned_telephone_gives_upright_pictures(tmp_path: Path, rotation: int) -> None:
    if rotation and not hasattr(av.video.stream.VideoStream, "set_display_rotation"):
        pytest.skip("this PyAV cannot write rotation")
    # What the sensor records when it is held turned: the upright picture turned the other way.
    upright = np.zeros((48, 80, 3), np.uint8) if rotation % 180 == 0 else np.zeros((80, 48, 3), np.uint8)
    upright[:20, :20] = (250, 20, 20)
    recorded = np.ascontiguousarray(np.rot90(upright, -rotation // 90))
    frames = [av.VideoFrame.from_ndarray(recorded, format="rgb24") for _ in range(5)]
    reader, video, _ = read(write(tmp_path / "a.mp4", frames=frames, rotation=rotation))
    assert video[0].rgb.shape == upright.shape
    assert (reader.info.height, reader.info.width) == upright.shape[:2]
    assert video[0].rgb[8, 8, 0] > 200 and video[0].rgb[-8, -8, 0] < 50 and video[0].rgb[-8, 8, 0] < 50


@pytest.mark.parametrize(
    ("width", "height", "codec", "pix_fmt", "suffix"),
    [
        (1, 1, "png", "rgb24", "avi"),
        (1, 1, "rawvideo", "rgb24", "avi"),
        (1, 7, "rawvideo", "rgb24", "avi"),
        (2, 2, H264, "yuv420p", "mp4"),
        (33, 1, "png", "rgb24", "avi"),
        (16, 16, "png", "rgb48be", "avi"),
        (16, 16, "png", "gray", "avi"),
        (16, 16, "png", "rgba", "avi"),
    ],
)
def test_tiny_and_unusual_pictures(
    tmp_path: Path, width: int, height: int, codec: str, pix_fmt: str, suffix: str
) -> None:
    frames = [grey(200, width, height).reformat(format=pix_fmt) for _ in range(3)]
    clip = write(tmp_path / f"a.{suffix}", frames=frames, codec=codec, pix_fmt=pix_fmt)
    reader, video, audio = read(clip)
    assert not audio and (reader.info.width, reader.info.height) == (width, height)
    assert [e.rgb.shape for e in video] == [(height, width, 3)] * 3
    np.testing.assert_allclose(video[0].rgb, 200, atol=4)


def test_silence_is_legal(tmp_path: Path) -> None:
    clip = write(
        tmp_path / "a.mp4", frames=(grey(9, 32, 32) for _ in range(10)), sound=np.zeros((1, 16000), np.int16)
    )
    reader, _, audio = read(clip)
    assert np.abs(joined(audio)).max() < 1e-4 and reader.report.complete


def test_a_hole_in_the_sound_is_a_hole_in_time(tmp_path: Path) -> None:
    path = tmp_path / "a.mkv"
    with av.open(str(path), "w") as out:
        stream = out.add_stream("pcm_s16le", rate=16000, layout="mono")
        for start in (0, 24000):
            frame = av.AudioFrame.from_ndarray(tone(16000, 1, 0.5), format="s16", layout="mono")
            frame.sample_rate, frame.time_base, frame.pts = 16000, Fraction(1, 16000), start
            out.mux(stream.encode(frame))
        out.mux(stream.encode(None))
    ring = AudioRing(4.0)
    for event in read(path)[2]:
        ring.push(event.stamp_ns, event.samples)
    assert ring.between(0, 2 * S).valid == pytest.approx(0.5, abs=0.01)
    assert ring.between(S // 2, 3 * S // 2).valid == pytest.approx(0.0, abs=0.01)


def shortened(path: Path, fraction: float) -> Path:
    data = path.read_bytes()
    path.write_bytes(data[: int(len(data) * fraction)])
    return path


def noisy(path: Path, **options: object) -> Path:
    """Four seconds that do not compress: cutting the file cuts time in proportion."""
    random = np.random.default_rng(0)
    frames = [
        av.VideoFrame.from_ndarray(random.integers(0, 256, (64, 64, 3), dtype=np.uint8), format="rgb24")
        for _ in range(40)
    ]
    return write(path, frames=frames, sound=tone(16000, 1, 4.0), **options)


@pytest.mark.parametrize(
    ("suffix", "options"),
    [
        ("mkv", {}),
        ("mp4", {"movflags": "faststart"}),
        ("avi", {"audio_codec": "pcm_s16le", "codec": "png", "pix_fmt": "rgb24"}),
    ],
)
def test_a_truncated_file_gives_what_there_is_and_says_so(
    tmp_path: Path, suffix: str, options: dict[str, str], caplog: pytest.LogCaptureFixture
) -> None:
    named = {"options": options} if "movflags" in options else options
    clip = shortened(noisy(tmp_path / f"a.{suffix}", **named), 0.5)
    with caplog.at_level(logging.WARNING):
        reader, video, audio = read(clip)
    assert 5 <= len(video) < 40 and audio
    assert not reader.report.complete and "cut off" in reader.report.problem
    assert video[-1].stamp_ns < 3.5 * S and reader.report.end_s > 0.5
    assert str(clip) in caplog.text and "cut off" in caplog.text


def test_a_damaged_middle_is_left_out_and_counted(tmp_path: Path) -> None:
    clip = noisy(tmp_path / "a.avi", audio_codec="pcm_s16le", codec="png", pix_fmt="rgb24")
    data = bytearray(clip.read_bytes())
    middle = data.index(b"\x89PNG", len(data) // 2)
    data[middle : middle + 2000] = bytes(2000)
    clip.write_bytes(data)
    reader, video, _ = read(clip)
    assert 30 <= len(video) < 40
    assert reader.report.damaged >= 1 and "damaged" in reader.report.problem and not reader.report.complete


def test_a_file_cut_before_its_index_cannot_be_opened(tmp_path: Path) -> None:
    with pytest.raises(InputError, match=r"a\.mp4: is not a readable .*cut off before its index"):
        open_media(shortened(noisy(tmp_path / "a.mp4"), 0.5))


def as_text(path: Path) -> None:
    path.write_text("this is not a film\n" * 100)


def as_empty(path: Path) -> None:
    path.touch()


def as_noise(path: Path) -> None:
    path.write_bytes(np.random.default_rng(3).bytes(5000))


def as_playlist(path: Path) -> None:
    path.write_text("#EXTM3U\n#EXTINF:10,\nhttp://192.0.2.1/secret.ts\n#EXT-X-ENDLIST\n")


@pytest.mark.parametrize("make", [as_text, as_empty, as_noise, as_playlist, Path.mkdir, lambda path: None])
@pytest.mark.parametrize("look", [open_media, read_media])
def test_what_is_no_media_says_so(
    tmp_path: Path, make: Callable[[Path], None], look: Callable[[Path], object]
) -> None:
    path = tmp_path / "a.mp4"
    make(path)
    expected = {as_empty: "empty", Path.mkdir: "folder"}.get(
        make, "readable" if path.exists() else "not exist"
    )
    with pytest.raises(InputError, match=expected) as caught:
        look(path)
    assert str(path) in str(caught.value)


def test_only_plain_files_may_be_followed(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """A play list must not open a network connection: FFmpeg is limited to local files."""
    asked: list[dict[str, str]] = []
    real = av.open

    def spy(*args: str, **kwargs: dict[str, str]) -> object:
        asked.append(kwargs.get("options", {}))
        return real(*args, **kwargs)

    monkeypatch.setattr(av, "open", spy)
    clip = write(tmp_path / "a.wav", sound=tone(16000, 1, 0.1), audio_codec="pcm_s16le")
    asked.clear()  # writing opened it too
    open_media(clip)
    assert asked == [{"protocol_whitelist": "file"}]


def test_a_network_address_is_never_opened() -> None:
    with pytest.raises(InputError, match="does not exist"):
        open_media("http://192.0.2.1/film.mp4")


def test_subtitles_alone_are_neither_picture_nor_sound(tmp_path: Path) -> None:
    path = tmp_path / "a.srt"
    path.write_text("1\n00:00:00,000 --> 00:00:02,000\nHello\n\n" * 5)
    with pytest.raises(InputError, match="neither picture nor sound"):
        open_media(path)


def test_nothing_decodable_is_an_error_not_an_empty_stream(tmp_path: Path) -> None:
    clip = write(tmp_path / "a.avi", frames=[grey(9, 16, 16) for _ in range(3)], codec="png", pix_fmt="rgb24")
    data = clip.read_bytes()
    clip.write_bytes(data.replace(b"\x89PNG", b"\x00\x00\x00\x00").replace(b"IHDR", b"\x00\x00\x00\x00"))
    with pytest.raises(InputError, match="nothing in it could be decoded"):
        list(read_media(clip))


def test_closing_early_frees_the_file(tmp_path: Path) -> None:
    clip = noisy(tmp_path / "a.mkv")
    with read_media(clip) as reader:
        next(reader)
    assert list(reader) == []
    assert reader.report.frames + reader.report.samples > 0
