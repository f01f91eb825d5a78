"""The recipe learns what can be learnt, and nothing leaks from a held-out person."""

import numpy as np
import pytest

torch = pytest.importorskip("torch", reason="needs PyTorch (make test installs it)")

from emollama_ros.labels import DEFAULT_LABELS  # noqa: E402
from training.evaluation.metrics import calibration_error, score_labels  # noqa: E402
from training.networks.efficientnet import EfficientNetLite0  # noqa: E402
from training.networks.perception_net import PerceptionNetConfig  # noqa: E402
from training.perception.calibration import log_softmax, pooled, temperature  # noqa: E402
from training.perception.clip_packs import RawClip, pack, unpack  # noqa: E402
from training.perception.features import AUDIO, LAYERS, TOKENS, VISION, FeatureSet, disturb, disturbed, whole  # noqa: E402
from training.perception.fit import FitConfig, drop_modalities, fit, predict  # noqa: E402
from training.perception.vision import VisionConfig, augment, class_weights, train_trunk  # noqa: E402


def toy(n=60, seed=0):
    rng = np.random.default_rng(seed)
    labels = np.arange(n) % 3
    audio = rng.normal(size=(n, LAYERS, TOKENS, AUDIO)).astype(np.float16)
    for row, label in enumerate(labels):
        audio[row, :, :, label * 40 : label * 40 + 40] += 2
    return FeatureSet(
        audio, np.zeros((n, VISION), np.float16), np.zeros((n, TOKENS, VISION), np.float16),
        np.tile(np.array([[1, 0]], np.float32), (n, 1)), labels, np.arange(n), np.zeros((n, 2), np.int64),
        np.array([f"toy:{i % 5}" for i in range(n)]), np.ones(n, bool),
    )  # fmt: skip


def test_fit_learns_a_separable_voice():
    data = toy()
    small = PerceptionNetConfig(hidden=16, width=8, output=8)
    net = fit(data, FitConfig(epochs=60, batch=16), small)
    held_out = toy(seed=1)
    assert (predict(net, held_out).logits.argmax(1) == held_out.labels).mean() > 0.9


def test_fit_is_reproducible():
    small = PerceptionNetConfig(hidden=8, width=8, output=8)
    first, second = (fit(toy(24), FitConfig(epochs=1, batch=8), small) for _ in range(2))
    for a, b in zip(first.state_dict().values(), second.state_dict().values(), strict=True):
        assert torch.equal(a, b)


def test_dropout_of_modalities_leaves_at_least_one():
    present = torch.ones(1000, 2)
    present[:100, 0] = 0
    dropped = drop_modalities(present, torch.Generator().manual_seed(0))
    assert (dropped.sum(1) >= 1).all()
    assert torch.equal(dropped[:100], present[:100])
    assert 0.4 < (dropped[100:].sum(1) == 2).float().mean() < 0.6


def test_clips_survive_packing(tmp_path):
    rng = np.random.default_rng(0)
    frames = np.full((2, 224, 224, 3), 90, np.uint8)
    samples = (rng.uniform(-0.5, 0.5, 1600)).astype(np.float32)
    clips = [
        RawClip("a/1", "a:x", "happy", samples, frames),
        RawClip("a/2", "a:y", "sad", samples[:0], frames[:1]),
        RawClip("a/3", "a:y", "angry", samples, frames[:0]),
    ]
    pack(clips, tmp_path / "a.safetensors")
    for before, after in zip(clips, unpack(tmp_path / "a.safetensors"), strict=True):
        assert (before.name, before.person, before.label) == (after.name, after.person, after.label)
        assert before.frames.shape == after.frames.shape
        assert np.allclose(before.samples, after.samples, atol=1 / 32768)


def test_disturbed_windows_stay_inside_the_clip_and_depend_on_the_generator_alone():
    clip = RawClip(
        "a/1", "a:x", "happy", np.ones(48_000, np.float32) * 0.1, np.zeros((12, 224, 224, 3), np.uint8)
    )
    for seed in range(30):
        one, two = (disturbed(clip, np.random.default_rng(seed)) for _ in range(2))
        assert np.array_equal(one.samples, two.samples)
        assert 0 <= one.frames.start < one.frames.stop <= 12
        assert np.abs(one.samples).max() <= 1
    assert whole(clip).frames == slice(0, 12)


def test_disturb_keeps_silence_finite():
    assert np.isfinite(disturb(np.zeros(8000, np.float32), np.random.default_rng(0))).all()


def test_augmentation_keeps_shape_and_range():
    images = torch.rand(6, 3, 64, 64) * 255
    zoom = torch.tensor([[0.4, 1.2]]).expand(6, 2)
    out = augment(images, zoom, torch.Generator().manual_seed(0))
    assert out.shape == images.shape
    assert out.min() >= 0
    assert out.max() <= 255


def test_rare_labels_weigh_more():
    weights = class_weights(torch.tensor([0] * 90 + [1] * 10))
    assert weights[1] > weights[0]


def test_temperature_recovers_a_known_overconfidence():
    rng = np.random.default_rng(0)
    logits = rng.normal(size=(4000, 7)).astype(np.float32)
    probabilities = np.exp(log_softmax(logits))
    labels = np.array([rng.choice(7, p=row / row.sum()) for row in probabilities])
    assert temperature(logits * 3, labels) == pytest.approx(3, rel=0.1)
    assert calibration_error(probabilities, labels) < 0.03


def test_pooling_with_an_uninformative_view_changes_no_order():
    voice = np.random.default_rng(0).normal(size=(20, 7)).astype(np.float32)
    assert np.array_equal(pooled(voice, np.zeros_like(voice)).argmax(1), voice.argmax(1))


def test_scores_count_people_and_labels_that_occur():
    truth = np.array([0, 0, 1, 1])
    probabilities = np.eye(7, dtype=np.float32)[[0, 1, 1, 6]]
    scores = score_labels(probabilities, truth, ["a", "a", "b", "b"], DEFAULT_LABELS)
    assert (scores.n, scores.persons, scores.labels) == (4, 2, ("neutral", "happy"))
    assert scores.uar == pytest.approx(0.5)  # the last row has only zeros to choose from: it falls to neutral
    assert scores.uar_interval[0] <= scores.uar <= scores.uar_interval[1]


def test_a_trunk_trains_on_a_single_batch():
    images = torch.zeros(2, 3, 224, 224, dtype=torch.uint8)
    zoom = torch.tensor([[0.8, 1.2]]).expand(2, 2)
    model, losses = train_trunk(
        EfficientNetLite0(), images, torch.tensor([0, 1]), zoom, VisionConfig(epochs=1, batch=2), "cpu"
    )
    assert len(losses) == 1 and np.isfinite(losses[0])
    assert not model.training
