"""Label names are those that other packages know."""

import pytest

from emollama_ros.labels import CIRCUMPLEX, DEFAULT_LABELS, HRI_EXPRESSIONS, canonical


def test_every_default_label_is_an_hri_expression_with_a_place_on_the_circumplex():
    assert set(DEFAULT_LABELS) <= HRI_EXPRESSIONS
    assert set(DEFAULT_LABELS) <= set(CIRCUMPLEX)
    assert all(-1 <= value <= 1 for place in CIRCUMPLEX.values() for value in place)


def test_words_of_data_sets_map_to_labels():
    assert [canonical(word) for word in ("Joy", " fear ", "boredom")] == ["happy", "scared", "bored"]
    with pytest.raises(KeyError, match="'bliss'; known: anger"):
        canonical("bliss")
