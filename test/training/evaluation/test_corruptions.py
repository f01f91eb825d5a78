"""The corruption table: which conditions are told, what they cost, what is flagged, resumed and refused."""

from __future__ import annotations

import json
from collections import Counter
from dataclasses import dataclass

import numpy as np
import pytest
from typer.testing import CliRunner

pytest.importorskip("scipy", reason="disturbances need SciPy (make test installs it)")

from emollama_ros.errors import InputError  # noqa: E402
from emollama_ros.labels import DEFAULT_LABELS  # noqa: E402
from training.disturbances import PICTURES, SOUNDS, STRENGTHS  # noqa: E402
from training.evaluation import corruptions as room  # noqa: E402
from training.evaluation.corruption_page import (  # noqa: E402
    DOCUMENT,
    REPORT,
    document,
    read_report,
    said,
    summary,
    to_markdown,
    write_report,
)
from training.evaluation.corruptions import (  # noqa: E402
    conditions,
    evenly,
    measure,
    predict,
    report_of,
    thinned,
    told_of,
)

ABOUT = {"model": "honest 1", "trained_on": ["other"]}
NO_SOUND, NO_FRAMES = np.zeros(0, np.float32), np.zeros((0, 12, 12, 3), np.uint8)


@dataclass(frozen=True, eq=False)
class Clip:
    """As `training.mmeverse.clip_packs.RawClip`, which needs torch."""

    name: str
    person: str
    label: str
    samples: np.ndarray
    frames: np.ndarray


def clip_of(source: str, number: int, label: str, sound: bool = True, pictures: bool = True) -> Clip:
    """The loudness of the sound and the lightness of the pictures tell the label."""
    rng, which = np.random.default_rng(number), DEFAULT_LABELS.index(label)
    loud = (0.05 + 0.1 * which) * np.sign(rng.standard_normal(1600))
    light = rng.integers(20 + 30 * which, 24 + 30 * which, (3, 12, 12, 3))
    return Clip(
        f"{source}/{number}",
        f"{source}:{number % 3}",
        label,
        loud.astype(np.float32) if sound else NO_SOUND,
        light.astype(np.uint8) if pictures else NO_FRAMES,
    )


def clips_of(source: str = "some", count: int = 12, **given: bool) -> list[Clip]:
    return [clip_of(source, i, DEFAULT_LABELS[i % 4], **given) for i in range(count)]


class Honest:
    """Tells loudness and lightness; of both the lightness counts less. Remembers how often it was asked."""

    def __init__(self) -> None:
        self.asked: list[tuple[bool, bool, str]] = []

    def predict(self, samples, frames, person):
        self.asked.append((samples is not None, frames is not None, person))
        logits = np.zeros(7, np.float32)
        if samples is not None:
            logits -= 10 * abs(np.sqrt(np.mean(samples**2)) - 0.05 - 0.1 * np.arange(7)).astype(np.float32)
        if frames is not None:
            logits -= abs(frames.mean() - 22 - 30 * np.arange(7)).astype(np.float32) / 100
        return logits


class Fragile(Honest):
    """One sense that is not exactly as it was recorded makes it give up."""

    def __init__(self, clips) -> None:
        super().__init__()
        self._known = {c.samples.tobytes() for c in clips} | {c.frames.tobytes() for c in clips}

    def predict(self, samples, frames, person):
        given = [x for x in (samples, frames) if x is not None]
        if any(x.tobytes() not in self._known for x in given):
            return np.zeros(7, np.float32)
        return super().predict(samples, frames, person)


@pytest.fixture(scope="module")
def told(tmp_path_factory):
    clips = clips_of()
    path = tmp_path_factory.mktemp("told") / "p.jsonl"
    return clips, predict(clips, Honest(), path, ABOUT, progress=False)


def found(rows, **wanted):
    return [row for row in rows if all(getattr(row.condition, k) == v for k, v in wanted.items())]


# --- what is told ---


