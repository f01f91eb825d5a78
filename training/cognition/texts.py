"""What the language model learns to say of a scene: what the robot's grammar permits, made of what is true.

The texts are drawn from the grammar that the robot writes under (``emollama_ros.language.sentences``), with
the cues that can be noticed in the place of those that were detected; so what is learnt is which of the
permitted words fit what is seen and heard.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from emollama_ros.cues import SPEC_BY_NAME
from emollama_ros.estimate import Cue, EmotionEstimate, Modality
from emollama_ros.labels import DEFAULT_LABELS
from emollama_ros.language.grammar import GrammarWriter, TextTokens
from emollama_ros.language.sentences import Evidence, Sentences
from emollama_ros.manifest import Task
from training.cognition.scenes import GIVEN, Scene

#: Longest text, as on the robot.
MAX_TOKENS = 40
#: What is asked; the first of a task is what the robot asks unless somebody asks something else.
QUESTIONS: Mapping[Task, tuple[str, ...]] = {
    "reason": (
        "Why does the person seem so?",
        "How does the person feel, and what tells you?",
        "Which clues point to this emotion?",
        "Explain what you perceive.",
        "What does the voice tell you?",
        "What does the face tell you?",
    ),
    "think": (
        "What do you notice, and what follows from it?",
        "First name the clues, then the emotion.",
        "Look and listen first, then judge.",
    ),
}


@dataclass(frozen=True)
class Lesson:
    """What is learnt from a scene at one time.

    Attributes:
        scene: The scene.
        given: Senses that are shown.
        task: What is asked.
        question: In which words.
        transcript: What is said, or an empty text.
        answer: What is to be answered.
    """

    scene: Scene
    given: Modality
    task: Task
    question: str
    transcript: str
    answer: str


def draw_lesson(scene: Scene, tokens: TextTokens, rng: np.random.Generator) -> Lesson:
    """Draw what is shown of a scene, what is asked, and an answer.

    Args:
        scene: The scene.
        tokens: Of the language model; texts are as long as the robot's.
        rng: Random numbers.
    """
    possible = [senses for senses in GIVEN.values() if senses in scene.has]
    # Both senses half of the time, each alone a quarter: the robot may lose one.
    weights = np.array([2.0 if senses == scene.has else 1.0 for senses in possible])
    given = possible[int(rng.choice(len(possible), p=weights / weights.sum()))]
    task: Task = "think" if rng.random() < 0.25 else "reason"
    asked = QUESTIONS[task]
    question = asked[0] if rng.random() < 0.5 else asked[int(rng.integers(len(asked)))]
    words = scene.transcript if rng.random() < 0.5 else ""
    return Lesson(scene, given, task, question, words, answer(scene, given, task, question, tokens, rng))


def answer(
    scene: Scene, given: Modality, task: Task, question: str, tokens: TextTokens, rng: np.random.Generator
) -> str:
    """Draw one of the texts that are true of a scene."""
    permitted = Sentences(Evidence.of(estimate_of(scene, given, rng), question), task)
    random = _AtRandom(rng)
    return GrammarWriter(permitted, random, tokens, max_tokens=MAX_TOKENS).write(random.embed([0])).text


def estimate_of(scene: Scene, given: Modality, rng: np.random.Generator) -> EmotionEstimate:
    """What the robot would publish of a scene if it were right: the true label, cues that can be noticed.

    Which of many cues are named is drawn.
    """
    scores = dict(zip(GIVEN.values(), scene.scores, strict=True))
    index = DEFAULT_LABELS.index(scene.label)
    single = [sense for sense in (Modality.VIDEO, Modality.AUDIO) if sense in given]
    return EmotionEstimate(
        start_ns=0,
        end_ns=1,
        sequence=0,
        label=scene.label,
        labels=DEFAULT_LABELS,
        scores=tuple(scores[given].tolist()),
        valence=0.0,
        arousal=0.0,
        confidence=float(scores[given][index]),
        modalities=given,
        views={sense: tuple(scores[sense].tolist()) for sense in single},
        cues=tuple(
            Cue(name, level, 0.0, SPEC_BY_NAME[name].unit, SPEC_BY_NAME[name].modality, rng.uniform(0.2, 1.0))
            for name, level in scene.cues(given)
        ),
    )


class _AtRandom:
    """A language model that likes every continuation as much."""

    def __init__(self, rng: np.random.Generator) -> None:
        self._rng = rng

    def embed(self, tokens: Sequence[int]) -> NDArray[np.float32]:
        return np.zeros((len(tokens), 1), np.float32)

    def prefill(self, embeds: NDArray[np.float32]) -> None:
        pass

    def scores(self, tokens: Sequence[int]) -> NDArray[np.float32]:
        return self._rng.random(len(tokens)).astype(np.float32)

    def snapshot(self) -> int:
        return 0

    def restore(self, mark: int) -> None:
        pass
