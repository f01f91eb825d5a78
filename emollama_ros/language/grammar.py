"""Text bound to a grammar: the language model chooses the words, the grammar says which ones it may.

A grammar is a finite graph of states; each option of a state is a piece of text and the state after it.
The pieces become tokens, and only where several tokens are permitted is the model asked, for the scores of
those alone. Everything between two such points is known already and is fed to the model in one pass, so a
sentence costs as many passes as it has choices, not as many as it has tokens.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass
from typing import Any, Protocol

import numpy as np
from numpy.typing import NDArray

from emollama_ros.errors import ConfigError
from emollama_ros.language.decoder import Floats, LanguageModel

#: Any hashable value.
State = Any


@dataclass(frozen=True)
class Option:
    """One permitted continuation.

    Attributes:
        text: What is written. It begins with a space or a punctuation mark, unless it begins the text, so
            that its tokens do not depend on what comes before it.
        state: The state after it; ``None`` when the text is complete.
        early: Whether it leaves out what there is room to say: taken only where the text has to end.
    """

    text: str
    state: State
    early: bool = False


class Grammar(Protocol):
    """A finite graph without cycles in which every state has at least one option."""

    @property
    def start(self) -> State:
        """The state of the empty text."""

    def options(self, state: State) -> Sequence[Option]:
        """Return what may come next."""


class TextTokens(Protocol):
    """What is needed of a tokenizer; ``Tokenizer`` is one."""

    def encode(self, text: str) -> Sequence[int]:
        """Return the tokens of ordinary text."""

    def decode(self, tokens: Sequence[int]) -> str:
        """Return the text of tokens."""


@dataclass(frozen=True)
class Written:
    """A finished text.

    Attributes:
        text: The text.
        tokens: Its length in tokens.
        passes: Passes of the model it took.
        hurried: Whether it was ended early, by the shortest permitted continuation.
    """

    text: str
    tokens: int
    passes: int
    hurried: bool


@dataclass(frozen=True)
class _Path:
    tokens: tuple[int, ...]
    option: Option


def most_likely(scores: NDArray[np.float32]) -> int:
    """Pick the best of some scores."""
    return int(np.argmax(scores))


def sampler(temperature: float, seed: int) -> Callable[[NDArray[np.float32]], int]:
    """Return a way to pick by probability; the same seed picks the same.

    Args:
        temperature: 0 always picks the best, 1 follows the model's probabilities.
        seed: Of the random numbers.
    """
    if temperature == 0:
        return most_likely
    random = np.random.default_rng(seed)
    # The maximum of scores plus Gumbel noise is distributed as their softmax.
    return lambda scores: int(np.argmax(scores / temperature + random.gumbel(size=len(scores))))


class GrammarWriter:
    """Writes one text. Make a new one for every text."""

    def __init__(
        self,
        grammar: Grammar,
        model: LanguageModel,
        tokenizer: TextTokens,
        *,
        max_tokens: int,
        on_text: Callable[[str, int], None] = lambda text, tokens: None,
        should_stop: Callable[[], bool] = lambda: False,
        pick: Callable[[NDArray[np.float32]], int] = most_likely,
    ) -> None:
        """Prepare to write.

        Args:
            grammar: What may be written.
            model: Positioned after what precedes the text.
            tokenizer: Of the model.
            max_tokens: Longest text; exceeded only where the grammar permits nothing shorter.
            on_text: Called with the text so far, at word boundaries, and its length in tokens.
            should_stop: Asked before every pass; once true, the text is ended by the shortest permitted
                continuation without the model.
            pick: Chooses among scores.
        """
        self._pick = pick
        self._grammar = grammar
        self._model = model
        self._tokenizer = tokenizer
        self._max_tokens = max_tokens
        self._on_text = on_text
        self._should_stop = should_stop
        self._prompt: Floats | None = None
        self._pending: list[int] = []
        self._shortest: dict[State, int] = {None: 0}
        self._text = ""
        self._said = ""
        self._used = 0
        self._passes = 0
        self._hurried = False

    def write(self, prompt: Floats | None = None) -> Written:
        """Write the text.

        Args:
            prompt: Embeddings (n, hidden) that precede the text and that the model has not seen yet, soft
                tokens included. They are passed on together with the first words.

        Raises:
            ConfigError: The grammar has a state without options.
        """
        self._prompt = prompt
        state = self._grammar.start
        while state is not None:
            path = self._choose(self._affordable(state))
            self._used += len(path.tokens)
            self._text += path.option.text
            self._say(self._text)
            state = path.option.state
        return Written(self._text, self._used, self._passes, self._hurried)

    def _affordable(self, state: State) -> list[_Path]:
        """Paths that leave room to end the text; where none does, the shortest."""
        paths = self._paths(state)
        room = self._max_tokens - self._used
        costs = [len(p.tokens) + self._to_end(p.option.state) for p in paths]
        fitting = [p for p, cost in zip(paths, costs, strict=True) if cost <= room]
        if not self._hurried:
            fitting = [p for p in fitting if not p.option.early] or fitting
        return fitting or [paths[int(np.argmin(costs))]]

    def _paths(self, state: State) -> list[_Path]:
        paths = [_Path(tuple(self._tokenizer.encode(o.text)), o) for o in self._grammar.options(state)]
        if not paths:
            raise ConfigError(f"grammar: state {state} has no options; every state needs one")
        return prefix_free(paths)

    def _to_end(self, state: State) -> int:
        """Fewest tokens from a state to the end of the text."""
        if state not in self._shortest:
            self._shortest[state] = min(
                len(p.tokens) + self._to_end(p.option.state) for p in self._paths(state)
            )
        return self._shortest[state]

    def _choose(self, paths: list[_Path]) -> _Path:
        """Follow the paths token by token, asking the model where they part."""
        at = 0
        while len(paths) > 1:
            heads = sorted({p.tokens[at] for p in paths})
            head = heads[0] if len(heads) == 1 else self._ask(paths, heads, at)
            paths = [p for p in paths if p.tokens[at] == head]
            self._pending.append(head)
            at += 1
        self._pending += paths[0].tokens[at:]
        return paths[0]

    def _ask(self, paths: Iterable[_Path], heads: Sequence[int], at: int) -> int:
        paths = list(paths)
        if self._hurried or self._should_stop():
            self._hurried = True
            return min(paths, key=lambda p: len(p.tokens) + self._to_end(p.option.state)).tokens[at]
        # What is certain by now can be read while the model works.
        self._say(self._text + whole_words(self._tokenizer.decode(paths[0].tokens[:at])))
        self._model.prefill(self._unseen())
        self._passes += 1
        return heads[self._pick(self._model.scores(heads))]

    def _unseen(self) -> Floats:
        """What the model has not seen yet."""
        parts = [] if self._prompt is None else [self._prompt]
        parts += [self._model.embed(self._pending)] if self._pending else []
        self._prompt, self._pending = None, []
        return np.concatenate(parts) if len(parts) > 1 else parts[0]

    def _say(self, text: str) -> None:
        if len(text) > len(self._said):
            self._said = text
            self._on_text(text, self._used)


def prefix_free(paths: Sequence[_Path]) -> list[_Path]:
    """Drop paths that begin with another path's tokens: after those it could not be told which is meant."""
    kept: list[_Path] = []
    for path in sorted(paths, key=lambda p: len(p.tokens)):
        if not any(path.tokens[: len(k.tokens)] == k.tokens for k in kept):
            kept.append(path)
    order = {id(path): index for index, path in enumerate(paths)}
    return sorted(kept, key=lambda p: order[id(p)])


def whole_words(text: str) -> str:
    """Return the text up to its last space: the word after it may go on."""
    return text[: max(0, text.rfind(" "))]
