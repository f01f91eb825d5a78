"""Streams: time-stamped rings, the windows cut out of them, and media files as streams."""

from __future__ import annotations

from emollama_ros.streams.audio_ring import AudioRing, AudioSpan, AudioTotals, PushReport
from emollama_ros.streams.frame_ring import FrameBatch, FrameReport, FrameRing, FrameTotals
from emollama_ros.streams.media import (
    AudioEvent,
    MediaEvent,
    MediaInfo,
    MediaReader,
    MediaReport,
    VideoEvent,
    open_media,
    read_media,
)
from emollama_ros.streams.transcript_ring import TranscriptReport, TranscriptRing, TranscriptTotals
from emollama_ros.streams.window import Grid, Window, WindowClock, cut_window

__all__ = [
    "AudioEvent",
    "AudioRing",
    "AudioSpan",
    "AudioTotals",
    "FrameBatch",
    "FrameReport",
    "FrameRing",
    "FrameTotals",
    "Grid",
    "MediaEvent",
    "MediaInfo",
    "MediaReader",
    "MediaReport",
    "PushReport",
    "TranscriptReport",
    "TranscriptRing",
    "TranscriptTotals",
    "VideoEvent",
    "Window",
    "WindowClock",
    "cut_window",
    "open_media",
    "read_media",
]
