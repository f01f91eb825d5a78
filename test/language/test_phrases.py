"""The words: each claims one thing, and is read back as that."""

from __future__ import annotations

import itertools

import pytest

from emollama_ros.cues import SPEC_BY_NAME
from emollama_ros.labels import DEFAULT_LABELS
from emollama_ros.language import phrases
from emollama_ros.language.phrases import CLAUSES, SUPPORTS, claims, unexplained


def test_phrases_speak_of_existing_cues_and_levels():
    for name, level in (*CLAUSES, *itertools.chain.from_iterable(SUPPORTS.values())):
        assert level in SPEC_BY_NAME[name].levels


def test_every_level_that_stands_out_has_words():
    for spec in SPEC_BY_NAME.values():
        for level in spec.levels:
            assert level == spec.typical or (spec.name, level) in CLAUSES


def test_no_phrase_is_used_twice():
    clauses = list(itertools.chain.from_iterable(CLAUSES.values()))
    assert len(clauses) == len(set(clauses))


@pytest.mark.parametrize("cue", CLAUSES)
def test_a_clause_claims_its_cue_and_nothing_else(cue):
    for clause in CLAUSES[cue]:
        for text in (clause, f"The person seems happy: {clause}."):
            assert claims(text) - {("label", "happy"), ("certainty", "likely")} == {cue}
            assert unexplained(text) == ""


def test_clauses_side_by_side_are_read_apart():
    for (one, first), (two, second) in itertools.permutations(CLAUSES.items(), 2):
        assert claims(f"{first[0]} and {second[-1]}") == {one, two}


@pytest.mark.parametrize("label", DEFAULT_LABELS)
def test_openings_claim_label_and_certainty(label):
    for degree, openings in phrases.OPENINGS.items():
        for opening in openings:
            assert claims(opening.format(phrases.adjective(label))) == {
                ("label", label),
                ("certainty", degree),
            }


def test_absences_agreements_and_conflicts_are_read():
    assert claims("There is no picture to go by.") == {("missing", "video")}
    assert claims("There is neither sound nor picture to go by.") == {
        ("missing", "audio"),
        ("missing", "video"),
    }
    assert claims("Voice and picture agree.") == {("agree", "audio+video")}
    assert claims("The picture alone suggests no strong feeling.") == {("view.video", "neutral")}


def test_what_is_not_a_phrase_is_found():
    assert unexplained("The person seems happy: the smile is broad.") == "the smile is broad"


def test_nobody_is_given_a_gender():
    everything = " ".join(
        itertools.chain(*CLAUSES.values(), *phrases.OPENINGS.values(), *phrases.CONFLICTS.values(),
                        *phrases.MISSING_PHRASES.values(), phrases.UNKNOWN_OPENINGS)
    )  # fmt: skip
    assert not {"he", "she", "him", "her", "his", "hers", "man", "woman"} & set(everything.lower().split())


@pytest.mark.parametrize(
    ("confidence", "degree"),
    [(0.0, "unsure"), (0.349, "unsure"), (0.35, "weak"), (0.5, "likely"), (1.0, "sure")],
)
def test_certainty(confidence, degree):
    assert phrases.certainty(confidence) == degree


def test_stance():
    assert phrases.stance("sad", ("voice.rate", "low")) == 1
    assert phrases.stance("sad", ("voice.rate", "high")) == -1
    assert phrases.stance("sad", ("voice.unsteadiness", "high")) == 0
    assert phrases.stance("a label nobody knows", ("voice.rate", "high")) == 0


def test_a_label_of_ones_own_is_read_when_named():
    assert claims("The person seems relieved.") == set()
    assert claims("The person seems relieved.", ["relieved"]) == {
        ("label", "relieved"),
        ("certainty", "likely"),
    }
