from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from emollama_ros.errors import ConfigError
from emollama_ros.labels import DEFAULT_LABELS
from training.synthesis.expressions import PAIRED, RECIPES, Expression, Span, animate, draw_expression, expand
from training.synthesis.sentences import EMOTIONAL, NEUTRAL, draw_sentence

_SINGLE = """
browInnerUp cheekPuff jawForward jawLeft jawOpen jawRight mouthClose mouthFunnel mouthLeft mouthPucker
mouthRight
 mouthRollLower mouthRollUpper mouthShrugLower mouthShrugUpper tongueOut
"""
ARKIT = tuple(sorted([*_SINGLE.split(), *(full for name in PAIRED for full in expand(name))]))


def test_the_names_are_the_52_arkit_units():
    assert len(ARKIT) == 52


def test_every_default_label_has_several_recipes_of_arkit_units():
    assert set(RECIPES) == set(DEFAULT_LABELS)
    for label, variants in RECIPES.items():
        assert len(variants) >= 3, label
        for variant in range(len(variants)):
            units = Expression(label, variant).units()
            assert set(units) <= set(ARKIT)
            assert all(0 < weight <= 1 for weight in units.values())


def test_labels_differ_in_their_recipes():
    strongest = {
        label: {k for v in RECIPES[label] for k, w in v.items() if w >= 0.7} for label in DEFAULT_LABELS
    }
    assert "mouthSmile" in strongest["happy"] and "mouthSmile" not in set().union(
        *(strongest[name] for name in DEFAULT_LABELS if name != "happy")
    )
    assert "noseSneer" in strongest["disgusted"]
    assert "browDown" in strongest["angry"]
    assert "browOuterUp" in strongest["surprised"] and "browOuterUp" not in strongest["scared"]


@pytest.mark.parametrize(
    ("arguments", "word"),
    [(("bored",), "bored"), (("happy", 9), "variants"), (("happy", 0, 1.5), "intensity")],
)
def test_an_impossible_expression_is_refused_by_name(arguments, word):
    with pytest.raises(ConfigError, match=word):
        Expression(*arguments)


@given(
    st.sampled_from(DEFAULT_LABELS), st.floats(0, 1), st.floats(0, 1), st.floats(-0.3, 0.3), st.integers(0, 2)
)
def test_a_stronger_expression_moves_every_unit_at_least_as_far(label, a, b, asymmetry, variant):
    weak, strong = (Expression(label, variant, i, asymmetry).units() for i in sorted((a, b)))
    assert all(weak[name] <= strong[name] + 1e-12 for name in strong)


@given(
    st.floats(0, 3),
    st.floats(0.1, 3),
    st.floats(0, 1),
    st.floats(0, 1),
    st.lists(st.floats(-1, 8), min_size=1),
)
def test_a_span_is_dark_outside_its_time_and_never_leaves_0_to_1(start, length, onset, offset, times):
    span = Span(start, start + length, Expression("happy"), onset, offset)
    seconds = np.array(times)
    strength = span.strength(seconds)
    assert np.all((strength >= 0) & (strength <= 1))
    assert np.all(strength[(seconds < start) | (seconds >= start + length)] == 0)


def test_a_span_without_onset_is_at_its_apex_from_the_first_moment():
    span = Span(1.0, 2.0, Expression("happy"), 0.0, 0.0)
    assert span.strength(np.array([0.99, 1.0, 1.5, 1.999])).tolist() == [0, 1, 1, 1]


def _track(label: str, speech: float = 0.0, seed: int = 3):
    seconds = np.arange(0, 6, 0.05)
    spans = [Span(0.0, 6.0, Expression(label), 0.3, 0.0)]
    return animate(seconds, spans, np.full(len(seconds), speech), ARKIT, np.random.default_rng(seed))


def test_animation_shows_the_expression_and_stays_in_range():
    track = _track("happy")
    assert track.units.shape == (120, 52) and track.pose.shape == (120, 7)
    assert track.units.min() >= 0 and track.units.max() <= 1
    smile = track.units[:, ARKIT.index("mouthSmileLeft")]
    assert smile[0] == 0 and np.median(smile) > 0.7


def test_animation_is_a_function_of_its_seed():
    assert np.array_equal(_track("sad").units, _track("sad").units)
    assert not np.array_equal(_track("sad").pose, _track("sad", seed=4).pose)


def test_speech_opens_the_jaw():
    jaw = ARKIT.index("jawOpen")
    assert _track("neutral", speech=1.0).units[:, jaw].mean() > _track("neutral").units[:, jaw].mean() + 0.2


def test_people_blink():
    lids = _track("neutral").units[:, ARKIT.index("eyeBlinkLeft")]
    assert lids.max() > 0.6 and np.median(lids) < 0.05


def test_drawn_intensity_lies_in_the_asked_range():
    rng = np.random.default_rng(0)
    drawn = [draw_expression("scared", rng, (0.5, 0.6)).intensity for _ in range(50)]
    assert min(drawn) >= 0.5 and max(drawn) <= 0.6


def test_neutral_sentences_carry_no_flag_and_emotional_ones_do():
    rng = np.random.default_rng(0)
    drawn = [draw_sentence("angry", rng, 0.5) for _ in range(200)]
    assert {s.text for s in drawn if s.emotional} == set(EMOTIONAL["angry"])
    neutral = {s.text for s in drawn if not s.emotional}
    assert neutral & set(NEUTRAL) and neutral - set(NEUTRAL), "written ones and ones put together"
    assert not neutral & {text for texts in EMOTIONAL.values() for text in texts}
    assert not any(draw_sentence("neutral", rng, 1.0).emotional for _ in range(20))
