"""How fast and how much a run may ask: rates, caps, and the ledger that all workers share.

A request is admitted before it is sent. Until the endpoint says what it cost, it counts with an estimate that
allows for the longest answer; so workers that ask at once cannot pass a cap together. What was spent is
counted on the disk (`cache.Answers`) and goes on counting when a run is resumed.
"""

from __future__ import annotations

import threading
import time
from collections import deque
from collections.abc import Callable
from dataclasses import dataclass, field
from pathlib import Path
from types import TracebackType
from typing import Protocol

from emollama_ros.errors import ConfigError, EmollamaError
from training.annotation.agents import Usage
from training.annotation.cache import Answers

_MINUTE_S = 60.0
#: How soon to ask again while answers under way hold the rest of a budget.
_SETTLING_S = 0.1
#: A worker that took a request and was never heard of again (a lost machine) gives its share back after this.
_LOST_S = 1800.0
#: Longest sleep at a stretch, so that an interrupted run ends soon.
_NAP_S = 0.5
_TOKENS_PER_PRICE = 1000


class RunStoppedError(EmollamaError):
    """The run cannot go on now; the same command goes on later from where it stopped."""


class BudgetReachedError(RunStoppedError):
    """The next request could pass a cap."""


@dataclass(frozen=True)
class Caps:
    """What a run may cost, over all its resumptions; None for no cap.

    Attributes:
        requests: Requests sent, failed ones among them.
        tokens: Tokens of prompts and answers together.
        cost: Money, in the currency of the prices.
        price_in: Of 1000 prompt tokens.
        price_out: Of 1000 tokens of answers.

    Raises:
        ConfigError: A cap or price below 0, or a cap on money without any price.
    """

    requests: int | None = None
    tokens: int | None = None
    cost: float | None = None
    price_in: float = 0.0
    price_out: float = 0.0

    def __post_init__(self) -> None:
        for name in ("requests", "tokens", "cost", "price_in", "price_out"):
            value = getattr(self, name)
            if value is not None and not 0 <= value < float("inf"):
                raise ConfigError(f"{name} is {value}; a number of at least 0 is needed")
        if self.cost is not None and not (self.price_in or self.price_out):
            raise ConfigError("a cap on cost needs prices: give --price-in and --price-out (of 1000 tokens)")

    @property
    def is_any(self) -> bool:
        """Whether anything is capped."""
        return any(cap is not None for cap in (self.requests, self.tokens, self.cost))

    def cost_of(self, usage: Usage) -> float:
        """Money."""
        paid = usage.prompt_tokens * self.price_in + usage.completion_tokens * self.price_out
        return paid / _TOKENS_PER_PRICE

    def refusal(self, spent: Usage, more: Usage) -> str:
        """Which cap ``more`` would pass; empty where there is room."""
        then = spent + more
        amounts: tuple[tuple[str, float | None, float, float], ...] = (
            ("requests", self.requests, spent.requests, then.requests),
            ("tokens", self.tokens, spent.tokens, then.tokens),
            ("cost", self.cost, self.cost_of(spent), self.cost_of(then)),
        )
        for name, cap, now, after in amounts:
            if cap is not None and after > cap:
                return f"{now:g} of {cap:g} {name} are spent, and the next may take up to {after - now:g}"
        return ""


@dataclass(frozen=True)
class Rates:
    """What may be sent within any minute; None for no limit.

    Raises:
        ConfigError: A rate that lets nothing through.
    """

    requests_per_minute: int | None = None
    tokens_per_minute: int | None = None

    def __post_init__(self) -> None:
        for name, value in vars(self).items():
            if value is not None and value < 1:
                raise ConfigError(f"{name} is {value}; at least 1 is needed")


class RateLimiter:
    """Counts what was sent within the last minute. Not for several threads: `Ledger` locks.

    Args:
        rates: The limits.
        clock: Seconds that never go backwards.
    """

    def __init__(self, rates: Rates, clock: Callable[[], float] = time.monotonic) -> None:
        self._rates = rates
        self._clock = clock
        self._sent: deque[tuple[float, int]] = deque()
        self._held_until = float("-inf")

    def wait_s(self, tokens: int) -> float:
        """Seconds until a request of so many tokens may be sent; 0 for now."""
        now = self._clock()
        while self._sent and self._sent[0][0] <= now - _MINUTE_S:
            self._sent.popleft()
        return max(0.0, self._held_until - now, self._leaves_room_at(tokens) - now)

    def sent(self, tokens: int) -> None:
        """A request of so many tokens is being sent."""
        self._sent.append((self._clock(), tokens))

    def hold(self, seconds: float) -> None:
        """Send nothing for a while: the endpoint asked for a pause."""
        self._held_until = max(self._held_until, self._clock() + seconds)

    def _leaves_room_at(self, tokens: int) -> float:
        """When enough of the last minute's requests are older than a minute."""
        rpm, tpm = self._rates.requests_per_minute, self._rates.tokens_per_minute
        count, total, moment = len(self._sent), sum(n for _, n in self._sent), float("-inf")
        for sent_at, n in self._sent:
            # A single request above the rate goes once nothing else was sent for a minute.
            if (rpm is None or count < rpm) and (tpm is None or total + tokens <= tpm):
                break
            count, total, moment = count - 1, total - n, sent_at + _MINUTE_S
        return moment


