"""Detectors of cues in a bundle: entered, sealed, loaded, and asked by perception."""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import pytest

pytest.importorskip("onnx", reason="needs onnx (pip install .[export])")
pytest.importorskip("cv2", reason="the truth is the generator's, which draws with opencv-python-headless")

from emollama_ros.bundle import MANIFEST, Bundle, copy_shipped, packaged_path  # noqa: E402
from emollama_ros.cue_head import CUES  # noqa: E402
from emollama_ros.engines import EngineOptions  # noqa: E402
from emollama_ros.errors import ConfigError, InputError  # noqa: E402
from emollama_ros.perception import Perception  # noqa: E402
from emollama_ros.streams import FrameBatch, Window  # noqa: E402
from model_export import cues  # noqa: E402
from training.cognition.cue_head import Examples  # noqa: E402

SMILE = ("face.smile", "shown")


@pytest.fixture
def bundle(tmp_path: Path) -> Path:
    if not (packaged_path() / MANIFEST).is_file():
        pytest.skip(f"{packaged_path()} has no bundle")
    copy_shipped(packaged_path(), tmp_path / "bundle")
    return tmp_path / "bundle"


@pytest.fixture
def people(tmp_path: Path) -> Path:
    """Truth without clips: nothing is decoded."""
    (tmp_path / "people" / "records").mkdir(parents=True)
    (tmp_path / "people" / "records" / "000000.json").write_text(json.dumps({"person": 7}))
    return tmp_path / "people"


def examples(bundle: Path, count: int = 60) -> Examples:
    """Features of the bundle's sizes: a smile wherever they are not far below zero, where none ever is."""
    graphs, random = Bundle.load(bundle).manifest.graphs, np.random.default_rng(0)
    width = int(graphs["fusion"].inputs["video"].shape[-1])
    level = np.where(np.arange(count) % 2, 0.5, -5.0)[:, None]
    video = (level + random.normal(0, 0.1, (count, 2 * width))).astype(np.float32)
    truth = {SMILE: (np.arange(count) % 2).astype(np.int8)}
    return Examples(np.arange(count), np.full((count, 1), np.nan, np.float32), video, truth)


def test_a_bundle_with_detectors_speaks_of_faces(bundle, people, monkeypatch):
    before = Bundle.load(bundle)
    monkeypatch.setattr(cues, "collect", lambda *_: examples(bundle))
    after, quality = cues.add_cues(bundle, people, range(0, 10), voices=0)
    assert after.sha256 != before.sha256 and after.sha256 == Bundle.load(bundle).sha256
    assert after.manifest.files[CUES].origin.startswith("fitted on 1 generated clips")
    assert set(quality) == {SMILE}
    assert "face.smile/shown | 30 | 30" in cues.table(quality)
    images = np.random.default_rng(1).integers(0, 256, (3, 224, 224, 3), dtype=np.uint8)
    window = Window(0, 10**9, FrameBatch(np.arange(3) * 250_000_000, images))
    found = {c.name: c.level for c in Perception(after, EngineOptions("cpu", 1)).perceive_one(window).cues}
    without = {c.name: c.level for c in Perception(before, EngineOptions("cpu", 1)).perceive_one(window).cues}
    assert found == {**without, "face.smile": "shown"}


def test_too_few_people_are_refused_and_the_bundle_stays(bundle, people, monkeypatch):
    before = Bundle.load(bundle).sha256
    monkeypatch.setattr(cues, "collect", lambda *_: examples(bundle, count=10))
    with pytest.raises(ConfigError, match="too few"):
        cues.add_cues(bundle, people, range(0, 10), voices=0)
    assert Bundle.load(bundle).sha256 == before


def test_people_of_other_splits_teach_nothing(bundle, people, monkeypatch):
    for number in (8, 19, 21):
        record = people / "records" / f"{number:06d}.json"
        record.write_text(json.dumps({"person": number}))
    taught = []
    voice = [(None, {"person": number}) for number in (7, 18)]
    monkeypatch.setattr(cues, "clip_windows", lambda _, records: ((None, r) for r in records))
    monkeypatch.setattr(cues, "voice_windows", lambda count, options: iter(voice))
    monkeypatch.setattr(cues, "collect", lambda _, windows, __: taught.extend(windows) or examples(bundle))
    after, _ = cues.add_cues(bundle, people, range(0, 30), voices=4, split="train")
    assert [record["person"] for _, record in taught] == [7, 21, 7]
    # Voices are of people 7 to 21 in turn; of the first four, numbers 8 and 9 are none to learn from.
    assert "fitted on 2 generated clips and 2 voices of 2 people" in after.manifest.files[CUES].origin
    with pytest.raises(InputError, match="split 'tset'"):
        cues.add_cues(bundle, people, range(0, 30), voices=0, split="tset")
