"""Encoders of every kind run as graphs what they run in torch, whatever the batch."""

from __future__ import annotations

import numpy as np
import pytest

torch = pytest.importorskip("torch", reason="needs PyTorch (make test installs it)")
transformers = pytest.importorskip("transformers", reason="needs transformers (pip install .[training])")
pytest.importorskip("onnxscript", reason="exporting needs onnxscript")
ort = pytest.importorskip("onnxruntime", reason="needs onnxruntime (pip install .[cpu])")

from small_llama import worst  # noqa: E402

from model_export.encoder_graphs import (  # noqa: E402
    FrameView,
    ImageView,
    SharedData,
    SpectralView,
    export_frames,
    export_image,
    export_soft_tokens,
    export_spectral,
)
from model_export.trained_graphs import FusionGraph  # noqa: E402
from training.networks.backbones import EvaBackbone, TransformersVision  # noqa: E402
from training.networks.conv_attention import ConvAttentionConfig  # noqa: E402
from training.networks.emotion_llama import EmotionLlama, EmotionLlamaConfig  # noqa: E402
from training.networks.eva_vit import EvaConfig, EvaViT  # noqa: E402
from training.networks.fusion import FusionConfig  # noqa: E402
from training.networks.views import MultiviewEncoder  # noqa: E402
from training.networks.whisper import WhisperEncoder  # noqa: E402
from training.presets import VisionPreset  # noqa: E402

SIZES = {"hidden_size": 32, "intermediate_size": 64, "num_hidden_layers": 2, "num_attention_heads": 2}


def run(path, *inputs):
    options = ort.SessionOptions()
    options.intra_op_num_threads = 1
    session = ort.InferenceSession(str(path), options, providers=["CPUExecutionProvider"])
    return session.run(None, dict(zip([i.name for i in session.get_inputs()], inputs, strict=True)))


@torch.no_grad()
def agree(path, module, *inputs, allowed=1e-4):
    expected = module.eval()(*(torch.from_numpy(value) for value in inputs))
    for found, wanted in zip(
        run(path, *inputs), expected if isinstance(expected, tuple) else (expected,), strict=True
    ):
        assert found.shape == tuple(wanted.shape)
        assert worst(found.astype(np.float32), wanted.float().numpy()) < allowed


def pixels(count, size):
    return np.random.default_rng(count).integers(0, 256, (count, size, size, 3), np.uint8)


def scattered(module):
    """Weights that are all different from zero, so that none goes unnoticed."""
    torch.manual_seed(0)
    for weight in module.parameters():
        torch.nn.init.normal_(weight, std=0.1)
    return module.eval()


def eva():
    config = EvaConfig(width=32, heads=2, depth=2, hidden=64, patch=14, grid=4, is_whole=True)
    return EvaBackbone(EvaViT(config))


def clip():
    config = transformers.CLIPVisionConfig(**SIZES, image_size=56, patch_size=14)
    return TransformersVision(transformers.CLIPVisionModel(config))


def siglip():
    config = transformers.SiglipVisionConfig(**SIZES, image_size=56, patch_size=14)
    return TransformersVision(transformers.SiglipVisionModel(config))


def preset(image_size):
    return VisionPreset(
        backbone="hf:x", image_size=image_size, video_size=56, frames=16, joined=4, cells=2,
        normalise="clip", video_normalise="imagenet",
    )  # fmt: skip


def test_both_views_of_eva_share_their_weights(tmp_path):
    views, data = MultiviewEncoder(scattered(eva()), 4, 2), SharedData(tmp_path / "vision.onnx.data")
    image = export_image(views, preset(112), 16, tmp_path / "image.onnx", data)
    alone = data.path.stat().st_size
    frames = export_frames(views, preset(112), tmp_path / "frames.onnx", data)
    assert data.path.stat().st_size < 1.7 * alone
    for batch in (1, 3):
        agree(image, ImageView(views, preset(112), 16), pixels(batch, 112))
        agree(frames, FrameView(views, preset(112)), pixels(batch, 56))


