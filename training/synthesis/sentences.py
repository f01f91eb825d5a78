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

_WHO = (
    "She",
    "He",
    "My brother",
    "My neighbour",
    "Somebody",
    "The man from the shop",
    "Our teacher",
    "The driver",
)
_DID = ("put", "left", "found", "saw", "counted", "brought back", "asked about", "was looking for")
_WHAT = (
    "the keys", "two boxes", "the blue cup", "a letter", "the old chair", "the papers", "a green jacket",
    "the spoons", "your book", "the map", "a bag of rice", "the long ladder", "the radio", "three bottles",
)  # fmt: skip
_WHERE = (
    "in the kitchen", "by the door", "on the second floor", "near the station", "at the office",
    "next to the window", "under the table", "in the garden", "behind the house", "on the shelf",
)  # fmt: skip
_WHEN = ("this morning", "on Monday", "before lunch", "last week", "at nine", "yesterday", "a while ago")

EMOTIONAL: Mapping[str, tuple[str, ...]] = {
    "happy": (
        "This is wonderful, I am so glad you came!",
        "I got the job, this is the best day!",
        "We won, I can hardly believe it!",
        "What a lovely present, thank you so much!",
        "I love it here, everything is perfect!",
        "Such good news, I could dance!",
    ),
    "sad": (
        "I miss him so much, the house is empty.",
        "She is gone, and I am all alone now.",
        "I lost everything that mattered to me.",
        "It hurts to think about that day.",
        "I cried all night, nothing helps.",
        "There is no hope for us any more.",
    ),
    "angry": (
        "I told you to leave my things alone!",
        "How dare you speak to me like that!",
        "This is outrageous, I have had enough!",
        "Stop lying to me right now!",
        "You broke it, and you do not even care!",
        "I am sick of your excuses, get out!",
    ),
    "surprised": (
        "Oh, I did not expect to see you here!",
        "Wait, what, you are already back?",
        "I never thought that would happen!",
        "Wow, where did that come from?",
        "Really, you built all of this yourself?",
        "I can not believe my eyes!",
    ),
    "scared": (
        "Please do not leave me here in the dark!",
        "Something is moving behind the door!",
        "I am afraid he is coming back.",
        "Help me, I can not get out!",
        "Did you hear that, there is someone outside!",
        "I do not dare to go down there.",
    ),
    "disgusted": (
        "That smells rotten, take it away.",
        "This food is revolting, I feel sick.",
        "There is hair in my soup, how gross.",
        "I can not look at that filthy sink.",
        "The milk is sour and full of lumps.",
        "Yuck, there are worms in the bread.",
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
    return Sentence(draw_neutral(rng), False)


def draw_neutral(rng: np.random.Generator) -> str:
    """Draw words that fit every label: a written sentence, or one of thousands put together."""
    if rng.random() < 0.5:
        return NEUTRAL[rng.integers(len(NEUTRAL))]
    who, did, what = (str(rng.choice(words)) for words in (_WHO, _DID, _WHAT))
    return f"{who} {did} {what} {rng.choice(_WHERE if rng.random() < 0.6 else _WHEN)}."
