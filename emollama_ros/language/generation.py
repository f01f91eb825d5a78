"""Free text from a language model, token by token: one prefill, then one pass a token.

The text can be bound in two ways. It may have an ``opening``, words that are given and not chosen. And it may
have ``forbidden`` words: where one is written, the model goes back to where the word began and takes the next
best token, so that the word is never shown. What is streamed grows at word boundaries and is never taken
back.

Where there is something to guess from, a pass appends guessed tokens behind the one that was chosen. The
token for each place is chosen as ever, from the model's scores there, and where it is the guessed one,
its pass is already done.
"""

from __future__ import annotations

import re
import time
import unicodedata
from collections.abc import Callable, Collection, Sequence
from dataclasses import dataclass, field
from enum import Enum
from typing import Protocol

import numpy as np
from numpy.typing import NDArray

from emollama_ros.errors import ConfigError
from emollama_ros.language.guesses import MOST

Floats = NDArray[np.float32]

#: Most probable tokens that are looked at first when drawing; where they are too few, all are.
_NUCLEUS = 256
#: Forbidden words after which a text is ended: it wants to say nothing else.
_TRIES = 16
#: What a byte-level tokenizer decodes an unfinished character to.
_UNFINISHED = "\N{REPLACEMENT CHARACTER}"


class CausalModel(Protocol):
    """What free generation needs of a model; ``decoder.Decoder`` is one."""

    def embed(self, tokens: Sequence[int]) -> Floats:
        """Return the embeddings (n, hidden) of tokens."""

    def prefill(self, embeds: Floats, rows: int = 1) -> object:
        """Append embeddings (n, hidden) in one pass; `logits` is asked for its last ``rows`` positions."""

    def logits(self, row: int = -1) -> Floats:
        """Return the logits (vocab,) of what comes behind one of these positions, the last one by default."""

    def snapshot(self) -> int:
        """Return a mark of the current position; marks count positions."""

    def restore(self, mark: int) -> None:
        """Go back to a mark."""


class Guesser(Protocol):
    """What is guessed to be written; ``guesses.Guesses`` is one."""

    def guess(self, text: Sequence[int], most: int) -> list[int]:
        """Return tokens that may follow the tokens of a text, ``most`` at most."""

    def judge(self, right: int) -> None:
        """Take notice of how many of the last guesses were right, before the first that was not."""

    def learn(self, text: Sequence[int]) -> None:
        """Remember the tokens of a text."""


class TextDecoder(Protocol):
    """What is needed of a tokenizer."""

    def decode(self, tokens: Sequence[int]) -> str:
        """Return the text of tokens, control tokens left out."""


@dataclass(frozen=True)
class Sampling:
    """How the next token is chosen.

    Attributes:
        temperature: 0 takes the most probable one, 1 follows the model's probabilities; 0..2.
        top_p: Least probability mass of the tokens drawn from (Holtzman et al., arXiv 1904.09751); (0, 1].
        repetition_penalty: Divides positive and multiplies negative scores of tokens that the text already
            has (Keskar et al., arXiv 1909.05858); 1 for none, up to 2.
        seed: Of the random numbers; the same seed writes the same text.
    """

    temperature: float = 0.0
    top_p: float = 1.0
    repetition_penalty: float = 1.0
    seed: int = 0

    def __post_init__(self) -> None:
        if not 0 <= self.temperature <= 2:
            raise ConfigError(f"temperature is {self.temperature}; use 0 to 2")
        if not 0 < self.top_p <= 1:
            raise ConfigError(f"top_p is {self.top_p}; use more than 0, at most 1")
        if not 1 <= self.repetition_penalty <= 2:
            raise ConfigError(f"repetition_penalty is {self.repetition_penalty}; use 1 to 2")


