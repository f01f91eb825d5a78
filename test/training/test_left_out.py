"""Seeds of leave-one-out: what they change, what they leave, and that a killed run goes on."""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import pytest

torch = pytest.importorskip("torch", reason="needs PyTorch (make test installs it)")

from emollama_ros.errors import ConfigError  # noqa: E402
from training.evaluation.held_out import HeldOut  # noqa: E402
from training.networks.perception_net import PerceptionNetConfig  # noqa: E402
from training.perception import recipe  # noqa: E402
from training.perception.features import AUDIO, LAYERS, TOKENS, VISION, FeatureSet  # noqa: E402
from training.perception.fit import FitConfig, fit  # noqa: E402
from training.perception.left_out import leave_out, parse_seeds  # noqa: E402
from training.perception.recipe import Workshop  # noqa: E402


def toy(people: int = 3, clips: int = 4) -> FeatureSet:
    """Whole clips of people who are heard and not seen."""
    count = people * clips
    rng, labels = np.random.default_rng(0), np.arange(count) % 2
    audio = rng.normal(size=(count, LAYERS, TOKENS, AUDIO)).astype(np.float16)
    audio[labels == 1, :, :, :40] += 1
    nothing = (np.zeros((count, VISION), np.float16), np.zeros((count, TOKENS, VISION), np.float16))
    present = np.tile(np.array([[1, 0]], np.float32), (count, 1))
    persons = np.repeat([f"toy:{i}" for i in range(people)], clips)
    return FeatureSet(audio, *nothing, present, labels, persons, np.ones(count, bool))


@pytest.fixture
def workshop(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Workshop:
    """A run whose features are there already, of small networks."""
    small = PerceptionNetConfig(hidden=8, width=8, output=8)
    monkeypatch.setattr(recipe, "FUSION", FitConfig(epochs=1, batch=4))
    monkeypatch.setattr(recipe, "fit", lambda data, config, device: fit(data, config, small, device))
    made = Workshop(tmp_path / "run", tmp_path / "packs")
    made.__dict__.update(features=toy(), windows=toy())
    return made


def test_seeds_are_of_the_networks_and_the_report_has_their_spread(
    workshop: Workshop, tmp_path: Path
) -> None:
    out = tmp_path / "loo" / "report.json"
    told = json.loads(leave_out(workshop, "toy", (0, 5), out))
    assert told == json.loads(out.read_text()) and told["seed"] == 0
    assert told["seeds"]["seeds"] == [0, 5] and "direct paths" in told["seeds"]["changes"]
    uar = told["seeds"]["views"]["audio"]["uar"]
    assert uar["each"][0] == told["scores"]["audio"]["uar"] and uar["spread"] is not None
    first, second = (HeldOut.load(out.with_name(name)) for name in ("report.npz", "report-seed5.npz"))
    assert np.array_equal(first.truth, second.truth) and not np.array_equal(first.audio, second.audio)
    assert len(list((workshop.folder / "held_out").glob("toy-*-seed5.npz"))) == 3


def test_people_who_are_there_are_not_trained_again(
    workshop: Workshop, monkeypatch: pytest.MonkeyPatch
) -> None:
    whole = workshop.leave_one_out("toy", 0)
    (workshop.folder / "held_out" / "toy-1-seed0.npz").unlink()
    trained, small = [], recipe.fit

    def watched(data: FeatureSet, config: FitConfig, device: str) -> torch.nn.Module:
        trained.append(set(data.persons))
        return small(data, config, device=device)

    monkeypatch.setattr(recipe, "fit", watched)
    again = workshop.leave_one_out("toy", 0)
    assert trained == [{"toy:0", "toy:2"}]
    assert np.array_equal(again.audio, whole.audio)


def test_a_source_that_is_not_packed_is_named(workshop: Workshop) -> None:
    with pytest.raises(ConfigError, match="no clips of 'ravdess' are packed; there are toy"):
        workshop.leave_one_out("ravdess")


@pytest.mark.parametrize("text", ["", "0,", "a", "-1", "0,1,0", "1.5"])
def test_seeds_that_are_none_are_refused(text: str) -> None:
    with pytest.raises(ConfigError, match="seeds"):
        parse_seeds(text)
    assert parse_seeds("0, 1,2") == (0, 1, 2)
