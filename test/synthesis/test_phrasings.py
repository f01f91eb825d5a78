from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

pytest.importorskip("cv2", reason="the generator draws with opencv-python-headless")

from emollama_ros.labels import DEFAULT_LABELS  # noqa: E402
from training.synthesis.cues import EVEN, RELAXED, SPEAKS_FOR, VISUAL, VOICE  # noqa: E402
from training.synthesis.phrasings import NOUNS, PHRASES, Evidence, claims, write  # noqa: E402

FACE, SOUND = (*VISUAL, RELAXED), (*VOICE, EVEN)


@st.composite
def evidence(draw) -> Evidence:
    missing = draw(st.sampled_from([(), (), ("video",), ("audio",)]))
    visual = (
        () if "video" in missing else tuple(draw(st.lists(st.sampled_from(FACE), unique=True, max_size=5)))
    )
    voice = (
        () if "audio" in missing else tuple(draw(st.lists(st.sampled_from(SOUND), unique=True, max_size=5)))
    )
    cut = draw(st.sampled_from([(), (), ("video",), ("audio",)]))
    return Evidence(
        label=draw(st.sampled_from(DEFAULT_LABELS)),
        visual=visual,
        voice=voice,
        words=draw(st.booleans()) and "audio" not in missing,
        missing=missing,
        cut=tuple(m for m in cut if m not in missing),
        conflict=draw(st.booleans()) and bool(visual) and bool(voice),
    )


def test_every_cue_has_several_phrases_and_every_label_a_noun_and_cues():
    assert set(PHRASES) == {*FACE, *SOUND}
    assert all(len(set(phrases)) >= 2 for phrases in PHRASES.values())
    assert set(NOUNS) == set(SPEAKS_FOR) == set(DEFAULT_LABELS)
    assert all(cues <= set(PHRASES) for cues in SPEAKS_FOR.values())


@pytest.mark.parametrize("cue", PHRASES)
def test_a_phrase_names_its_cue_and_no_other(cue):
    for phrase in PHRASES[cue]:
        said = claims(f"I saw {phrase}, really.")
        assert said.cues == {cue} and not said.labels


@given(evidence(), st.integers(0, 10_000))
def test_the_text_claims_only_what_is_in_the_evidence(told, seed):
    text = write(told, np.random.default_rng(seed))
    said = claims(text["reasoning"])
    assert said.labels == {told.label}
    assert said.cues <= {*told.visual, *told.voice}
    assert said.missing == set(told.missing) and said.cut == set(told.cut)
    assert said.conflict == told.conflict and said.words == told.words
    fitting = {*told.visual, *told.voice} & SPEAKS_FOR[told.label]
    assert said.unsure == (not fitting) and (not fitting or said.cues & fitting)


@given(evidence(), st.integers(0, 10_000))
def test_each_clue_text_tells_all_of_its_modality_and_nothing_else(told, seed):
    text = write(told, np.random.default_rng(seed))
    for key, modality, cues in (("clue_visual", "video", told.visual), ("clue_voice", "audio", told.voice)):
        said = claims(text[key])
        assert said.cues == set(cues) and not said.labels and not said.missing
        assert bool(text[key]) == (modality not in told.missing)
        assert said.cut == set(told.cut) & {modality}


def test_the_same_evidence_is_put_in_many_ways():
    told = Evidence("sad", ("inner_brows_up", "lip_corners_down"), ("slow", "quiet"))
    texts = {write(told, np.random.default_rng(seed))["reasoning"] for seed in range(60)}
    assert len(texts) > 40 and len({text.split()[0] for text in texts}) >= 4


def test_texts_are_short():
    rng = np.random.default_rng(0)
    words = []
    for label, cues in SPEAKS_FOR.items():
        told = Evidence(label, tuple(c for c in cues if c in FACE), tuple(c for c in cues if c in SOUND))
        words += [len(write(told, rng)["reasoning"].split()) for _ in range(20)]
    assert max(words) <= 40


def test_foreign_text_claims_nothing():
    assert claims("The robot waits, smiling-free, near the sad-looking... no: saddle.").cues == frozenset()
