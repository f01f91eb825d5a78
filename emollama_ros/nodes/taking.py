"""What is done with a message of a camera, a microphone or a speech recogniser, wherever it comes from.

The subscriptions of the node and the replay of a recording do the same, so they perceive the same. No ROS.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from emollama_ros.nodes.adapters.sound import Chunk
from emollama_ros.nodes.adapters.words import Words
from emollama_ros.nodes.audio_input import AudioInput, Sound
from emollama_ros.nodes.clock import require_stamp
from emollama_ros.nodes.image_input import image_pixels

if TYPE_CHECKING:
    from emollama_ros.pipeline import Feed


def take_picture(feed: Feed, message: Any) -> int:
    """Hand a picture in, converted only if it is wanted; return its stamp.

    Raises:
        InputError: It has no stamp, is damaged, or has an encoding that nothing here decodes.
    """
    stamp = require_stamp(message)
    if feed.wants_frame(stamp):
        feed.push_frame(stamp, image_pixels(message, feed.frame_size))
    else:
        feed.skip_frame(stamp)
    return stamp


def take_sound(feed: Feed, audio: AudioInput, chunk: Chunk, arrived_ns: int) -> Sound:
    """Hand a chunk of sound in; return what became of it.

    Args:
        feed: What is fed.
        audio: Of this microphone: remembers what came before.
        chunk: What the driver sent.
        arrived_ns: When it arrived, on the clock of the stamps.
    """
    sound = audio.convert(chunk, arrived_ns)
    feed.push_audio(sound.stamp_ns, sound.samples)
    return sound


def take_words(feed: Feed, words: Words, arrived_ns: int) -> int:
    """Hand in what was said, if anything was; return when."""
    stamp = arrived_ns if words.stamp_ns is None else words.stamp_ns
    if words.text.strip():
        feed.push_transcript(stamp, words.text)
    return stamp
