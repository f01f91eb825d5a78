"""What is learnt of a person: from the past alone, bounded, forgotten in time, and worth something."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from numpy.typing import NDArray

from emollama_ros.adaptation import ABSENT_NS, Following, People, Person
from emollama_ros.errors import ConfigError, InputError
from emollama_ros.manifest import Adaptation

S = 1_000_000_000
LABELS = ("neutral", "happy", "sad", "angry")
CLIP = 2.0
MEANS = tuple(tuple(3.0 if i == j else 0.0 for j in range(4)) for i in range(4))
PRIOR = Adaptation({"audio": 2.0, "video": 1.0}, {"audio": MEANS, "video": MEANS}, CLIP)
AT_ONCE = Following(is_on=True, after_s=0.0)
Row = NDArray[np.float64]

finite = st.floats(-50, 50)
rows = st.lists(finite, min_size=4, max_size=4).map(np.array)
odd_rows = st.lists(st.one_of(finite, st.sampled_from([np.nan, np.inf, -np.inf])), min_size=4, max_size=4)
hops_s = st.floats(0.1, 5.0)
streams = st.lists(st.tuples(hops_s, rows), min_size=1, max_size=12)


def softmax(logits: Row) -> Row:
    shifted = np.exp(logits - logits.max())
    return shifted / shifted.sum()


class Watcher:
    """Perceives as the robot does: corrects, scores, and learns from what it scored; windows of 4 s."""

    def __init__(self, person: Person | None = None, settings: Following = AT_ONCE) -> None:
        self.person = person or Person(PRIOR, LABELS, settings)
        self.now_ns = 1000 * S

    def see(self, logits: Row, hop_s: float = 4.0, view: str = "audio") -> Row:
        self.now_ns += round(hop_s * S)
        corrected = self.person.corrected(self.now_ns, {view: logits})[view]
        scores = softmax(corrected)
        self.person.observe(self.now_ns - 4 * S, self.now_ns, {view: logits}, scores)
        return corrected

    def see_all(self, stream: Sequence[tuple[float, Row]]) -> list[list[float]]:
        return [self.see(logits, hop_s).tolist() for hop_s, logits in stream]


def people_of(count: int, habit: float, seed: int = 0) -> list[tuple[Row, NDArray[np.int64]]]:
    """Made-up people: (logits of their clips, what those show), with a habit each that adds to all logits."""
    random = np.random.default_rng(seed)
    made = []
    for _ in range(count):
        labels = random.permutation(np.repeat(np.arange(4), 12))
        noise = 1.3 * random.standard_normal((len(labels), 4))
        made.append((np.array(MEANS)[labels] + noise + habit * random.standard_normal(4), labels))
    return made


def recall(clips: Row, labels: NDArray[np.int64], settings: Following = AT_ONCE) -> float:
    watcher = Watcher(settings=settings)
    return float(np.mean([watcher.see(row).argmax() for row in clips] == labels))


OFF = Following()


@given(streams, streams, streams)
def test_the_future_changes_nothing(
    past: list[tuple[float, Row]], one: list[tuple[float, Row]], other: list[tuple[float, Row]]
) -> None:
    assert Watcher().see_all(past + one)[: len(past)] == Watcher().see_all(past + other)[: len(past)]


@given(streams, rows, rows)
def test_a_window_is_not_corrected_by_itself(past: list[tuple[float, Row]], one: Row, other: Row) -> None:
    first, second = Watcher(), Watcher()
    first.see_all(past)
    second.see_all(past)
    assert np.allclose(one - first.see(one), other - second.see(other), atol=1e-9)


@given(streams, rows)
def test_an_offset_is_bounded(past: list[tuple[float, Row]], logits: Row) -> None:
    watcher = Watcher()
    watcher.see_all(past)
    assert np.abs(watcher.see(logits) - logits).max() <= CLIP + 1e-9
    watcher.person.set_neutral()
    assert np.abs(watcher.see(logits) - logits).max() <= CLIP + 1e-9


@given(streams, odd_rows, st.booleans())
def test_what_is_no_number_never_enters(
    past: list[tuple[float, Row]], odd: list[float], in_scores: bool
) -> None:
    values = np.array(odd)
    if np.isfinite(values).all():
        values[1] = np.nan
    watcher = Watcher()
    watcher.see_all(past)
    before = watcher.person.report()
    logits, scores = (np.zeros(4), values) if in_scores else (values, np.full(4, 0.25))
    watcher.person.observe(watcher.now_ns, watcher.now_ns + 4 * S, {"audio": logits}, scores)
    assert watcher.person.report() == before
    assert np.isfinite(watcher.see(np.zeros(4))).all()


@given(streams, streams)
def test_who_is_new_is_as_if_nobody_had_been_there(
    past: list[tuple[float, Row]], then: list[tuple[float, Row]]
) -> None:
    watcher = Watcher()
    watcher.see_all(past)
    watcher.person.forget()
    assert watcher.see_all(then) == Watcher().see_all(then)


@given(streams, streams, st.one_of(st.just(-1.0), st.just(0.0), st.just(ABSENT_NS / S + 1)))
def test_after_a_leap_or_a_long_absence_too(
    past: list[tuple[float, Row]], then: list[tuple[float, Row]], leap_s: float
) -> None:
    watcher = Watcher()
    watcher.see_all(past)
    (_, logits), rest = then[0], then[1:]
    watcher.see(logits, leap_s)  # says that the stream began anew, or that nobody was there
    fresh = Watcher()
    fresh.see(logits)
    assert watcher.see_all(rest) == fresh.see_all(rest)


@given(st.lists(st.tuples(st.integers(0, 2), hops_s, rows), max_size=15))
def test_sources_do_not_touch_each_other(seen: list[tuple[int, float, Row]]) -> None:
    together = People(PRIOR, LABELS, AT_ONCE)
    watchers = {source: Watcher(together.at(source)) for source in range(3)}
    found = {source: [] for source in range(3)}
    for source, hop_s, logits in seen:
        found[source].append(watchers[source].see(logits, hop_s).tolist())
    for source in range(3):
        assert found[source] == Watcher().see_all([(hop, row) for s, hop, row in seen if s == source])


@given(rows, st.sampled_from([0.1, 0.25, 0.5, 1.0, 2.0]))
def test_windows_that_overlap_are_not_counted_again(logits: Row, hop_s: float) -> None:
    often, seldom = Watcher(), Watcher()
    for _ in range(1 + round(20 / hop_s)):
        often.see(logits, hop_s)
    for _ in range(6):
        seldom.see(logits)
    assert often.person.report().evidence_s == pytest.approx(seldom.person.report().evidence_s) == 24.0


def test_evidence_must_be_enough() -> None:
    watcher = Watcher(settings=Following(is_on=True, after_s=12.0))
    for _ in range(3):
        assert (watcher.see(np.array([0.0, 0.0, 0.0, 5.0])) == [0, 0, 0, 5]).all()
    assert watcher.person.report().words == "allowing for the person"
    assert (watcher.see(np.array([0.0, 0.0, 0.0, 5.0])) != [0, 0, 0, 5]).any()


def test_switched_off_it_does_nothing_and_knows_nothing() -> None:
    watcher = Watcher()
    watcher.see_all([(4.0, np.array([0.0, 0.0, 5.0, 1.0]))] * 5)
    watcher.person.use(OFF)
    assert (watcher.see(np.arange(4.0)) == np.arange(4)).all()
    assert watcher.person.report().evidence_s == 0 and watcher.person.report().words == "off"
    watcher.person.use(AT_ONCE)
    assert (watcher.see(np.arange(4.0)) == np.arange(4)).all()


def test_what_was_long_ago_counts_less() -> None:
    def remaining(forget_s: float) -> float:
        watcher = Watcher(settings=Following(is_on=True, after_s=0, forget_s=forget_s))
        for _ in range(10):
            watcher.see(np.array([3.0, 0.0, 0.0, 1.5]))  # neutral, with something angry about it
        for _ in range(10):
            watcher.see(np.array([3.0, 1.5, 0.0, 0.0]))
        return 1.5 - float(watcher.see(np.array([3.0, 0.0, 0.0, 1.5]))[3])

    assert remaining(10.0) < remaining(60.0) < remaining(86400.0)


def test_a_habit_is_learnt_where_somebody_shows_many_emotions() -> None:
    people = people_of(20, habit=1.5)
    before = np.mean([recall(*person, OFF) for person in people])
    after = np.mean([recall(*person) for person in people])
    assert after > before + 0.05


@pytest.mark.parametrize("label", range(4))
def test_who_shows_one_emotion_for_long_and_clearly_keeps_it(label: int) -> None:
    watcher = Watcher()
    for _ in range(200):
        watcher.see(4 * np.array(MEANS[label]))
    assert watcher.see(np.array(MEANS[label])).argmax() == label


def test_scores_are_sharpened_before_they_are_learnt_from() -> None:
    sharp = Adaptation(PRIOR.strength, PRIOR.means, CLIP, {"audio": 50.0})
    doubting, sure = Watcher(), Watcher(Person(sharp, LABELS, AT_ONCE))
    for watcher in (doubting, sure):
        for _ in range(5):
            watcher.see(np.array(MEANS[1]))
    sizes = [watcher.person.report().offsets["audio"] for watcher in (doubting, sure)]
    assert sizes[1] < 1e-6 < sizes[0]


def test_a_neutral_reference_counts_at_once_and_stays() -> None:
    habit = np.array([0.0, 0.0, 0.0, 2.0])
    watcher = Watcher(settings=Following(is_on=True, after_s=600.0))
    watcher.see(np.array(MEANS[0]) + habit)
    assert "neutral face and voice" in watcher.person.set_neutral()
    sad = watcher.see(np.array(MEANS[2]) + habit)
    assert sad[3] < 1.1 and sad.argmax() == 2
    assert watcher.person.report().neutral == "set for this person"
    for _ in range(50):
        watcher.see(np.array(MEANS[0]) + habit, 20.0)
    assert watcher.see(np.array(MEANS[2]) + habit)[3] < 1.1


def test_only_the_last_seconds_are_the_reference() -> None:
    watcher, other = Watcher(), Watcher()
    watcher.see_all([(0.5, np.array([9.0, 0, 0, 0]))] * 20)
    other.see_all([(0.5, np.array([0.0, 0, 0, 9.0]))] * 20)
    for one in (watcher, other):
        one.see_all([(0.5, np.array([3.0, 0, 1.0, 0]))] * 8)
        one.person.set_neutral()
    views = [one.person._memory.habits["audio"].reference for one in (watcher, other)]
    assert np.allclose(*views) and np.allclose(views[0], [-0.25, -0.25, 0.75, -0.25])


def test_a_neutral_reference_needs_somebody_and_a_label_for_it() -> None:
    with pytest.raises(InputError, match="nobody was perceived in the last 4 s"):
        Person(PRIOR, LABELS, AT_ONCE).set_neutral()
    with pytest.raises(ConfigError, match="adaptation is off"):
        Person(PRIOR, LABELS).set_neutral()
    watcher = Watcher(Person(PRIOR, ("calm", "happy", "sad", "angry"), AT_ONCE))
    watcher.see(np.zeros(4))
    with pytest.raises(ConfigError, match="no label neutral"):
        watcher.person.set_neutral()


def test_views_are_learnt_by_themselves_and_unknown_ones_left_alone() -> None:
    watcher = Watcher()
    for _ in range(5):
        watcher.see(np.array([3.0, 0, 0, 2.0]), view="video")
    row = np.arange(4.0)
    found = watcher.person.corrected(watcher.now_ns + S, {"audio": row, "video": row, "smell": row})
    assert (found["audio"] == row).all() and (found["smell"] == row).all()
    assert (found["video"] != row).any()
    assert found["video"].dtype == row.dtype


@pytest.mark.parametrize(
    "wrong", [{"after_s": -1}, {"after_s": 601}, {"forget_s": 0}, {"forget_s": 1e6}, {"after_s": np.nan}]
)
def test_settings_out_of_range_are_refused(wrong: dict[str, float]) -> None:
    with pytest.raises(ConfigError, match=f"adaptation_{next(iter(wrong))} is"):
        Following(**wrong)


@settings(max_examples=20)
@given(streams)
def test_any_thread_may_ask(past: list[tuple[float, Row]]) -> None:
    from concurrent.futures import ThreadPoolExecutor

    people = People(PRIOR, LABELS, AT_ONCE)
    with ThreadPoolExecutor(4) as pool:
        jobs = [pool.submit(Watcher(people.at(source)).see_all, past) for source in range(4)]
        jobs += [pool.submit(people.at(source).report) for source in range(4)]
        found = [job.result() for job in jobs[:4]]
    assert found == [Watcher().see_all(past)] * 4
