"""What the generated people say.

Most sentences are neutral in content, so that words do not give the label away; a few carry the
emotion in words and are flagged as such, for the transcript path.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

import numpy as np

NEUTRAL: tuple[str, ...] = (
    "The papers are on the table by the window.",
    "They moved the meeting to the second floor.",
    "I put the keys in the drawer this morning.",
    "The bus stops at the corner of the street.",
    "She brought the boxes back on Monday.",
    "There are seven chairs in the other room.",
    "He said he would call again tomorrow.",
    "The door at the end of the hall is open.",
    "We have to leave the house at nine.",
    "It is eleven o'clock, and the shop is open.",
    "The dogs are sitting by the door.",
    "Kids are talking by the door.",
    "I was on my way to the kitchen.",
    "The blue cup belongs on the upper shelf.",
    "My brother is coming on the late train.",
    "That is the book you asked me about.",
    "You left your jacket on the chair.",
    "The new neighbour has a large garden.",
    "In seven hours it will be morning.",
    "The cloth is lying on the fridge.",
    "They just carried it upstairs and came down.",
    "The weekend I always went home to see them.",
    "Tonight I could tell him about it.",
    "The robot is standing next to the desk.",
    "Please look at what I have here.",
    "Somebody has written a letter to us.",
    "This is how they did it last year.",
    "The water is running in the other room.",
    "I think I have seen this before.",
    "Your sister is waiting at the station.",
    "The light in the kitchen is still on.",
    "He has already eaten the bread.",
    "We were talking about the road to town.",
    "The package arrived a little earlier today.",
    "There is a man standing in the garden.",
    "I did not know that you were at home.",
    "She will read the last page to me.",
    "The train goes over the bridge at noon.",
    "I have to go to the office now.",
    "Someone turned the music on downstairs.",
)

EMOTIONAL: Mapping[str, tuple[str, ...]] = {
    "happy": (
        "This is wonderful, I am so glad you came!",
        "I got the job, this is the best day!",
        "We won, I can hardly believe it!",
        "What a lovely present, thank you so much!",
    ),
    "sad": (
        "I miss him so much, the house is empty.",
        "She is gone, and I am all alone now.",
        "I lost everything that mattered to me.",
        "It hurts to think about that day.",
    ),
    "angry": (
        "I told you to leave my things alone!",
        "How dare you speak to me like that!",
        "This is outrageous, I have had enough!",
        "Stop lying to me right now!",
    ),
    "surprised": (
        "Oh, I did not expect to see you here!",
        "Wait, what, you are already back?",
        "I never thought that would happen!",
        "Wow, where did that come from?",
    ),
    "scared": (
        "Please do not leave me here in the dark!",
        "Something is moving behind the door!",
        "I am afraid he is coming back.",
        "Help me, I can not get out!",
    ),
    "disgusted": (
        "That smells rotten, take it away.",
        "This food is revolting, I feel sick.",
        "There is hair in my soup, how gross.",
        "I can not look at that filthy sink.",
    ),
}


@dataclass(frozen=True)
class Sentence:
    """Something to say.

    Attributes:
        text: The words.
        emotional: Whether the words alone suggest the label.
    """

    text: str
    emotional: bool


def draw_sentence(label: str, rng: np.random.Generator, emotional_share: float = 0.15) -> Sentence:
    """Draw a sentence for a speaker who feels ``label``.

    Args:
        label: One of the default labels.
        rng: Source of chance.
        emotional_share: Share of sentences whose words carry the emotion, 0 to 1.
    """
    choices = EMOTIONAL.get(label, ())
    if choices and rng.random() < emotional_share:
        return Sentence(choices[rng.integers(len(choices))], True)
    return Sentence(NEUTRAL[rng.integers(len(NEUTRAL))], False)
