"""A language model and a tokenizer without weights."""

from __future__ import annotations

import re
import zlib
from collections.abc import Sequence

import numpy as np

from emollama_ros.language.templates import TEMPLATES
from emollama_ros.manifest import Generation, Prompt


def prompt(**changes) -> Prompt:
    """How a bundle's language model is asked; questions for both tasks."""
    template = TEMPLATES["smollm2"]
    fields = {
        "template": template.name, "begin": template.begin, "end": template.end, "stop": (template.stop,),
        "quotes": template.quotes, "start": (), "longest": 192,
        "questions": {"reason": "Explain how the person feels.", "think": "Which of sad, happy? Think."},
        "generation": Generation(max_tokens=40),
    }  # fmt: skip
    return Prompt(**(fields | changes))


class FakeTokenizer:
    """Words with the space before them are tokens."""

    def __init__(self) -> None:
        self._ids: dict[str, int] = {}
        self._pieces: list[str] = []

    def encode(self, text: str) -> tuple[int, ...]:
        return tuple(self._id(piece) for piece in re.findall(r" ?\w+| ?[^\w\s]+|\s", text))

    encode_prompt = encode

    def decode(self, tokens: Sequence[int]) -> str:
        return "".join(self._pieces[t] for t in tokens)

    def control(self, content: str) -> int:
        return self._id(content)

    def whole(self, piece: str) -> int:
        """The token of a piece that ``encode`` would split."""
        return self._id(piece)

    def _id(self, piece: str) -> int:
        if piece not in self._ids:
            self._ids[piece] = len(self._pieces)
            self._pieces.append(piece)
        return self._ids[piece]


class FakeModel:
    """Scores that look random but follow from the seed and all tokens before, soft tokens included."""

    def __init__(self, seed: int = 0, width: int = 1) -> None:
        self.seed, self.width = seed, width
        self.tokens: list[int] = []
        self.passes = 0

    def embed(self, tokens: Sequence[int]) -> np.ndarray:
        return np.repeat(np.array(tokens, np.float32)[:, None], self.width, 1)

    def prefill(self, embeds: np.ndarray) -> None:
        assert len(embeds), "a pass needs at least one position"
        self.tokens += [int(t) for t in embeds[:, 0]]
        self.passes += 1

    def scores(self, tokens: Sequence[int]) -> np.ndarray:
        before = zlib.crc32(repr((self.seed, self.tokens)).encode())
        return np.array([zlib.crc32(f"{before} {t}".encode()) / 2**28 for t in tokens], np.float32)

    def snapshot(self) -> int:
        return len(self.tokens)

    def restore(self, mark: int) -> None:
        assert 0 <= mark <= len(self.tokens)
        del self.tokens[mark:]


class ScriptedModel:
    """A causal model whose next token is what ``script`` ranks first, given all tokens so far.

    Embeddings carry the token itself; soft tokens are embeddings below zero.
    """

    def __init__(self, tokenizer: FakeTokenizer, script, vocab: int = 400) -> None:
        self._tokenizer, self._script, self._vocab = tokenizer, script, vocab
        self.tokens: list[int] = []
        self.passes: list[int] = []

    def embed(self, tokens: Sequence[int]) -> np.ndarray:
        return np.array(tokens, np.float32)[:, None]

    def prefill(self, embeds: np.ndarray, rows: int = 1) -> None:
        assert len(embeds), "a pass needs at least one position"
        assert 1 <= rows <= len(embeds)
        self.tokens += [int(t) for t in embeds[:, 0]]
        self.passes.append(len(embeds))
        self._rows = rows

    def logits(self, row: int = -1) -> np.ndarray:
        assert -self._rows <= row < self._rows, "only these positions were asked for"
        behind = len(self.tokens) - self._rows + row % self._rows + 1
        scores = np.zeros(self._vocab, np.float32)
        for rank, piece in enumerate(self._script(self.tokens[:behind])):
            scores[self._tokenizer.whole(piece)] = 100 - rank
        return scores

    def snapshot(self) -> int:
        return len(self.tokens)

    def restore(self, mark: int) -> None:
        assert 0 <= mark <= len(self.tokens)
        del self.tokens[mark:]
