"""Answers are kept whole or not at all, under everything they depend on."""

from __future__ import annotations

import sqlite3
from dataclasses import replace

import pytest
from annotation_fakes.clips import FakeAgent, record
from hypothesis import given
from hypothesis import strategies as st

from emollama_ros.errors import InputError
from training.annotation.agents import Request, Usage
from training.annotation.cache import Answers, completion_key, digest, finding_key, media_digests, spent_in
from training.mmeverse.schema import Media, Provenance


@pytest.fixture
def path(tmp_path):
    return tmp_path / "answers.sqlite"


def test_what_is_kept_is_found_again_after_reopening(path):
    with Answers(path) as answers:
        answers.keep("k", "text — ü")
        assert answers.find("other") is None
    with Answers(path) as answers:
        assert answers.find("k") == "text — ü"


def test_an_entry_that_was_changed_is_not_believed_and_can_be_replaced(path):
    with Answers(path) as answers:
        answers.keep("k", "true")
    with sqlite3.connect(path) as base:
        base.execute("UPDATE answers SET text = 'forged'")
    base.close()
    with Answers(path) as answers:
        assert answers.find("k") is None
        answers.keep("k", "true")
        assert answers.find("k") == "true"


def test_a_damaged_file_is_set_aside(path):
    path.write_bytes(b"this is no data base" * 400)
    with Answers(path) as answers:
        assert answers.find("k") is None
        answers.keep("k", "text")
    assert path.with_name("answers.sqlite.damaged-1").read_bytes().startswith(b"this is no")


def test_a_damaged_file_whose_count_is_needed_is_an_error(path):
    path.write_bytes(b"this is no data base" * 400)
    with pytest.raises(InputError, match="damaged.*delete it to begin anew"):
        Answers(path, keep_count=True)


def test_requests_count_once_sent_and_as_estimated_until_answered(path):
    with Answers(path) as answers:
        estimate = Usage(1, 50, 5)
        first, second = answers.begin_request(estimate), answers.begin_request(estimate)
        answers.end_request(first, Usage(1, 10, 3), "k", "said")
        assert second != first and answers.find("k") == "said"
    assert spent_in(path) == Usage(2, 60, 8)
    assert spent_in(path.with_name("none")) == Usage()


@given(st.dictionaries(st.text(), st.integers() | st.text() | st.none()))
def test_a_digest_does_not_depend_on_the_order_of_names(data):
    assert digest(data) == digest(dict(reversed(data.items())))


@pytest.fixture
def request_(tmp_path):
    (tmp_path / "clip-000.mp4").write_bytes(b"media")
    return Request(record(0), tmp_path)


def key(agent, request):
    return finding_key(agent, request, media_digests(request))


def test_a_finding_depends_on_each_thing_it_may_depend_on(request_):
    agent = FakeAgent("audio", "clues.audio", settings={"temperature": 0})
    others = [
        key(replace(agent, role="visual"), request_),
        key(replace(agent, model="fake-2"), request_),
        key(replace(agent, prompt="audio/v2"), request_),
        key(replace(agent, settings={"temperature": 1}), request_),
        key(agent, replace(request_, is_guided=False)),
        key(agent, replace(request_, record=record(0, transcript="other"))),
        key(agent, replace(request_, record=record(0, label="neutral"))),
        key(agent, replace(request_, record=record(0, media=Media(video="clip-000.mp4", end_s=1.0)))),
    ]
    first = key(agent, request_)
    (request_.root / "clip-000.mp4").write_bytes(b"other media")
    others.append(key(agent, request_))
    assert len({first, *others}) == len(others) + 1


def test_the_day_of_an_earlier_answer_is_not_what_a_finding_depends_on(request_):
    def told(day):
        who = Provenance(agent="audio", model="m", date=day)
        return replace(request_, record=record(0, clues={"audio": "calm"}, provenance={"clues.audio": who}))

    agent = FakeAgent("fusion", "reasoning")
    assert key(agent, told("2026-01-01")) == key(agent, told("2026-01-02"))


def test_an_answer_depends_on_every_byte_that_was_sent(request_):
    agent = FakeAgent("audio", "clues.audio")
    sent = [{"role": "user", "content": [{"type": "text", "text": "what?"}]}]
    more = [*sent, {"role": "user", "content": "again"}]
    assert completion_key(agent, {"video": "a"}, sent) != completion_key(agent, {"video": "a"}, more)
    assert completion_key(agent, {"video": "a"}, sent) != completion_key(agent, {"video": "b"}, sent)


def test_missing_media_are_named(tmp_path):
    with pytest.raises(InputError, match="clip-000.mp4: cannot be read.*--root"):
        media_digests(Request(record(0), tmp_path))
