"""Grammar-bound writing, with a model that scores at random."""

from __future__ import annotations

from collections import Counter

import numpy as np
import pytest
from fake_language import FakeModel, FakeTokenizer

from emollama_ros.errors import ConfigError
from emollama_ros.language.grammar import GrammarWriter, Option, most_likely, sampler, whole_words


class Table:
    """A grammar written down as a table."""

    start = "start"

    def __init__(self, **states):
        self._states = states

    def options(self, state):
        return [Option(text, after) for text, after in self._states[state]]


ROBOT = Table(
    start=[("The robot", "verb"), ("The small robot", "verb")],
    verb=[(" sees", "object"), (" hears", "object")],
    object=[(" a cat", "end"), (" a dog", "end"), (" nothing", "end")],
    end=[(".", None), (" and it waits.", None), (" and it goes away again.", None)],
)


def write(grammar=ROBOT, seed=0, max_tokens=40, **settings):
    model = FakeModel(seed)
    seen = []
    writer = GrammarWriter(
        grammar, model, FakeTokenizer(), max_tokens=max_tokens,
        on_text=lambda text, tokens: seen.append(text), **settings,
    )  # fmt: skip
    return writer.write(), seen, model


def test_only_permitted_texts_and_all_of_them_are_written():
    texts = {write(seed=seed)[0].text for seed in range(400)}
    permitted = {
        f"{subject} {verb} {object_}{end}"
        for subject in ("The robot", "The small robot")
        for verb in ("sees", "hears")
        for object_ in ("a cat", "a dog", "nothing")
        for end in (".", " and it waits.", " and it goes away again.")
    }
    assert texts <= permitted
    assert len(texts) > 30


def test_the_model_is_asked_only_where_paths_part():
    written, _, model = write()
    assert written.passes == model.passes <= 6
    assert written.tokens > written.passes
    only = Table(start=[("It is so", "more")], more=[(" and not otherwise.", None)])
    written, _, model = write(only)
    assert (written.passes, model.passes) == (0, 0)


def test_text_grows_by_whole_words():
    for seed in range(40):
        written, seen, _ = write(seed=seed)
        assert seen[-1] == written.text
        for shorter, longer in zip(seen, seen[1:], strict=False):
            assert longer.startswith(shorter)
            assert longer[len(shorter)] in " .", (shorter, longer)


def test_budget_is_kept_where_the_grammar_allows():
    assert all(write(seed=seed, max_tokens=6)[0].tokens <= 6 for seed in range(50))
    assert write(max_tokens=1)[0].text == "The robot sees nothing.", (
        "the shortest text, when even that is too long"
    )


def test_stopping_ends_the_sentence_without_the_model():
    written, seen, model = write(should_stop=lambda: True)
    assert (written.text, written.hurried, model.passes) == ("The robot sees nothing.", True, 0)
    assert seen[-1] == written.text
    asked = iter([False, False, True])
    written, _, model = write(should_stop=lambda: next(asked))
    assert (written.hurried, model.passes) == (True, 2)
    assert written.text.endswith(".")


def test_an_option_that_another_begins_with_wins():
    ambiguous = Table(
        start=[("It is quiet", "end"), ("It is quiet er", "end"), ("It is", "end")], end=[(".", None)]
    )
    assert {write(ambiguous, seed=seed)[0].text for seed in range(20)} == {"It is."}


class Telling(Table):
    """A grammar in which ending at once leaves something out."""

    def options(self, state):
        return [Option(text, after, early=text == ".") for text, after in self._states[state]]


REPORT = Telling(start=[("It is", "more")], more=[(".", None), (" so and it is not otherwise!", None)])


def test_what_there_is_room_for_is_said():
    assert {write(REPORT, seed=seed)[0].text for seed in range(20)} == {"It is so and it is not otherwise!"}
    assert write(REPORT, max_tokens=4)[0].text == "It is."


def test_who_is_in_a_hurry_leaves_things_out():
    table = Telling(
        start=[("It is", "more"), ("That is", "more")],
        more=[(".", None), (" so and it is not otherwise!", None)],
    )
    assert write(table, should_stop=lambda: True)[0].text in {"It is.", "That is."}


def test_a_state_without_options_is_an_error():
    with pytest.raises(ConfigError, match="no options"):
        write(Table(start=[("It", "end")], end=[]))


def test_sampling_follows_probabilities_and_repeats_itself():
    scores = np.log(np.array([0.7, 0.2, 0.1], np.float32))
    pick = sampler(1.0, seed=0)
    counts = Counter(pick(scores) for _ in range(4000))
    assert [counts[i] / 4000 for i in range(3)] == pytest.approx([0.7, 0.2, 0.1], abs=0.04)
    once, again = sampler(0.8, seed=5), sampler(0.8, seed=5)
    assert [once(scores) for _ in range(20)] == [again(scores) for _ in range(20)]
    assert sampler(0.0, seed=0) is most_likely


@pytest.mark.parametrize(("text", "words"), [("The person is qui", "The person is"), ("The", ""), ("", "")])
def test_whole_words(text, words):
    assert whole_words(text) == words
