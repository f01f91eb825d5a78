"""A vLLM server that writes the text, for robots with no room for the language model.

It speaks the server's OpenAI-compatible completions with prompt embeddings (``vllm serve MODEL
--enable-prompt-embeds``, https://docs.vllm.ai/en/stable/features/prompt_embeds/), by the standard library.
What leaves the robot are embeddings of the prompt: soft tokens, transcript and question; no picture and no
sound. Nothing is sent unless a URL is given.
"""

from __future__ import annotations

import base64
import contextlib
import http.client
import json
import socket
import threading
import time
from collections.abc import Callable, Iterator, Mapping
from typing import Any
from urllib.parse import SplitResult, urlsplit

import numpy as np

from emollama_ros.errors import ConfigError, EngineError
from emollama_ros.language.generation import Bounds, Floats, Sampling
from emollama_ros.language.tensor_file import torch_file

#: How often it is looked whether to give up, seconds.
_LOOK_S = 0.05
#: Longest line and longest answer to a question about models that is read, bytes.
_LONGEST_LINE, _LONGEST_LIST = 1 << 16, 1 << 20


class RemoteModel:
    """A server's completions. Used by one thread at a time; every request has a connection of its own."""

    def __init__(self, url: str, timeout_s: float = 5.0) -> None:
        """Remember the server; nothing is sent yet.

        Args:
            url: Base of the server, for example ``http://gpu.local:8000``; ``/v1`` may be part of it.
            timeout_s: Longest time from a request to the end of its answer, seconds, > 0.

        Raises:
            ConfigError: The URL is not one of http or https, or the time is not positive.
        """
        self._url = _checked(url)
        if timeout_s <= 0:
            raise ConfigError(f"reasoning_timeout_s is {timeout_s}; use a positive time, for example 5")
        self._timeout_s = timeout_s
        self._model = ""

    def stream(
        self, prompt: Floats, sampling: Sampling, bounds: Bounds, should_stop: Callable[[], bool]
    ) -> Iterator[str]:
        """Ask for a text, and give its pieces as they come.

        Args:
            prompt: Embeddings (n, hidden), the whole prompt.
            sampling: How tokens are chosen.
            bounds: ``max_tokens``, ``deadline_ms`` and ``stop_texts`` count; the rest is up to the caller.
            should_stop: Asked all the time; once true, the request is given up without an error.

        Raises:
            EngineError: The server cannot be reached, is too late, refuses, or says something else.
        """
        until = time.monotonic() + min(self._timeout_s, bounds.deadline_ms / 1e3)
        self._model = self._model or self._served(until, should_stop)
        body = {
            "model": self._model,
            "prompt": "",
            "prompt_embeds": base64.b64encode(torch_file(prompt.astype(np.float16))).decode(),
            "max_tokens": bounds.max_tokens,
            "temperature": sampling.temperature,
            "top_p": sampling.top_p,
            "repetition_penalty": sampling.repetition_penalty,
            "seed": sampling.seed,
            "stop": list(bounds.stop_texts)[:4],
            "stream": True,
        }
        with self._asking("POST", "/completions", body, until, should_stop) as answer:
            yield from _pieces(answer)

    def _served(self, until: float, should_stop: Callable[[], bool]) -> str:
        """The first model that the server has."""
        with self._asking("GET", "/models", None, until, should_stop) as answer:
            found = json.loads(answer.read(_LONGEST_LIST))
            return str(found["data"][0]["id"])

    @contextlib.contextmanager
    def _asking(
        self,
        method: str,
        path: str,
        body: Mapping[str, Any] | None,
        until: float,
        should_stop: Callable[[], bool],
    ) -> Iterator[http.client.HTTPResponse]:
        """Send a request; whatever goes wrong until the answer is read becomes one error that says it."""
        left = until - time.monotonic()
        connection = _connection(self._url, max(left, 1e-3))
        try:
            connection.connect()
            # Kept here: the connection forgets its socket once an answer that ends with it is being read.
            with _Watch(connection.sock, until, should_stop):
                data = None if body is None else json.dumps(body).encode()
                connection.request(method, self._base + path, data, {"Content-Type": "application/json"})
                answer = connection.getresponse()
                if answer.status != http.client.OK:
                    said = answer.read(300).decode(errors="replace")
                    raise EngineError(f"{self._named}: HTTP {answer.status} {answer.reason}: {said}")
                yield answer
        except (OSError, http.client.HTTPException, ValueError, LookupError, TypeError) as error:
            if should_stop():
                return
            raise EngineError(self._why(error, until)) from error
        finally:
            connection.close()

    def _why(self, error: Exception, until: float) -> str:
        if time.monotonic() >= until or isinstance(error, TimeoutError):
            return f"{self._named}: no whole answer within {self._timeout_s:g} s (reasoning_timeout_s)"
        if isinstance(error, OSError):
            return f"{self._named}: cannot be reached ({error}); is it running?"
        return f"{self._named}: not the answer of a vLLM server ({type(error).__name__}: {error})"

    @property
    def _named(self) -> str:
        return f"reasoning server {self._url.scheme}://{self._url.netloc}"

    @property
    def _base(self) -> str:
        path = self._url.path.rstrip("/")
        return path if path.endswith("/v1") else f"{path}/v1"


class _Watch:
    """Ends a connection when the time is over or it is no longer wanted, however little the server says."""

    def __init__(self, connected: socket.socket, until: float, should_stop: Callable[[], bool]) -> None:
        self._socket, self._until, self._should_stop = connected, until, should_stop
        self._done = threading.Event()
        self._thread = threading.Thread(target=self._look, name="emollama-watch", daemon=True)

    def __enter__(self) -> None:
        self._thread.start()

    def __exit__(self, *error: object) -> None:
        self._done.set()
        self._thread.join()

    def _look(self) -> None:
        while not self._done.wait(_LOOK_S):
            if self._should_stop() or time.monotonic() > self._until:
                self._hang_up()

    def _hang_up(self) -> None:
        with contextlib.suppress(OSError):  # it has ended by itself meanwhile
            self._socket.shutdown(socket.SHUT_RDWR)


def _checked(url: str) -> SplitResult:
    parts = urlsplit(url)
    try:
        usable = parts.scheme in ("http", "https") and parts.hostname and parts.port != 0
    except ValueError:
        usable = False
    if not usable:
        raise ConfigError(f"reasoning_url is {url!r}; use for example http://gpu.local:8000")
    return parts


def _connection(url: SplitResult, timeout_s: float) -> http.client.HTTPConnection:
    kind = http.client.HTTPSConnection if url.scheme == "https" else http.client.HTTPConnection
    assert url.hostname is not None
    return kind(url.hostname, url.port, timeout=timeout_s)


def _pieces(answer: http.client.HTTPResponse) -> Iterator[str]:
    """Text of a stream of server-sent events.

    Raises:
        ValueError: A line that is none, or a stream that ends before its end.
        LookupError: An event without text.
    """
    while line := answer.readline(_LONGEST_LINE):
        event = line.strip()
        if not event or event.startswith(b":"):
            continue
        if not event.startswith(b"data:"):
            raise ValueError(f"unexpected line {event[:80]!r}")
        data = event.removeprefix(b"data:").strip()
        if data == b"[DONE]":
            return
        if piece := json.loads(data)["choices"][0]["text"]:
            yield str(piece)
    raise ValueError("the answer ends before its end")
