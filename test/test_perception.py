"""The fast path with the bundle that ships: masks that really mask, faults in words, repeatable results."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest

from emollama_ros.bundle import MANIFEST, Bundle, packaged_path
from emollama_ros.engines import EngineOptions, load_engine
from emollama_ros.estimate import Modality, Status
from emollama_ros.labels import UNKNOWN
from emollama_ros.perception import Perception, usable_modalities
from emollama_ros.streams import AudioSpan, FrameBatch, Window

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
