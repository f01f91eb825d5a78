"""Scores by group: figures against hand counts, gaps against lots, groups of records, and the page."""

from __future__ import annotations

import json
from dataclasses import replace

import numpy as np
import pytest

from training.evaluation.groups import LEAST_CLIPS, Told, compare, measures
from training.evaluation.metrics import calibration_error

pytest.importorskip("pydantic", reason="needs pydantic (make test installs it)")


def scores_of(told: int, confidence: float = 0.7) -> np.ndarray:
    scores = np.full(3, (1 - confidence) / 2, np.float32)
    scores[told] = confidence
    return scores


def clips(people: int, error: float, group: str, first: int = 0, seed: int = 0) -> list[Told]:
    """Three clips a person, one a label; told wrong with some chance."""
    rng = np.random.default_rng([seed, first])
    return [
        Told(
            f"{first + p}/{truth}",
            str(first + p),
            "both",
            truth,
            scores_of((truth + int(rng.random() < error)) % 3, float(rng.uniform(0.5, 0.9))),
            {"kind": group},
        )
        for p in range(people)
        for truth in range(3)
    ]


def test_figures_are_those_of_the_other_scorers():
    told = clips(20, 0.4, "a")
    [group], gap = compare(told, "kind", draws=50)
    truth, scores = np.array([t.truth for t in told]), np.array([t.scores for t in told])
    hits = scores.argmax(1) == truth
    assert (group.name, group.clips, group.people, gap) == ("a", 60, 20, None)
    assert group.uar.value == pytest.approx(np.mean([hits[truth == k].mean() for k in range(3)]))
    assert group.accuracy.value == pytest.approx(hits.mean())
    assert group.confidence.value == pytest.approx(scores.max(1).mean())
    assert group.ece.value == pytest.approx(calibration_error(scores, truth), abs=1e-6)
    assert all(f.low <= f.value <= f.high for f in (group.uar, group.confidence))


def test_a_real_gap_is_beyond_what_lots_make_and_a_made_up_one_is_not():
    good, bad = clips(30, 0.05, "good"), clips(30, 0.6, "bad", first=100)
    _, gap = compare([*good, *bad], "kind", draws=200)
    assert (gap.best, gap.worst) == ("good", "bad") and gap.is_beyond_chance
    assert 0 < gap.uar.low < gap.uar.value < gap.uar.high and gap.chance < gap.uar.value
    same = clips(30, 0.3, "a") + clips(30, 0.3, "b", first=100)
    _, gap = compare(same, "kind", draws=200)
    assert not gap.is_beyond_chance and gap.uar.low < 0 < gap.chance


