"""Guesses: what is guessed from what was written before, that no text changes, what it costs at worst."""

from __future__ import annotations

import re

import numpy as np
import pytest
from fake_language import FakeTokenizer, ScriptedModel
from hypothesis import given, settings
from hypothesis import strategies as st
from test_generation import END, SAD, random_script

from emollama_ros.errors import BundleError
from emollama_ros.language.generation import Bounds, Sampling, TextWriter
from emollama_ros.language.guesses import MOST, MOST_BYTES, Guesses, read_guesses, write_guesses

PROMPT = np.full((3, 1), -1.0, np.float32)


def test_what_followed_is_guessed_up_to_the_end_of_a_text():
    guesses = Guesses([[1, 2, 3, 4, 5]] * 3)
    assert guesses.guess([1, 2]) == [3, 4, 5]
    assert guesses.guess([1, 2], most=2) == [3, 4]
    assert guesses.guess([5]) == [], "texts do not run into one another"
    assert guesses.guess([9]) == [] == Guesses().guess([1])


def test_more_of_the_same_before_counts_more_than_how_often():
    guesses = Guesses([[7, 1, 2, 5]] + [[8, 1, 2, 6]] * 4)
    assert guesses.guess([7, 1, 2], 1) == [5]
    assert guesses.guess([9, 1, 2], 1) == [6]


def test_of_what_is_as_likely_the_last_is_taken():
    assert Guesses([[1, 5], [1, 4]]).guess([1], 1) == [4]
    assert Guesses([[1, 4], [1, 5]]).guess([1], 1) == [5]


def test_a_guess_is_made_where_it_is_worth_its_cost():
    texts = [[1, 2], [1, 3], [1, 4], [1, 5]]
    assert Guesses(texts, cost=0.5).guess([1]) == []
    assert Guesses(texts, cost=0.2).guess([1]) == [5]


def test_the_oldest_texts_are_forgotten():
    guesses = Guesses(capacity=12)
    for first in range(10, 50, 10):
        guesses.learn([first, first + 1, first + 2])
    assert guesses.guess([10]) == []
    assert [guesses.guess([first], 1) for first in (20, 40)] == [[21], [41]]
    guesses.learn(range(100, 200))
    assert guesses.guess([100], 1) == [101]
    assert guesses.guess([40]) == []


@settings(max_examples=200, deadline=None)
@given(
    st.lists(st.lists(st.integers(0, 5), max_size=12), max_size=8), st.lists(st.integers(0, 5), max_size=9)
)
def test_a_guess_is_what_a_plain_search_finds(texts, text):
    guesses = Guesses(texts, cost=1e-9)
    best, places = 0, []
    for known in texts:
        for at in range(len(known) + 1):
            same = 0
            while same < min(6, at, len(text)) and known[at - same - 1] == text[-same - 1]:
                same += 1
            if same > best:
                best, places = same, []
            if same == best:
                places.append(known[at] if at < len(known) else None)
    found = guesses.guess(text, 1)
    if best == 0:
        assert found == []
        return
    counts = {token: places.count(token) for token in places}
    likeliest = {token for token, count in counts.items() if count == max(counts.values())}
    wanted = next(token for token in reversed(places) if token in likeliest)
    assert found == ([] if wanted is None else [wanted])


@pytest.mark.parametrize("cost", [0.17, 0.3])
def test_guesses_that_are_never_right_cost_little(cost):
    """Each context goes on as it never did before; a guess costs its share of a pass."""
    random = np.random.default_rng(0)
    guesses, spent, passes = Guesses([list(random.integers(0, 9, 3000))], cost=cost), 0.0, 0
    for step in range(6000):
        found = guesses.guess(list(random.integers(0, 9, 4)))
        guesses.judge(0)
        if step >= 1000:  # until trust is lost
            spent, passes = spent + cost * len(found), passes + 1
    assert spent / passes < 0.03


def test_trust_that_was_lost_is_won_again():
    guesses, text = Guesses([[1, 2, 3, 4, 5, 6, 7, 8, 9]] * 5), [1, 2]
    made = []
    for _ in range(200):
        made.append(len(guesses.guess(text)))
        guesses.judge(0)
    assert made[0] == 7
    assert sum(made[-100:]) < 15, "a few, to see whether it is still so"
    for _ in range(3000):
        found = guesses.guess(text)
        guesses.judge(len(found))
    assert found == [3, 4, 5, 6, 7, 8, 9]


def test_texts_are_kept_in_a_file(tmp_path):
    texts = [[5, 6, 7], [], [8]]
    (tmp_path / "g").write_bytes(write_guesses(texts))
    assert read_guesses(tmp_path / "g", vocab=9) == texts
    (tmp_path / "g").write_bytes(b"")
    assert read_guesses(tmp_path / "g", vocab=9) == []
    many = write_guesses([[1] * 1000, *[[2] * 1000] * 300])
    assert len(many) <= MOST_BYTES
    assert np.frombuffer(many, "<i4")[0] == 2, "the first are left out"