@dataclass(frozen=True)
class Bounds:
    """Where a text ends.

    Attributes:
        max_tokens: Longest text, its opening included; 1..4096.
        deadline_ms: Time after which no further pass is begun, > 0.
        stop_tokens: Tokens that end it.
        stop_texts: Pieces of text that end it; they are not part of it.
        forbidden: Single words that are never written; searched for among whole words.
    """

    max_tokens: int = 96
    deadline_ms: float = 8000.0
    stop_tokens: Collection[int] = ()
    stop_texts: tuple[str, ...] = ()
    forbidden: re.Pattern[str] | None = None

    def __post_init__(self) -> None:
        if not 1 <= self.max_tokens <= 4096:
            raise ConfigError(f"max_tokens is {self.max_tokens}; use 1 to 4096")
        if self.deadline_ms <= 0:
            raise ConfigError(f"deadline_ms is {self.deadline_ms}; use a positive time, for example 8000")
        if "" in self.stop_texts:
            raise ConfigError("stop_texts has an empty text, which would end every answer at once; remove it")


class Ending(str, Enum):
    """Why a text ended."""

    STOP = "stop"
    LENGTH = "length"
    DEADLINE = "deadline"
    CANCELLED = "cancelled"
    #: It would say nothing but forbidden words.
    FORBIDDEN = "forbidden"


@dataclass(frozen=True)
class Generated:
    """A finished text.

    Attributes:
        text: With its opening, without what ended it.
        tokens: The tokens it is made of, its opening included, the stop token not.
        passes: Passes of the model, the prefill included; fewer than tokens where guesses were right.
        ending: Why it ended.
    """

    text: str
    tokens: tuple[int, ...]
    passes: int
    ending: Ending


@dataclass
class _Draft:
    """What is written so far: tokens, and how long their text is after each."""

    decode: Callable[[Sequence[int]], str]
    tokens: list[int] = field(default_factory=list)
    lengths: list[int] = field(default_factory=list)
    text: str = ""

    def append(self, token: int) -> None:
        self.tokens.append(token)
        self.text = self.decode(self.tokens)
        self.lengths.append(len(self.text.rstrip(_UNFINISHED)))

    def place_of(self, character: int) -> int:
        """The token that a character belongs to."""
        return next(i for i, length in enumerate(self.lengths) if length > character)

    def cut(self, count: int) -> None:
        """Keep the first ``count`` tokens."""
        del self.tokens[count:], self.lengths[count:]
        self.text = self.decode(self.tokens)


