"""Files through the robot's own path: the windows it makes, the summary, and every kind of odd file."""

from __future__ import annotations

import json
from collections.abc import Callable, Sequence
from dataclasses import replace
from fractions import Fraction
from pathlib import Path

import av
import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from emollama_ros.analysis import Analysis, Analyzer, representative, summarise, weights
from emollama_ros.errors import EngineError, InputError
from emollama_ros.estimate import EmotionEstimate, Modality, Reasoning, Status
from emollama_ros.labels import UNCERTAIN, UNKNOWN
from emollama_ros.pipeline import PipelineConfig
from emollama_ros.streams import Window
from emollama_ros.uncertainty import Uncertainty
from emollama_ros.usable import usable_modalities

S = 1_000_000_000
LABELS = ("neutral", "happy", "sad")
KEYS = [
    "clip",
    "duration_s",
    "label",
    "scores",
    "valence",
    "arousal",
    "modalities",
    "reasoning",
    "windows",
    "timing",
]
H264 = "libx264" if "libx264" in av.codecs_available else "mpeg4"


class FakePerceiver:
    """Uses what the real one would use, and is sure of `happy` where there is sound, of `sad` without."""

    def __init__(self) -> None:
        self.windows: list[Window] = []
        self.resets = 0

    def perceive(
        self, windows: Sequence[Window], sequences: Sequence[int], sources: Sequence[int]
    ) -> list[EmotionEstimate]:
        (window,), (sequence,) = windows, sequences
        self.windows.append(window)
        used, faults = usable_modalities(window)
        scores = (0.1, 0.7, 0.2) if Modality.AUDIO in used else (0.1, 0.2, 0.7)
        found = estimate(
            window.start_ns / S,
            window.end_ns / S,
            scores if used else (0.0, 0.0, 0.0),
            sequence=sequence,
            modalities=used,
            status=Status.DEGRADED if faults else Status.OK,
            status_text="; ".join(faults),
            stage_ms={"total": 2.0},
        )
        return [found]

    def reset(self, source: int | None = None) -> None:
        self.resets += 1


class FakeExplainer:
    def __init__(self) -> None:
        self.asked: list[tuple[EmotionEstimate, str]] = []

    def explain(self, estimate: EmotionEstimate, transcript: str, **callbacks: Callable) -> Reasoning:
        self.asked.append((estimate, transcript))
        text = f"because of {estimate.label}"
        return Reasoning(
            0, estimate.sequence, estimate.start_ns, estimate.end_ns, estimate.label, text, True, 5
        )


def estimate(start_s: float, end_s: float, scores: tuple[float, ...], **fields: object) -> EmotionEstimate:
    best = int(np.argmax(scores))
    base = EmotionEstimate(
        start_ns=round(start_s * S),
        end_ns=round(end_s * S),
        sequence=0,
        label=LABELS[best] if any(scores) else UNKNOWN,
        labels=LABELS,
        scores=scores,
        valence=0.5,
        arousal=-0.5,
        confidence=scores[best],
        modalities=Modality.AUDIO if any(scores) else Modality.NONE,
    )
    return replace(base, **fields)


def pictures(count: int, width: int = 64, height: int = 48) -> list[av.VideoFrame]:
    random = np.random.default_rng(1)
    return [
        av.VideoFrame.from_ndarray(
            random.integers(0, 256, (height, width, 3), dtype=np.uint8), format="rgb24"
        )
        for _ in range(count)
    ]


def tone(seconds: float, rate: int = 16000, channels: int = 1, level: float = 0.5) -> np.ndarray:
    wave = level * np.sin(2 * np.pi * 220 * np.arange(round(rate * seconds)) / rate)
    return np.repeat((wave * 32767).astype(np.int16), channels)[None]


def write(
    path: Path,
    frames: list[av.VideoFrame] = (),
    sound: np.ndarray | None = None,
    *,
    rate: int = 16000,
    layout: str = "mono",
    audio_codec: str = "pcm_s16le",
    codec: str = H264,
    pix_fmt: str = "yuv420p",
    rotation: int = 0,
) -> Path:
    """Write a clip with 10 pictures a second."""
    with av.open(str(path), "w") as out:
        video = audio = None
        if frames:
            video = out.add_stream(codec, rate=10)
            video.width, video.height, video.pix_fmt = frames[0].width, frames[0].height, pix_fmt
            if rotation:
                video.set_display_rotation(rotation)
        if sound is not None:
            audio = out.add_stream(audio_codec, rate=rate, layout=layout)
        for k, frame in enumerate(frames):
            frame.pts, frame.time_base = k, Fraction(1, 10)
            out.mux(video.encode(frame))
        if video is not None:
            out.mux(video.encode(None))
        if audio is not None:
            frame = av.AudioFrame.from_ndarray(sound, format="s16", layout=layout)
            frame.sample_rate, frame.time_base, frame.pts = rate, Fraction(1, rate), 0
            out.mux(audio.encode(frame))
            out.mux(audio.encode(None))
    return path


