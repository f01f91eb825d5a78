"""Rates and caps, with a clock that the test moves."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from emollama_ros.errors import ConfigError
from training.annotation.agents import Usage
from training.annotation.limits import (
    BudgetReachedError,
    Caps,
    LedgerSettings,
    LocalLedger,
    RateLimiter,
    Rates,
    RunStoppedError,
    admitted,
    nap,
)


class Clock:
    """Time that passes only when somebody sleeps."""

    def __init__(self):
        self.now = 1000.0

    def __call__(self):
        return self.now

    def sleep(self, seconds):
        self.now += seconds


@pytest.fixture
def clock():
    return Clock()


@pytest.fixture
def ledger_of(tmp_path, clock):
    opened = []

    def make(caps=None, rates=None):
        ledger = LocalLedger(LedgerSettings(tmp_path / "a.sqlite", caps or Caps(), rates or Rates()), clock)
        opened.append(ledger)
        return ledger.__enter__()

    yield make
    for ledger in opened:
        ledger.__exit__(None, None, None)


def sent_at(limiter, clock, sizes):
    """When each of some requests goes, if each waits as it is told."""
    times = []
    for tokens in sizes:
        while wait := limiter.wait_s(tokens):
            clock.sleep(wait)
        limiter.sent(tokens)
        times.append(clock.now)
    return times


def test_requests_beyond_the_rate_wait_for_the_oldest_to_be_a_minute_old(clock):
    times = sent_at(RateLimiter(Rates(requests_per_minute=2), clock), clock, [1] * 5)
    assert times == [1000, 1000, 1060, 1060, 1120]


@given(st.lists(st.integers(1, 50), max_size=30), st.integers(1, 5), st.integers(50, 120), st.floats(0, 30))
def test_no_minute_ever_holds_more_than_its_rates(sizes, rpm, tpm, between):
    clock = Clock()
    limiter = RateLimiter(Rates(rpm, tpm), clock)
    times = []
    for tokens in sizes:
        times += sent_at(limiter, clock, [tokens])
        clock.sleep(between)
    for begin in times:
        inside = [n for t, n in zip(times, sizes, strict=True) if begin <= t < begin + 60]
        assert len(inside) <= rpm and sum(inside) <= tpm


def test_a_single_request_above_the_rate_goes_alone_and_does_not_wait_forever(clock):
    assert sent_at(RateLimiter(Rates(tokens_per_minute=10), clock), clock, [5, 100, 5]) == [1000, 1060, 1120]


def test_a_pause_holds_everybody(clock):
    limiter = RateLimiter(Rates(), clock)
    limiter.hold(7)
    assert limiter.wait_s(1) == 7


@pytest.mark.parametrize(
    "caps", [Caps(requests=2), Caps(tokens=240), Caps(cost=0.24, price_in=1, price_out=1)]
)
def test_a_cap_is_never_passed_and_is_remembered(ledger_of, caps, clock):
    ledger = ledger_of(caps)
    for _ in range(2):
        ledger.settle(admitted(ledger, Usage(1, 100, 20), clock.sleep), Usage(1, 100, 20))
    with pytest.raises(BudgetReachedError, match="are spent"):
        admitted(ledger, Usage(1, 100, 20), clock.sleep)
    with pytest.raises(BudgetReachedError):
        admitted(ledger_of(caps), Usage(1, 100, 20), clock.sleep)


def test_what_is_under_way_counts_until_it_is_known(ledger_of, clock):
    ledger = ledger_of(Caps(tokens=150))
    ticket = admitted(ledger, Usage(1, 50, 50), clock.sleep)
    refused = ledger.admit(Usage(1, 50, 50))
    assert refused.ticket is None and refused.wait_s > 0 and not refused.refusal
    ledger.settle(ticket, Usage(1, 20, 5))
    assert ledger.admit(Usage(1, 50, 50)).ticket is not None


def test_a_worker_that_was_lost_gives_its_share_back_as_spent(ledger_of, clock):
    ledger = ledger_of(Caps(requests=2))
    ledger.admit(Usage(1, 1, 1))
    clock.sleep(3600)
    assert ledger.admit(Usage(1, 1, 1)).ticket is not None
    ledger.admit(Usage(1, 1, 1))
    clock.sleep(3600)
    ledger.admit(Usage(1, 1, 1))
    assert ledger.admit(Usage(1, 1, 1)).refusal


def test_waiting_ends_when_the_run_does(ledger_of, clock):
    ledger = ledger_of(rates=Rates(requests_per_minute=1))
    admitted(ledger, Usage(1), clock.sleep)
    ledger.stop("interrupted")
    with pytest.raises(RunStoppedError, match="interrupted"):
        admitted(ledger, Usage(1), clock.sleep)
    with pytest.raises(RunStoppedError, match="interrupted"):
        nap(ledger, 100, clock.sleep)
    assert clock.now == 1000


@pytest.mark.parametrize(
    ("make", "words"),
    [
        (lambda: Caps(cost=1), "--price-in"),
        (lambda: Caps(requests=-1), "requests is -1"),
        (lambda: Caps(cost=float("nan"), price_in=1), "cost is nan"),
        (lambda: Rates(requests_per_minute=0), "requests_per_minute is 0"),
    ],
)
def test_limits_that_make_no_sense_are_told(make, words):
    with pytest.raises(ConfigError, match=words):
        make()
