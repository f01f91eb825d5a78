"""Proportions of training: those of the release, measured, and independent of order and interruption."""

from __future__ import annotations

from collections import Counter
from itertools import islice

import pytest
from hypothesis import given
from hypothesis import strategies as st

from emollama_ros.errors import ConfigError
from training.mmeverse.instructions import Tag, instruction_stream
from training.mmeverse.instructions.mixes import mix_of
from training.mmeverse.instructions.sampling import group_weights, joint_stream, shares, visits
from training.mmeverse.replay.base import ReplaySample
from training.mmeverse.schema import Media, Provenance, Record

KINDS = {"coco_caption": "caption", "refcoco": "refer", "refcoco+": "refer", "refcocog": "refer"}
TASKS = {
    "mc_eiu": ("emotion", "intent"),
    "mafw": ("emotion", "multi-label"),
    "meld": ("emotion", "sentiment"),
    "bold": ("multi-label",),
    **dict.fromkeys(("ch_sims_v2", "cmu_mosei", "cmu_mosi"), ("sentiment",)),
}


def groups(stage: int) -> list[tuple[str, str]]:
    mix = mix_of(stage)
    people = [(source, task) for source in mix.sources for task in TASKS.get(source, ("emotion",))]
    return people + [(name, KINDS.get(name, "vqa")) for name in mix.replay]


@pytest.mark.parametrize(("stage", "people", "replay"), [(1, 1500, 541), (2, 1530, 707)])
def test_the_weights_are_those_of_the_release(stage, people, replay):
    mix = mix_of(stage)
    assert (sum(mix.sources.values()), sum(mix.replay.values())) == (people, replay)
    assert len(mix.sources) == 12 and len(mix.replay) == 8
    assert mix.replay_share == pytest.approx(replay / (people + replay))


@pytest.mark.parametrize("stage", [1, 2])
@pytest.mark.parametrize("seed", [0, 1, 2])
def test_what_is_drawn_has_the_proportions_of_the_stage(stage, seed):
    """20,000 draws: five standard deviations around each share, and around the share of replay."""
    mix, steps = mix_of(stage), 20_000
    known = {**mix.sources, **mix.replay}
    weights = group_weights(mix, groups(stage))
    drawn = shares(dict.fromkeys(weights, 1000), weights, seed, steps)
    assert set(drawn) == set(known)
    for source, weight in known.items():
        expected = weight / sum(known.values())
        assert abs(drawn[source] - expected) < 5 * (expected * (1 - expected) / steps) ** 0.5, source
    assert sum(drawn[name] for name in mix.replay) == pytest.approx(mix.replay_share, abs=0.017)


def test_two_tasks_of_a_source_share_its_weight_as_the_task_pools_of_the_release_do():
    weights = group_weights(mix_of(2), groups(2))
    assert weights["mc_eiu", "emotion"] == pytest.approx(150 / 5)
    assert weights["mc_eiu", "intent"] == pytest.approx(150 * 4 / 5)
    assert weights["mafw", "multi-label"] == pytest.approx(105 * 2 / 5)
    assert weights["meld", "emotion"] == weights["meld", "sentiment"] == pytest.approx(75)


def test_an_absent_source_leaves_the_others_their_proportions():
    weights = group_weights(mix_of(1), [("mer2023", "emotion"), ("e3", "emotion"), ("gqa", "vqa")])
    assert weights == {("mer2023", "emotion"): 60, ("e3", "emotion"): 195, ("gqa", "vqa"): 50}


def test_a_source_of_ones_own_needs_a_weight():
    own = [("javanese_av", "emotion")]
    with pytest.raises(ConfigError, match="source 'javanese_av' has no weight in stage 1; give one"):
        group_weights(mix_of(1), own)
    assert group_weights(mix_of(1), own, {"javanese_av": 5}) == {("javanese_av", "emotion"): 5}
    assert group_weights(mix_of(1), [("e3", "emotion")], {"e3": 1}) == {("e3", "emotion"): 1}


sizes = st.dictionaries(
    st.tuples(st.sampled_from("abc"), st.sampled_from(["emotion", "vqa"])), st.integers(1, 9), min_size=1
)


@given(sizes=sizes, seed=st.integers(0, 2**40), start=st.integers(0, 60))
def test_a_run_that_goes_on_sees_what_an_unbroken_one_sees(sizes, seed, start):
    weights = dict.fromkeys(sizes, 1.0)
    whole = list(islice(visits(sizes, weights, seed), start + 20))
    assert list(islice(visits(sizes, weights, seed, start), 20)) == whole[start:]


