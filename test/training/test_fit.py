"""The recipe learns what can be learnt, and nothing leaks from a held-out person."""

import numpy as np
import pytest

torch = pytest.importorskip("torch", reason="needs PyTorch (make test installs it)")

from emollama_ros.labels import DEFAULT_LABELS  # noqa: E402
from training.evaluation.calibration import (  # noqa: E402
    FUSION_WEIGHT,
    VOICE_WEIGHT,
    log_softmax,
    pooled,
    temperature,
)
from training.evaluation.coverage import label_scores  # noqa: E402
from training.evaluation.held_out import HeldOut  # noqa: E402
from training.evaluation.metrics import calibration_error, score_labels  # noqa: E402
from training.mmeverse.clip_packs import RawClip, pack, unpack  # noqa: E402
from training.networks.efficientnet import EfficientNetLite0  # noqa: E402
from training.networks.face_expression import FaceExpressionNet  # noqa: E402
from training.networks.glimpse import FrameEncoder, GlimpseHead, Places, TrunkFront, crop  # noqa: E402
from training.networks.perception_net import PerceptionNetConfig  # noqa: E402
from training.perception.features import (  # noqa: E402
    AUDIO,
    LAYERS,
    NOBODY,
    TOKENS,
    VISION,
    FeatureSet,
    Senses,
    Windows,
    disturbed,
    extract,
    features,
    whole,
)
from training.perception.fit import FitConfig, balance, drop_modalities, fit, predict, targets  # noqa: E402
from training.perception.frozen import frozen  # noqa: E402
from training.perception.vision import (  # noqa: E402
    Faces,
    VisionConfig,
    augment,
    fit_expression,
    fit_glimpse,
    glimpse_error,
    source_weights,
    starting_expression,
)


def toy(n=60, seed=0):
    rng = np.random.default_rng(seed)
    labels = np.arange(n) % 3
    audio = rng.normal(size=(n, LAYERS, TOKENS, AUDIO)).astype(np.float16)
    for row, label in enumerate(labels):
        audio[row, :, :, label * 40 : label * 40 + 40] += 2
    return FeatureSet(
        audio, np.zeros((n, VISION), np.float16), np.zeros((n, TOKENS, VISION), np.float16),
        np.tile(np.array([[1, 0]], np.float32), (n, 1)), labels,
        np.array([f"toy:{i % 5}" for i in range(n)]), np.ones(n, bool),
    )  # fmt: skip


def test_fit_learns_a_separable_voice():
    data = toy()
    small = PerceptionNetConfig(hidden=16, width=8, output=8)
    net = fit(data, FitConfig(epochs=2, batch=16), small)
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
    for seed in range(10):
        one, two = (disturbed(clip, np.random.default_rng(seed)) for _ in range(2))
        assert np.array_equal(one.samples, two.samples)
        assert np.array_equal(one.frames, two.frames)
        assert 1 <= len(one.frames) <= 12
        assert np.abs(one.samples).max() <= 1
        assert len(one.samples) <= 64_000
    assert len(whole(clip).frames) == 12


def test_nobody_is_to_get_scores_that_are_all_alike():
    wanted, affect = targets(np.array([2, NOBODY]), smoothing=0.1)
    assert wanted[0].argmax() == 2 and wanted[0].sum() == pytest.approx(1)
    assert torch.allclose(wanted[1], torch.full((7,), 1 / 7))
    assert torch.equal(affect[1], torch.zeros(2))


def test_windows_of_nobody_have_the_weight_that_is_asked_for():
    data = toy(30)
    labels = data.labels.copy()
    labels[:6] = NOBODY
    weights = balance(FeatureSet(**{**vars(data), "labels": labels}), nobody_weight=0.25)
    assert weights[:6].sum() == pytest.approx(0.25 * weights[6:].sum().item(), rel=1e-4)
    assert weights.mean() == pytest.approx(1, rel=1e-4)


# --- what sees ---------------------------------------------------------------------------------------------


def blobs(n=8, seed=0):
    """Dark frames with a bright square where the face is."""
    rng = np.random.default_rng(seed)
    images, places = np.full((n, 3, 224, 224), 30, np.uint8), np.zeros((n, 4), np.float32)
    for row in range(n):
        half = rng.integers(25, 50)
        x, y = rng.integers(half, 224 - half, 2)
        images[row, :, y - half : y + half, x - half : x + half] = 220
        places[row] = (x / 112 - 1, y / 112 - 1, half / 112, half / 112)
    return Faces(
        torch.from_numpy(images), torch.from_numpy(places), torch.arange(n) % 7,
        np.array([f"toy:{i}" for i in range(n)]),
    )  # fmt: skip


def test_augmentation_keeps_shape_and_range_and_knows_where_the_face_went():
    faces = blobs(12)
    images, places = augment(faces, torch.Generator().manual_seed(0), "cpu")
    assert images.shape == faces.images.shape
    assert images.min() >= 0 and images.max() <= 255
    assert (places[:, :2].abs() < 1.3).all() and (places[:, 2:] > 0).all()


def test_a_face_that_moves_is_cut_out_of_its_new_place():
    faces = blobs(6)
    cut = crop(faces.images.float(), Places(faces.places[:, :2], faces.places[:, 2:]))
    assert (cut[:, :, 56:70, 50:62] > 200).all()
    assert (cut[:, :, :4, :4] < 60).all()


