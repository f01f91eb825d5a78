"""A server that writes: well, late, wrongly or not at all. The label is always said, and nothing hangs."""

from __future__ import annotations

import base64
import io
import json
import re
import threading
from contextlib import contextmanager
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer

import numpy as np
import pytest
from fake_language import FakeTokenizer, prompt
from test_free_reasoning import ATTACKS, estimate

from emollama_ros.errors import ConfigError, EngineError
from emollama_ros.labels import UNCERTAIN
from emollama_ros.language.feelings import other_feelings
from emollama_ros.language.generation import Bounds, Sampling
from emollama_ros.language.remote import RemoteModel
from emollama_ros.language.tensor_file import torch_file
from emollama_ros.remote_reasoning import RemoteReasoner

EMBEDS = np.arange(6, dtype=np.float32).reshape(3, 2)


def event(text: str) -> bytes:
    return b"data: " + json.dumps({"choices": [{"text": text}]}).encode() + b"\n\n"


@contextmanager
def serving(answer, models=b'{"data": [{"id": "ours"}]}'):
    """A server whose completions are written by ``answer(handler, let_go)``; yields URL and requests."""
    requests, let_go = [], threading.Event()

    class Handler(BaseHTTPRequestHandler):
        def do_GET(self):
            self.send_response(200)
            self.end_headers()
            self.wfile.write(models)

        def do_POST(self):
            requests.append((self.path, json.loads(self.rfile.read(int(self.headers["Content-Length"])))))
            try:
                answer(self, let_go)
            except OSError:
                return  # the client has hung up

        def begin(self, status=200):
            self.send_response(status)
            self.end_headers()

        def log_message(self, *args):
            """Say nothing."""

    server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
    server.daemon_threads = True
    thread = threading.Thread(target=server.serve_forever, args=(0.01,), daemon=True)
    thread.start()
    try:
        yield f"http://127.0.0.1:{server.server_address[1]}", requests
    finally:
        let_go.set()
        server.shutdown()
        server.server_close()
        thread.join()


def saying(*pieces: str, end: bytes = b"data: [DONE]\n\n"):
    def answer(handler, let_go):
        handler.begin()
        for piece in pieces:
            handler.wfile.write(event(piece))
        handler.wfile.write(end)

    return answer


class Table:
    hidden = 1

    def __call__(self, tokens):
        return np.array(tokens, np.float32)[:, None]


def explain(url, timeout_s=5.0, label="sad", **more):
    made = RemoteReasoner(RemoteModel(url, timeout_s), Table(), FakeTokenizer(), prompt())
    seen = []
    try:
        return made.explain(estimate(label), on_text=seen.append, **more), seen, None
    except EngineError as error:
        return seen[-1], seen, error


def test_a_file_of_embeddings_is_one_that_torch_reads_without_running_anything():
    torch = pytest.importorskip("torch", reason="needs torch (pip install .[training])")
    for array in (EMBEDS, np.random.default_rng(0).normal(size=(7, 5)).astype(np.float16)):
        read = torch.load(io.BytesIO(torch_file(array)), weights_only=True)
        assert read.dtype == getattr(torch, array.dtype.name)
        assert (read.numpy() == array).all()


def test_the_request_is_what_vllm_expects():
    with serving(saying(" a", " b")) as (url, requests):
        pieces = RemoteModel(url + "/v1").stream(
            EMBEDS, Sampling(0.5, 0.9, 1.2, 3), Bounds(9, stop_texts=("</s>",)), lambda: False
        )
        assert list(pieces) == [" a", " b"]
    ((path, body),) = requests
    assert path == "/v1/completions"
    sent = body.pop("prompt_embeds")
    assert body == {
        "model": "ours", "prompt": "", "max_tokens": 9, "temperature": 0.5, "top_p": 0.9,
        "repetition_penalty": 1.2, "seed": 3, "stop": ["</s>"], "stream": True,
    }  # fmt: skip
    assert base64.b64decode(sent) == torch_file(EMBEDS.astype(np.float16))


def test_a_server_writes_the_reasons_and_the_robot_the_label():
    with serving(saying(" The", " brows", " are", " drawn", ".")) as (url, _):
        said, seen, error = explain(url)
    assert error is None
    assert said.text == "The person seems sad: The brows are drawn."
    assert seen[0].text == "The person seems sad"
    assert all(b.text.startswith(a.text) for a, b in zip(seen, seen[1:], strict=False))
    assert [r.final for r in seen] == [False] * (len(seen) - 1) + [True]


