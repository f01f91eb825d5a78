"""What is likely to be written next, guessed from what was written before.

A robot's reasonings are of a narrow language, and a person looks the same for a while, so that much of a text
has stood in an earlier one. Guessed tokens are appended together with the token that was just chosen, and the
language model scores all of them in one pass, which costs a fraction more than a pass of one token (Leviathan
et al., arXiv 2211.17192; guesses from n-grams as in prompt lookup, Saxena 2023). Every token is still chosen
by the model's own scores: guesses save passes and never change what is written.

How many tokens are guessed follows from what a guess costs and how often guesses have been right: where they
are not, there are next to none.
"""

from __future__ import annotations

from collections import Counter, deque
from collections.abc import Iterable, Sequence
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from emollama_ros.errors import BundleError

Tokens = NDArray[np.int32]

#: File of a bundle with texts to begin with, where it has one.
GUESSES = "guesses.bin"
#: Largest such file.
MOST_BYTES = 1 << 20
#: Most tokens guessed at a time.
MOST = 8
#: Tokens that are remembered: some five hundred reasonings.
CAPACITY = 16_384
#: Most tokens before a place that another place is compared by.
_ORDER = 6
#: Between texts; no token.
_END = -1
#: Counted with those that went on otherwise: what was seen once is as likely as not to come again.
_DOUBT = 0.5
#: By how much a guess, right or wrong, and one that was not made, change the trust in guesses. A guess costs
#: a fifth of a pass or so, and once trust is lost, one is made in ten passes.
_RATE, _RECOVERY = 0.05, 0.001
_LEAST_TRUST = 0.02
#: Places that have a say in what follows: the last ones.
_PLACES = 64


class Guesses:
    """Texts that were written, and what they make likely. For one thread."""

    def __init__(
        self, texts: Iterable[Sequence[int]] = (), *, cost: float = 0.2, capacity: int = CAPACITY
    ) -> None:
        """Remember texts.

        Args:
            texts: Written before, the latest last; tokens without the one that ended them.
            cost: Of a further token in a pass, as a share of a pass of one token; > 0. Nothing is guessed
                that is less likely to be right.
            capacity: Tokens that are remembered; the oldest texts are forgotten first.
        """
        self.cost = cost
        self._capacity = capacity
        self._texts: deque[Tokens] = deque()
        self._size = 0
        self._trust = 1.0
        self._odds: list[float] = []
        for text in texts:
            self._add(text)
        self._join()

    @property
    def last(self) -> list[int]:
        """Tokens of the text that was remembered last; none where none was."""
        return self._texts[-1][:-1].tolist() if self._texts else []

    def learn(self, text: Sequence[int]) -> None:
        """Remember a text that was just written, its opening included."""
        self._add(text)
        self._join()

    def guess(self, text: Sequence[int], most: int = MOST) -> list[int]:
        """Return tokens that may follow, as many as are worth a place in a pass.

        Args:
            text: So far.
            most: How many at most.
        """
        self._odds, made, likely = [], list(text), 1.0
        while len(self._odds) < most:
            found = self._next(made)
            if found is None:
                break
            token, odds = found
            likely *= odds * self._trust
            if likely <= self.cost:
                # Else trust that was lost would never be won again.
                self._trust = min(1.0, self._trust + (0 if self._odds else _RECOVERY))
                break
            made.append(token)
            self._odds.append(odds)
        return made[len(text) :]

    def judge(self, right: int) -> None:
        """Say how many of the last guesses were right, before the first that was not."""
        for place, odds in enumerate(self._odds[: right + 1]):
            self._trust += _RATE * ((place < right) - odds * self._trust)
        self._trust = min(1.0, max(_LEAST_TRUST, self._trust))
        self._odds = []

    def _next(self, text: Sequence[int]) -> tuple[int, float] | None:
        """The token that followed most often where most was the same before, and how likely it is."""
        following: list[int] = self._known[self._alike(text)[-_PLACES:]].tolist()
        counts = Counter(reversed(following))
        # Of several as frequent, the one that was written last: a counter keeps the order of meeting them.
        ((token, most),) = counts.most_common(1) or ((_END, 0),)
        return None if token == _END else (token, most / (len(following) + _DOUBT))

    def _alike(self, text: Sequence[int]) -> NDArray[np.intp]:
        """Places in what is known with the same tokens before them, as many as any place has."""
        found: NDArray[np.intp] = np.zeros(0, np.intp)
        for back, token in enumerate(reversed(text[-_ORDER:]), start=1):
            if back == 1:
                places = np.flatnonzero(self._known[:-1] == token) + 1
            else:
                # A place so near the beginning would look at the end, where there is no token.
                places = found[self._known[found - back] == token]
            if not len(places):
                break
            found = places
        return found

    def _add(self, text: Sequence[int]) -> None:
        kept = np.array([*text[: self._capacity - 1], _END], np.int32)
        self._texts.append(kept)
        self._size += len(kept)
        while self._size > self._capacity:
            self._size -= len(self._texts.popleft())

    def _join(self) -> None:
        self._known = np.concatenate([np.array([_END], np.int32), *self._texts])


def write_guesses(texts: Sequence[Sequence[int]]) -> bytes:
    """Return the content of ``guesses.bin``: little-endian int32, each text followed by -1.

    Args:
        texts: The latest last; of more than fit into a megabyte the first are left out.
    """
    whole = [np.array([*text, _END], "<i4") for text in texts]
    while whole and sum(part.nbytes for part in whole) > MOST_BYTES:
        del whole[0]
    return b"".join(part.tobytes() for part in whole)


def read_guesses(path: Path, vocab: int) -> list[list[int]]:
    """Read ``guesses.bin``.

    Args:
        path: The file.
        vocab: Tokens of the language model.

    Raises:
        BundleError: It is missing, too large, of another form, or names tokens that the model does not have.
    """
    try:
        if path.stat().st_size > MOST_BYTES:
            raise ValueError(f"more than {MOST_BYTES} bytes")
        tokens = np.frombuffer(path.read_bytes(), "<i4")
    except (OSError, ValueError) as error:
        raise BundleError(f"{path}: cannot be read as guesses ({error}); export the bundle again") from error
    if len(tokens) and (tokens.min() < _END or tokens.max() >= vocab or tokens[-1] != _END):
        raise BundleError(f"{path}: no tokens of this language model; export the bundle again")
    return [part[:-1].tolist() for part in np.split(tokens, np.flatnonzero(tokens == _END) + 1)[:-1]]
