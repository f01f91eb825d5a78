"""Time-stamped rings: one import for the three kinds.

Pictures, sound and words are kept by acquisition stamp, bounded in seconds AND bytes, each under a lock
of its own. What a push did is returned as a report; what all pushes did is in ``totals``.
"""

from __future__ import annotations

from emollama_ros.streams.audio_ring import AudioRing, AudioSpan, AudioTotals, PushReport
from emollama_ros.streams.frame_ring import FrameBatch, FrameReport, FrameRing, FrameTotals
from emollama_ros.streams.transcript_ring import (
    TranscriptReport,
    TranscriptRing,
    TranscriptTotals,
    Utterance,
)

__all__ = [
    "AudioRing",
    "AudioSpan",
    "AudioTotals",
    "FrameBatch",
    "FrameReport",
    "FrameRing",
    "FrameTotals",
    "PushReport",
    "TranscriptReport",
    "TranscriptRing",
    "TranscriptTotals",
    "Utterance",
]
