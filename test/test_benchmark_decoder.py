"""The decoder's benchmarks count and compare what they say."""

from __future__ import annotations

from types import SimpleNamespace

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from benchmark import decoder_rivals, own_reasonings, prompt_lookup, record
from benchmark.prompt_lookup import PROPOSED, Tally, propose


def test_a_proposal_is_what_followed_the_last_time():
    assert propose([1, 2, 3, 1, 2, 9, 7, 1, 2]) == [9, 7, 1, 2]
    assert propose([1, 2, 3, 4]) == []


@given(st.lists(st.integers(0, 4), max_size=20), st.lists(st.integers(0, 4), max_size=40))
def test_every_token_comes_from_a_pass_or_from_a_right_guess(prompt, text):
    tally = prompt_lookup.write(prompt, text)
    assert tally.tokens == len(text) == tally.plain + tally.guessed + tally.right


def test_a_text_that_stands_in_the_prompt_is_written_in_leaps():
    text = list(range(10, 30))
    tally = prompt_lookup.write([8, 9, *text, 8, 9], text)
    assert tally.guessed == len(text) // (PROPOSED + 1)
    assert tally.plain == 0
    assert prompt_lookup.speedup(tally, one=8.0, several=8.0) == pytest.approx(PROPOSED + 1)


def test_wrong_guesses_cost_time():
    assert prompt_lookup.speedup(Tally(tokens=10, plain=5, guessed=5, right=0), 8.0, 16.0) < 1


def side(prefill: float, near: float, far: float):
    def ask(work, tokens, runs):
        return [prefill if work == "prefill" else far if len(tokens) > 900 else near] * runs

    return ask


def test_sides_are_compared_turn_by_turn(monkeypatch):
    monkeypatch.setattr(decoder_rivals, "Reader", lambda threads: SimpleNamespace(bytes_s=lambda: 25e9))
    sides = {"ours": side(300.0, 8.0, 10.0), "theirs": side(450.0, 10.0, 11.0)}
    found = decoder_rivals.compare(sides, decoder_rivals.Plan(rounds=3), threads=1)
    assert found["prefill_times_faster"]["p50"] == 1.5
    assert found["decode_times_faster"]["p50"] == 1.25
    assert found["ours"]["growth"] == {"n": 3, "p25": 1.25, "p50": 1.25, "p75": 1.25}
    assert found["ours"]["prefill_tokens_s"] == pytest.approx(290 / 0.3, rel=1e-3)
    assert found["read_gb_s"]["p50"] == 25


def test_one_side_alone_has_no_ratio(monkeypatch):
    monkeypatch.setattr(decoder_rivals, "Reader", lambda threads: SimpleNamespace(bytes_s=lambda: 1e9))
    found = decoder_rivals.compare({"ours": side(1.0, 1.0, 1.0)}, decoder_rivals.Plan(rounds=2), threads=2)
    assert "decode_times_faster" not in found


def test_memory_is_read_by_every_thread():
    reader = decoder_rivals.Reader(2, size=1 << 16)
    assert sum(part.nbytes for part in reader._parts) == 1 << 16
    assert 0 < reader.bytes_s() < 1e13


def test_the_floor_counts_weights_head_and_caches(tmp_path):
    (tmp_path / "decoder.onnx.data").write_bytes(bytes(3_000_000))
    (tmp_path / "embed_tokens.bin").write_bytes(bytes(1_000_000))
    least = decoder_rivals.floor(tmp_path, read_gb_s=10.0, position=0)
    assert least == {"mb_a_token": 4.0, "tokens_s": 2500.0}
    assert decoder_rivals.floor(tmp_path, 10.0, 100)["mb_a_token"] == pytest.approx(8.608, rel=1e-3)


def test_quartiles_of_ratios():
    assert record.quartiles(np.array([1.0, 2.0, 3.0])) == {"n": 3, "p25": 1.5, "p50": 2.0, "p75": 2.5}


def written(ms: float, passes: int, text: tuple[int, ...] = (1, 2, 3)) -> own_reasonings.Written:
    return own_reasonings.Written(ms, prompt=60, tokens=12, passes=passes, text=text)


def test_reasonings_are_compared_text_by_text():
    taken = own_reasonings.Taken(
        [written(100.0, 4), written(50.0, 8)],
        [written(200.0, 12), written(75.0, 12, (1, 2))],
        [300.0, 100.0],
    )
    found = taken.summary()
    assert found["texts"] == 2
    assert found["same_texts"] == 1
    assert (found["passes"], found["passes_of_plain"]) == (12, 24)
    assert found["tokens_a_pass"] == 2.0
    assert found["times_faster_than"]["plain"]["p50"] == 1.75
    assert found["times_faster_than"]["onnxruntime_genai"]["p50"] == 2.5
    assert found["plain_times_faster_than_genai"]["p50"] == pytest.approx(1.42, abs=0.005)
    assert (
        own_reasonings.Taken(taken.guessing, taken.plain).summary()["plain_times_faster_than_genai"] is None
    )


def test_reasonings_of_both_ways_and_of_the_other_side(monkeypatch):
    """The other side is given as many positions and tokens as the text has."""
    made = [SimpleNamespace(), SimpleNamespace()]
    for side, passes in zip(made, (3, 9), strict=True):
        side.explain = lambda estimate, said: None
        side.written = written(10.0 * passes, passes)
    asked = []

    def other(work, tokens, runs):
        asked.append((work, len(tokens), runs))
        return [120.0]

    monkeypatch.setattr(own_reasonings, "reasoners", lambda bundle, threads, task: iter(made))
    prompt = SimpleNamespace(questions={"reason": "Why?"})
    bundle = SimpleNamespace(manifest=SimpleNamespace(prompt=prompt))
    found = own_reasonings.compare(bundle, [(None, "")] * 3, 1, other)
    assert list(found) == ["reason"]
    assert asked == [("write", 60, 12)] * 3
    assert found["reason"]["times_faster_than"]["onnxruntime_genai"]["p50"] == 4
