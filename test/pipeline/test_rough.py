"""What robots do to streams: any stamps, any order, any speed, any size; and all is well soon after."""

from __future__ import annotations

from collections.abc import Callable, Iterable

import numpy as np
import pytest
from fake_workers import CONFIG, PATIENCE_S, FakePerceiver, Run, S, picture
from hypothesis import given, settings
from hypothesis import strategies as st

from emollama_ros.errors import InputError
from emollama_ros.estimate import Modality
from emollama_ros.pipeline import Intake, PipelineConfig
from emollama_ros.streams import Window

BOTH = PipelineConfig(frame_size=8)
HOUR_MS = 3_600_000
MS = 1_000_000

#: Kind, shift of the stamps from now on, time that passes, all in milliseconds, and samples or brightness.
steps = st.lists(
    st.tuples(
        st.sampled_from(["audio", "video", "text", "twice", "late"]),
        st.sampled_from([0, 0, 0, 0, -500, 500, -HOUR_MS, HOUR_MS, -1500, 20_000]),
        st.integers(0, 400),
        st.integers(0, 5000),
    ),
    max_size=40,
)


class Robot:
    """Feeds an intake with what a robot's drivers might send, and keeps the windows that it gives."""

    def __init__(self) -> None:
        self.intake = Intake(BOTH)
        self.windows: list[Window] = []
        self.restarts: list[int] = []

    def step(self, kind: str, at_ms: int, size: int) -> None:
        chunk = np.full(size, 0.1, np.float32)
        restarted = False
        if kind == "video":
            restarted = self.intake.push_frame(at_ms * MS, picture(size % 256))
        elif kind == "text":
            self.intake.push_transcript(at_ms * MS, f"word {size}")
        else:
            for stamp_ms in {"audio": [at_ms], "twice": [at_ms, at_ms], "late": [at_ms, at_ms - 200]}[kind]:
                restarted |= self.intake.push_audio(stamp_ms * MS, chunk)
        if restarted:
            self.restarts.append(len(self.windows))
        for end_ns in self.intake.clock.due()[-1:]:
            self.windows.append(self.intake.window(end_ns))

    def live(self, from_ms: int, to_ms: int) -> None:
        """Both sensors as they should be, 20 pictures a second and chunks of 50 ms."""
        for at_ms in range(from_ms, to_ms, 50):
            self.step("video", at_ms, at_ms // 50 % 256)
            self.step("audio", at_ms, 800)


def whole(window: Window) -> bool:
    return window.frames is not None and window.audio is not None and window.audio.valid == 1.0


@settings(deadline=None)
@given(steps)
def test_windows_are_sound_whatever_the_stamps(happened: Iterable[tuple[str, int, int, int]]) -> None:
    robot, at_ms = Robot(), 1_700_000_000_000
    for kind, leap, passed, size in happened:
        at_ms += leap + passed
        robot.step(kind, at_ms, size)
    for window in robot.windows:
        assert 0 < window.end_ns - window.start_ns <= 4 * S
        if window.audio is not None:
            assert len(window.audio.samples) == round((window.end_ns - window.start_ns) * 16 / 1e6)
        if window.frames is not None:
            assert (np.diff(window.frames.stamps_ns) > 0).all()
            assert (
                window.start_ns <= window.frames.stamps_ns[0] <= window.frames.stamps_ns[-1] < window.end_ns
            )
    cuts = [0, *robot.restarts, len(robot.windows)]
    for first, last in zip(cuts, cuts[1:], strict=False):  # between restarts time goes on
        ends = [window.end_ns for window in robot.windows[first:last]]
        assert ends == sorted(set(ends))
    assert robot.intake.nbytes == Robot().intake.nbytes  # whatever happened


@settings(deadline=None)
@given(steps, st.sampled_from([0, 1, 900, -900, 5000, -5000, HOUR_MS, -HOUR_MS]))
def test_after_any_history_good_input_gives_whole_windows_again(
    happened: Iterable[tuple[str, int, int, int]], leap: int
) -> None:
    robot, at_ms = Robot(), 1_700_000_000_000
    for kind, shift, passed, size in happened:
        at_ms += shift + passed
        robot.step(kind, at_ms, size)
    before = len(robot.windows)
    robot.live(at_ms + leap, at_ms + leap + 9000)
    assert all(whole(window) for window in robot.windows[before:][-3:])
    assert robot.windows[-1].end_ns >= (at_ms + leap + 9000 - 600) * MS


@pytest.mark.parametrize("leap_ms", [HOUR_MS, -HOUR_MS])
def test_an_hour_forth_or_back_costs_a_second(leap_ms: int) -> None:
    robot = Robot()
    robot.live(0, 5000)
    before = len(robot.windows)
    robot.live(5000 + leap_ms, 5000 + leap_ms + 1600)
    first = robot.windows[before]
    assert (first.start_ns, first.end_ns) == ((5000 + leap_ms) * MS, (6000 + leap_ms) * MS)
    assert whole(first) and robot.intake.clock.restarts == 1 and robot.intake.audio_lost == 0


@pytest.mark.parametrize("speed", [1, 2, 4])
def test_input_faster_than_life_is_skipped_and_accounted_for(start: Callable[..., Run], speed: int) -> None:
    """A bag at four times its rate: the worker gets a window done while ``speed`` of them become complete."""
    run = start(FakePerceiver(held=True), config=CONFIG)
    taken = [run.feed_window(1.0)]
    for k in range(1, 6):
        run.hear(1.0 + 0.5 * speed * k)
        run.perceiver.gate.release()
        run.estimate()
        taken.append(run.perceiver.entered.get(timeout=PATIENCE_S))
    run.perceiver.held = False
    run.perceiver.gate.release()
    run.estimate()
    health = run.pipeline.health()
    assert taken == [S + speed * k * S // 2 for k in range(6)]
    assert health.windows + health.windows_skipped == 1 + 5 * speed
    assert health.audio_lost == 0 and health.audio_samples == 16000 + 5 * speed * 8000


def test_pictures_may_change_their_size_while_it_runs(start: Callable[..., Run]) -> None:
    run = start(config=BOTH)
    for k, (height, width) in enumerate([(480, 640), (8, 8), (7, 300), (1, 1), (240, 320)]):
        run.pipeline.push_frame(k * S // 4, np.full((height, width, 3), 40 * k, np.uint8))
    found = run.estimate()
    frames = run.perceiver.windows[0].frames
    assert found.modalities is Modality.VIDEO and frames is not None
    assert (
        frames.images.shape == (4, 8, 8, 3) and frames.images[1].min() == 40 and frames.images[3].max() == 120
    )


def test_a_picture_that_is_none_is_refused_and_costs_nothing(start: Callable[..., Run]) -> None:
    run = start(config=BOTH)
    run.pipeline.push_frame(0, picture(1))
    for wrong in (np.zeros((0, 8, 3), np.uint8), np.zeros((8, 8), np.uint8), np.zeros((8, 8, 3), np.float32)):
        with pytest.raises(InputError):
            run.pipeline.push_frame(S // 2, wrong)
    run.pipeline.push_frame(S, picture(2))
    assert run.estimate().end_ns == S and run.pipeline.health().faults == 0
