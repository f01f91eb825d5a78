"""One question to an OpenAI-compatible endpoint: cached, admitted, retried, and silent about the key.

Requests go through the official ``openai`` SDK with its own retries switched off. ``tenacity`` retries, so
that every attempt passes the rate limit and the budget, and a pause the server asks for holds all workers.
"""

from __future__ import annotations

import json
import logging
import math
import os
import time
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from datetime import datetime, timezone
from functools import cached_property
from typing import Any
from urllib.parse import urlsplit

import openai
import tenacity
from pydantic import BaseModel, ConfigDict, ValidationError

from emollama_ros.errors import ConfigError
from training.annotation.agents import AgentError, Usage
from training.annotation.limits import Ledger, RunStoppedError, admitted, nap

_LOG = logging.getLogger(__name__)

#: Rough costs of a question, for the rate limit and the budget, until the endpoint says what it was.
_CHARS_PER_TOKEN = 3
_TOKENS_PER_IMAGE = 800
_TOKENS_PER_WAV_BYTE = 25 / 32000  # 25 tokens a second (Qwen2-Audio) of 16-bit sound at 16 kHz
_BYTES_PER_BASE64 = 3 / 4

#: A server that wants a longer pause than this is asked again earlier all the same.
_LONGEST_PAUSE_S = 300.0
_LONGEST_BACKOFF_S = 60.0
_QUOTA_IS_USED_UP = "insufficient_quota"
_HIDDEN = "[key]"


class EndpointError(AgentError):
    """The endpoint did not answer this question, however often it was asked."""


class _BrokenResponseError(Exception):
    """A response that is no chat completion at all: a proxy's page, or JSON that was cut off."""


@dataclass(frozen=True)
class Endpoint:
    """Where and how questions are asked. Holds the name of the variable with the key, never the key.

    Attributes:
        base_url: For example ``http://127.0.0.1:8000/v1``.
        key_env: Environment variable with the key; the key may be missing for an address on this machine.
        timeout_s: Of one attempt.
        attempts: At most, for one question.
        backoff_s: Upper bound of the first pause between two attempts; doubles with each.
        longest_answer: Tokens.
        seed: For servers that know it.

    Raises:
        ConfigError: The address is none, or carries a password or a query, where keys are easily left behind.
    """

    base_url: str
    key_env: str = "OPENAI_API_KEY"
    timeout_s: float = 120.0
    attempts: int = 6
    backoff_s: float = 1.0
    longest_answer: int = 700
    seed: int = 0

    def __post_init__(self) -> None:
        parts = urlsplit(self.base_url)
        if parts.scheme not in ("http", "https") or not parts.hostname:
            raise ConfigError(
                f"--base-url {self.base_url!r}: needed is an address such as http://127.0.0.1:8000/v1"
            )
        if parts.username or parts.password or parts.query:
            raise ConfigError(
                "--base-url: carries a password or a query; "
                f"put the key into the environment variable {self.key_env}"
            )
        for name in ("timeout_s", "attempts", "backoff_s", "longest_answer"):
            if not 0 < (value := getattr(self, name)) < math.inf:
                raise ConfigError(f"{name} is {value}; a number above 0 is needed")

    @property
    def settings(self) -> Mapping[str, Any]:
        """What an answer depends on. Not the address: a server that moves stays the same."""
        return {"temperature": 0, "seed": self.seed, "longest_answer": self.longest_answer}

    def key(self) -> str:
        """The key.

        Raises:
            ConfigError: There is none, and the endpoint is not on this machine.
        """
        if key := os.environ.get(self.key_env, "").strip():
            return key
        if urlsplit(self.base_url).hostname in ("127.0.0.1", "localhost", "::1"):
            return "none"
        raise ConfigError(
            f"the environment variable {self.key_env} is empty; put the key of {self.base_url} into it"
        )


class Completion(BaseModel):
    """An answer, as it was given and as it is kept.

    Attributes:
        text: What the model said.
        prompt_tokens: As the endpoint counted them; estimated where it does not.
        completion_tokens: The same.
        date: Day it was given (UTC), ISO 8601.
    """

    model_config = ConfigDict(frozen=True, extra="forbid", strict=True)

    text: str
    prompt_tokens: int
    completion_tokens: int
    date: str

    @property
    def usage(self) -> Usage:
        """Its cost."""
        return Usage(1, self.prompt_tokens, self.completion_tokens)