def test_a_server_is_not_asked_about_a_label_that_is_not_told():
    with serving(saying(" The", " brows", ".")) as (url, requests):
        said, seen, error = explain(url, label=UNCERTAIN)
    assert error is None
    assert said.text == "I am not sure which feeling is shown."
    assert (seen, requests) == ([said], [])


def test_a_server_cannot_contradict_the_label():
    with serving(saying(" The", " person", " is", " hap", "py", " today", ".")) as (url, _):
        said, _, error = explain(url)
    assert error is None
    assert said.text == "The person seems sad: The person is…"
    assert not other_feelings("sad", estimate().labels).search(said.text)


@pytest.mark.parametrize("attack", ATTACKS)
def test_words_reach_a_server_as_data(attack):
    with serving(saying(" Well", ".")) as (url, requests):
        said, _, _ = explain(url, transcript=attack, question=attack)
    assert said.text == "The person seems sad: Well."
    sent = base64.b64decode(requests[0][1]["prompt_embeds"])
    torch = pytest.importorskip("torch", reason="needs torch (pip install .[training])")
    ids = torch.load(io.BytesIO(sent), weights_only=True)[:, 0].tolist()
    assert ids.count(-1) == 1, "the soft tokens are in the prompt"


def silent(handler, let_go):
    let_go.wait()


def trickling(handler, let_go):
    handler.begin()
    while not let_go.wait(0.02):
        handler.wfile.write(b"d")
        handler.wfile.flush()


def slow(handler, let_go):
    handler.begin()
    handler.wfile.write(event(" The face is still"))
    handler.wfile.flush()
    let_go.wait()


def refusing(handler, let_go):
    handler.begin(400)
    handler.wfile.write(b'{"message": "--enable-prompt-embeds is not set"}')


def hanging_up(handler, let_go):
    handler.connection.close()


@pytest.mark.parametrize(
    ("answer", "complaint", "text"),
    [
        (silent, "no whole answer within 0.4 s", "The person seems sad."),
        (trickling, "no whole answer within 0.4 s", "The person seems sad."),
        (slow, "no whole answer within 0.4 s", "The person seems sad: The face is still…"),
        (refusing, "HTTP 400 .*--enable-prompt-embeds is not set", "The person seems sad."),
        (hanging_up, "reasoning server", "The person seems sad."),
        (saying(end=b"<html>no</html>\n"), "not the answer of a vLLM server", "The person seems sad."),
        (saying(end=b"data: {broken\n"), "not the answer of a vLLM server", "The person seems sad."),
        (saying(end=b'data: {"choices": []}\n'), "not the answer of a vLLM server", "The person seems sad."),
        (saying(end=b"data: 3\n"), "not the answer of a vLLM server", "The person seems sad."),
        (saying(" So", end=b""), "the answer ends before its end", "The person seems sad: So…"),
    ],
)  # fmt: skip
def test_whatever_a_server_does_the_label_is_said_and_the_fault_named(answer, complaint, text):
    with serving(answer) as (url, _):
        said, seen, error = explain(url, timeout_s=0.4)
    assert (said.text, said.final, said.label) == (text, True, "sad")
    assert error is not None
    assert re.search(complaint, str(error))


@pytest.mark.parametrize("models", [b"{}", b"no", b'{"data": []}'])
def test_a_server_without_models_is_none(models):
    with serving(saying(" a"), models) as (url, _):
        said, _, error = explain(url)
    assert said.text == "The person seems sad."
    assert "not the answer of a vLLM server" in str(error)


def test_no_server_at_all():
    with serving(saying()) as (url, _):
        pass
    said, _, error = explain(url)
    assert said.text == "The person seems sad."
    assert "cannot be reached" in str(error)


def test_a_request_is_given_up_when_it_is_no_longer_wanted():
    with serving(slow) as (url, _):
        said, seen, error = explain(url, timeout_s=60, should_stop=lambda: bool(seen_any(url)))
    assert error is None
    assert said.final


_asked: dict[str, int] = {}


def seen_any(url: str) -> bool:
    """True from the third time it is asked."""
    _asked[url] = _asked.get(url, 0) + 1
    return _asked[url] > 3


@pytest.mark.parametrize(
    "url", ["gpu.local:8000", "ftp://x", "http://", "http://x:notaport", "file:///etc/passwd"]
)
def test_a_url_that_is_none_is_refused(url):
    with pytest.raises(ConfigError, match="reasoning_url"):
        RemoteModel(url)


def test_a_time_that_is_none_is_refused():
    with pytest.raises(ConfigError, match="reasoning_timeout_s"):
        RemoteModel("http://x", 0)
