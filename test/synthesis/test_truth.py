"""What the records of clips say, against the clips themselves."""

from __future__ import annotations

from collections import Counter
from dataclasses import replace

import numpy as np
import pytest

pytest.importorskip("cv2", reason="the generator draws with opencv-python-headless")

from training.synthesis import action_units as au  # noqa: E402
from training.synthesis.clip import DECISIVE, Cutout, compose, draw_plan  # noqa: E402
from training.synthesis.cues import SPEAKS_FOR, VISUAL, Framing, visual_cues, voice_cues  # noqa: E402
from training.synthesis.expressions import RECIPES, Expression, expand  # noqa: E402
from training.synthesis.options import Options  # noqa: E402
from training.synthesis.phrasings import claims  # noqa: E402
from training.synthesis.truth import truth  # noqa: E402

MIXED = Options(
    seed=3, people=5, seconds=3.0, fps=5.0, width=160, height=120, face=(0.3, 0.85),
    conflict=0.4, missing=0.25, cutout=0.4,
)  # fmt: skip
CLOSE = Framing(pixels=180, blur=0.0, centre=(0.5, 0.5), face=0.7, aspect=4 / 3, yaw=0.0, exposure=1.0)


@pytest.fixture(scope="module")
def pairs(renderer, speech):
    made = [compose(i, MIXED) for i in range(70)]
    return [(clip, truth(clip, i, MIXED)) for i, clip in enumerate(made)]


def full(renderer, label: str, variant: int = 0) -> np.ndarray:
    weights = renderer.mesh.unit_weights(Expression(label, variant).units())
    return au.intensities(weights[None], renderer.mesh.unit_names)


def test_every_recipe_shows_action_units_of_the_stated_strength(renderer):
    by_unit = {stem: name for name, stems in au.SHOWN_BY.items() for stem in stems[:1]}
    for label, variants in RECIPES.items():
        for number, recipe in enumerate(variants):
            shown = dict(zip(au.NAMES, full(renderer, label, number)[0], strict=True))
            for stem, weight in recipe.items():
                if stem in by_unit and au.SHOWN_BY[by_unit[stem]] == (stem,):
                    assert shown[by_unit[stem]] == pytest.approx(5 * weight, abs=1e-4), (label, stem)


@pytest.mark.parametrize(
    ("label", "units"),
    [("happy", "AU06 AU12"), ("sad", "AU01 AU15"), ("angry", "AU04"), ("surprised", "AU01 AU02 AU05 AU26"),
     ("scared", "AU01 AU05 AU20"), ("disgusted", "AU09 AU10")],
)  # fmt: skip
def test_emotions_have_the_action_units_of_emfacs(renderer, label, units):
    shown = dict(zip(au.NAMES, full(renderer, label)[0], strict=True))
    assert all(shown[unit] >= 2 for unit in units.split())


def test_recorded_action_units_are_what_moved_the_mesh(renderer, pairs):
    checked = 0
    for clip, record in pairs:
        if record["action_units"] is None:
            continue
        told = record["action_units"]
        step = round(MIXED.fps / told["hz"])
        for row, frame in zip(told["intensity"], range(0, len(clip.track.units), step), strict=True):
            assert (row is None) == (not clip.seen[frame])
            for name, value in zip(told["names"], row or (), strict=bool(row)):
                stems = au.SHOWN_BY[name]
                index = renderer.mesh.unit_names.index
                moved = np.clip(clip.track.units[frame] * clip.person.mobility, 0, 1)
                wanted = 5 * max(np.mean([moved[index(full)] for full in expand(stem)]) for stem in stems)
                assert value == pytest.approx(wanted, abs=0.006)
                checked += 1
    assert checked > 500


def test_the_peak_is_seen_and_is_the_strongest_frame(pairs):
    for clip, record in pairs:
        if record["peak"]:
            assert clip.seen[record["peak"]["frame"]]
            assert all(0 < value <= 5 for value in record["peak"]["units"].values())


def test_texts_state_only_what_is_true_of_the_clip(pairs):
    for _, record in pairs:
        said = claims(record["reasoning"])
        assert said.labels == {record["label"]}
        assert said.cues <= {*record["cues"]["visual"], *record["cues"]["voice"]}
        assert said.missing == {"video", "audio"} - set(record["modalities"])
        assert said.cut == {cut["modality"] for cut in record["cutouts"]}
        assert not said.conflict or record["conflict"]
        assert bool(record["clue_voice"]) == ("audio" in record["modalities"])


def test_a_seen_cue_is_held_by_its_muscles_in_the_frames_that_are_seen(renderer, pairs):
    named = 0
    for clip, record in pairs:
        moved = au.intensities(clip.track.units[clip.seen] * clip.person.mobility, renderer.mesh.unit_names)
        for cue in set(record["cues"]["visual"]) & set(VISUAL):
            at = [au.NAMES.index(unit) for unit in VISUAL[cue].units]
            assert ((moved[:, at] >= VISUAL[cue].least).all(1)).mean() > 0.5
            named += 1
    assert named > 40


