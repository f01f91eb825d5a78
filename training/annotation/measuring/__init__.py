"""Agents that measure instead of asking: face, voice and words of a clip, on this machine alone."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from training.annotation.agents import Agent


def local_agents(
    is_guided: bool = True, *, people: Path | None = None, transcribe: bool = True
) -> tuple[Agent, ...]:
    """All measuring agents; each is plain data, so that it can be sent to another process.

    Args:
        is_guided: Whether they may look at the label.
        people: What ``python -m training measure-people`` wrote: what is usual for each person. Without it
            the usual of all people is taken.
        transcribe: Whether clips without words are transcribed (English only).

    Raises:
        ConfigError: A package that measuring needs is missing.
        InputError: ``people`` cannot be read.
    """
    from training.annotation.measuring.face import FaceAgent, VisualAgent
    from training.annotation.measuring.fusion import FusionAgent
    from training.annotation.measuring.people import People, read_people
    from training.annotation.measuring.transcript import TranscriptAgent
    from training.annotation.measuring.voice import VoiceAgent

    known = People() if people is None else read_people(people)
    nan = float("nan")
    rest = {p: tuple(nan if v is None else v for v in values) for p, values in known.rest.items()}
    measuring = (
        FaceAgent(is_guided, rest),
        VoiceAgent(is_guided, known.voice),
        VisualAgent(is_guided, rest),
        FusionAgent(is_guided),
    )
    return (TranscriptAgent(), *measuring) if transcribe else measuring