def test_every_disturbance_is_told_at_every_strength_alone_and_beside_the_clean_sense():
    keys = {c.key for c in conditions()}
    assert len(keys) == len(conditions()) == 3 + 2 * 3 * (len(SOUNDS) + len(PICTURES))
    assert {f"sound/{n}/{s:g}/{v}" for n in SOUNDS for s in STRENGTHS for v in ("audio", "both")} < keys
    assert {f"picture/{n}/{s:g}/{v}" for n in PICTURES for s in STRENGTHS for v in ("video", "both")} < keys


def test_a_predictor_gets_what_the_view_has_and_whose_it_is(tmp_path):
    predictor = Honest()
    told = predict(clips_of(count=1), predictor, tmp_path / "p.jsonl", ABOUT, progress=False)
    assert set(told["some/0"]) == {c.key for c in conditions()}
    counts = [predictor.asked.count((*given, "some:0")) for given in ((1, 0), (0, 1), (1, 1))]
    assert counts == [1 + 3 * len(SOUNDS), 1 + 3 * len(PICTURES), 1 + 3 * (len(SOUNDS) + len(PICTURES))]


def test_of_both_senses_only_one_is_disturbed(tmp_path):
    [clip] = clips_of(count=1)

    class Watching(Honest):
        def predict(self, samples, frames, person):
            if samples is not None and frames is not None:
                assert np.array_equal(samples, clip.samples) or np.array_equal(frames, clip.frames)
            return super().predict(samples, frames, person)

    predict([clip], Watching(), tmp_path / "p.jsonl", ABOUT, progress=False)


@pytest.mark.parametrize(("given", "view"), [({"pictures": False}, "audio"), ({"sound": False}, "video")])
def test_clips_of_one_sense_are_told_by_it_alone(tmp_path, given, view):
    clips = clips_of(count=4, **given)
    told = predict(clips, Honest(), tmp_path / "p.jsonl", ABOUT, progress=False)
    assert {row.condition.view for row in measure(clips, told, draws=20)} == {view}


def test_what_is_drawn_depends_on_seed_and_clip_alone(tmp_path):
    clips, others = clips_of(count=6), clips_of(count=6)[::-1]
    one, other, third = (
        predict(of, Honest(), tmp_path / f"{i}.jsonl", ABOUT, seed, progress=False)
        for i, (of, seed) in enumerate(((clips, 0), (clips, 0), (clips, 1)))
    )
    again = predict(others, Honest(), tmp_path / "again.jsonl", ABOUT, progress=False)
    key = "sound/noise/1/audio"
    assert all(np.array_equal(one[c.name][key], other[c.name][key]) for c in clips)
    assert all(np.array_equal(one[c.name][key], again[c.name][key]) for c in clips)
    assert any(not np.array_equal(one[c.name][key], third[c.name][key]) for c in clips)


def test_babble_is_mixed_of_other_people_of_the_same_source(tmp_path, monkeypatch):
    given = []

    def babble(samples, strength, rng, others=()):
        given.append(others)
        return samples

    monkeypatch.setattr(room, "SOUNDS", {"babble": babble})
    clips = clips_of("a", 6) + clips_of("b", 6)
    predict(clips, Honest(), tmp_path / "p.jsonl", ABOUT, progress=False)
    for clip, others in zip(clips, given[:: len(STRENGTHS)], strict=True):
        own = [c for c in clips if any(np.array_equal(c.samples, o) for o in others)]
        assert len(others) == 4
        assert clip.person not in {c.person for c in own if c.person.startswith(clip.person[0])}


@pytest.mark.parametrize("logits", [np.zeros(6), np.full(7, np.nan)])
def test_what_is_no_logits_is_refused(tmp_path, logits):
    class Odd:
        def predict(self, samples, frames, person):
            return logits

    with pytest.raises(InputError, match="some/0: the predictor gave"):
        predict(clips_of(count=1), Odd(), tmp_path / "p.jsonl", ABOUT, progress=False)


# --- resuming ---


