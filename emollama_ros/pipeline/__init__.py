"""Streams of several sources in, estimates and reasonings out, at two rates. There is no ROS in here.

    feed 0 -> rings, clock --+                +-> on_estimate
    feed 1 -> rings, clock --+-> fast worker -+
    ...                                       +-> a mailbox of depth 1 each -> slow worker -> on_reasoning

The label never waits for the language model: the fast worker hands its estimate over and goes on. Windows
that are complete together are perceived together; sources are explained in turn. When either worker is late,
work is skipped, never queued, so that what is published is always about now. Questions about the last seconds
(``EmotionPipeline.ask``) are the slow worker's too.
"""

from __future__ import annotations

from emollama_ros.pipeline.config import PipelineConfig
from emollama_ros.pipeline.feed import Feed
from emollama_ros.pipeline.health import FeedHealth, Health
from emollama_ros.pipeline.intake import Intake, note_missing
from emollama_ros.pipeline.interfaces import Explainer, Perceiver
from emollama_ros.pipeline.questions import Answer, Inquiry, Outcome, Question
from emollama_ros.pipeline.two_rates import EmotionPipeline

__all__ = [
    "Answer",
    "EmotionPipeline",
    "Explainer",
    "Feed",
    "FeedHealth",
    "Health",
    "Inquiry",
    "Intake",
    "Outcome",
    "Perceiver",
    "PipelineConfig",
    "Question",
    "note_missing",
]
