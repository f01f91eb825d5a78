"""What a language model with soft tokens is asked: the prompt of training, with a window's soft tokens."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Protocol

import numpy as np

from emollama_ros.errors import EngineError
from emollama_ros.estimate import EmotionEstimate, Modality
from emollama_ros.language.decoder import Floats
from emollama_ros.language.templates import PLACEHOLDER, TRANSCRIPT_LIMIT, Template, as_data
from emollama_ros.manifest import Prompt

#: Longest question of a user, characters.
QUESTION_LIMIT = 300


class PromptTokens(Protocol):
    """What is needed of a tokenizer; ``Tokenizer`` is one."""

    def encode(self, text: str) -> Sequence[int]:
        """Return the tokens of ordinary text."""

    def encode_prompt(self, text: str) -> Sequence[int]:
        """Return the tokens of a prompt, control tokens included."""

    def decode(self, tokens: Sequence[int]) -> str:
        """Return the text of tokens."""


class Embedder(Protocol):
    """What is needed of a model; ``decoder.Decoder`` is one."""

    def embed(self, tokens: Sequence[int]) -> Floats:
        """Return the embeddings (n, hidden) of tokens."""


@dataclass(frozen=True)
class PromptMaker:
    """From words to the tokens on both sides of the soft tokens.

    Attributes:
        prompt: As the bundle's manifest has it.
        tokenizer: Of the language model.
    """

    prompt: Prompt
    tokenizer: PromptTokens

    @property
    def template(self) -> Template:
        """The template of training."""
        p = self.prompt
        return Template(p.template, p.begin, p.end, p.stop[0], p.quotes)

    def before(self) -> list[int]:
        """Tokens that precede the soft tokens: always the same."""
        before, _, _ = self.template.prompt("", "").partition(PLACEHOLDER)
        return [*self.prompt.start, *self.tokenizer.encode_prompt(before)]

    def after(self, tag: str, instruction: str, transcript: str = "") -> list[int]:
        """Tokens that follow the soft tokens.

        Args:
            tag: As printed between brackets.
            instruction: What is asked; trusted, or passed through `as_data`.
            transcript: What was said; data.
        """
        _, _, after = self.template.prompt(tag, instruction, transcript).partition(PLACEHOLDER)
        return list(self.tokenizer.encode_prompt(after))

    def embeds(
        self, model: Embedder, estimate: EmotionEstimate, task: str, question: str, transcript: str, room: int
    ) -> Floats:
        """Soft tokens of a window and what follows them (n, hidden); where it is too long, less of the words.

        Args:
            model: Whose embeddings.
            estimate: With its soft tokens, and what was used.
            task: What is asked, a key of the prompt's questions.
            question: Asked instead of the bundle's own; data.
            transcript: What was said; data, left out where words were not used.
            room: Positions that there are for all of it.

        Raises:
            EngineError: The soft tokens do not fit the model.
        """
        soft = estimate.soft_tokens
        said = transcript if Modality.TEXT in estimate.modalities else ""
        asked = as_data(question, QUESTION_LIMIT) or self.prompt.questions[task]
        room -= 0 if soft is None else len(soft)
        limit = TRANSCRIPT_LIMIT
        tokens = self.after(task, asked, said)
        while len(tokens) > room and limit > 1:
            limit //= 2
            tokens = self.after(task, asked, as_data(said, limit))
        words = model.embed(tokens)
        if soft is None:
            return words
        if soft.shape[1] != words.shape[1]:
            raise EngineError(
                f"soft tokens are {soft.shape[1]} wide, the language model {words.shape[1]}: they are not of "
                "one bundle; export it anew"
            )
        return np.concatenate([soft.astype(np.float32), words])
