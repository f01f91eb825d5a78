"""Free text: what ends it, what is streamed, what is never written, how tokens are drawn."""

from __future__ import annotations

import re
import zlib

import numpy as np
import pytest
from fake_language import FakeTokenizer, ScriptedModel
from hypothesis import example, given, settings
from hypothesis import strategies as st

from emollama_ros.errors import ConfigError
from emollama_ros.language.generation import (
    Bounds,
    Ending,
    Sampling,
    TextWriter,
    draw,
    nucleus,
    penalised,
    settled,
)

PROMPT = np.full((3, 1), -1.0, np.float32)
#: Stands for the token that ends an answer.
END = "¶"


def follow(*pieces: str):
    """Write these pieces one after another, whatever was written instead of one of them."""

    def script(tokens):
        written = len([t for t in tokens if t >= 0])
        return [pieces[written] if written < len(pieces) else END]

    return script


def write(script, opening="", sampling=None, stream=None, should_stop=lambda: False, clock=None, **bounds):
    tokenizer = FakeTokenizer()
    (end,) = tokenizer.encode(END)
    model = ScriptedModel(tokenizer, script)
    shown = [] if stream is None else stream
    more = {} if clock is None else {"clock": clock}
    writer = TextWriter(
        model, tokenizer, sampling, Bounds(**({"stop_tokens": (end,)} | bounds)),
        on_text=lambda text, tokens: shown.append((text, tokens)), should_stop=should_stop, **more,
    )  # fmt: skip
    return writer.write(PROMPT, tokenizer.encode(opening)), model


def test_a_text_goes_on_until_the_model_ends_it():
    made, model = write(follow("The", " face", " moves", "."))
    assert (made.text, made.ending, made.passes) == ("The face moves.", Ending.STOP, 5)
    assert model.passes == [3, 1, 1, 1, 1], "one prefill, then a position a token"


def test_an_opening_is_given_in_the_pass_of_the_prompt():
    stream = []
    made, model = write(follow("It", " is", " so", " because"), "It is", stream=stream)
    assert made.text == "It is so because"
    assert model.passes[0] == 5
    assert stream[0] == ("It is", 2)


def test_a_text_is_streamed_at_word_boundaries():
    stream = []
    write(follow("Un", "seen", " bro", "ws", " rise", "."), stream=stream)
    assert [text for text, _ in stream] == ["Unseen", "Unseen brows"], "the last word is in what is returned"


@pytest.mark.parametrize("pieces", [(" a", " b", "</", "think", ">", " c"), (" a", " b", "</think> c")])
def test_a_stop_text_ends_a_text_and_is_never_shown(pieces):
    stream = []
    made, _ = write(follow("x", *pieces), stream=stream, stop_texts=("</think>",))
    assert (made.text, made.ending) == ("x a b", Ending.STOP)
    assert not any("<" in text for text, _ in stream)


def test_the_beginning_of_a_stop_text_is_held_back():
    assert settled("so it is END", ("END OF ALL",)) == "so it is "
    assert settled("so it is ", ("is here",)) == "so it "


def test_a_text_that_is_too_long_ends_at_a_whole_word():
    made, _ = write(follow("one", " two", " th", "ree"), max_tokens=3)
    assert (made.text, made.ending, len(made.tokens)) == ("one two…", Ending.LENGTH, 3)
    made, _ = write(follow("One", ".", " Two"), max_tokens=3)
    assert made.text == "One."


def test_the_last_token_that_fits_costs_no_further_pass():
    made, model = write(follow("a", " b", " c"), max_tokens=3)
    assert made.passes == len(model.passes) == 3


def test_a_text_can_be_cancelled_at_every_token():
    for allowed in range(4):
        answers = iter([False] * allowed + [True])
        made, model = write(follow(*["a"] * 9), should_stop=lambda answers=answers: next(answers))
        assert made.ending is Ending.CANCELLED
        assert len(model.passes) == allowed, "asked before every pass, the prefill too"