def today() -> str:
    """This day (UTC), ISO 8601."""
    return datetime.now(timezone.utc).date().isoformat()


@dataclass(frozen=True)
class Chat:
    """An endpoint together with the ledger that all its users share.

    Attributes:
        endpoint: Where.
        ledger: What was answered before, and what may still be asked.
        sleep: For tests.
    """

    endpoint: Endpoint
    ledger: Ledger
    sleep: Callable[[float], None] = field(default=time.sleep, repr=False)

    def ask(self, key: str, model: str, messages: list[dict[str, Any]]) -> Completion:
        """Ask, unless this was answered before.

        Args:
            key: What the answer is kept under (`cache.completion_key`).
            model: As the endpoint calls it.
            messages: What is sent.

        Raises:
            EndpointError: No answer after all attempts, or the endpoint refuses this question.
            BudgetReachedError: Asking could pass a cap.
            RunStoppedError: The run is to end, or the endpoint cannot be reached.
            ConfigError: It does not know the key or the model.
        """
        if (kept := self._kept(key)) is not None:
            return kept
        for attempt in tenacity.Retrying(
            stop=tenacity.stop_after_attempt(self.endpoint.attempts),
            wait=self._pause,
            retry=tenacity.retry_if_exception(is_transient),
            sleep=lambda seconds: nap(self.ledger, seconds, self.sleep),
            reraise=True,
        ):
            with attempt, self._errors_named(attempt.retry_state.attempt_number, model):
                return self._sent(key, model, messages)
        raise AssertionError("tenacity either returns or raises")

    def _kept(self, key: str) -> Completion | None:
        text = self.ledger.find(key)
        try:
            return None if text is None else Completion.model_validate_json(text)
        except ValidationError:
            return None

    def _sent(self, key: str, model: str, messages: list[dict[str, Any]]) -> Completion:
        estimate = estimated(messages, self.endpoint.longest_answer)
        ticket = admitted(self.ledger, estimate, self.sleep)
        try:
            completion = self._completion(model, messages, estimate)
        except BaseException as error:
            # What was answered too late or in pieces may still be on the bill.
            is_billed = isinstance(error, openai.APITimeoutError | _BrokenResponseError)
            self.ledger.settle(ticket, estimate if is_billed else Usage())
            raise
        self.ledger.settle(ticket, completion.usage, key, completion.model_dump_json())
        return completion

    def _completion(self, model: str, messages: list[dict[str, Any]], estimate: Usage) -> Completion:
        try:
            said = self._client.chat.completions.create(
                model=model,
                messages=messages,  # type: ignore[arg-type]  # plain data, checked by the server
                temperature=0,
                seed=self.endpoint.seed,
                max_completion_tokens=self.endpoint.longest_answer,
            )
            text = said.choices[0].message.content
        except (AttributeError, IndexError, TypeError, json.JSONDecodeError) as error:
            raise _BrokenResponseError(
                f"no chat completion in the response ({type(error).__name__})"
            ) from None
        usage = said.usage
        if text is not None and self.endpoint.key() in text and self.endpoint.key() != "none":
            _LOG.error("an answer of %s holds the key of the endpoint; the key is taken out", model)
        return Completion(
            text=self.without_key(text or ""),
            prompt_tokens=usage.prompt_tokens if usage else estimate.prompt_tokens,
            completion_tokens=usage.completion_tokens if usage else len(text or "") // _CHARS_PER_TOKEN,
            date=today(),
        )

    @cached_property
    def _client(self) -> openai.OpenAI:
        return openai.OpenAI(
            base_url=self.endpoint.base_url,
            api_key=self.endpoint.key(),
            timeout=self.endpoint.timeout_s,
            max_retries=0,
        )

    def _pause(self, state: tenacity.RetryCallState) -> float:
        """Exponential with full jitter, and never shorter than the server asks for."""
        error = state.outcome.exception() if state.outcome else None
        asked = min(retry_after_s(error), _LONGEST_PAUSE_S)
        if asked:
            self.ledger.hold(asked)
        backoff = tenacity.wait_random_exponential(self.endpoint.backoff_s, _LONGEST_BACKOFF_S)(state)
        return max(asked, backoff)

    def _errors_named(self, attempt: int, model: str) -> _ErrorsNamed:
        return _ErrorsNamed(self, attempt >= self.endpoint.attempts, model)

    def without_key(self, text: str) -> str:
        """A text with the key taken out, should it be in it."""
        key = self.endpoint.key()
        return text if key == "none" else text.replace(key, _HIDDEN)