@pytest.mark.parametrize(
    "content",
    [b"abc", np.array([1, 2], "<i4").tobytes(), np.array([9, -1], "<i4").tobytes(),
     np.array([-2, -1], "<i4").tobytes(), bytes(MOST_BYTES + 4)],
)  # fmt: skip
def test_a_damaged_file_is_refused(tmp_path, content):
    (tmp_path / "g").write_bytes(content)
    with pytest.raises(BundleError, match="export the bundle again"):
        read_guesses(tmp_path / "g", vocab=9)
    with pytest.raises(BundleError, match="cannot be read"):
        read_guesses(tmp_path / "none", vocab=9)


class Bold(Guesses):
    """Guesses as much as it can, whatever it costs."""

    def __init__(self, texts=()):
        super().__init__(texts, cost=1e-9)


def write(script, guesses=None, opening="", sampling=None, stream=None, tokenizer=None, **bounds):
    tokenizer = tokenizer or FakeTokenizer()
    (end,) = tokenizer.encode(END)
    model = ScriptedModel(tokenizer, script)
    writer = TextWriter(
        model, tokenizer, sampling, Bounds(**({"stop_tokens": (end,)} | bounds)), guesses=guesses,
        on_text=lambda *shown: stream.append(shown) if stream is not None else None,
    )  # fmt: skip
    return writer.write(PROMPT, tokenizer.encode(opening)), model


@settings(max_examples=150, deadline=None)
@given(
    st.integers(0, 999),
    st.integers(1, 30),
    st.sampled_from(["", "Well", "It is"]),
    st.lists(st.lists(st.integers(0, 14), max_size=12), max_size=4),
    st.sampled_from([0.0, 1.0]),
)
def test_guesses_change_nothing_of_what_is_written(seed, longest, opening, texts, temperature):
    tokenizer, bounds = FakeTokenizer(), {"forbidden": SAD, "stop_texts": ("</think>",)}
    sampling = Sampling(temperature, 0.9, 1.2, seed)
    options = {"opening": opening, "sampling": sampling, "tokenizer": tokenizer, "max_tokens": longest}
    streams = [], [], []
    plain, model = write(random_script(seed), None, stream=streams[0], **options, **bounds)
    guesses = Bold(texts)
    for stream in streams[1:]:  # the second time knowing the text
        made, guessing = write(random_script(seed), guesses, stream=stream, **options, **bounds)
        assert (made.text, made.tokens, made.ending) == (plain.text, plain.tokens, plain.ending)
        assert stream == streams[0]
        assert made.passes == len(guessing.passes) <= plain.passes
        # What was guessed wrongly may be left behind the text, never in it.
        assert max(guessing.tokens[: len(model.tokens)] == model.tokens, not len(plain.tokens))


def test_a_text_that_is_known_is_written_in_leaps():
    def script(tokens):
        return [f" w{len(tokens)}"] if len(tokens) < 40 else [END]

    guesses = Guesses()
    first, _ = write(script, guesses, max_tokens=60)
    again, model = write(script, guesses, max_tokens=60)
    assert again.tokens == first.tokens
    assert first.passes == 1 + len(first.tokens)
    assert again.passes < first.passes / 3
    assert max(model.passes[1:]) <= 1 + MOST


def test_a_pass_goes_no_further_than_the_text_may():
    def script(tokens):
        return [f" w{len(tokens)}"]

    guesses = Bold()
    for _ in range(3):
        made, model = write(script, guesses, max_tokens=12)
        assert len(made.tokens) == 12
        assert len(model.tokens) == len(PROMPT) + 11, "the last token needs no pass"


def test_being_cancelled_is_asked_before_every_token_also_of_guessed_ones():
    def script(tokens):
        return [f" w{len(tokens)}"]

    guesses = Bold()
    write(script, guesses, max_tokens=20)
    for allowed in range(6):
        answers = iter([False] * allowed + [True])
        tokenizer = FakeTokenizer()
        model = ScriptedModel(tokenizer, script)
        made = TextWriter(
            model, tokenizer, bounds=Bounds(max_tokens=20), guesses=guesses,
            should_stop=lambda answers=answers: next(answers),
        ).write(PROMPT)  # fmt: skip
        assert len(made.tokens) == max(0, allowed - 1)


def test_a_refused_word_is_not_guessed_again():
    def script(tokens):
        return [" sad", " calm"] if tokens[-1] < 0 else [" now"] if len(tokens) < 6 else [END]

    tokenizer = FakeTokenizer()
    known = tokenizer.encode(" sad now")
    made, model = write(
        script, Bold([known] * 3), tokenizer=tokenizer, forbidden=re.compile("sad"), max_tokens=9
    )
    assert made.text == " calm now now"
    assert known[0] not in model.tokens