@pytest.mark.parametrize("backbone", [clip, siglip])
def test_vision_transformers_of_the_library(tmp_path, backbone):
    views = MultiviewEncoder(scattered(backbone()), 4, 2)
    path = export_image(views, preset(56), 4, tmp_path / "image.onnx")
    for batch in (1, 3):
        agree(path, ImageView(views, preset(56), 4), pixels(batch, 56))


def test_half_precision_stays_half(tmp_path):
    views = MultiviewEncoder(scattered(eva()), 4, 2)
    with torch.no_grad():
        wanted = ImageView(views, preset(56), 4)(torch.from_numpy(pixels(2, 56)))[1].numpy()
    path = export_image(views.half(), preset(56), 4, tmp_path / "half.onnx")
    found = run(path, pixels(2, 56))[1]
    assert found.dtype == np.float16
    assert worst(found.astype(np.float32), wanted) < 2e-2
    count = sum(weight.numel() for weight in views.parameters())
    assert (tmp_path / "half.onnx.data").stat().st_size < 3 * count


def test_a_whisper_of_transformers(tmp_path):
    config = transformers.WhisperConfig(
        d_model=32, encoder_layers=3, encoder_attention_heads=2, encoder_ffn_dim=64, num_mel_bins=8,
        decoder_layers=1, decoder_attention_heads=2, decoder_ffn_dim=8, vocab_size=64, pad_token_id=0,
        bos_token_id=1, eos_token_id=2, decoder_start_token_id=1,
    )  # fmt: skip
    encoder = SpectralView(scattered(transformers.WhisperModel(config).encoder), layers=2)
    path = export_spectral(encoder, 8, tmp_path / "audio.onnx", free_time=False)
    mel = np.random.default_rng(0).normal(size=(1, 8, 3000)).astype(np.float32)
    agree(path, encoder, mel)


def test_our_whisper_takes_any_length_and_batch(tmp_path):
    encoder = scattered(WhisperEncoder(width=32, heads=2, layers=3, mels=128))
    path = export_spectral(encoder, 128, tmp_path / "audio.onnx", free_time=True)
    for batch, length in ((1, 40), (3, 401), (1, 2999)):
        mel = np.random.default_rng(0).normal(size=(batch, 128, length)).astype(np.float32)
        agree(path, encoder, mel)
    content = path.read_bytes()
    assert b"site-packages" not in content
    assert str(tmp_path).encode() not in content


@pytest.mark.parametrize("kind", ["conv_attention", "qformer"])
def test_fusion_gives_soft_tokens_and_masks_to_the_last_bit(tmp_path, kind):
    sizes = ConvAttentionConfig((12, 16, 16), hidden=24, width=16, output=20, blocks=2)
    config = EmotionLlamaConfig(
        fusion=FusionConfig(kind, sizes, tokens=8), audio=12, image=64, video=16, image_tokens=5,
        video_tokens=4, audio_tokens=6, audio_layers=2, normalise=True, language=32,
    )  # fmt: skip
    net = scattered(EmotionLlama(config))
    path = export_soft_tokens(net, frames=16, path=tmp_path / "fusion.onnx")
    rng = np.random.default_rng(3)
    for batch in (1, 3):
        shapes = [(2, 8, 12), (5, 64), (16,), (16, 16)]
        streams = [rng.normal(size=(batch, *shape)).astype(np.float32) for shape in shapes]
        for present in ([1, 1, 1], [1, 0, 0], [0, 1, 0], [0, 0, 0]):
            mask = np.tile(np.array(present, bool), (batch, 1))
            agree(path, FusionGraph(net), *streams, mask)
    deaf = np.array([[False, True, True]] * batch)
    noise = [streams[0] * 90 + 7, *streams[1:]]
    for one, two in zip(run(path, *streams, deaf), run(path, *noise, deaf), strict=True):
        assert np.array_equal(one, two)
