"""The fast path with the bundle that ships: masks that really mask, faults in words, repeatable results."""

from __future__ import annotations

import threading
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest

from emollama_ros.adaptation import Following
from emollama_ros.bundle import MANIFEST, Bundle, packaged_path
from emollama_ros.encoders import FRAMES_A_RUN, AudioEncoder, FrameCache
from emollama_ros.engines import EngineOptions, load_engine
from emollama_ros.estimate import Modality, Status
from emollama_ros.labels import UNKNOWN
from emollama_ros.manifest import Adaptation
from emollama_ros.perception import Perception
from emollama_ros.streams import AudioSpan, FrameBatch, Window
from emollama_ros.usable import usable_modalities

S = 1_000_000_000
CPU = EngineOptions(kind="cpu", threads=1)
RANDOM = np.random.default_rng(5)


@pytest.fixture(scope="module")
def bundle() -> Bundle:
    if not (packaged_path() / MANIFEST).is_file():
        pytest.skip(f"{packaged_path()} has no bundle")
    return Bundle.load(packaged_path())


@pytest.fixture(scope="module")
def perception(bundle: Bundle) -> Perception:
    return Perception(bundle, CPU)


@pytest.fixture(autouse=True)
def _fresh(request: pytest.FixtureRequest) -> None:
    if "perception" in request.fixturenames:
        request.getfixturevalue("perception").reset()


def sound(seconds: float = 2.0, level: float = 0.2, valid: float = 1.0) -> AudioSpan:
    samples = (level * RANDOM.standard_normal(round(16000 * seconds))).astype(np.float32)
    return AudioSpan(0, samples, valid)


