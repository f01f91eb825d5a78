"""A stream of sound becomes utterances, in bounded memory, whatever the chunks and stamps are."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from sounds import RATE, Floats, melody, noise, silence, tone

from emollama_ros.errors import ConfigError
from emollama_ros.speech.utterances import Segmenter, Utterance, UtteranceSettings, is_voice

T0 = 1_700_000_000_000_000_000
NS = 10**9


def feed(segmenter: Segmenter, sound: Floats, begin_ns: int = T0, sizes: tuple[int, ...] = (1024,)):
    """Push a sound in chunks of the given sizes, in turn."""
    found: list[Utterance] = []
    at, turn = 0, 0
    while at < len(sound):
        chunk = sound[at : at + sizes[turn % len(sizes)]]
        found += segmenter.push(begin_ns + at * NS // RATE, chunk)
        at, turn = at + len(chunk), turn + 1
    return found


def words_between_pauses() -> Floats:
    """1 s of quiet, 1 s of sound, 1 s of quiet, 2 s of sound, 1 s of quiet."""
    background = noise(6.0, -65.0)
    background[RATE : 2 * RATE] += noise(1.0, -30.0, 1)
    background[3 * RATE : 5 * RATE] += noise(2.0, -30.0, 2)
    return background


def test_pauses_divide_and_stamps_tell_when():
    first, second = feed(Segmenter(), words_between_pauses())
    for found, begin, end in ((first, 1.0, 2.0), (second, 3.0, 5.0)):
        assert abs(found.end_ns - T0 - end * NS) <= 0.04 * NS
        assert (
            0.2 * NS <= T0 + begin * NS - found.start_ns <= 0.4 * NS
        )  # a little before, for soft beginnings
        assert end - begin <= found.seconds <= end - begin + 0.8


@settings(max_examples=15)
@given(st.lists(st.integers(40, 5000), min_size=1, max_size=5).map(tuple))
def test_chunks_do_not_matter(sizes: tuple[int, ...]):
    sound = words_between_pauses()
    usual, other = feed(Segmenter(), sound), feed(Segmenter(), sound, sizes=sizes)
    assert len(usual) == len(other) == 2
    for a, b in zip(usual, other, strict=True):
        assert abs(a.end_ns - b.end_ns) < 1000 and np.array_equal(a.samples, b.samples)


@pytest.mark.parametrize("sound", [silence(5.0), noise(5.0, -70.0)], ids=["digital silence", "quiet room"])
def test_nothing_in_a_quiet_room(sound: Floats):
    assert feed(Segmenter(), sound) == []


def test_a_click_is_nothing():
    sound = noise(3.0, -65.0)
    sound[RATE : RATE + 400] = 0.5
    assert feed(Segmenter(), sound) == []


def test_lasting_noise_becomes_the_background():
    segmenter = Segmenter()
    begun = feed(segmenter, noise(20.0, -30.0))
    assert len(begun) <= 1 and not segmenter.is_open
    louder = np.concatenate([noise(1.0, -30.0, 1), noise(1.0, -12.0, 2), noise(1.0, -30.0, 3)])
    (found,) = feed(segmenter, louder, T0 + 20 * NS)
    assert abs(found.end_ns - T0 - 22 * NS) <= 0.1 * NS


def test_a_monologue_is_cut_where_it_is_quietest_and_loses_nothing():
    """Sound with a short dip every 0.7 s, shorter than a pause, for a minute."""
    time = np.arange(60 * RATE) / RATE
    sound = np.concatenate([noise(60.0, -25.0) * np.where(time % 0.7 < 0.6, 1, 0.01), silence(1.0)])
    segmenter, most, found = Segmenter(), 0, []
    for at in range(0, len(sound), 1024):
        found += segmenter.push(T0 + at * NS // RATE, sound[at : at + 1024].astype(np.float32))
        most = max(most, segmenter.nbytes)
    assert most <= 15.1 * RATE * 4
    assert all(u.seconds <= 15.0 for u in found) and len(found) >= 4
    for a, b in zip(found, found[1:], strict=False):
        assert 0 <= b.start_ns - a.end_ns <= 0.15 * NS  # only the dip lies between
        assert (b.start_ns - T0) / NS % 0.7 > 0.55


@settings(max_examples=8)
@given(st.integers(0, 2**32 - 1), st.integers(500, 60_000))
def test_memory_is_bounded_for_any_sound(seed: int, size: int):
    rng = np.random.default_rng(seed)
    loud = np.repeat(10 ** rng.uniform(-6, 0, 40), RATE)
    sound = (rng.standard_normal(len(loud)) * loud).astype(np.float32)
    segmenter = Segmenter(UtteranceSettings(longest_s=5.0))
    for at in range(0, len(sound), size):
        for found in segmenter.push(T0 + at * NS // RATE, sound[at : at + size]):
            assert found.seconds <= 5.0 and found.start_ns < found.end_ns
        assert segmenter.nbytes <= 5.1 * RATE * 4


def test_lost_sound_ends_an_utterance():
    segmenter = Segmenter()
    assert feed(segmenter, noise(1.0, -30.0)) == []
    (found,) = segmenter.push(T0 + round(1.5 * NS), noise(0.1, -30.0, 1))
    assert abs(found.end_ns - T0 - NS) <= 0.04 * NS and segmenter.lost == RATE // 2


def test_repeated_sound_is_left_alone_and_a_clock_that_falls_back_forgets():
    segmenter = Segmenter()
    sound = words_between_pauses()
    first = feed(segmenter, sound[: 4 * RATE])
    held = segmenter.nbytes
    assert segmenter.push(T0 + round(3.8 * NS), sound[:1024]) == [] and segmenter.nbytes == held
    assert segmenter.push(T0 - 3600 * NS, sound[:1024]) == [] and not segmenter.is_open
    assert len(first) == 1


def test_what_is_not_a_number_is_silence():
    sound = words_between_pauses()
    sound[100:200], sound[300] = np.nan, np.inf
    assert len(feed(Segmenter(), sound)) == 2
    assert feed(Segmenter(), np.full(RATE, np.nan, np.float32)) == []


@pytest.mark.parametrize("wrong", [{"longest_s": 60.0}, {"pause_s": 0.2}, {"lead_s": 0.0}])
def test_settings_out_of_range_are_named(wrong: dict[str, float]):
    with pytest.raises(ConfigError, match=next(iter(wrong))):
        UtteranceSettings(**wrong)


@pytest.mark.parametrize("dbfs", [-50, -30, -10])
def test_noise_is_no_voice(dbfs: float):
    assert not is_voice(noise(4.0, dbfs))


@pytest.mark.parametrize("hertz", [50, 120, 220, 440, 1000, 3000])
def test_a_tone_is_no_voice(hertz: float):
    assert not is_voice(tone(4.0, hertz))
    assert not is_voice(tone(4.0, hertz) * (np.arange(4 * RATE) // 4000 % 2).astype(np.float32))


def test_a_voice_is_one_and_so_is_music(say):
    assert is_voice(say("The papers are on the table by the window."))
    assert is_voice(say("The bus stops at the corner of the street.", 120.0, 0.86))
    assert is_voice(melody(4.0))  # left to the model, which finds no words in it


@settings(max_examples=40)
@given(
    st.lists(st.tuples(st.integers(-(2**40), 2**40), st.integers(0, 20_000)), min_size=1, max_size=20),
    st.integers(0, 99),
)
def test_any_stamps_and_sizes_are_taken(chunks: list[tuple[int, int]], seed: int):
    """Stamps jump by up to 18 minutes either way; chunks may be empty."""
    rng, segmenter, stamp = np.random.default_rng(seed), Segmenter(), T0
    for jump, size in chunks:
        stamp += jump
        for found in segmenter.push(stamp, rng.standard_normal(size).astype(np.float32) * 0.1):
            assert found.start_ns < found.end_ns and 0 < found.seconds <= 15.0
        assert segmenter.nbytes <= 15.1 * RATE * 4