class TextWriter:
    """Writes one text. Make a new one for every text; the model is used by one thread at a time."""

    def __init__(
        self,
        model: CausalModel,
        tokenizer: TextDecoder,
        sampling: Sampling | None = None,
        bounds: Bounds | None = None,
        *,
        guesses: Guesser | None = None,
        on_text: Callable[[str, int], None] = lambda text, tokens: None,
        should_stop: Callable[[], bool] = lambda: False,
        clock: Callable[[], float] = time.perf_counter,
    ) -> None:
        """Prepare to write.

        Args:
            model: Positioned after what precedes the prompt.
            tokenizer: Of the model.
            sampling: How tokens are chosen; greedily if ``None``.
            bounds: Where the text ends.
            guesses: Saves passes; they are for this text alone while it is written, and learn from it.
            on_text: Called with the text so far, at word boundaries, and its length in tokens.
            should_stop: Asked before every token; once true, the text ends.
            clock: Seconds, rising.
        """
        self._model = model
        self._bounds = bounds or Bounds()
        self._sampling = sampling or Sampling()
        self._random = np.random.default_rng(self._sampling.seed)
        self._on_text, self._should_stop, self._clock = on_text, should_stop, clock
        self._draft = _Draft(tokenizer.decode)
        self._guesses = guesses
        self._ahead: list[int] = []
        self._row = 0
        self._refused: dict[int, list[int]] = {}
        self._said = ""
        self._passes = self._tries = 0

    def write(self, prompt: Floats, opening: Sequence[int] = ()) -> Generated:
        """Write the text.

        Args:
            prompt: Embeddings (n, hidden), n >= 1, that precede it and that the model has not seen yet, soft
                tokens included.
            opening: Tokens that it begins with.

        Returns:
            The text. Where it did not end by itself, it is cut behind its last whole word.

        Raises:
            EngineError: It does not fit into the model's caches.
        """
        until = self._clock() + self._bounds.deadline_ms / 1e3
        for token in opening:
            self._draft.append(token)
        self._free, self._prompt_end = len(opening), prompt[-1:]
        self._say(self._draft.text)
        ending = self._bound(until)
        if ending is None:
            self._origin = self._model.snapshot() + len(prompt)
            self._pass(np.concatenate([prompt, self._model.embed(opening)]) if len(opening) else prompt)
        while ending is None:
            ending = self._bound(until) or self._next()
        if self._guesses is not None:
            self._judge()
            self._guesses.learn(self._draft.tokens)
        return self._finish(ending)

    def _bound(self, until: float) -> Ending | None:
        if self._should_stop():
            return Ending.CANCELLED
        if self._clock() > until:
            return Ending.DEADLINE
        return Ending.LENGTH if len(self._draft.tokens) >= self._bounds.max_tokens else None

    def _next(self) -> Ending | None:
        """Write one token, or go back to where a forbidden word began."""
        draft, stops = self._draft, self._bounds.stop_texts
        token = self._choose()
        ends = token in self._bounds.stop_tokens
        if not ends:
            draft.append(token)
        stop = stop_at(draft.text, stops)
        finished = draft.text if ends else draft.text[: last_word(draft.text, stop)]
        if (wrong := self._wrong(finished, stop)) is not None:
            return self._go_back(wrong)
        if ends or stop is not None:
            return Ending.STOP
        self._say(settled(draft.text, stops))
        if len(draft.tokens) < self._bounds.max_tokens:
            self._append(token)
        return None

    def _append(self, token: int) -> None:
        """Have the scores behind the token that was just chosen: by a pass, unless it was guessed rightly."""
        if self._ahead[self._row : self._row + 1] == [token]:
            self._row += 1
            return
        if self._row < len(self._ahead):
            self._model.restore(self._origin + len(self._draft.tokens) - 1)
        self._pass(self._model.embed((token,)))

    def _choose(self) -> int:
        draft = self._draft
        scores = penalised(self._model.logits(self._row), draft.tokens, self._sampling.repetition_penalty)
        if refused := self._refused.get(len(draft.tokens)):
            scores = scores.copy()
            scores[refused] = -np.inf
        return draw(scores, self._sampling, self._random)

    def _wrong(self, finished: str, stop: int | None) -> int | None:
        """Where a forbidden word begins that was not given, or what would change what was shown."""
        # What was shown can only be the beginning of a stop text where something else followed it at first.
        if joins(self._said, self._draft.text) or (stop is not None and stop < len(self._said)):
            return len(self._said)
        if self._bounds.forbidden is None:
            return None
        begin = self._draft.lengths[self._free - 1] if self._free else 0
        found = self._bounds.forbidden.search(finished, begin)
        return found.start() if found else None

    def _go_back(self, character: int) -> Ending | None:
        """Forget what was written from a character on, and refuse the token it began with."""
        place = max(self._draft.place_of(character), self._free)
        self._refused.setdefault(place, []).append(self._draft.tokens[place])
        # What was refused further on was refused in another context.
        self._refused = {at: tokens for at, tokens in self._refused.items() if at <= place}
        self._draft.cut(place)
        self._tries += 1
        if self._tries > _TRIES:
            return Ending.FORBIDDEN
        self._model.restore(self._origin + place - 1)
        self._pass(self._model.embed(self._draft.tokens[-1:]) if place else self._prompt_end)
        return None

    def _pass(self, embeds: Floats) -> None:
        """Append embeddings, and what is guessed to follow them."""
        self._judge()
        self._ahead, self._row = self._guess(), 0
        if self._ahead:
            embeds = np.concatenate([embeds, self._model.embed(self._ahead)])
        self._model.prefill(embeds, 1 + len(self._ahead))
        self._passes += 1

    def _guess(self) -> list[int]:
        """What may follow; nothing that would not fit, or that is refused there."""
        written = self._draft.tokens
        # The last token is chosen from the scores before it, and needs no pass.
        most = min(MOST, self._bounds.max_tokens - len(written) - 1)
        if self._guesses is None or most < 1:
            return []
        found = self._guesses.guess(written, most)
        return [] if {*found[:1]} & {*self._refused.get(len(written), ())} else found

    def _judge(self) -> None:
        if self._guesses is not None and self._ahead:
            self._guesses.judge(self._row)

    def _say(self, text: str) -> None:
        text = text.rstrip()
        if len(text) > len(self._said):
            self._said = text
            self._on_text(text, len(self._draft.tokens))

    def _finish(self, ending: Ending) -> Generated:
        draft, stops = self._draft, self._bounds.stop_texts
        if ending is Ending.STOP:
            text = draft.text[: stop_at(draft.text, stops)].rstrip()
        else:
            # What was shown stays, also where a forbidden word behind it was what made it whole.
            text = with_ellipsis(max(settled(draft.text, stops), self._said, key=len))
        return Generated(text, tuple(draft.tokens), self._passes, ending)