@dataclass(frozen=True)
class Admission:
    """Whether a request may be sent.

    Attributes:
        ticket: Of the request, to settle it with; None where it may not be sent now.
        wait_s: When to ask again.
        refusal: Why it may never be sent in this run; empty where it may.
    """

    ticket: int | None = None
    wait_s: float = 0.0
    refusal: str = ""
    is_budget: bool = True


class Ledger(Protocol):
    """What workers share, wherever they run: answers, rates and caps. Nothing in it blocks."""

    def find(self, key: str) -> str | None:
        """The text kept under a key."""

    def keep(self, key: str, text: str) -> None:
        """Keep a text under a key."""

    def admit(self, estimate: Usage) -> Admission:
        """Ask whether a request may be sent."""

    def settle(self, ticket: int, usage: Usage, key: str | None = None, text: str = "") -> None:
        """Say what an admitted request cost and, where it was answered, the answer to keep."""

    def hold(self, seconds: float) -> None:
        """Let nobody send for a while."""

    def stopped(self) -> str:
        """Why the run is to end; empty where it goes on."""


@dataclass(frozen=True)
class LedgerSettings:
    """What a ledger is opened with, as plain data.

    Attributes:
        path: The file of answers.
        caps: What may be spent.
        rates: How fast.
    """

    path: Path
    caps: Caps = field(default_factory=Caps)
    rates: Rates = field(default_factory=Rates)


class LocalLedger:
    """The ledger in this process; any thread may use it.

    Raises:
        InputError: The file of answers cannot be used.
    """

    def __init__(self, settings: LedgerSettings, clock: Callable[[], float] = time.monotonic) -> None:
        self._caps = settings.caps
        self._clock = clock
        self._limiter = RateLimiter(settings.rates, clock)
        self._answers = Answers(settings.path, keep_count=settings.caps.is_any)
        self._spent = self._answers.spent()
        self._under_way: dict[int, tuple[float, Usage]] = {}
        self._reason = ""
        self._lock = threading.Lock()

    def __enter__(self) -> LocalLedger:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._answers.close()

    def find(self, key: str) -> str | None:
        """See `Ledger`."""
        return self._answers.find(key)

    def keep(self, key: str, text: str) -> None:
        """See `Ledger`."""
        self._answers.keep(key, text)

    def admit(self, estimate: Usage) -> Admission:
        """See `Ledger`. The estimate counts until the request is settled."""
        with self._lock:
            if self._reason:
                return Admission(refusal=self._reason, is_budget=False)
            if refusal := self._caps.refusal(self._spent, estimate):
                return Admission(refusal=refusal)
            if self._caps.refusal(self._spent + self._reserved(), estimate):
                return Admission(wait_s=_SETTLING_S)
            if wait_s := self._limiter.wait_s(estimate.tokens):
                return Admission(wait_s=wait_s)
            ticket = self._answers.begin_request(estimate)
            self._limiter.sent(estimate.tokens)
            self._under_way[ticket] = (self._clock(), estimate)
            return Admission(ticket)

    def settle(self, ticket: int, usage: Usage, key: str | None = None, text: str = "") -> None:
        """See `Ledger`."""
        with self._lock:
            self._answers.end_request(ticket, usage, key, text)
            self._under_way.pop(ticket, None)
            # As it was counted on the disk: one request, whatever the endpoint calls it.
            self._spent += Usage(1, usage.prompt_tokens, usage.completion_tokens)

    def hold(self, seconds: float) -> None:
        """See `Ledger`."""
        with self._lock:
            self._limiter.hold(seconds)

    def stop(self, reason: str) -> None:
        """Admit nothing any more."""
        with self._lock:
            self._reason = self._reason or reason

    def stopped(self) -> str:
        """See `Ledger`."""
        return self._reason

    def _reserved(self) -> Usage:
        now = self._clock()
        for ticket in [t for t, (began, _) in self._under_way.items() if now - began > _LOST_S]:
            self._spent += self._under_way.pop(ticket)[1]
        return sum((estimate for _, estimate in self._under_way.values()), Usage())


def admitted(ledger: Ledger, estimate: Usage, sleep: Callable[[float], None] = time.sleep) -> int:
    """Wait until a request may be sent; returns its ticket.

    Raises:
        BudgetReachedError: It could pass a cap.
        RunStoppedError: The run is to end.
    """
    while (admission := ledger.admit(estimate)).ticket is None:
        if admission.refusal:
            raise (BudgetReachedError if admission.is_budget else RunStoppedError)(admission.refusal)
        sleep(min(admission.wait_s, _NAP_S))
    return admission.ticket


def nap(ledger: Ledger, seconds: float, sleep: Callable[[float], None] = time.sleep) -> None:
    """Sleep, unless the run is to end.

    Raises:
        RunStoppedError: It is.
    """
    while seconds > 0:
        if reason := ledger.stopped():
            raise RunStoppedError(reason)
        sleep(min(seconds, _NAP_S))
        seconds -= _NAP_S
