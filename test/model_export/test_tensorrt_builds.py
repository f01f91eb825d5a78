"""TensorRT-RTX builds what is exported for presets: both views, sound, soft tokens, the decoder."""

from __future__ import annotations

import pytest

torch = pytest.importorskip("torch", reason="needs PyTorch (make test installs it)")
pytest.importorskip("transformers", reason="needs transformers (pip install .[training])")
pytest.importorskip("onnxscript", reason="exporting needs onnxscript")
pytest.importorskip("tensorrt_rtx", reason="needs TensorRT-RTX: pip install '.[rtx]'")

from small_llama import llama  # noqa: E402

from emollama_ros.engines.tensorrt_api import load_tensorrt  # noqa: E402
from emollama_ros.engines.tensorrt_build import (  # noqa: E402
    BuildOptions,
    ensure_engine,
    graph_sha256,
    target_of,
)
from model_export.encoder_graphs import (  # noqa: E402
    SharedData,
    export_frames,
    export_image,
    export_soft_tokens,
    export_spectral,
)
from model_export.language_model import TransformersSource, shape_of  # noqa: E402
from model_export.llama_standard import StandardFormat, write_standard  # noqa: E402
from model_export.perception_graphs import export_audio  # noqa: E402
from model_export.quantise import sample_sound, to_int8  # noqa: E402
from training.networks.backbones import EvaBackbone  # noqa: E402
from training.networks.conv_attention import ConvAttentionConfig  # noqa: E402
from training.networks.emotion_llama import EmotionLlama, EmotionLlamaConfig  # noqa: E402
from training.networks.eva_vit import EvaConfig, EvaViT  # noqa: E402
from training.networks.fusion import FusionConfig  # noqa: E402
from training.networks.views import MultiviewEncoder  # noqa: E402
from training.networks.whisper import WhisperEncoder  # noqa: E402
from training.presets import VisionPreset  # noqa: E402


@pytest.fixture
def built(tmp_path):
    """Builds a graph; gives the record of its engine."""
    trt = load_tensorrt("rtx", to_build=True)
    options = BuildOptions(ranges={"batch": (1, 1, 2)}, cache_dir=tmp_path / "cache")

    def build(path):
        return ensure_engine(path, trt, target_of(trt), options).record

    return build


def test_both_views_of_a_clip_in_half_precision(tmp_path, built):
    config = EvaConfig(width=64, heads=2, depth=2, hidden=128, patch=14, grid=4, is_whole=True)
    views = MultiviewEncoder(EvaBackbone(EvaViT(config)).eval().half(), 4, 2)
    preset = VisionPreset(
        backbone="hf:x", image_size=112, video_size=56, frames=16, joined=4, cells=2,
        normalise="clip", video_normalise="imagenet",
    )  # fmt: skip
    data = SharedData(tmp_path / "vision.onnx.data")
    image = export_image(views, preset, 16, tmp_path / "image.onnx", data)
    frames = export_frames(views, preset, tmp_path / "frames.onnx", data)
    assert built(image)["profile"]["pictures"][0] == (1, 112, 112, 3)
    assert built(frames)["profile"]["frames"][2] == (2, 56, 56, 3)


def test_weights_in_a_shared_file_are_part_of_the_identity(tmp_path):
    graph, data = tmp_path / "a.onnx", tmp_path / "weights.bin"
    graph.write_bytes(b"... location weights.bin ...")
    data.write_bytes(b"1")
    (tmp_path / "other.bin").write_bytes(b"1")
    before = graph_sha256(graph)
    (tmp_path / "other.bin").write_bytes(b"2")
    assert graph_sha256(graph) == before
    data.write_bytes(b"2")
    assert graph_sha256(graph) != before


def test_sound_of_any_length(tmp_path, built):
    encoder = WhisperEncoder(width=64, heads=2, layers=2, mels=80).eval()
    path = export_spectral(encoder, 80, tmp_path / "audio.onnx", free_time=True)
    assert built(path)["profile"]["mel"] == ((1, 80, 40), (1, 80, 400), (2, 80, 3000))


def test_sound_in_eight_bits(tmp_path, built):
    """The graph that CPUs run: a strongly typed network takes its QuantizeLinear and DequantizeLinear."""
    torch.manual_seed(0)
    encoder = WhisperEncoder(width=64, heads=2, layers=2, mels=80).eval()
    path = to_int8(export_audio(encoder, tmp_path / "audio.onnx", half=False), sample_sound()[:2])
    assert b"QuantizeLinear" in path.read_bytes()
    assert built(path)["profile"]["mel"][2] == (1, 80, 3000)


def test_soft_tokens(tmp_path, built):
    sizes = ConvAttentionConfig((12, 16, 16), hidden=24, width=16, output=20, blocks=2)
    config = EmotionLlamaConfig(
        fusion=FusionConfig("conv_attention", sizes, tokens=8), audio=12, image=64, video=16, image_tokens=5,
        video_tokens=4, audio_tokens=6, audio_layers=2, normalise=True, language=32,
    )  # fmt: skip
    path = export_soft_tokens(EmotionLlama(config).eval(), frames=16, path=tmp_path / "fusion.onnx")
    assert built(path)["profile"]["present"] == ((1, 3), (1, 3), (2, 3))


@pytest.mark.parametrize("weights", ["float32", "float16", "int4"])
def test_the_decoder_from_an_empty_cache_to_a_full_one(tmp_path, built, weights):
    model = llama()
    path = tmp_path / "decoder.onnx"
    form = StandardFormat(weights, "float32" if weights == "float32" else "float16")
    write_standard(TransformersSource(model), shape_of(model.config), path, form)
    record = built(path)
    least, _, largest = record["profile"]["past_key_values.0.key"]
    assert least[2] == 0 and largest[2] == 2048
    assert record["profile"]["attention_mask"][0] == (1, 1)