def draw(scores: Floats, sampling: Sampling, random: np.random.Generator) -> int:
    """Choose a token by its score (vocab,)."""
    if sampling.temperature == 0:
        return int(np.argmax(scores))
    scaled = scores / np.float32(sampling.temperature)
    if sampling.top_p == 1:
        # The maximum of scores plus Gumbel noise is distributed as their softmax.
        return int(np.argmax(scaled + random.gumbel(size=len(scaled))))
    tokens, probability = nucleus(scaled, sampling.top_p)
    return int(random.choice(tokens, p=probability))


def nucleus(scores: Floats, top_p: float) -> tuple[NDArray[np.intp], NDArray[np.float64]]:
    """Return the fewest most probable tokens with ``top_p`` of the probability, and their probabilities."""
    weights = np.exp((scores - scores.max()).astype(np.float64))
    # Sorting a whole vocabulary takes as long as half a pass of a small model, and is rarely needed.
    for count in (min(_NUCLEUS, len(weights)), len(weights)):
        best = np.argpartition(-weights, count - 1)[:count]
        best = best[np.argsort(-weights[best], kind="stable")]
        mass = np.cumsum(weights[best]) / weights.sum()
        if mass[-1] >= top_p:
            break
    kept = best[: int(np.searchsorted(mass, top_p)) + 1]
    return kept, weights[kept] / weights[kept].sum()


def penalised(logits: Floats, seen: Sequence[int], penalty: float) -> Floats:
    """Return the scores (vocab,) with those of the tokens in ``seen`` lowered."""
    if penalty == 1 or not seen:
        return logits
    scores, tokens = logits.copy(), np.unique(seen)
    chosen = scores[tokens]
    scores[tokens] = np.where(chosen > 0, chosen / penalty, chosen * penalty)
    return scores


def stop_at(text: str, stops: Sequence[str]) -> int | None:
    """Where the first of some stop texts begins; ``None`` where there is none."""
    return min((at for stop in stops if (at := text.find(stop)) >= 0), default=None)


def settled(text: str, stops: Sequence[str] = ()) -> str:
    """Return the part of an unfinished text that will not change: whole words, and no beginning of a stop."""
    held = max((_overlap(text, stop) for stop in stops), default=0)
    return text[: last_word(text[: len(text) - held])]


def _overlap(text: str, stop: str) -> int:
    """Length of the longest end of a text that a stop text begins with."""
    return next((n for n in range(min(len(text), len(stop) - 1), 0, -1) if text.endswith(stop[:n])), 0)


def last_word(text: str, stop: int | None = None) -> int:
    """Where the last word begins, which may go on; the end of the text where it cannot, or ``stop``.

    Letters of scripts without case, such as Chinese, are words of their own.
    """
    if stop is not None:
        return stop
    begin = len(text.rstrip(_UNFINISHED))
    while begin and not text[begin - 1].isspace() and unicodedata.category(text[begin - 1]) != "Lo":
        begin -= 1
    return begin


def joins(shown: str, text: str) -> bool:
    """Whether a text makes a longer word of the last one that was shown."""
    word = (shown[-1:], text[len(shown) :][:1])
    return all(c.isalnum() and unicodedata.category(c) != "Lo" for c in word if c) and all(word)


def with_ellipsis(text: str) -> str:
    """Return a text that was cut with ``…`` at its end, unless a sentence ends there."""
    text = text.rstrip()
    return text if not text or text[-1] in ".!?…。！？" else text.rstrip(",;:") + "…"