def analyse(clip: Path, transcript: str = "", **config: object) -> tuple[Analysis, FakePerceiver]:
    perceiver = FakePerceiver()
    found = Analyzer(perceiver, None, PipelineConfig(frame_size=8, **config)).analyze(clip, transcript)
    assert perceiver.resets >= 1
    return found, perceiver


def spans(found: Analysis) -> list[tuple[float, float]]:
    return [(w["start_s"], w["end_s"]) for w in found.as_json()["windows"]]


def test_every_window_of_a_clip_is_perceived_none_is_skipped(tmp_path: Path) -> None:
    found, perceiver = analyse(write(tmp_path / "a.mkv", pictures(60), tone(6.0)))
    starts = [0.0] * 7 + [0.5, 1.0, 1.5, 2.0]
    assert spans(found) == [(start, 1.0 + 0.5 * k) for k, start in enumerate(starts)]
    assert [w.sequence for w in found.windows] == list(range(11))
    for window in perceiver.windows:
        assert window.audio is not None and window.audio.valid == pytest.approx(1.0, abs=0.01)
        assert window.frames is not None
        stamps = window.frames.stamps_ns
        assert window.start_ns <= stamps[0] and stamps[-1] < window.end_ns
        assert len(stamps) == pytest.approx((window.end_ns - window.start_ns) / S * 4, abs=1)


def test_the_json_has_the_documented_form(tmp_path: Path) -> None:
    clip = write(tmp_path / "a.mkv", pictures(20), tone(2.0))
    explainer = FakeExplainer()
    analyzer = Analyzer(FakePerceiver(), explainer, PipelineConfig(frame_size=8), ("a warning",), 12.0)
    value = json.loads(json.dumps(analyzer.analyze(clip, "good  day").as_json(), allow_nan=False))
    assert list(value)[: len(KEYS)] == KEYS
    assert value["clip"] == str(clip) and value["duration_s"] == pytest.approx(2.0, abs=0.05)
    assert value["label"] == "happy" and value["scores"] == {"neutral": 0.1, "happy": 0.7, "sad": 0.2}
    assert (value["valence"], value["arousal"]) == (0.5, -0.5)
    assert value["modalities"] == ["video", "audio", "text"]
    assert value["reasoning"] == "because of happy" and explainer.asked[0][1] == "good  day"
    assert set(value["windows"][0]) == {"start_s", "end_s", "label", "scores", "modalities"}
    assert value["timing"]["load_ms"] == 12.0 and value["timing"]["window_stages_ms"] == {"total": 2.0}
    assert (value["status"], value["status_text"], value["warnings"]) == ("ok", "", ["a warning"])


def test_a_transcript_is_said_over_the_whole_clip(tmp_path: Path) -> None:
    _, perceiver = analyse(write(tmp_path / "a.wav", sound=tone(9.0)), "  good\nday ")
    assert {w.transcript for w in perceiver.windows} == {"good day"}


@pytest.mark.parametrize("seconds", [0.1, 0.5, 0.9])
def test_a_very_short_clip_gives_one_window(tmp_path: Path, seconds: float) -> None:
    found, _ = analyse(write(tmp_path / "a.mkv", pictures(round(10 * seconds)), tone(seconds)))
    ((start_s, end_s),) = spans(found)
    assert start_s == 0.0 and end_s == pytest.approx(seconds, abs=0.1)
    assert Modality.VIDEO in found.modalities


def test_the_rest_of_a_clip_makes_a_last_window(tmp_path: Path) -> None:
    found, _ = analyse(write(tmp_path / "a.wav", sound=tone(1.8)))
    assert spans(found) == [(0.0, 1.0), (0.0, 1.5), (0.0, 1.8)]