def test_lots_are_drawn_of_people_and_not_of_their_clips():
    """All clips of a person are right or wrong together: of few people, lots make large gaps."""
    told = [
        Told(f"{p}/{i}", str(p), "both", i % 3, scores_of((i + p // 3 % 2) % 3), {"kind": "ab"[p % 2]})
        for p in range(6)
        for i in range(30)
    ]
    _, gap = compare(told, "kind", draws=50)
    assert gap.chance > 0.3 and not gap.is_beyond_chance


def test_twins_are_compared_with_each_other():
    """A tone that always costs the same few clips is found, however much clips differ otherwise."""
    rng = np.random.default_rng(0)
    told = []
    for p in range(60):
        is_hard = rng.random() < 0.5
        for tone in ("0", "1"):
            wrong = is_hard or (tone == "1" and p % 10 == 0)
            told.append(Told("0", str(p), "video", p % 3, scores_of((p + wrong) % 3), {"tone": tone}))
    _, gap = compare(told, "tone", draws=200)
    unpaired = [Told(f"{i}", f"{i}", t.view, t.truth, t.scores, t.groups) for i, t in enumerate(told)]
    _, apart = compare(unpaired, "tone", draws=200)
    assert gap.uar.value == apart.uar.value > 0
    assert gap.chance < apart.chance and gap.p < apart.p


def test_a_group_of_few_is_no_side_of_a_gap_and_order_is_kept():
    few = clips(1, 1.0, "few", first=50)
    assert len(few) < LEAST_CLIPS
    groups, gap = compare(clips(10, 0.1, "x") + clips(10, 0.1, "y", first=20) + few, "kind", ("y", "few"), 50)
    assert [g.name for g in groups] == ["y", "few", "x"] and {gap.best, gap.worst} == {"x", "y"}


def test_where_each_group_is_one_person_clips_are_drawn():
    actors = [(t, "ab"[int(t.person) % 2]) for t in clips(20, 0.4, "")]
    told = [replace(t, person=actor, groups={"actor": actor}) for t, actor in actors]
    groups, _ = compare(told, "actor", draws=100)
    assert all(g.people == 1 and g.uar.low < g.uar.value < g.uar.high for g in groups)


def test_measures_are_plain_data_of_views_that_are_there():
    told = clips(10, 0.3, "a") + clips(10, 0.3, "b", first=20)
    found = measures(told, {"kind": ("b", "a"), "other": ()}, draws=20)
    assert json.loads(json.dumps(found, allow_nan=False)) == found
    assert list(found) == ["kind"] and list(found["kind"]) == ["both"]


# --- who is in which group ---


@pytest.fixture
def people():
    pytest.importorskip("av", reason="needs PyAV (make test installs it)")
    import training.evaluation.group_people as room

    return room


def record(**given):
    who = {"gender": 0.9, "age": 0.4, "skin_tone": 0.5, "glasses": False} | given
    return {"person_facts": who, "scene": {"face_height": 0.3, "exposure": 1.0, "yaw": 0.0}}


def test_generated_people_have_the_groups_of_their_truth(people):
    found = people.groups_of(record(gender=0.2, age=0.7, skin_tone=0.9, glasses=True))
    assert found == {
        "sex": "female", "age": "old", "skin tone": "dark", "glasses": "with",
        "distance": "middle", "light": "usual", "head": "frontal",
    }  # fmt: skip
    for grouping, name in found.items():
        assert name in people.GENERATED[grouping] and grouping in people.MEANINGS
    unseen = people.groups_of({**record(), "scene": None})
    assert set(unseen) == {"sex", "age", "skin tone"}


@pytest.mark.parametrize(
    ("person", "sex"),
    [("ravdess_16k:01", "male"), ("ravdess_16k:20", "female"), ("emodb:08", "female"), ("emodb:03", "male"),
     ("javanese_av:01", None)],
)  # fmt: skip
def test_sex_of_actors_is_what_their_corpus_tells(people, person, sex):
    assert people.sex_of(person) == sex
    assert ("sex" in people.actor_groups(person)) == (sex is not None)


def test_held_out_people_are_told_by_labels_that_occur(people, tmp_path):
    from training.evaluation.held_out import HeldOut

    rng = np.random.default_rng(0)
    truth = np.tile([0, 2, 3], 20)
    persons = np.array([f"emodb:{n:02d}" for n in (3, 8, 9, 10)] * 15)
    logits = rng.normal(size=(60, 7)).astype(np.float32) + 3 * np.eye(7, dtype=np.float32)[truth]
    none = np.full_like(logits, np.nan)
    HeldOut(truth, persons, logits, none, none).save(tmp_path / "some.npz")
    [(source, told)] = people.of_held_out(tmp_path / "some.npz").items()
    assert source == "emodb" and {t.view for t in told} == {"audio"} and len(told) == 60
    assert {len(t.scores) for t in told} == {3} and {t.truth for t in told} == {0, 1, 2}
    groups, _ = compare(told, "sex", draws=20)
    assert {g.name: g.people for g in groups} == {"female": 2, "male": 2}
    assert min(g.uar.value for g in groups) > 0.6


def test_repainted_twins_differ_in_skin_and_lips_alone():
    pytest.importorskip("cv2", reason="needs OpenCV (make test installs it)")
    from training.synthesis.look import draw_look, person_rng, with_tone

    look = draw_look(person_rng(7, "look"))
    dark, same = with_tone(look, 0.9), with_tone(look, look.skin_tone)
    assert sum(dark.skin) < sum(with_tone(look, 0.1).skin) and dark.skin_tone == 0.9
    assert same.skin == pytest.approx(look.skin) and same.lips == pytest.approx(look.lips)
    changed = {name for name, value in vars(dark).items() if value != getattr(look, name)}
    assert changed == {"skin", "lips", "skin_tone"}


# --- page ---


@pytest.fixture
def page(people):
    import training.evaluation.group_page as page

    told = clips(30, 0.05, "good") + clips(30, 0.6, "bad", first=100)
    found = page.set_of(
        "Some", "A note.", told, measures(told, {"kind": ()}, draws=50), {"kind": "a meaning"}
    )
    about = {"model": "m 1", "draws": 50, "lots": 10, "least_clips": LEAST_CLIPS}
    return page, {**about, "sets": [found]}


def test_pages_tell_groups_gaps_and_how_many_comparisons_there_were(page, tmp_path):
    page, report = page
    full, short = page.to_markdown(report), page.summary(report)
    assert "180 clips of 60 people. A note." in full and "a meaning" in full and "| good | 90 | 30 |" in full
    assert "**good - bad:" in short and "1 comparisons" in short and "Some, kind, voice and picture" in short
    assert (
        page.document(
            "a\n<!-- python -m training groups --write -->\nold\n<!-- end of the groups -->\nb",
            _saved(page, report, tmp_path),
        )
        == f"a\n<!-- python -m training groups --write -->\n\n{short}\n\n<!-- end of the groups -->\nb"
    )
    assert (tmp_path / "r.md").read_text() == full


def _saved(page, report, tmp_path):
    page.write_report(report, tmp_path / "r.json")
    return tmp_path / "r.json"


def test_the_model_card_holds_the_committed_report(people):
    import training.evaluation.group_page as page

    text = page.DOCUMENT.read_text(encoding="utf-8")
    assert page.document(text) == text, "run: python -m training groups --write"
    assert page.REPORT.with_suffix(".md").read_text(encoding="utf-8") == page.to_markdown(
        page.read_report(page.REPORT)
    )