def test_a_deadline_ends_a_text():
    ticks = iter(np.arange(0, 10, 0.1))
    made, model = write(follow(*["a "] * 90), clock=lambda: next(ticks), deadline_ms=450)
    assert made.ending is Ending.DEADLINE
    assert len(model.passes) == 4, "what begins within 450 ms is done, the pass after that is not"


def test_an_opening_alone_is_a_whole_text():
    made, _ = write(follow(), "It is so.", should_stop=lambda: True)
    assert (made.text, made.ending) == ("It is so.", Ending.CANCELLED)


SAD = re.compile(r"(?<!\w)(?:sad|sadness)(?!\w)", re.IGNORECASE)


@pytest.mark.parametrize("opening", ["", "Well"])
def test_a_forbidden_word_is_taken_back_where_it_began(opening):
    pieces = [[" looks"], [" sad", " calm"], [" today"], [" sa", " then"], ["dness"]]

    def script(tokens):
        said = len([t for t in tokens if t >= 0]) - bool(opening)
        return [*pieces[said], END] if said < 5 else [END]

    stream = []
    made, _ = write(script, opening, stream=stream, forbidden=SAD, max_tokens=9)
    assert made.text == f"{opening} looks calm today thendness"
    assert not SAD.search(made.text)
    assert not any(SAD.search(text) for text, _ in stream)


def test_a_word_that_was_shown_is_never_made_longer():
    stream = []
    made, _ = write(
        lambda tokens: [[" sa"], [" sad", "ßen", " then"], [" it"]][min(2, sum(t >= 0 for t in tokens))],
        stream=stream, forbidden=SAD, max_tokens=4,
    )  # fmt: skip
    assert made.text == " sa then it…"
    assert stream[0][0] == " sa"


def test_a_forbidden_first_word_is_taken_back_too():
    def script(tokens):
        return ["sad", "calm"] if tokens[-1] < 0 else [END]

    assert write(script, forbidden=SAD)[0].text == "calm"


def test_what_would_only_be_forbidden_ends():
    def script(tokens):
        return [f" w{i}" for i in range(30)]

    made, model = write(script, "It is", forbidden=re.compile(r"\w+"))
    assert made.ending is Ending.FORBIDDEN
    assert made.text == "It is…"
    assert len(model.passes) < 40


def test_a_given_word_is_not_forbidden():
    assert write(follow("sad", "."), "sad", forbidden=SAD)[0].text == "sad."


def random_script(seed: int):
    """Pieces that look random but follow from the seed and all tokens before."""
    pieces = ["a", " b", " sad", " sa", "d", "ness", " very", ".", ", ", "</", "think>", END, "ß", " 好"]

    def script(tokens):
        order = [zlib.crc32(f"{seed} {tokens} {piece}".encode()) for piece in pieces]
        return [piece for _, piece in sorted(zip(order, pieces, strict=True))]

    return script


@settings(max_examples=60, deadline=None)
@given(st.integers(0, 999), st.integers(1, 30), st.sampled_from(["", "Well", "It is"]))
@example(216, 10, "It is")  # a stop text made whole after going back, from what was shown
def test_whatever_is_written_streams_as_prefixes_and_stays_within_its_bounds(seed, longest, opening):
    stream = []
    made, model = write(
        random_script(seed),
        opening,
        stream=stream,
        forbidden=SAD,
        max_tokens=longest,
        stop_texts=("</think>",),
    )
    texts = [text for text, _ in stream]
    given_tokens = len(FakeTokenizer().encode(opening))
    assert all(b.startswith(a) and len(b) > len(a) for a, b in zip(texts, texts[1:], strict=False))
    assert not texts or made.text.startswith(texts[-1].rstrip(",;:"))
    assert not SAD.search(made.text.removeprefix(opening))
    assert "</think>" not in made.text
    assert len(made.tokens) <= max(longest, given_tokens)
    assert made.passes == len(model.passes)
    assert (
        write(random_script(seed), opening, forbidden=SAD, max_tokens=longest, stop_texts=("</think>",))[0]
        == made
    ), "the same is written again"