@pytest.mark.parametrize(
    ("rate", "layout", "channels"), [(8000, "mono", 1), (48000, "stereo", 2), (48000, "5.1", 6)]
)
def test_sound_of_any_kind(tmp_path: Path, rate: int, layout: str, channels: int) -> None:
    sound = tone(2.0, rate, channels)
    found, perceiver = analyse(write(tmp_path / "a.wav", sound=sound, rate=rate, layout=layout))
    assert found.label == "happy" and found.modalities is Modality.AUDIO
    assert (found.status, found.status_text) == (Status.OK, "")  # a file without pictures lacks nothing
    assert perceiver.windows[-1].frames is None
    audio = perceiver.windows[-1].audio
    assert audio is not None and len(audio.samples) == 32000


def test_pictures_without_sound(tmp_path: Path) -> None:
    found, perceiver = analyse(write(tmp_path / "a.mp4", pictures(20)))
    assert (found.label, found.modalities, found.status) == ("sad", Modality.VIDEO, Status.OK)
    assert found.duration_s == pytest.approx(2.0, abs=0.01) and perceiver.windows[-1].audio is None


def test_a_silent_sound_track_degrades(tmp_path: Path) -> None:
    found, _ = analyse(write(tmp_path / "a.mkv", pictures(20), tone(2.0, level=0.0)))
    assert (found.label, found.modalities, found.status) == ("sad", Modality.VIDEO, Status.DEGRADED)
    assert found.status_text == "microphone is silent (below -60 dBFS)"


def test_nothing_to_perceive_gives_unknown_and_says_why(tmp_path: Path) -> None:
    explainer = FakeExplainer()
    clip = write(tmp_path / "a.wav", sound=tone(2.0, level=0.0))
    found = Analyzer(FakePerceiver(), explainer, PipelineConfig(frame_size=8)).analyze(clip)
    assert found.label == UNKNOWN and set(found.scores.values()) == {0.0}
    assert found.modalities is Modality.NONE and found.status is Status.DEGRADED
    assert "silent" in found.status_text and found.reasoning == "" and not explainer.asked


def test_what_is_not_likely_enough_is_uncertain_and_not_explained(tmp_path: Path) -> None:
    explainer = FakeExplainer()
    config = PipelineConfig(frame_size=8, uncertainty=Uncertainty(0.8))
    found = Analyzer(FakePerceiver(), explainer, config).analyze(write(tmp_path / "a.wav", sound=tone(2.0)))
    assert {window.label for window in found.windows} == {UNCERTAIN} == {found.label}
    assert found.scores == pytest.approx({"neutral": 0.1, "happy": 0.7, "sad": 0.2})
    assert found.status is Status.OK
    ((explained, _),) = explainer.asked
    assert (explained.label, explained.confidence) == (UNCERTAIN, 0.7)


def test_a_clip_of_windows_that_contradict_each_other_is_uncertain() -> None:
    windows = [estimate(0, 4, (0.9, 0.05, 0.05)), estimate(0.5, 4.5, (0.05, 0.9, 0.05))]
    assert summarise(windows, 0.5, Uncertainty(0.5)).label == UNCERTAIN
    assert summarise(windows, 0.5).label in ("neutral", "happy")
    assert representative(windows, UNCERTAIN).label == UNCERTAIN


def test_sound_that_ends_early_is_missed_only_where_it_is_missing(tmp_path: Path) -> None:
    found, _ = analyse(write(tmp_path / "a.mkv", pictures(80), tone(2.0)))
    assert found.windows[-1].end_ns == 8 * S and found.windows[-1].modalities is Modality.VIDEO
    assert found.status is Status.DEGRADED
    assert "no audio received in this window (in " in found.status_text


def test_a_portrait_clip_is_upright(tmp_path: Path) -> None:
    frames = pictures(10)
    for k in range(10):
        half = np.zeros((48, 64, 3), np.uint8)
        half[:, :32] = 255  # the left half is white; turned by 90 degrees it is the top or the bottom
        frames[k] = av.VideoFrame.from_ndarray(half, format="rgb24")
    _, perceiver = analyse(write(tmp_path / "a.mp4", frames, rotation=90))
    batch = perceiver.windows[-1].frames
    assert batch is not None
    image = batch.images[0].astype(int)
    assert abs(image[:2].mean() - image[-2:].mean()) > 200
    assert abs(image[:, :2].mean() - image[:, -2:].mean()) < 10


def test_one_pixel_is_a_blank_picture(tmp_path: Path) -> None:
    clip = write(tmp_path / "a.mkv", pictures(10, 1, 1), codec="ffv1", pix_fmt="bgr0")
    found, _ = analyse(clip)
    assert found.label == UNKNOWN and "blank" in found.status_text