def test_most_clips_can_be_told_and_most_texts_differ(pairs):
    fitting = [bool({*r["cues"]["visual"], *r["cues"]["voice"]} & SPEAKS_FOR[r["label"]]) for _, r in pairs]
    # Heads of 36 to 100 pixels, with conflicts and cut-outs: hard on purpose.
    assert np.mean(fitting) > 0.6
    assert len({r["reasoning"] for _, r in pairs}) > 60


def test_conflict_missing_and_cutout_come_at_the_configured_rates():
    plans = [draw_plan(i, MIXED, np.random.default_rng([0, i])) for i in range(1500)]
    whole = [p for p in plans if len(p.modalities) == 2]
    may_disagree = [p.segments[0] for p in whole if p.segments[0].label != "neutral"]
    # Four standard errors of shares of so many.
    assert len(whole) / len(plans) == pytest.approx(0.75, abs=0.045)
    assert np.mean([bool(p.cutouts) for p in plans]) == pytest.approx(0.4, abs=0.051)
    assert np.mean([s.face != s.voice for s in may_disagree]) == pytest.approx(0.4, abs=0.065)
    assert all(s.face == s.voice for p in plans if len(p.modalities) == 1 for s in p.segments)
    assert all(cut.modality in p.modalities for p in plans for cut in p.cutouts)


def test_in_a_conflict_the_stronger_evidence_is_the_label(pairs):
    disagreeing = [clip.segments[0] for clip, record in pairs if record["conflict"]]
    assert Counter(s.face == s.label for s in disagreeing).keys() == {True, False}
    for segment in disagreeing:
        assert segment.intensity >= DECISIVE and segment.label in (segment.face, segment.voice)
        if segment.face != segment.label:
            assert segment.span.expression.intensity <= 0.5


def test_cut_out_stretches_carry_nothing(renderer, pairs):
    kinds = set()
    for clip, _ in pairs:
        for cut in clip.cutouts:
            kinds.add(cut.kind)
            if cut.modality == "audio":
                assert not clip.audio[round(cut.start_s * 16_000) + 1 : round(cut.end_s * 16_000) - 1].any()
    assert kinds == {"black", "frozen", "silent"}
    for kind in ("black", "frozen"):
        clip = next(c for c, _ in pairs if c.cutouts and c.cutouts[0].kind == kind and not c.seen.all())
        pictures = list(clip.pictures(renderer))
        for number in np.flatnonzero(~clip.seen):
            before = pictures[number - 1] if number and kind == "frozen" else np.zeros_like(pictures[0])
            assert np.array_equal(pictures[number], before)


def test_facts_of_the_voice_leave_out_what_is_cut(pairs):
    for clip, record in pairs:
        if any(cut == Cutout("audio", "silent", cut.start_s, cut.end_s) for cut in clip.cutouts):
            facts = record["segments"][0]["speech"]
            cut = clip.cutouts[0]
            overlap = min(cut.end_s, facts["end_s"]) - max(cut.start_s, facts["start_s"])
            assert facts["whole"] == (overlap < 0.02) or abs(overlap) < 0.03


def test_what_is_far_away_blurred_dark_or_outside_is_not_named(renderer):
    happy = np.repeat(full(renderer, "happy"), 5, axis=0)
    assert {"smile", "cheeks_up"} <= set(visual_cues(happy, CLOSE))
    assert visual_cues(happy, replace(CLOSE, pixels=45)) == ("smile",)
    for worse in (
        {"pixels": 30.0}, {"blur": 5.0}, {"exposure": 0.1}, {"centre": (0.5, 0.95)}, {"centre": (0.02, 0.5)},
    ):  # fmt: skip
        assert "smile" not in visual_cues(happy, replace(CLOSE, **worse)), worse
    assert visual_cues(happy[:0], CLOSE) == ()


def test_voice_cues_need_a_voice_above_the_noise():
    facts = {
        "pitch_hz": 300.0, "pitch_range_st": 8.0, "pitch_end_st": -2.0, "rate_hz": 5.5, "pauses": 0,
        "pause_s": 0.0, "voiced_s": 1.5, "heard_dbfs": -20.0, "snr_db": 30.0, "tilt": 0.0, "breath": 0.6,
        "tremor_st": 0.0, "creak": 0.0, "whole": 1,
    }  # fmt: skip
    assert voice_cues(facts, 200.0) == ("voice_high", "loud", "breathy")
    assert voice_cues({**facts, "snr_db": 10.0}, 200.0) == ("voice_high", "loud")
    assert voice_cues({**facts, "snr_db": 2.0}, 200.0) == ()
    assert voice_cues({**facts, "voiced_s": 0.2}, 200.0) == ()
    slow = {**facts, "rate_hz": 3.0}
    assert "slow" in voice_cues(slow, 200.0) and "slow" not in voice_cues({**slow, "whole": 0}, 200.0)
