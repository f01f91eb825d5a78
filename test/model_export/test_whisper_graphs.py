"""The graphs of the speech model agree with CTranslate2, which reads the same weights by code of its own."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest

pytest.importorskip("onnx", reason="needs onnx to build graphs (pip install .[export])")
pytest.importorskip("torch", reason="model_export imports it")
ctranslate2 = pytest.importorskip("ctranslate2", reason="needs faster-whisper as the reference")
pytest.importorskip("cv2", reason="the generator needs opencv-python-headless")

import onnx  # noqa: E402

from emollama_ros.errors import BundleError, InputError  # noqa: E402
from emollama_ros.preprocess.audio import log_mel  # noqa: E402
from emollama_ros.speech import Whisper  # noqa: E402
from emollama_ros.speech.assemble import (  # noqa: E402
    LAYOUT,
    assemble_speech,
    installed_source,
    read_speech_layout,
    shipped_path,
)
from emollama_ros.speech.whisper import Stop  # noqa: E402
from model_export.whisper_graphs import WhisperShape, whisper_graphs, write_speech_files  # noqa: E402
from training.packaged_weights import WHISPER_TINY_EN, locate  # noqa: E402
from training.synthesis import voice  # noqa: E402
from training.synthesis.prosody import Prosody, Speaker  # noqa: E402

RATE = 16_000
SENTENCES = (
    "The papers are on the table by the window.",
    "It is eleven o'clock, and the shop is open.",
)


@pytest.fixture(scope="module")
def reference():
    try:
        folder = locate(WHISPER_TINY_EN).parent
    except BundleError as error:
        pytest.skip(str(error))
    return ctranslate2.models.Whisper(str(folder), device="cpu", compute_type="float32", intra_threads=1)


def assembled(folder: Path, weights: str) -> Whisper:
    write_speech_files(folder / "shipped", weights)
    assemble_speech(installed_source(), folder / "whole", folder / "shipped")
    return Whisper.load(folder / "whole")


@pytest.fixture(scope="module")
def exact(reference, tmp_path_factory: pytest.TempPathFactory) -> Whisper:
    return assembled(tmp_path_factory.mktemp("float32"), "float32")


@pytest.fixture(scope="module")
def spectrograms() -> list[np.ndarray]:
    """Log-mel of two voices, padded to 30 s."""
    made = []
    for i, sentence in enumerate(SENTENCES):
        speaker = Speaker((205, 120)[i], (1.0, 0.86)[i], 1.0, 0.05, 0.0, 1.0)
        try:
            sound = voice.speak(sentence, speaker, Prosody(), np.random.default_rng(i)).samples
        except InputError as error:
            pytest.skip(str(error))
        made.append(log_mel(np.pad(sound, (0, 30 * RATE - len(sound)))))
    return made


def greedy(whisper: Whisper, mel: np.ndarray, most: int = 100) -> tuple[list[int], float, float]:
    """Tokens, sum of their log probabilities and that of nobody speaking; the sound is used as it is."""
    kept: list[list[int]] = []
    whisper._heard = lambda tokens, total, no_speech, is_whole: kept.append((tokens, total, no_speech))
    try:
        cross = whisper._run(whisper._encoder, whisper._outputs[0], {"mel": mel[None]}, Stop())
        whisper._write(cross, most, float("inf"), Stop())
    finally:
        del whisper._heard
    return kept[0]


def of_reference(reference, mel: np.ndarray):
    (found,) = reference.generate(
        ctranslate2.StorageView.from_array(mel[None]),
        [list(read_speech_layout(shipped_path() / LAYOUT).rules.begin)],
        beam_size=1,
        length_penalty=0,
        max_length=100,
        return_scores=True,
        return_no_speech_prob=True,
    )
    return found.sequences_ids[0], found.scores[0], found.no_speech_prob


def test_every_token_is_that_of_the_reference(reference, exact: Whisper, spectrograms):
    for mel in spectrograms:
        tokens, total, no_speech = greedy(exact, mel)
        expected, score, silent = of_reference(reference, mel)
        assert tokens == expected and len(tokens) >= 7
        assert total == pytest.approx(score, abs=0.01) and no_speech == pytest.approx(silent, abs=1e-3)


def test_eight_bits_write_the_same(reference, spectrograms, tmp_path: Path):
    """At least nine of ten tokens of the form that ships, position by position."""
    assemble_speech(installed_source(), tmp_path)
    shipped = Whisper.load(tmp_path)
    same = count = 0
    for mel in spectrograms:
        tokens, expected = greedy(shipped, mel)[0], of_reference(reference, mel)[0]
        same += sum(a == b for a, b in zip(tokens, expected, strict=False))
        count += max(len(tokens), len(expected))
    assert same / count >= 0.9


def test_half_precision_is_the_packages_own(exact: Whisper, spectrograms, tmp_path: Path):
    half, mel = assembled(tmp_path, "float16"), spectrograms[0][:, :300]
    tokens, total, no_speech = greedy(half, mel, most=5)
    expected = greedy(exact, mel, most=5)
    assert tokens == expected[0] and total == pytest.approx(expected[1], abs=1e-3)
    assert no_speech == pytest.approx(expected[2], abs=1e-4)


def test_what_ships_is_what_the_export_writes():
    layout = read_speech_layout(shipped_path() / LAYOUT)
    written = whisper_graphs(WhisperShape(**layout.shape))
    for entry in layout.graphs:
        committed = onnx.load(shipped_path() / entry.name, load_external_data=False)
        assert committed == written[entry.name][0]
        tensors = next(file.tensors for file in layout.files if file.name == f"{entry.name}.data")
        assert tensors == tuple(written[entry.name][1])


def test_another_size_is_built(tmp_path: Path):
    """Nothing in the graphs is of one size of Whisper."""
    shape = WhisperShape(width=64, heads=2, layers=3, mels=80, vocab=512, sounds=100, positions=32)
    for name, (model, tensors) in whisper_graphs(shape, "int8").items():
        with (tmp_path / f"{name}.data").open("wb") as data:
            data.truncate(tensors[-1].offset + tensors[-1].bytes)
        onnx.save(model, tmp_path / name)
        onnx.checker.check_model(tmp_path / name, full_check=True)
