"""Which inputs of a window carry something, and in words what is wrong with the others."""

from __future__ import annotations

import numpy as np

from emollama_ros import conditions
from emollama_ros.conditions import Finding
from emollama_ros.estimate import Modality
from emollama_ros.preprocess.audio import SAMPLE_RATE, level_dbfs
from emollama_ros.preprocess.instructions import instruction_in
from emollama_ros.prosody import SILENCE_DBFS
from emollama_ros.streams import AudioSpan, FrameBatch, Window

#: Shortest audio that the encoder can make sense of, seconds.
SHORTEST_AUDIO_S = 0.4
#: Share of a window's samples that must be valid for its audio to be used.
LEAST_VALID_AUDIO = 0.5
#: From this level on a sample counts as clipped, full scale 1: resampling bends a flat top a little.
CLIPPED_LEVEL = 0.99
#: Share of a window's samples at full scale from which the microphone clips. Loud speech that was recorded
#: well has single peaks there; six decibels too much gain flattens more than a hundredth.
CLIPPED_SHARE = 0.005
#: A picture whose pixels spread less than this (0..255) is black, white or covered.
BLANK_SPREAD = 4.0
#: Every so many pixels are looked at, each way, for that.
_SPARSE = 4
#: Time over which no pixel changes before a camera is said to be frozen: the noise of a sensor never repeats
#: itself, but a compressed video of somebody who sits still may for a moment.
FROZEN_S = 1.0


def usable_modalities(window: Window) -> tuple[Modality, tuple[str, ...]]:
    """Decide which inputs of a window carry something, and say in words what is wrong with them.

    A modality that was never connected is legal and no fault is reported here for it; the pipeline, which
    knows what to expect, does that.

    Returns:
        What can be used, and faults; an input with a fault may be usable all the same.
    """
    usable = Modality.NONE
    faults: list[Finding] = []
    if window.audio is not None and len(window.audio.samples):
        is_usable, found = judge_audio(window.audio, window.end_ns - window.start_ns)
        usable |= Modality.AUDIO if is_usable else Modality.NONE
        faults += found
    if window.frames is not None and len(window.frames):
        is_usable, found = judge_frames(window.frames)
        usable |= Modality.VIDEO if is_usable else Modality.NONE
        faults += found
    if window.transcript.strip():
        is_usable, found = judge_words(window.transcript)
        usable |= Modality.TEXT if is_usable else Modality.NONE
        faults += found
    return usable, tuple(fault.text for fault in faults)


def judge_audio(audio: AudioSpan, window_ns: int) -> tuple[bool, list[Finding]]:
    """Say whether the sound of a window can be used, and what is wrong with it."""
    faults = [conditions.BAD_SAMPLES.say(share=audio.bad)] if audio.bad else []
    seconds = len(audio.samples) / SAMPLE_RATE
    if audio.valid + audio.bad < LEAST_VALID_AUDIO:
        return False, [*faults, conditions.FEW_SAMPLES.say(share=audio.valid)]
    if audio.valid < LEAST_VALID_AUDIO:
        return False, faults
    if seconds < SHORTEST_AUDIO_S:
        return False, [*faults, conditions.SHORT_AUDIO.say(heard=seconds, window=window_ns / 1e9)]
    if level_dbfs(audio.samples) < SILENCE_DBFS:
        return False, [*faults, conditions.SILENT_MICROPHONE.say(dbfs=SILENCE_DBFS)]
    clipped = np.count_nonzero(np.abs(audio.samples) >= CLIPPED_LEVEL) / len(audio.samples)
    if clipped > CLIPPED_SHARE:
        faults.append(conditions.CLIPPED_AUDIO.say(share=clipped))
    return True, faults


def judge_frames(frames: FrameBatch) -> tuple[bool, list[Finding]]:
    """Say whether the pictures of a window can be used, and what is wrong with them.

    A camera that froze during the window is said to be frozen; a window in which nothing ever changed is not
    used, because its label could not change either.
    """
    sparse = frames.images[-1, ::_SPARSE, ::_SPARSE]
    if float(sparse.std(axis=(0, 1)).max()) < BLANK_SPREAD:
        return False, [conditions.BLANK_PICTURE.say()]
    same = unchanged(frames)
    seconds = (int(frames.stamps_ns[-1]) - int(frames.stamps_ns[-same])) / 1e9
    if seconds < FROZEN_S:
        return True, []
    return same < len(frames), [conditions.FROZEN_PICTURE.say(seconds=seconds)]


def judge_words(transcript: str) -> tuple[bool, list[Finding]]:
    """Say whether the words of a window can be used: those that tell a machine what to do are not."""
    ask = instruction_in(transcript)
    return not ask, [conditions.INSTRUCTION.say(ask=ask)] if ask else []


def unchanged(frames: FrameBatch) -> int:
    """Return how many of the last pictures are the same in every pixel, at least 1."""
    newest = frames.images[-1]
    for count, image in enumerate(frames.images[-2::-1], start=1):
        if not np.array_equal(image, newest):
            return count
    return len(frames)
