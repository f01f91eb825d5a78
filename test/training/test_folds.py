"""Held-out folds as a predictor: whose weights tell whom, what is encoded once, and what is refused."""

from __future__ import annotations

from dataclasses import dataclass, field
from functools import cached_property
from pathlib import Path

import numpy as np
import pytest

torch = pytest.importorskip("torch", reason="needs torch (make test installs it)")

from emollama_ros.bundle import Bundle  # noqa: E402
from emollama_ros.errors import InputError  # noqa: E402
from emollama_ros.labels import DEFAULT_LABELS  # noqa: E402
from training.networks.perception_net import PerceptionNet  # noqa: E402
from training.perception import folds  # noqa: E402
from training.perception.folds import FoldPredictor, Folds  # noqa: E402


@pytest.fixture(scope="module")
def bundle() -> Bundle:
    return Bundle.load(None)


class Nets:
    """A network a person, of other weights each; remembers who was asked for."""

    def __init__(self) -> None:
        self.asked: list[str] = []

    def __call__(self, person: str) -> PerceptionNet:
        self.asked.append(person)
        torch.manual_seed(len(person))
        net = PerceptionNet()
        torch.nn.init.normal_(net.voice.linear.weight, std=0.1)
        torch.nn.init.normal_(net.face.linear.weight, std=0.1)
        return net.eval()


@pytest.fixture
def clip():
    rng = np.random.default_rng(0)
    samples = (0.1 * rng.standard_normal(16000)).astype(np.float32)
    return samples, rng.integers(0, 255, (3, 224, 224, 3), np.uint8)


def test_each_person_is_told_by_the_own_fold_and_each_view_by_its_senses(bundle, clip):
    nets = Nets()
    predictor, (samples, frames) = FoldPredictor(nets, bundle), clip
    told = {
        (person, view): predictor.predict(
            samples if "a" in view else None, frames if "v" in view else None, person
        )
        for person in ("a:1", "b:22")
        for view in ("a", "v", "av")
    }
    assert nets.asked == ["a:1"] * 3 + ["b:22"] * 3
    assert all(t.shape == (len(DEFAULT_LABELS),) and np.isfinite(t).all() for t in told.values())
    assert len({t.tobytes() for t in told.values()}) == 6


def test_clean_senses_are_encoded_once(bundle, clip, monkeypatch):
    predictor, (samples, frames) = FoldPredictor(Nets(), bundle), clip
    encoded = []
    encode = FoldPredictor._encode
    monkeypatch.setattr(
        FoldPredictor,
        "_encode",
        lambda self, window, usable: encoded.append(usable) or encode(self, window, usable),
    )
    first = predictor.predict(samples, frames, "a:1")
    for gain in (0.5, 0.7):
        predictor.predict((samples * gain).astype(np.float32), frames, "a:1")
    assert np.array_equal(predictor.predict(samples.copy(), frames.copy(), "a:1"), first)
    assert [u.names() for u in encoded] == [("video",), ("audio",), ("audio",), ("audio",)]


def test_what_the_robot_would_not_use_is_not_used(bundle, clip):
    predictor, (samples, frames) = FoldPredictor(Nets(), bundle), clip
    silence, black = np.zeros_like(samples), np.zeros_like(frames)
    assert not predictor.predict(silence, black, "a:1").any()
    assert np.array_equal(predictor.predict(silence, frames, "a:1"), predictor.predict(None, frames, "a:1"))
    assert np.array_equal(predictor.predict(samples, black, "a:1"), predictor.predict(samples, None, "a:1"))


@dataclass(frozen=True)
class Shop:
    """As `training.perception.recipe.Workshop`, with the features that a test gives it."""

    folder: Path
    persons: tuple[str, ...]
    seed: int = 0
    device: str = "cpu"
    asked: list[str] = field(default_factory=list)

    @cached_property
    def features(self):
        self.asked.append("features")
        from training.perception.features import FeatureSet

        rng, n = np.random.default_rng(0), len(self.persons)

        def halves(*shape):
            return rng.normal(size=(n, *shape)).astype(np.float16)

        labels, ones = np.arange(n) % 7, np.ones((n, 2), np.float32)
        return FeatureSet(
            halves(4, 16, 384),
            halves(256),
            halves(16, 256),
            ones,
            labels,
            np.array(self.persons),
            np.ones(n, bool),
        )


def test_folds_are_fitted_without_the_person_and_kept(tmp_path, monkeypatch):
    pytest.importorskip("safetensors", reason="needs safetensors (make test installs it)")
    import training.perception.fit as fitting

    seen = []

    def fit(data, config, device):
        seen.append((set(data.persons), config.seed, device))
        torch.manual_seed(3)
        return PerceptionNet()

    monkeypatch.setattr(fitting, "fit", fit)
    shop = Shop(tmp_path, ("x:1", "x:2", "y:1") * 7)
    net = Folds(shop)("x:1")
    assert seen == [({"x:2", "y:1"}, 0, "cpu")]
    again = Shop(tmp_path, ())
    kept = Folds(again)("x:1")
    assert again.asked == [], "the windows are not read for a fold that is there"
    assert all(torch.equal(a, b) for a, b in zip(net.parameters(), kept.parameters(), strict=True))
    with pytest.raises(InputError, match="z:9 is not among the people"):
        Folds(shop)("z:9")


def test_a_bundle_of_another_fusion_is_refused(bundle, monkeypatch):
    monkeypatch.setattr(folds, "_INPUTS", ("audio", "image", "cells", "present"))
    with pytest.raises(InputError, match="its fusion does not take"):
        FoldPredictor(Nets(), bundle)
