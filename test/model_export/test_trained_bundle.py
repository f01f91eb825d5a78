"""From a trained system to a bundle that runs: soft tokens, same bytes, a verification that can fail."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path
from types import SimpleNamespace

import numpy as np
import pytest

torch = pytest.importorskip("torch")
pytest.importorskip("onnx")

from emollama_ros.bundle import Bundle, packaged_path  # noqa: E402
from emollama_ros.engines import EngineOptions  # noqa: E402
from emollama_ros.errors import BundleError, ConfigError  # noqa: E402
from emollama_ros.estimate import Modality  # noqa: E402
from emollama_ros.manifest import Parity  # noqa: E402
from emollama_ros.perception import Perception  # noqa: E402
from emollama_ros.streams import AudioSpan, FrameBatch, Window  # noqa: E402
from model_export.checkpoint import Trained, weights_of  # noqa: E402
from model_export.commands import choices_of, described  # noqa: E402
from model_export.trained_bundle import Choices, _origin, write_trained_bundle  # noqa: E402
from model_export.trained_graphs import export_network  # noqa: E402
from model_export.verification import Clip, failures_of, markdown, verify, write_report  # noqa: E402
from training.curriculum.encoders import Shapes  # noqa: E402
from training.curriculum.network import config_of  # noqa: E402
from training.networks.backbones import Lite0Backbone, WhisperBackbone  # noqa: E402
from training.networks.efficientnet import EfficientNetLite0  # noqa: E402
from training.networks.emotion_llama import EmotionLlama  # noqa: E402
from training.networks.views import MultiviewEncoder  # noqa: E402
from training.networks.whisper import WhisperEncoder  # noqa: E402
from training.presets import load_preset  # noqa: E402

S = 1_000_000_000
CPU = EngineOptions("cpu", threads=1)
SHAPES = Shapes(audio=(2, 8, 32), image=(1, 1280), video=(16, 1280))


@pytest.fixture(scope="module")
def trained() -> Trained:
    """The tiny preset with random weights, a small sound encoder, and no language model."""
    torch.manual_seed(0)
    preset = load_preset("tiny")
    encoders = SimpleNamespace(
        vision=MultiviewEncoder(Lite0Backbone(EfficientNetLite0()), joined=1, cells=1).eval(),
        audio=WhisperBackbone(WhisperEncoder(32, 2, 2)).eval(),
        shapes=SHAPES,
    )
    net = EmotionLlama(config_of(preset, SHAPES, 64)).eval().requires_grad_(False)
    return Trained(preset, encoders, net, SimpleNamespace(codec=SimpleNamespace(start=())), b"{}")


@pytest.fixture(scope="module")
def bundle(trained: Trained, tmp_path_factory: pytest.TempPathFactory) -> Bundle:
    words = Bundle.load(packaged_path())
    out = tmp_path_factory.mktemp("out") / "bundle"
    return write_trained_bundle(trained, out, Choices(language=None, words=words))


def window(frames: int = 8, seconds: float = 2.0, words: str = "", seed: int = 0) -> Window:
    random = np.random.default_rng(seed)
    sound = (0.2 * random.standard_normal(round(16000 * seconds))).astype(np.float32)
    images = random.integers(0, 256, (frames, 224, 224, 3), dtype=np.uint8)
    stamps = np.arange(frames, dtype=np.int64) * (S // 4)
    return Window(
        0,
        2 * S,
        FrameBatch(stamps, images) if frames else None,
        AudioSpan(0, sound, 1.0) if seconds else None,
        words,
    )


@pytest.mark.parametrize(
    ("given", "there"),
    [
        (window(), 8 + 1 + 4 + 8),
        (window(seconds=0), 8 + 1 + 4),
        (window(frames=1, seconds=0), 8 + 1),
        (window(frames=0), 8 + 8),
    ],
)
def test_soft_tokens_of_what_is_there_come_with_the_estimate(
    bundle: Bundle, given: Window, there: int
) -> None:
    found = Perception(bundle, CPU).perceive_one(given, 0)
    assert found.soft_tokens is not None and found.soft_tokens.shape == (there, 64)
    assert np.isfinite(found.soft_tokens).all() and sum(found.scores) == pytest.approx(1, abs=1e-5)


def test_words_are_read_by_the_graph_that_was_taken_over(bundle: Bundle) -> None:
    found = Perception(bundle, CPU).perceive_one(window(0, 0, "what a wonderful day"), 0)
    assert found.modalities == Modality.TEXT and found.soft_tokens is None


def test_the_manifest_says_what_the_preset_says(bundle: Bundle, trained: Trained) -> None:
    manifest = bundle.manifest
    assert manifest.layout == trained.net.config.layout and manifest.soft_tokens == 21
    assert manifest.prompt and set(manifest.prompt.questions) == {"reason", "think"}
    assert "{" not in "".join(manifest.prompt.questions.values())
    assert not bundle.has_language and "soft tokens fusion 8, image 1" in described(bundle)
    for name in ("vision", "audio", "fusion"):
        bound = manifest.parity.graphs[name]
        assert bound.tolerance == 1e-4 and bound.measured is not None and bound.measured <= 1e-5


def test_verification_passes_and_fails_when_one_weight_is_another(
    bundle: Bundle, trained: Trained, tmp_path: Path
) -> None:
    clips = [Clip("a", window(seed=1)), Clip("b", window(seconds=0, seed=2))]
    found = verify(bundle.path, trained, clips, threads=1)
    assert found.failures == () and found.engines["cpu"].label_agreement == 1.0
    data, page = write_report(found, tmp_path)
    assert "Within the manifest's bounds." in page.read_text() and data.is_file()
    bias = trained.net.head.out.bias
    before = bias.clone()
    with torch.no_grad():
        bias[-2] += 0.5
        broken = verify(bundle.path, trained, clips[:1], threads=1)
        bias.copy_(before)
    assert any("fusion differs" in failure for failure in broken.failures)
    assert any("valence differs" in failure for failure in broken.failures)
    assert "Beyond the manifest's bounds:" in markdown(broken)
    strict = failures_of(found, replace(bundle.manifest, parity=replace(Parity(), label_agreement=1.1)))
    assert strict == ("cpu: 100.0% of the labels agree, wanted 110%",)


def test_the_same_weights_give_the_same_bytes(trained: Trained, bundle: Bundle, tmp_path: Path) -> None:
    again = export_network(trained.net, 8, 16, tmp_path / "fusion.onnx", half=False)
    assert again.read_bytes() == bundle.file("fusion.onnx").read_bytes()


def test_sound_in_eight_bits_is_held_to_its_root_mean_square(trained: Trained, tmp_path: Path) -> None:
    bundle = write_trained_bundle(trained, tmp_path / "bundle", Choices(precision="int8", language=None))
    assert {n: g.precision for n, g in bundle.manifest.graphs.items()} == {
        "vision": "float32",
        "audio": "int8",
        "fusion": "float32",
    }
    given = [Clip("a", window(seed=1)), Clip("b", window(frames=0, seed=2))]
    found = verify(bundle.path, trained, given, threads=1)
    sound = found.engines["cpu"].graphs["audio"]
    assert found.failures == () and 1e-3 < sound.rms < 0.1
    bounds = replace(bundle.manifest.parity.graphs["audio"], tolerance=1e-3)
    strict = replace(bundle.manifest.parity, graphs={**bundle.manifest.parity.graphs, "audio": bounds})
    (failure,) = failures_of(found, replace(bundle.manifest, parity=strict))
    assert failure == f"cpu: audio differs by {sound.rms:.1e}, allowed 1e-03"


def test_a_folder_of_something_else_is_not_emptied(trained: Trained, tmp_path: Path) -> None:
    (tmp_path / "thesis.txt").write_text("years of work")
    with pytest.raises(BundleError, match="not empty and no bundle"):
        write_trained_bundle(trained, tmp_path)
    assert (tmp_path / "thesis.txt").read_text() == "years of work"


def test_wrong_options_are_refused_by_name(tmp_path: Path) -> None:
    with pytest.raises(ConfigError, match="--precision 'float8': use one of float32, float16, int8"):
        choices_of(tmp_path, "float8", "int8", None, "none", None)
    with pytest.raises(BundleError, match=r"no weights\.safetensors"):
        weights_of(tmp_path)


def test_every_file_says_whose_terms_it_is_under(trained, bundle):
    assert {name: file.licence for name, file in bundle.manifest.files.items()} == {
        "vision.onnx": "Apache-2.0",
        "audio.onnx": "MIT",
        "fusion.onnx": "Apache-2.0",
        "text.onnx": "Apache-2.0",
    }
    audio = trained.preset.audio.model_copy(update={"backbone": "hf:somebody/whisper"})
    other = replace(trained, preset=trained.preset.model_copy(update={"audio": audio}))
    assert _origin(other, "audio") == ("LicenseRef-as-its-origin", "hf:somebody/whisper, frozen")