def frames(count: int = 8, size: int = 224) -> FrameBatch:
    stamps = np.arange(count, dtype=np.int64) * (S // 4)
    return FrameBatch(stamps, RANDOM.integers(0, 256, (count, size, size, 3), dtype=np.uint8))


def features(bundle: Bundle, rows: int) -> dict[str, np.ndarray]:
    return {
        name: RANDOM.standard_normal((rows, *spec.shape[1:])).astype(np.float32)
        for name, spec in bundle.manifest.graphs["fusion"].inputs.items()
    }


@pytest.mark.parametrize(("absent", "present"), [(("audio",), (0.0, 1.0)), (("image", "video"), (1.0, 0.0))])
@pytest.mark.parametrize("noise", [0.0, 1.0, 1e4])
def test_an_absent_modality_changes_no_bit(
    bundle: Bundle, absent: tuple[str, ...], present: tuple[float, float], noise: float
) -> None:
    fusion = load_engine(bundle.file("fusion.onnx"), CPU)
    inputs = features(bundle, 2) | {"present": np.array([present] * 2, np.float32)}
    expected = fusion.run(inputs)
    for name in absent:
        inputs[name] = (noise * RANDOM.standard_normal(inputs[name].shape)).astype(np.float32)
    found = fusion.run(inputs)
    for name, value in expected.items():
        assert np.isfinite(value).all()
        assert value.tobytes() == found[name].tobytes(), name


@pytest.mark.parametrize("changed", ["audio", "image", "video"])
def test_a_present_modality_counts(bundle: Bundle, changed: str) -> None:
    fusion = load_engine(bundle.file("fusion.onnx"), CPU)
    inputs = features(bundle, 1) | {"present": np.ones((1, 2), np.float32)}
    before = fusion.run(inputs)["logits"]
    inputs[changed] = -inputs[changed]
    assert not np.array_equal(before, fusion.run(inputs)["logits"])


@pytest.mark.parametrize(
    ("window", "used"),
    [
        (Window(0, 2 * S, frames(), sound()), Modality.VIDEO | Modality.AUDIO),
        (Window(0, 2 * S, frames()), Modality.VIDEO),
        (Window(0, 2 * S, None, sound()), Modality.AUDIO),
        (Window(0, 2 * S, None, None, "what a day"), Modality.TEXT),
        (
            Window(0, 2 * S, frames(), sound(), "what a day"),
            Modality.VIDEO | Modality.AUDIO | Modality.TEXT,
        ),
    ],
)
def test_any_mixture_gives_a_distribution(perception: Perception, window: Window, used: Modality) -> None:
    found = perception.perceive_one(window, 3)
    assert (found.modalities, found.sequence, found.status) == (used, 3, Status.OK)
    assert sum(found.scores) == pytest.approx(1.0, abs=1e-5) and min(found.scores) >= 0
    assert found.label == found.labels[int(np.argmax(found.scores))]
    assert found.confidence == max(found.scores)
    assert -1 <= found.valence <= 1 and -1 <= found.arousal <= 1
    assert all(cue.modality in used for cue in found.cues)
    assert all(sum(view) == pytest.approx(1.0, abs=1e-5) for view in found.views.values())


def test_the_same_window_gives_the_same_estimate(perception: Perception) -> None:
    window = Window(0, 2 * S, frames(), sound(), "hello")
    first = perception.perceive_one(window, 0)
    perception.reset()
    assert perception.perceive_one(window, 0).scores == first.scores


def following(bundle: Bundle, uncertain_below: float = 0.0) -> Perception:
    """A perception that follows people from the first window on, with means made up for this."""
    views, means = (
        ("audio", "video", "video+audio"),
        tuple(map(tuple, 3 * np.eye(len(bundle.manifest.labels)))),
    )
    prior = Adaptation(dict.fromkeys(views, 1.0), dict.fromkeys(views, means), 3.0)
    calibration = replace(bundle.manifest.calibration, adaptation=prior, uncertain_below=uncertain_below)
    made = Perception(replace(bundle, manifest=replace(bundle.manifest, calibration=calibration)), CPU)
    assert made.people is not None
    made.people.use(Following(is_on=True, after_s=0.0))
    return made


def test_what_is_learnt_of_a_person_counts_from_the_next_window_on(
    bundle: Bundle, perception: Perception
) -> None:
    follower, window = following(bundle), Window(0, 2 * S, frames(), sound(), "hello")
    plain = perception.perceive_one(window)
    assert follower.perceive_one(window).scores == plain.scores
    later = replace(window, start_ns=2 * S, end_ns=4 * S)
    second = follower.perceive_one(later)
    assert second.scores != plain.scores
    assert sum(second.scores) == pytest.approx(1.0, abs=1e-5)
    assert all(second.views[m] != plain.views[m] for m in (Modality.AUDIO, Modality.VIDEO))
    assert second.views[Modality.TEXT] == plain.views[Modality.TEXT]
    assert (second.valence, second.arousal) == (plain.valence, plain.arousal)
    assert follower.perceive([later], [0], [1])[0].scores == plain.scores, "another source, another person"
    follower.reset(0)
    assert follower.perceive_one(later).scores == plain.scores


def test_nothing_is_learnt_of_a_window_in_which_nothing_is_sure(bundle: Bundle) -> None:
    follower, window = following(bundle, uncertain_below=1.0), Window(0, 2 * S, frames(), sound())
    first = follower.perceive_one(window)
    assert follower.perceive_one(replace(window, start_ns=2 * S, end_ns=4 * S)).scores == first.scores
    assert follower.people and follower.people.at(0).report().evidence_s == 0


def test_a_bundle_that_knows_nothing_of_people_follows_nobody(bundle: Bundle) -> None:
    calibration = replace(bundle.manifest.calibration, adaptation=None)
    made = replace(bundle, manifest=replace(bundle.manifest, calibration=calibration))
    assert Perception(made, CPU).people is None


def test_frames_already_encoded_give_the_same_as_new_ones(perception: Perception) -> None:
    batch = frames()
    window = Window(0, 2 * S, batch)
    perception.perceive_one(Window(0, S, FrameBatch(batch.stamps_ns[:4], batch.images[:4])), 0)
    kept = perception.perceive_one(window, 1).scores
    perception.reset()
    np.testing.assert_allclose(kept, perception.perceive_one(window, 1).scores, atol=1e-5)


@pytest.mark.parametrize(
    ("window", "why"),
    [
        (Window(0, S), ""),
        (Window(0, S, None, sound(1.0, 0.0)), "microphone is silent"),
        (Window(0, S, None, sound(0.2)), "only 0.2 s of audio"),
        (Window(0, S, None, sound(1.0, valid=0.3)), "only 30% of the audio arrived"),
        (Window(0, S, FrameBatch(np.array([0]), np.zeros((1, 224, 224, 3), np.uint8))), "picture is blank"),
        (Window(0, S, FrameBatch(np.array([0]), np.full((1, 224, 224, 3), (200, 0, 0), np.uint8))), "blank"),
        (Window(0, S, None, None, "  \n"), ""),
    ],
)
def test_nothing_usable_is_unknown_and_says_why(perception: Perception, window: Window, why: str) -> None:
    used, faults = usable_modalities(window)
    assert used is Modality.NONE and why in "; ".join(faults)
    found = perception.perceive_one(window, 0)
    assert (found.label, found.modalities, found.status) == (UNKNOWN, Modality.NONE, Status.DEGRADED)
    assert set(found.scores) == {0.0} and found.confidence == 0.0 and why in found.status_text


def test_one_bad_input_leaves_the_other_in_use(perception: Perception) -> None:
    found = perception.perceive_one(Window(0, 2 * S, frames(), sound(2.0, 0.0)), 0)
    assert (found.modalities, found.status) == (Modality.VIDEO, Status.DEGRADED)
    only = perception.perceive_one(Window(0, 2 * S, frames()), 1)
    assert set(found.views) == set(only.views) == {Modality.VIDEO}


def test_warming_up_leaves_no_trace(bundle: Bundle, perception: Perception) -> None:
    window = Window(0, 2 * S, frames(), sound())
    cold = perception.perceive_one(window, 0)
    warm = Perception(bundle, CPU)
    warm.warm_up()
    assert warm.perceive_one(window, 0).scores == cold.scores
    assert warm.labels == bundle.manifest.labels and warm.device.startswith("cpu")


def test_a_graph_that_is_not_onnx_is_an_engine_error(tmp_path: Path) -> None:
    from emollama_ros.errors import EngineError

    (tmp_path / "vision.onnx").write_bytes(b"no graph")
    with pytest.raises(EngineError, match=r"vision\.onnx: cannot be loaded"):
        load_engine(tmp_path / "vision.onnx", CPU)


def some_windows() -> list[Window]:
    """Windows of three people: two of equal length, one without pictures, one of fewer of them."""
    return [
        Window(0, 2 * S, frames(8), sound(2.0), "what a day"),
        Window(S, 3 * S, frames(5), sound(2.0)),
        Window(0, S, None, sound(1.0)),
        Window(0, 2 * S, frames(3)),
        Window(0, 2 * S),
    ]


def later(window: Window) -> Window:
    """Half a second on, with two more frames."""
    if window.frames is None:
        return window
    more = frames(2)
    batch = FrameBatch(
        np.concatenate([window.frames.stamps_ns[1:], window.frames.stamps_ns[-1] + more.stamps_ns + 1]),
        np.concatenate([window.frames.images[1:], more.images]),
    )
    return replace(window, start_ns=window.start_ns + S // 2, end_ns=window.end_ns + S // 2, frames=batch)


def test_sources_perceived_together_give_what_each_gives_alone(
    bundle: Bundle, perception: Perception
) -> None:
    first = some_windows()
    second = [later(window) for window in first]
    alone = Perception(bundle, CPU)
    sources = range(len(first))
    for number, windows in enumerate((first, second)):
        together = perception.perceive(windows, [number] * len(windows), sources)
        assert [(e.source, e.sequence) for e in together] == [(source, number) for source in sources]
    for source, found in enumerate(together):
        alone.reset()
        alone.perceive_one(first[source])
        expected = alone.perceive_one(second[source], 1)
        np.testing.assert_allclose(found.scores, expected.scores, atol=1e-6)
        np.testing.assert_allclose(
            [found.valence, found.arousal], [expected.valence, expected.arousal], atol=1e-6
        )
        assert (found.label, found.modalities, found.cues) == (
            expected.label,
            expected.modalities,
            expected.cues,
        )


def test_the_same_input_to_one_and_to_three_sources_gives_the_same(perception: Perception) -> None:
    window = Window(0, 2 * S, frames(), sound(), "hello")
    one = perception.perceive_one(window)
    perception.reset()
    for found in perception.perceive([window] * 3, [0] * 3, [0, 1, 2]):
        np.testing.assert_allclose(found.scores, one.scores, atol=1e-6)
        assert found.cues == one.cues


class CountingEngine:
    """Counts the frames that it is given."""

    def __init__(self) -> None:
        self.runs: list[int] = []

    def run(self, inputs: dict[str, np.ndarray]) -> dict[str, np.ndarray]:
        pixels = inputs["frames"]
        self.runs.append(len(pixels))
        return {"features": pixels.reshape(len(pixels), -1).astype(np.float32)}


def small(stamps: list[int], values: list[int]) -> FrameBatch:
    images = np.stack([np.full((4, 4, 3), value, np.uint8) for value in values])
    return FrameBatch(np.array(stamps, np.int64), images)


def test_new_frames_of_all_sources_are_encoded_in_one_run_and_known_ones_never() -> None:
    engine = CountingEngine()
    cache = FrameCache(engine, 4)
    cache.encode([small([1, 2], [1, 2]), small([1], [3])], [0, 1])
    found = cache.encode([small([2, 3], [2, 4]), small([1, 2, 3], [3, 5, 6])], [0, 1])
    assert engine.runs == [3, 3]
    assert [rows["features"][:, 0].tolist() for rows in found] == [[2, 4], [3, 5, 6]]


def test_pictures_that_are_the_same_are_encoded_once() -> None:
    engine = CountingEngine()
    cache = FrameCache(engine, 4)
    for stamp in range(4):  # a camera that repeats its picture, and one that shows the same
        found = cache.encode([small([stamp], [7]), small([stamp + 100], [7])], [0, 1])
        assert [rows["features"][0, 0] for rows in found] == [7, 7]
    assert engine.runs == [1]


def test_one_source_is_forgotten_without_the_others() -> None:
    engine = CountingEngine()
    cache = FrameCache(engine, 4)
    both = [small([1, 2], [1, 2]), small([1, 2], [3, 4])]
    cache.encode(both, [0, 1])
    cache.encode([small([9], [9])], [2])  # so that the pictures themselves are not remembered
    cache.clear(1)
    cache.encode(both, [0, 1])
    assert engine.runs == [4, 1, 2]


def test_many_frames_are_encoded_in_runs_of_bounded_size() -> None:
    engine = CountingEngine()
    stamps = list(range(2 * FRAMES_A_RUN + 3))
    found = FrameCache(engine, 4).encode([small(stamps, stamps)], [0])
    assert engine.runs == [FRAMES_A_RUN, FRAMES_A_RUN, 3]
    assert found[0]["features"][:, 0].tolist() == stamps


class AudioEngine:
    """An audio graph whose only output is length plus mean of its input; ``batch`` names a free axis."""

    def __init__(self, batch: int | str = 1, parties: int = 1, is_reentrant: bool = False) -> None:
        self.inputs = {"mel": ("float32", (batch, 80, "time"))}
        self.is_reentrant = is_reentrant
        self.shapes: list[tuple[int, ...]] = []
        self._meeting = threading.Barrier(parties, timeout=10.0)

    def run(self, inputs: dict[str, np.ndarray]) -> dict[str, np.ndarray]:
        mel = inputs["mel"]
        self.shapes.append(mel.shape)
        self._meeting.wait()
        rows = np.stack([np.full((1, 2, 1), mel.shape[2] + row.mean(), np.float32) for row in mel])
        return {"layers": rows}


def encoded(engine: AudioEngine, bundle: Bundle, sounds: list[np.ndarray], threads: int = 2) -> list[float]:
    encoder = AudioEncoder(engine, bundle.manifest.preprocessing, threads)
    return [float(tokens[0, 0, 0]) for tokens in encoder.encode(sounds)]


def lengths(*seconds: float) -> list[np.ndarray]:
    return [sound(s).samples for s in seconds]


def test_sounds_are_encoded_beside_each_other_where_the_engine_allows_it(bundle: Bundle) -> None:
    sounds = lengths(1.0, 2.0, 1.5, 0.5)
    expected = [encoded(AudioEngine(), bundle, [samples])[0] for samples in sounds]
    engine = AudioEngine(parties=2, is_reentrant=True)  # gives nothing until two are under way
    assert encoded(engine, bundle, sounds) == expected


def test_sounds_of_one_length_go_together_where_the_batch_axis_is_free(bundle: Bundle) -> None:
    sounds = lengths(1.0, 2.0, 1.0)
    expected = [encoded(AudioEngine(), bundle, [samples])[0] for samples in sounds]
    engine = AudioEngine(batch="batch")
    np.testing.assert_allclose(encoded(engine, bundle, sounds), expected, rtol=1e-6)
    assert sorted(engine.shapes) == [(1, 80, 200), (2, 80, 100)]


def test_people_before_one_microphone_are_heard_once(bundle: Bundle) -> None:
    (shared, other) = lengths(1.0, 1.0)
    engine = AudioEngine()
    found = encoded(engine, bundle, [shared, other, shared.copy(), shared])
    assert len(engine.shapes) == 2 and found[0] == found[2] == found[3] != found[1]
