"""Ray does the same as threads, byte for byte."""

from __future__ import annotations

import tempfile
from pathlib import Path

import pytest
from annotation_fakes.clips import FakeFactory, write_set

from training.annotation.limits import Caps
from training.annotation.pipeline import Job, run

pytest.importorskip("ray", reason="needs Ray (make test installs it)")


@pytest.mark.slow
def test_ray_does_as_threads_do_and_leaves_nothing_behind(tmp_path, monkeypatch):
    from training.annotation.engine_ray import RayEngine

    monkeypatch.setenv("PYTHONPATH", str(Path(__file__).parents[1]))  # where workers find the fakes
    records = write_set(tmp_path / "set", 18, media=False)
    before = set(Path(tempfile.gettempdir()).glob("ray-*"))

    def written(name, engine):
        job = Job(records, records.parent, tmp_path / name, FakeFactory(), workers=2, caps=Caps(requests=0))
        run(job, *engine)
        return [(tmp_path / name / f"{part}.jsonl").read_bytes() for part in ("records", "rejects", "flags")]

    assert written("ray", [RayEngine()]) == written("threads", [])
    assert set(Path(tempfile.gettempdir()).glob("ray-*")) == before