def test_a_stopped_run_goes_on_where_it_stopped(tmp_path):
    path, clips = tmp_path / "folder" / "p.jsonl", clips_of(count=4)
    whole = predict(clips, Honest(), path, ABOUT, progress=False)
    text = path.read_text()
    path.write_text(text[: len(text) - 50])  # killed while it wrote the last clip
    predictor = Honest()
    again = predict(clips, predictor, path, ABOUT, progress=False)
    assert {person for *_, person in predictor.asked} == {clips[3].person}
    assert len(predictor.asked) == len(conditions())
    assert all(np.array_equal(whole[c][k], again[c][k]) for c in whole for k in whole[c])
    assert path.read_text() == text


def test_a_clip_with_another_content_is_told_again(tmp_path):
    clips = clips_of(count=2)
    predict(clips, Honest(), tmp_path / "p.jsonl", ABOUT, progress=False)
    predictor = Honest()
    changed = Clip(clips[0].name, "some:9", clips[0].label, clips[0].samples[:-1], clips[0].frames)
    predict([changed, clips[1]], predictor, tmp_path / "p.jsonl", ABOUT, progress=False)
    assert {person for *_, person in predictor.asked} == {"some:9"}


def test_predictions_of_another_run_are_refused(tmp_path):
    path, clips = tmp_path / "p.jsonl", clips_of(count=1)
    predict(clips, Honest(), path, ABOUT, progress=False)
    for about, seed in (({**ABOUT, "model": "b"}, 0), (ABOUT, 1)):
        with pytest.raises(InputError, match="another run"):
            predict(clips, Honest(), path, about, seed, progress=False)
    path.write_text(path.read_text() + "[]\n")
    with pytest.raises(InputError, match="damaged"):
        predict(clips, Honest(), path, ABOUT, progress=False)


# --- scores ---


def test_clean_costs_nothing_and_a_missing_sense_is_the_other_one(told):
    rows = measure(*told, draws=50)
    for row in found(rows, disturbance="clean"):
        assert (row.uar, row.cost, row.cost_interval, row.untold) == (1, 0, (0, 0), 0)
        assert (row.n, row.persons) == (12, 3)
    [gone] = found(rows, disturbance="missing", sense="sound")
    [video] = found(rows, disturbance="clean", view="video")
    assert gone.uar == video.uar and not gone.is_too_much


def test_rows_agree_with_recalls_counted_by_hand(told):
    clips, logits = told
    [row] = found(measure(clips, logits, draws=50), disturbance="level", strength=1.0, view="audio")
    told_labels = [int(logits[c.name]["sound/level/1/audio"][:4].argmax()) for c in clips]
    recalls = [
        np.mean(
            [t == k for t, c in zip(told_labels, clips, strict=True) if DEFAULT_LABELS.index(c.label) == k]
        )
        for k in range(4)
    ]
    assert row.uar == pytest.approx(np.mean(recalls)) and row.uar < 1
    assert row.cost == pytest.approx(1 - row.uar)
    assert row.interval[0] <= row.uar <= row.interval[1]
    assert row.cost_interval == (pytest.approx(1 - row.interval[1]), pytest.approx(1 - row.interval[0]))


def test_one_disturbed_sense_that_costs_too_much_is_flagged_beside_a_clean_one_only(tmp_path):
    clips = clips_of()
    logits = predict(clips, Fragile(clips), tmp_path / "p.jsonl", ABOUT, progress=False)
    rows = measure(clips, logits, draws=20)
    dropped = found(rows, disturbance="frame_drops", strength=0.33)
    assert all(row.untold < 12 for row in dropped), "some of three frames survive as they are"
    noisy = found(rows, disturbance="noise", strength=1.0)
    assert [(r.condition.view, r.uar, r.untold, r.is_too_much) for r in noisy] == [
        ("audio", 0.25, 12, False), ("both", 0.25, 12, True),
        ("video", 0.25, 12, False), ("both", 0.25, 12, True),
    ]  # fmt: skip