@given(sizes=sizes, seed=st.integers(0, 2**40))
def test_within_a_group_nothing_comes_again_before_all_have_come(sizes, seed):
    passes: dict[tuple, list[int]] = {}
    for visit in islice(visits(sizes, dict.fromkeys(sizes, 1.0), seed), 150):
        passes.setdefault((visit.group, visit.epoch), []).append(visit.index)
    for (group, epoch), seen in passes.items():
        assert len(seen) == len(set(seen)) and set(seen) <= set(range(sizes[group]))
        if (group, epoch + 1) in passes:
            assert len(seen) == sizes[group]


@given(sizes=sizes, seed=st.integers(0, 2**40))
def test_the_order_in_which_groups_are_given_has_no_influence(sizes, seed):
    turned = dict(reversed(sizes.items()))
    one, other = (visits(s, dict.fromkeys(s, 1.0), seed) for s in (sizes, turned))
    assert list(islice(one, 30)) == list(islice(other, 30))


@pytest.mark.parametrize(
    ("sizes", "weights"),
    [
        ({}, {}),
        ({("a", "vqa"): 0}, {("a", "vqa"): 1}),
        ({("a", "vqa"): 1}, {("a", "vqa"): 0}),
        ({("a", "vqa"): 1}, {}),
    ],
)
def test_there_has_to_be_something_to_draw(sizes, weights):
    with pytest.raises(ConfigError):
        next(visits(sizes, weights))


def some_records(count: int = 8) -> list[Record]:
    return [
        Record(
            id=f"{number}",
            source=source,
            split="train",
            media=Media(video=f"{number}.mp4"),
            task="emotion",
            label_space=("happy", "sad"),
            label="sad",
        )
        for source in ("e3", "mer2023")
        for number in range(count)
    ]


def some_replay() -> list[ReplaySample]:
    return [
        ReplaySample("gqa", "train", f"{n}", "vqa", f"images/{n}.jpg", "What?", ("that",)) for n in range(5)
    ]


def test_the_stream_mixes_people_and_replay():
    made = list(islice(instruction_stream(some_records(), some_replay(), stage=1, seed=3), 3000))
    drawn = Counter(each.key[0] for each in made)
    for source, weight in {"e3": 195, "mer2023": 60, "gqa": 50}.items():
        assert drawn[source] / 3000 == pytest.approx(weight / 305, abs=0.045)
    assert {each.tag for each in made} == {Tag.EMOTION, Tag.VQA}  # these records have no descriptions
    assert {each.drawn for each in made} == {Tag.EMOTION, Tag.AUDIO, Tag.IMAGE, Tag.VQA}


def test_the_stream_depends_on_the_seed_and_not_on_the_order_of_the_files():
    def first(records, seed, start=0):
        return list(islice(instruction_stream(records, some_replay(), stage=1, seed=seed, start=start), 60))

    records = some_records()
    assert first(records, 5) == first(records[::-1], 5) != first(records, 6)
    assert first(records, 5, start=20)[:40] == first(records, 5)[20:]


def test_a_clip_is_asked_differently_when_it_comes_again():
    made = islice(instruction_stream(some_records(1)[:1], stage=1), 20)
    assert len({each.prompt for each in made}) > 10


def people_of(source: str, count: int) -> list[Record]:
    return [
        Record(
            id=f"{source}{i}",
            source=source,
            split="train",
            media=Media(audio=f"{i}.wav"),
            task="emotion",
            label_space=("anger", "joy"),
            label=("anger", "joy")[i % 2],
            reasoning="The voice is loud and fast.",
            provenance={"reasoning": Provenance(agent="human", model="human", prompt="", date="2026-01-01")},
        )
        for i in range(count)
    ]


@given(st.integers(0, 40))
def test_joint_stages_take_turns_and_go_on_where_they_were(start):
    records = people_of("meld", 7)
    whole = list(islice(joint_stream(records, stages=(1, 2), seed=3), 60))
    assert (
        list(islice(joint_stream(records, stages=(1, 2), seed=3, start=start), 60 - start)) == whole[start:]
    )
    perception = list(islice(instruction_stream(records, stage=1, seed=3), 30))
    assert (
        whole[::2] == perception
        and list(islice(joint_stream(records, stages=(1,), seed=3), 30)) == perception
    )
    assert {item.tag for item in whole[::2]} <= {Tag.EMOTION, Tag.AUDIO, Tag.IMAGE}
    assert {Tag.THINK, Tag.REASON} <= {item.tag for item in whole[1::2]}
    assert [a.key for a in whole[::2]] != [b.key for b in whole[1::2]]