def test_drawing_follows_the_probabilities_within_the_nucleus():
    scores = np.log(np.array([0.5, 0.3, 0.15, 0.05], np.float32))
    random = np.random.default_rng(0)
    drawn = [draw(scores, Sampling(temperature=1, top_p=0.7), random) for _ in range(2000)]
    share = np.bincount(drawn, minlength=4) / len(drawn)
    assert share == pytest.approx([0.625, 0.375, 0, 0], abs=0.05)
    drawn = [draw(scores, Sampling(temperature=1), random) for _ in range(2000)]
    assert np.bincount(drawn, minlength=4) / len(drawn) == pytest.approx([0.5, 0.3, 0.15, 0.05], abs=0.05)
    assert draw(scores, Sampling(), random) == 0


@pytest.mark.parametrize("top_p", [0.01, 0.3, 0.9, 0.999])
@pytest.mark.parametrize("sharpness", [0.001, 1, 30])
def test_the_nucleus_is_the_smallest_set_that_has_the_mass(top_p, sharpness):
    scores = np.random.default_rng(1).normal(0, sharpness, 2000).astype(np.float32)
    tokens, probability = nucleus(scores, top_p)
    exact = np.exp(scores.astype(np.float64) - scores.max())
    exact /= exact.sum()
    order = np.argsort(-exact)
    count = int(np.argmax(np.cumsum(exact[order]) >= top_p)) + 1
    assert sorted(tokens) == sorted(order[:count])
    assert probability.sum() == pytest.approx(1)


def test_a_seed_repeats_a_text_and_another_one_varies_it():
    def script(tokens):
        return []  # all tokens alike

    def said(seed):
        tokenizer = FakeTokenizer()
        tokenizer.encode(" ".join(f"w{i}" for i in range(400)))
        writer = TextWriter(
            ScriptedModel(tokenizer, script, 300),
            tokenizer,
            Sampling(1.0, 0.9, seed=seed),
            Bounds(max_tokens=8),
        )
        return writer.write(PROMPT).tokens

    assert said(1) == said(1) != said(2)


def test_what_was_said_is_penalised_as_in_the_paper():
    scores = penalised(np.array([2.0, -2.0, 4.0], np.float32), [0, 1, 1], 2.0)
    assert scores.tolist() == [1.0, -4.0, 4.0]
    made, _ = write(
        lambda tokens: [" again", " once"], "again", Sampling(repetition_penalty=1.5), max_tokens=4
    )
    assert made.text.count("once") >= 1


@pytest.mark.parametrize(
    "wrong",
    [{"temperature": -1}, {"temperature": 3}, {"top_p": 0}, {"top_p": 1.1}, {"repetition_penalty": 0.5}],
)
def test_sampling_out_of_range_is_refused(wrong):
    with pytest.raises(ConfigError, match=next(iter(wrong))):
        Sampling(**wrong)


@pytest.mark.parametrize("wrong", [{"max_tokens": 0}, {"deadline_ms": 0}, {"stop_texts": ("",)}])
def test_bounds_out_of_range_are_refused(wrong):
    with pytest.raises(ConfigError, match=next(iter(wrong))):
        Bounds(**wrong)


def test_a_character_of_several_tokens_is_shown_whole(small, tmp_path):
    from emollama_ros.language.assemble import TOKENIZER, assemble
    from emollama_ros.language.tokenizer import Tokenizer

    assemble(small.gguf, small.folder, tmp_path)
    tokenizer = Tokenizer.load(tmp_path / TOKENIZER)
    wanted = list(tokenizer.encode("naïve 🙂 你好 x"))

    class Model(ScriptedModel):
        def logits(self, row=-1):
            return np.eye(300, dtype=np.float32)[wanted[len(self.tokens) - len(PROMPT)]]

    texts = []
    writer = TextWriter(
        Model(tokenizer, None), tokenizer, bounds=Bounds(max_tokens=len(wanted)),
        on_text=lambda text, _: texts.append(text),
    )  # fmt: skip
    made = writer.write(PROMPT)
    assert made.text == "naïve 🙂 你好…"
    assert texts == ["naïve", "naïve 🙂", "naïve 🙂 你", "naïve 🙂 你好"]