def test_exactly_ten_points_are_not_too_much(monkeypatch, told):
    monkeypatch.setattr(
        room, "MOST_COST", found(measure(*told, draws=2), disturbance="level", strength=1.0)[1].cost
    )
    assert not found(measure(*told, draws=2), disturbance="level", strength=1.0)[1].is_too_much


def test_thinning_takes_of_all_labels_of_each_source_and_leaves_unknown_labels_out():
    nobody = Clip("a/n", "nothing:silence", "", NO_SOUND, NO_FRAMES)
    clips = [*clips_of("a", 24), nobody, *clips_of("b", 2)]
    some = thinned(clips, 8)
    assert [c.name[0] for c in some] == ["a"] * 8 + ["b"] * 2
    assert Counter(c.label for c in some[:8]) == dict.fromkeys(DEFAULT_LABELS[:4], 2)
    assert some == [c for c in clips if c in some] == thinned(clips[::-1], 8)[::-1]
    assert thinned(clips, None) == [c for c in clips if c is not nobody]


def test_some_of_every_person_and_label_are_taken_the_first_ones_first():
    clips = [clip_of("a", number, DEFAULT_LABELS[number // 3 % 2]) for number in range(24)]
    two = evenly(clips, 2)
    assert set(Counter((c.person, c.label) for c in two).values()) == {2}
    assert {(c.person, c.label) for c in two[:6]} == {(c.person, c.label) for c in clips}
    assert evenly(clips, 1) == two[:6] and evenly(clips[::-1], 2) == two
    assert sorted(c.name for c in evenly(clips, 9)) == sorted(c.name for c in clips)


def test_babble_of_some_clips_is_that_of_all(tmp_path):
    clips = clips_of()
    whole = predict(clips, Honest(), tmp_path / "all.jsonl", ABOUT, progress=False)
    some = predict(clips[:2], Honest(), tmp_path / "some.jsonl", ABOUT, progress=False, talkers=clips)
    key = "sound/babble/1/audio"
    assert all(np.array_equal(some[c.name][key], whole[c.name][key]) for c in clips[:2])


def test_what_a_stopped_run_has_told_can_be_reported(tmp_path):
    clips, path = clips_of(count=4), tmp_path / "p.jsonl"
    predict(clips[:2], Honest(), path, ABOUT, progress=False, talkers=clips)
    path.write_text(path.read_text() + '{"clip": "some/3", "con')  # killed while it wrote
    assert told_of(clips[::-1], path) == clips[1::-1]
    with pytest.raises(InputError, match="none of these clips was told"):
        told_of(clips[2:], path)


# --- report ---


@pytest.fixture(scope="module")
def report(tmp_path_factory):
    clips = [*clips_of("some"), *clips_of("other", pictures=False)]
    path = tmp_path_factory.mktemp("report") / "p.jsonl"
    logits = predict(clips, Fragile(clips), path, ABOUT, progress=False)
    return report_of(clips, logits, {**ABOUT, "seed": 0}, draws=50)


def test_a_report_is_plain_data_with_a_set_a_source(report):
    assert json.loads(json.dumps(report)) == report
    assert [(s["source"], s["clips"], s["persons"], s["seen_in_training"]) for s in report["sets"]] == [
        ("some", 12, 3, False), ("other", 12, 3, True),
    ]  # fmt: skip
    assert len(report["sets"][0]["rows"]) == len(conditions()) + 2
    assert len(report["sets"][1]["rows"]) == 1 + len(SOUNDS) * len(STRENGTHS)


def test_pages_name_every_disturbance_what_is_too_much_and_what_was_trained_on(report):
    text = summary(report)
    for name in (*SOUNDS, *PICTURES):
        assert f"| {name} | " in text and f"| {name} | " in to_markdown(report)
    assert "sound noise at 1 (75.0)" in text and "**75.0 (75.0 to 75.0)**" in text
    assert text.count("The model was trained on these clips") == 1
    assert "No clip has both sound and pictures." in text
    widths = {line.count("|") for line in text.splitlines() if line.startswith("| ")}
    assert widths == {8, 5}, "voice alone and both; voice alone"


def test_nothing_that_costs_too_much_is_said_so(report):
    calm = {**report["sets"][0], "rows": [{**r, "is_too_much": False} for r in report["sets"][0]["rows"]]}
    assert said(calm, 0.1) == "More than 10 points with the other sense clean: none."


def test_a_document_gets_the_table_of_the_committed_report(report, tmp_path):
    text = "before\n<!-- python -m training corruptions --write -->\nold\n<!-- end of the table -->\nafter"
    assert "Not measured yet." in document(text, tmp_path)
    write_report(report, tmp_path)
    made = document(text, tmp_path)
    assert read_report(tmp_path / "report.json") == report
    assert summary(report) in made and "old" not in made and made.endswith("after")
    assert document(made, tmp_path) == made
    with pytest.raises(InputError, match="marks"):
        document("nothing", tmp_path)


def test_the_documents_table_is_that_of_the_committed_report():
    text = DOCUMENT.read_text(encoding="utf-8")
    assert document(text) == text, "run: python -m training corruptions --write"


def test_the_committed_report_is_of_all_clips():
    if not (REPORT / "report.json").exists():
        pytest.skip("the table has not been measured yet")
    committed = read_report(REPORT / "report.json")
    assert committed["limit"] is None and committed["strengths"] == list(STRENGTHS)
    assert (REPORT / "report.md").read_text(encoding="utf-8") == to_markdown(committed)


def test_the_document_names_every_disturbance_and_its_figures():
    text = DOCUMENT.read_text(encoding="utf-8")
    for name in (*SOUNDS, *PICTURES):
        assert f"| `{name}` |" in text


# --- command ---


@pytest.fixture
def run(monkeypatch, tmp_path):
    import training.evaluation.corruption_page as page
    from training.__main__ import app

    monkeypatch.setattr(page, "REPORT", tmp_path / "committed")
    monkeypatch.setattr(page, "DOCUMENT", tmp_path / "robustness.md")
    return lambda *words: CliRunner().invoke(app, ["corruptions", *map(str, words)])


def test_the_command_refuses_in_one_line(run, tmp_path):
    for words, said_of_it in (
        ((), "give --pack"),
        (("--pack", tmp_path / "none.safetensors"), "no packed clips"),
        (("--pack", tmp_path, "--write", "--limit", "2"), "--limit"),
    ):
        result = run(*words)
        assert result.exit_code == 1 and said_of_it in result.output and "Traceback" not in result.output


def test_the_shipped_bundle_is_measured_resumed_and_written(run, tmp_path, monkeypatch):
    pytest.importorskip("torch", reason="packed clips need torch (make test installs it)")
    from training.mmeverse.clip_packs import RawClip, pack

    monkeypatch.setattr(room, "SOUNDS", {"noise": SOUNDS["noise"]})
    monkeypatch.setattr(room, "PICTURES", {"blur": PICTURES["blur"]})
    rng = np.random.default_rng(0)
    clips = [
        RawClip(
            f"some/{i}",
            f"some:{i}",
            label,
            (0.1 * rng.standard_normal(8000)).astype(np.float32),
            rng.integers(0, 255, (2, 224, 224, 3), np.uint8),
        )
        for i, label in enumerate(DEFAULT_LABELS[:2])
    ]
    pack(clips, tmp_path / "some.safetensors")
    (tmp_path / "robustness.md").write_text(
        "<!-- python -m training corruptions --write -->\n<!-- end of the table -->"
    )
    words = ("--pack", tmp_path / "some.safetensors", "--out", tmp_path / "out")
    quick = run(*words, "--limit", "1")
    assert quick.exit_code == 0 and "at most 1 clips a set" in quick.output
    result = run(*words, "--write")
    assert result.exit_code == 0, result.output
    report = read_report(tmp_path / "committed" / "report.json")
    assert report["sets"][0]["clips"] == 2 and not report["sets"][0]["seen_in_training"]
    assert summary(report) in (tmp_path / "robustness.md").read_text()
    assert run("--write").exit_code == 0
