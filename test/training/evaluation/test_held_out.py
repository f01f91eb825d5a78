"""The one file of held-out predictions: what is written is read, what is damaged is named."""

from __future__ import annotations

from dataclasses import fields
from pathlib import Path

import numpy as np
import pytest

from emollama_ros.errors import InputError
from training.evaluation.calibration import pooled, temperature
from training.evaluation.held_out import HeldOut


def made(clips: int = 12, seen: int = 12, seed: int = 0) -> HeldOut:
    """Clips of three people, of which the first so many are seen."""
    rng = np.random.default_rng(seed)
    truth, persons = np.arange(clips) % 7, np.array([f"made:{i % 3}" for i in range(clips)])
    views = rng.normal(size=(3, clips, 7)).astype(np.float32)
    views[1:, seen:] = np.nan
    return HeldOut(truth, persons, *views)


def test_what_is_saved_is_read(tmp_path: Path) -> None:
    before = made(seen=5)
    before.save(tmp_path / "held.npz")
    after = HeldOut.load(tmp_path / "held.npz")
    for field in fields(HeldOut):
        assert np.array_equal(*(getattr(one, field.name).astype(str) for one in (before, after)))


def test_parts_are_joined_and_taken_apart() -> None:
    one, two = made(3), made(4, seed=1)
    both = HeldOut.joined([one, two])
    assert len(both) == 7 and np.array_equal(both.take(np.arange(3, 7)).fused, two.fused)


def test_views_are_those_that_somebody_has_and_the_joint_one_is_pooled() -> None:
    assert set(made(seen=0).views()) == {"audio"}
    some = made(seen=5)
    views = some.views()
    assert set(views) == {"audio", "video", "video+audio"}
    assert np.allclose(views["video+audio"][:5], pooled(some.audio[:5], some.fused[:5]), atol=1e-6)
    assert some.temperatures()["video"] == temperature(views["video"][:5], some.truth[:5])


@pytest.mark.parametrize("missing", ["truth", "fused"])
def test_a_file_without_a_column_is_refused(tmp_path: Path, missing: str) -> None:
    columns = {name: value for name, value in vars(made()).items() if name != missing}
    np.savez(tmp_path / "a.npz", **columns)
    with pytest.raises(InputError, match=f"no held-out predictions.*{missing}.*leave-one-out"):
        HeldOut.load(tmp_path / "a.npz")


def test_files_that_are_no_predictions_are_refused(tmp_path: Path) -> None:
    (tmp_path / "text.npz").write_text("no")
    (tmp_path / "empty.npz").touch()
    made().save(tmp_path / "whole.npz")
    (tmp_path / "half.npz").write_bytes((tmp_path / "whole.npz").read_bytes()[:500])
    for name in ("text.npz", "absent.npz", "empty.npz", "half.npz"):
        with pytest.raises(InputError, match=rf"{name}: no held-out predictions"):
            HeldOut.load(tmp_path / name)


def test_logits_of_another_label_set_or_length_are_refused(tmp_path: Path) -> None:
    whole = vars(made())
    np.savez(tmp_path / "six.npz", **{**whole, "video": whole["video"][:, :6]})
    with pytest.raises(InputError, match=r"video has the shape \(12, 6\), not \(12, 7\)"):
        HeldOut.load(tmp_path / "six.npz")
    np.savez(tmp_path / "short.npz", **{**whole, "persons": whole["persons"][:3]})
    with pytest.raises(InputError, match="3 persons for 12 clips"):
        HeldOut.load(tmp_path / "short.npz")
