"""The suites: what the papers say is in them, and published rows that agree with themselves."""

import numpy as np
import pytest

from emollama_ros.errors import InputError
from training.evaluation.native import in_words, likely, sayable, unsayable
from training.evaluation.suites import METRICS, SUITES, suite_named
from training.mmeverse.label_sets import LABEL_SPACES
from training.mmeverse.schema import Task
from training.mmeverse.sources import SOURCES


def test_suites_are_as_large_as_published():
    assert {name: len(suite.sets) for name, suite in SUITES.items()} == {
        "mer-unibench": 9, "mmeverse": 18, "open": 6
    }  # fmt: skip
    kinds = [of.task for of in SUITES["mmeverse"].sets]
    assert [kinds.count(task) for task in Task] == [9, 5, 1, 2, 1]
    assert sum(of.published_n or 0 for of in SUITES["mer-unibench"].sets) == 12_799


def test_every_set_can_be_read_and_scored():
    for suite in SUITES.values():
        assert len({of.name for of in suite.sets}) == len(suite.sets)
        for of in suite.sets:
            assert of.source in SOURCES and set(of.metrics) <= set(METRICS)
            assert bool(of.labels) == (of.task is not Task.OPEN_VOCABULARY)
            assert set(of.related) <= set(SOURCES) - {of.source}


def test_published_rows_agree_with_their_means():
    rows = [p for suite in SUITES.values() for p in suite.published]
    whole = [p for p in rows if p.scores]
    assert len(whole) == 4
    for p in whole:
        assert np.mean(list(p.scores.values())) == pytest.approx(p.mean, abs=0.006), p.system
    assert all(p.source for p in rows)


def test_an_unknown_suite_is_refused_with_what_there_is():
    with pytest.raises(InputError, match="mer-unibench, mmeverse, open"):
        suite_named("glue")


@pytest.mark.parametrize(
    ("space", "silent"),
    [
        ("mer", ("worried",)),
        ("ravdess", ("calm",)),
        ("meld", ()),
        ("e3", ("sarcastic", "shy")),
        ("faces_muxspace", ("contempt",)),
    ],
)
def test_words_that_the_default_labels_cannot_say_are_named(space, silent):
    assert unsayable(LABEL_SPACES[space]) == silent


def test_probabilities_in_the_words_of_a_set():
    scores = {"neutral": 0.1, "happy": 0.4, "disgusted": 0.5}
    assert in_words(scores, ("joy", "neutral", "worried")) == pytest.approx({"joy": 0.8, "neutral": 0.2})
    assert in_words(scores, ("worried",)) == {}
    # Two words for one label share it.
    assert in_words(scores, ("joy", "happiness", "neutral")) == pytest.approx(
        {"joy": 0.4, "happiness": 0.4, "neutral": 0.2}
    )
    assert sayable(("joy", "shy")) == {"joy": "happy"}


def test_the_likely_are_the_best_and_those_half_as_likely():
    assert likely({"a": 0.2, "b": 0.5, "c": 0.25, "d": 0.05}) == ("b", "c")
