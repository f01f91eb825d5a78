from __future__ import annotations

import json
from pathlib import Path

import pytest

SAMPLES = Path(__file__).resolve().parents[2] / "emollama_ros" / "samples"


def test_the_bundled_sample_matches_its_truth():
    import av

    truth = json.loads((SAMPLES / "sample.json").read_text())
    segments = truth["segments"]
    assert [s["label"] for s in segments] == ["neutral", "happy", "sad", "angry", "surprised", "disgusted"]
    assert segments[0]["start_s"] == 0 and segments[-1]["end_s"] == truth["duration_s"] == 24.0
    assert all(a["end_s"] == b["start_s"] for a, b in zip(segments[:-1], segments[1:], strict=True))
    assert truth["person"]["person"] == 90_005
    assert (SAMPLES / "sample.mp4").stat().st_size < 2_000_000
    with av.open(str(SAMPLES / "sample.mp4")) as container:
        video, audio = container.streams.video[0], container.streams.audio[0]
        assert (video.width, video.height) == (480, 360)
        assert float(video.duration * video.time_base) == pytest.approx(24.0, abs=0.1)
        assert float(audio.duration * audio.time_base) == pytest.approx(24.0, abs=0.2)
    assert "CC0" in (SAMPLES / "LICENSE.txt").read_text()


def test_the_sample_script_is_what_was_bundled(renderer, speech):
    """The bundled truth is the one that the generator of today would write."""
    from training.synthesis.people import SAMPLE_PERSON
    from training.synthesis.sample import compose_sample, sample_truth

    truth = json.loads((SAMPLES / "sample.json").read_text())
    today = json.loads(json.dumps(sample_truth(compose_sample())))
    # The clip was made by the first version; the story it tells is the same.
    assert {**today, "generator": truth["generator"]} == truth
    assert truth["person"]["person"] == SAMPLE_PERSON