def test_a_truncated_file_gives_what_there_is_and_a_warning(tmp_path: Path) -> None:
    clip = write(tmp_path / "a.mkv", pictures(60), tone(6.0), audio_codec="aac")
    data = clip.read_bytes()
    clip.write_bytes(data[: len(data) // 2])
    found, _ = analyse(clip)
    assert 0.5 < found.duration_s < 5.5 and found.label == "happy"
    (warning,) = found.warnings
    assert str(clip) in warning and "cut off" in warning


def test_a_text_file_is_refused(tmp_path: Path) -> None:
    path = tmp_path / "a.mp4"
    path.write_text("this is not a film")
    with pytest.raises(InputError, match=r"a\.mp4: is not a readable video or audio file"):
        analyse(path)


def test_a_hole_of_many_seconds_begins_a_new_scene(tmp_path: Path) -> None:
    clip = tmp_path / "a.mkv"
    with av.open(str(clip), "w") as out:
        video = out.add_stream(H264, rate=10)
        video.width, video.height, video.pix_fmt = 64, 48, "yuv420p"
        for k, frame in enumerate(pictures(20)):
            frame.pts, frame.time_base = k if k < 10 else k + 200, Fraction(1, 10)
            out.mux(video.encode(frame))
        out.mux(video.encode(None))
    found, perceiver = analyse(clip)
    assert spans(found) == [(0.0, 1.0), (21.0, 22.0)] and perceiver.resets == 2


def test_an_engine_that_fails_is_not_hidden(tmp_path: Path) -> None:
    class Failing(FakePerceiver):
        def perceive(self, *_: object) -> list[EmotionEstimate]:
            raise EngineError("inference failed: no memory")

    clip = write(tmp_path / "a.wav", sound=tone(1.5))
    with pytest.raises(EngineError, match="no memory"):
        Analyzer(Failing(), None, PipelineConfig(frame_size=8)).analyze(clip)


def test_analyses_do_not_depend_on_what_came_before(tmp_path: Path) -> None:
    clips = [write(tmp_path / f"{k}.wav", sound=tone(1.0 + k)) for k in range(2)]
    analyzer = Analyzer(FakePerceiver(), None, PipelineConfig(frame_size=8))
    first, _, again = (analyzer.analyze(clip) for clip in (clips[0], clips[1], clips[0]))
    assert first.windows == again.windows and first.scores == again.scores


# --- the summary ------------------------------------------------------------------------------------------

distributions = st.tuples(*[st.floats(0.01, 1.0)] * 3).map(lambda p: tuple(x / sum(p) for x in p))


@given(st.lists(distributions, min_size=1, max_size=12))
def test_the_summary_is_a_distribution_between_the_windows(scores: list[tuple[float, ...]]) -> None:
    windows = [estimate(0, 1 + 0.5 * k, p) for k, p in enumerate(scores)]
    summary = summarise(windows, 0.5)
    assert sum(summary.scores.values()) == pytest.approx(1.0)
    assert summary.label == max(summary.scores, key=lambda name: summary.scores[name])
    for index, label in enumerate(LABELS):
        column = [p[index] for p in scores]
        assert min(column) - 1e-9 <= summary.scores[label] <= max(column) + 1e-9
    chosen = representative(windows, summary.label)
    assert chosen.label == summary.label
    assert chosen.confidence == chosen.scores[LABELS.index(summary.label)]


def test_weights_follow_length_and_what_is_new() -> None:
    windows = [
        estimate(0, 1, (1, 0, 0)),
        estimate(0, 1.5, (1, 0, 0)),
        estimate(0, 2.0, (0, 0, 0)),  # nothing perceived
        estimate(0, 2.1, (1, 0, 0)),
    ]
    np.testing.assert_allclose(weights(windows, 0.5), [1.0, 1.5, 0.0, 2.1 * 0.2])


def test_a_label_that_is_always_second_is_still_explained_as_published() -> None:
    windows = [estimate(0, 4, (0.5, 0.45, 0.05)), estimate(0.5, 4.5, (0.05, 0.45, 0.5))]
    assert summarise(windows, 0.5).label == "happy"
    chosen = representative(windows, "happy")
    assert (chosen.label, chosen.confidence) == ("happy", 0.45)


def test_the_clearest_window_of_the_label_is_explained() -> None:
    windows = [estimate(0, 4, (0.1, 0.6, 0.3)), estimate(0, 4, (0.0, 0.9, 0.1)), estimate(0, 4, (1, 0, 0))]
    assert representative(windows, "happy") is not None
    assert representative(windows, "happy").scores == (0.0, 0.9, 0.1)
