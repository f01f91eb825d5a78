"""What a reasoning claims is read back, all of it, and held against what is known of a generated person."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

pytest.importorskip("cv2", reason="the truth is the generator's, which draws with opencv-python-headless")

from emollama_ros.cues import SPECS  # noqa: E402
from emollama_ros.estimate import EmotionEstimate, Modality  # noqa: E402
from emollama_ros.labels import DEFAULT_LABELS, UNCERTAIN, UNKNOWN, WITHOUT_FEELING  # noqa: E402
from emollama_ros.language.phrases import CLAUSES  # noqa: E402
from emollama_ros.language.sentences import Evidence, Sentences  # noqa: E402
from training.evaluation.reasoning_claims import (  # noqa: E402
    CUE_OF,
    IN_SYNTHESIS,
    Condition,
    conditions,
    cue_named,
    facts_of,
    modality_of,
    parse,
)
from training.synthesis import cues as synthesis  # noqa: E402
from training.synthesis import phrasings  # noqa: E402


@st.composite
def estimates(draw) -> EmotionEstimate:
    label = draw(st.sampled_from([*DEFAULT_LABELS, UNKNOWN, UNCERTAIN]))
    modalities = Modality(draw(st.integers(1, 7)))
    specs = draw(st.lists(st.sampled_from(SPECS), unique=True))
    cues = [spec.cue(draw(st.floats(spec.extremes[0] - 1, spec.extremes[1] + 1))) for spec in specs]
    confidence = 0.0 if label == UNKNOWN else draw(st.floats(0.15, 1))
    views = {m: tuple(draw(st.permutations([0.7, 0.3, 0, 0, 0, 0, 0]))) for m in modalities}
    return EmotionEstimate(
        0, 4_000_000_000, 0, label, DEFAULT_LABELS, (1 / 7,) * 7, 0.0, 0.0, confidence, modalities,
        views=views, cues=tuple(cues),
    )  # fmt: skip


def walk(grammar: Sentences, choose) -> tuple[str, set[str]]:
    """Any text of a grammar, and the clauses in it."""
    text, state, clauses = "", grammar.start, set()
    while state is not None:
        option = choose(grammar.options(state))
        text, state = text + option.text, option.state
        clauses.add(option.text.strip(" ,"))
    return text, clauses


@settings(max_examples=300)
@given(estimates(), st.randoms())
def test_every_text_that_the_grammar_can_make_is_read_back(estimate, random):
    text, pieces = walk(Sentences(Evidence.of(estimate)), random.choice)
    said = parse(text)
    assert said.cues == {cue for cue, clauses in CLAUSES.items() if pieces & set(clauses)}
    assert said.labels == {estimate.label}
    assert said.missing == {"audio", "video"} - set(estimate.modalities.names())
    assert said.unsure == (estimate.label in WITHOUT_FEELING or estimate.confidence < 0.35)
    assert said.unparsed == ()
    assert 1 <= said.sentences <= 3


@given(
    st.sampled_from(DEFAULT_LABELS),
    st.lists(st.sampled_from([*synthesis.VISUAL, *synthesis.VOICE]), unique=True, max_size=5),
    st.sampled_from([(), ("video",), ("audio",)]),
    st.booleans(),
    st.integers(0, 1000),
)
def test_every_text_that_free_reasonings_are_learnt_from_is_read_back(label, cues, missing, words, seed):
    there = [cue for cue in cues if modality_of((IN_SYNTHESIS, cue)).names()[0] not in missing]
    evidence = phrasings.Evidence(
        label,
        tuple(c for c in there if c in synthesis.VISUAL),
        tuple(c for c in there if c in synthesis.VOICE),
        words,
        missing,
    )
    text = phrasings.write(evidence, np.random.default_rng(seed))["reasoning"]
    said = parse(text)
    assert said.cues == {(IN_SYNTHESIS, cue) for cue in phrasings.claims(text).cues}
    assert said.labels == {label}
    assert said.missing == set(missing)
    assert said.unparsed == ()


@pytest.mark.parametrize(
    ("text", "left"),
    [
        ("The person seems sad: the voice is quiet and the hat is purple.", ("the hat is purple",)),
        ("The person seems sad: there is a smile, tears run down.", ("tears run down",)),
        ("Dunno.", ("Dunno",)),
        ("", ()),
    ],
)
def test_what_no_phrase_explains_is_listed(text, left):
    assert parse(text).unparsed == left


def test_another_label_in_any_words_is_found():
    assert parse("The person seems sad: full of joy.").labels == {"sad", "happy"}
    assert parse("The person seems sad. The voice alone suggests anger.").labels == {"sad"}


def test_every_cue_of_the_synthesis_can_be_named_by_the_robot():
    assert set(CUE_OF.values()) == set(phrasings.PHRASES)
    assert set(CUE_OF) <= set(CLAUSES)
    assert set(CUE_OF) <= set(conditions())
    for claim, cue in CUE_OF.items():
        assert cue_named(claim) == cue_named((IN_SYNTHESIS, cue)) == cue
        spec = next(spec for spec in SPECS if spec.name == claim[0])
        assert modality_of(claim) == modality_of((IN_SYNTHESIS, cue)) == spec.modality


def record(**speech: float) -> dict:
    """A clip of four seconds, spoken as usual with a face at rest."""
    usual = {
        "pitch_hz": 200.0, "usual_pitch_hz": 200.0, "pitch_range_st": 9.0, "pitch_end_st": 0.0,
        "rate_hz": 5.5, "pause_s": 0.0, "heard_dbfs": -26.0, "tilt": 0.0, "breath": 0.1, "tremor_st": 0.0,
        "creak": 0.0, "voiced_s": 2.0, "snr_db": 30.0, "whole": 1,
    }  # fmt: skip
    return {
        "label": "happy",
        "segments": [{"start_s": 0.0, "end_s": 4.0, "label": "happy", "speech": usual | speech}],
        "action_units": {"hz": 5.0, "names": [], "intensity": [[]] * 20},
    }


def holds(claim, given: dict, tolerant: bool = True) -> bool:
    return all(c.holds(facts_of(given), tolerant) for c in conditions()[claim])


def test_a_cue_is_true_from_its_bound_on_less_a_tolerance():
    loud = ("voice.loudness", "high")
    assert holds(loud, record(heard_dbfs=-22.5), tolerant=False)
    assert not holds(loud, record(heard_dbfs=-23.2), tolerant=False)
    assert holds(loud, record(heard_dbfs=-23.2))
    assert not holds(loud, record(heard_dbfs=-24.0))
    assert not holds(loud, record(heard_dbfs=-40.0)) and holds(
        ("voice.loudness", "low"), record(heard_dbfs=-40.0)
    )


def test_pitch_is_held_against_this_voice_and_against_all():
    deep = record(pitch_hz=110.0, usual_pitch_hz=90.0)
    assert holds(("voice.register", "raised"), deep) and holds(("voice.pitch", "low"), deep)
    assert not holds(("voice.register", "lowered"), deep) and not holds(("voice.pitch", "high"), deep)


def test_an_even_voice_has_nothing_unusual():
    even = ("voice.manner", "even")
    assert holds(even, record()) and holds(even, record(heard_dbfs=-22.3))
    assert not holds(even, record(heard_dbfs=-18.0))


def test_units_count_as_they_are_held():
    smile, rest = ("face.smile", "shown"), ("face.rest", "shown")
    given = record()
    assert holds(rest, given) and not holds(smile, given)
    given["action_units"] = {"hz": 5.0, "names": ["AU12"], "intensity": [[0.0]] * 6 + [[3.0]] * 14}
    assert holds(smile, given) and not holds(rest, given)
    given["action_units"]["intensity"] = [[0.0]] * 14 + [[3.0]] * 6
    assert not holds(smile, given)


def test_what_is_not_there_is_not_true():
    silent = record()
    del silent["segments"][0]["speech"]
    unseen = record() | {"action_units": None}
    assert not holds(("voice.manner", "even"), silent) and not holds(("voice.loudness", "medium"), silent)
    assert not holds(("face.rest", "shown"), unseen)
    hidden = record() | {"action_units": {"hz": 5.0, "names": ["AU12"], "intensity": [None] * 20}}
    assert not holds(("face.rest", "shown"), hidden)


def test_a_fact_that_is_not_known_does_not_hold():
    assert not Condition("pitch_st", -100.0, 1).holds({})