def test_the_glimpse_is_wrong_by_nothing_where_it_is_right():
    head, maps = GlimpseHead(), torch.randn(4, 112, 14, 14)
    found = head(maps)
    exact = glimpse_error(head, maps, torch.cat([found.centre, found.half], -1).detach())
    off = glimpse_error(head, maps, torch.cat([found.centre + 0.3, found.half * 2], -1).detach())
    assert exact < off


def test_the_glimpse_head_trains_and_the_front_stays_as_it_was():
    faces, front = blobs(4), TrunkFront(EfficientNetLite0()).eval()
    before = {name: value.clone() for name, value in front.state_dict().items()}
    torch.manual_seed(0)
    start = GlimpseHead().state_dict()
    trained = fit_glimpse(faces, front, VisionConfig(epochs=2, batch=2, rate=1e-2), "cpu")
    assert all(torch.equal(before[name], value) for name, value in front.state_dict().items())
    assert all(not torch.equal(start[name], value) for name, value in trained.state_dict().items())
    assert all(torch.isfinite(value).all() for value in trained.state_dict().values())


def test_an_expression_network_trains_and_leaves_the_start_as_it_was():
    torch.manual_seed(0)
    packaged = FaceExpressionNet()
    start = starting_expression(packaged)
    before = {name: value.clone() for name, value in start.state_dict().items()}
    trained = fit_expression(start, blobs(4), VisionConfig(1, 2, 1e-3, keep=0.5), "cpu", packaged)
    assert all(torch.equal(before[name], value) for name, value in start.state_dict().items())
    assert any(not torch.equal(before[name], value) for name, value in trained.state_dict().items())


def test_rare_labels_of_a_source_weigh_more():
    faces = blobs(7)
    labels = torch.tensor([0, 0, 0, 0, 0, 0, 1])
    weights = source_weights(Faces(faces.images, faces.places, labels, faces.persons))
    assert weights[6] > weights[0]
    assert weights.mean() == pytest.approx(1)


def test_frozen_equals_eager():
    encoder = FrameEncoder().eval()
    frames = torch.randint(0, 256, (3, 224, 224, 3), dtype=torch.uint8)
    with torch.no_grad():
        expected = encoder(frames)
    assert torch.allclose(frozen(encoder, frames[:2])(frames), expected, atol=1e-4)


class Deaf(torch.nn.Module):
    def forward(self, mel):
        return torch.zeros(1, LAYERS, mel.shape[-1] // 2, AUDIO)


def test_windows_hold_what_each_clip_has(tmp_path):
    front = frozen(TrunkFront(EfficientNetLite0()), torch.zeros(2, 3, 224, 224))
    sound, frames = np.full(16_000, 0.1, np.float32), np.zeros((3, 224, 224, 3), np.uint8)
    clips = [
        RawClip("a/1", "a:x", "happy", sound, frames),
        RawClip("a/2", "a:y", "sad", sound, frames[:0]),
        RawClip("nothing/1", "nothing:dark", "", sound[:0], frames),
    ]
    copies = {"a": 1}
    found = extract(clips, Senses(Deaf(), front, GlimpseHead()), lambda source: copies.get(source, 0))
    assert found.present.tolist() == [[1, 1], [1, 1], [1, 0], [1, 0], [0, 1]]
    assert found.labels.tolist() == [1, 1, 2, 2, NOBODY]
    assert found.is_whole.tolist() == [True, False, True, False, True]
    assert found.spans[0].tolist() == [0, 3] and found.spans[-1][1] == len(found.glimpses)
    found.save(tmp_path / "windows.npz")
    with np.load(tmp_path / "windows.npz") as held:
        again = features(Windows(**held), FaceExpressionNet().eval())
    assert again.video.shape == (5, TOKENS, VISION)
    assert not again.video[2].any() and again.video[0].any()


def test_people_without_pictures_have_no_view_of_them():
    voice = np.eye(7, dtype=np.float32)[[0, 1]]
    none = np.full_like(voice, np.nan)
    held_out = HeldOut(np.array([0, 1]), np.array(["a:x", "a:y"]), voice, none, none)
    assert set(held_out.views()) == {"audio"}
    assert label_scores(held_out)["audio"].uar == pytest.approx(1)


def test_temperature_recovers_a_known_overconfidence():
    rng = np.random.default_rng(0)
    logits = rng.normal(size=(4000, 7)).astype(np.float32)
    probabilities = np.exp(log_softmax(logits))
    labels = np.array([rng.choice(7, p=row / row.sum()) for row in probabilities])
    assert temperature(logits * 3, labels) == pytest.approx(3, rel=0.1)
    assert calibration_error(probabilities, labels) < 0.03


def test_the_joint_view_is_what_the_robot_computes():
    voice, fused = np.random.default_rng(0).normal(size=(2, 20, 7)).astype(np.float32)
    expected = VOICE_WEIGHT * log_softmax(voice) + FUSION_WEIGHT * log_softmax(fused)
    assert np.allclose(pooled(voice, fused), expected)
    assert VOICE_WEIGHT + FUSION_WEIGHT > 0


def test_scores_count_people_and_labels_that_occur():
    truth = np.array([0, 0, 1, 1])
    probabilities = np.eye(7, dtype=np.float32)[[0, 1, 1, 6]]
    scores = score_labels(probabilities, truth, ["a", "a", "b", "b"], DEFAULT_LABELS)
    assert (scores.n, scores.persons, scores.labels) == (4, 2, ("neutral", "happy"))
    assert scores.uar == pytest.approx(0.5)  # the last row has only zeros to choose from: it falls to neutral
    assert scores.uar_interval[0] <= scores.uar <= scores.uar_interval[1]