@dataclass(frozen=True)
class _ErrorsNamed:
    """Turns what the SDK raises into this project's errors, with the key taken out of every text.

    What may pass is left as it is until the last attempt, for tenacity to see.
    """

    chat: Chat
    is_last: bool
    model: str

    def __enter__(self) -> None:
        pass

    def __exit__(self, kind: Any, error: BaseException | None, trace: Any) -> None:
        if error is None or not isinstance(error, openai.OpenAIError | _BrokenResponseError):
            return
        if is_transient(error) and not self.is_last:
            return
        # Without its cause: that holds the request with its headers.
        raise self._named(error) from None

    def _named(self, error: BaseException) -> Exception:
        where = f"{self.chat.endpoint.base_url}, {self.model}"
        text = self.chat.without_key(" ".join(str(error).split()))[:300]
        match error:
            case openai.AuthenticationError() | openai.PermissionDeniedError():
                return ConfigError(
                    f"{where}: the endpoint refuses the key in {self.chat.endpoint.key_env} ({text})"
                )
            case openai.NotFoundError():
                return ConfigError(f"{where}: no such model or address ({text})")
            case openai.RateLimitError() if error.code == _QUOTA_IS_USED_UP:
                return RunStoppedError(f"{where}: the quota is used up ({text})")
            case openai.APITimeoutError():
                return EndpointError(f"no answer within {self.chat.endpoint.timeout_s:g} s, in every attempt")
            case openai.APIConnectionError():
                return RunStoppedError(f"{where}: cannot be reached ({text}); is the server running?")
            case openai.APIStatusError():
                return EndpointError(f"the endpoint answers with status {error.status_code}: {text}")
            case _:
                return EndpointError(f"the endpoint fails: {text}")


def is_transient(error: BaseException) -> bool:
    """Whether asking again may help."""
    if isinstance(error, openai.RateLimitError):
        return error.code != _QUOTA_IS_USED_UP
    if isinstance(error, openai.APIStatusError):
        return error.status_code in (408, 409) or error.status_code >= 500
    return isinstance(error, openai.APIConnectionError | _BrokenResponseError)


def retry_after_s(error: BaseException | None) -> float:
    """The pause that a response asks for, s; 0 where it does not."""
    if not isinstance(error, openai.APIStatusError):
        return 0.0
    text = error.response.headers.get("retry-after", "")
    try:
        seconds = float(text)
    except ValueError:
        return _until(text)
    return seconds if 0 < seconds < math.inf else 0.0


def _until(text: str) -> float:
    """Seconds until a date as HTTP writes it."""
    from email.utils import parsedate_to_datetime

    try:
        return max(0.0, (parsedate_to_datetime(text) - datetime.now(timezone.utc)).total_seconds())
    except (TypeError, ValueError):
        return 0.0


def estimated(messages: list[dict[str, Any]], longest_answer: int) -> Usage:
    """About what a question costs, with the longest answer that it allows."""
    return Usage(1, math.ceil(sum(_tokens(message["content"]) for message in messages)), longest_answer)


def _tokens(content: str | list[dict[str, Any]]) -> float:
    if isinstance(content, str):
        return len(content) / _CHARS_PER_TOKEN
    return sum(_part_tokens(part) for part in content)


def _part_tokens(part: Mapping[str, Any]) -> float:
    match part["type"]:
        case "text":
            return len(part["text"]) / _CHARS_PER_TOKEN
        case "input_audio":
            return len(part["input_audio"]["data"]) * _BYTES_PER_BASE64 * _TOKENS_PER_WAV_BYTE
        case _:
            return float(_TOKENS_PER_IMAGE)
