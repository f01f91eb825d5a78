"""The packaged encoders are read right, and run the same through their graphs."""

import numpy as np
import pytest

torch = pytest.importorskip("torch", reason="needs PyTorch (make test installs it)")

from emollama_ros.errors import BundleError  # noqa: E402
from training.networks.efficientnet import EfficientNetLite0, classifier_logits, load_imagenet  # noqa: E402
from training.networks.whisper import WhisperEncoder, load_ctranslate2  # noqa: E402
from training.packaged_weights import WHISPER_TINY_EN, locate, read_ctranslate2, read_efficientnet  # noqa: E402


def packaged(read):
    try:
        return read()
    except BundleError as error:
        pytest.skip(str(error))


def test_imagenet_weights_load_strictly_and_see_a_horizon():
    state = packaged(read_efficientnet)
    trunk = load_imagenet(state)
    # A plain image has no object; what the packaged classifier says of it must at least be stable and finite.
    image = torch.full((1, 3, 224, 224), 0.1)
    logits = classifier_logits(trunk, image, state["_fc.weight"], state["_fc.bias"])
    assert logits.shape == (1, 1000)
    assert torch.isfinite(logits).all()
    assert trunk(image).shape == (1, 1280, 7, 7)


def test_same_padding_is_tensorflows():
    """Stride 2 pads after, not before: a single bright first pixel must reach the first output."""
    stem = EfficientNetLite0()._conv_stem
    torch.nn.init.zeros_(stem.weight)
    with torch.no_grad():
        stem.weight[:, :, 0, 0] = 1
    image = torch.zeros(1, 3, 224, 224)
    image[..., 0, 0] = 1
    output = stem(image)
    assert output.shape[-2:] == (112, 112)
    assert output[0, 0, 0, 0] == 3


def test_whisper_matches_transformers():
    transformers = pytest.importorskip("transformers")
    variables = packaged(lambda: read_ctranslate2(locate(WHISPER_TINY_EN)))
    ours = load_ctranslate2(variables)
    config = transformers.WhisperConfig(
        d_model=384, encoder_layers=4, encoder_attention_heads=6, encoder_ffn_dim=1536
    )
    theirs = transformers.models.whisper.modeling_whisper.WhisperEncoder(config).eval()
    theirs.load_state_dict(_as_transformers(ours.state_dict()), strict=True)
    mel = torch.randn(1, 80, 3000, generator=torch.Generator().manual_seed(0))
    with torch.no_grad():
        expected = theirs(mel).last_hidden_state
        found = ours(mel)[:, -1]
    assert torch.allclose(found, expected, atol=1e-4)


def _as_transformers(state):
    renamed = {"embed_positions.weight": state["positions"]}
    names = {
        "attention_norm": "self_attn_layer_norm",
        "out": "self_attn.out_proj",
        "mlp_norm": "final_layer_norm",
        "up": "fc1",
        "down": "fc2",
    }
    for name, value in state.items():
        head, *rest = name.split(".")
        if head in ("conv1", "conv2"):
            renamed[name] = value
        elif head == "norm":
            renamed[f"layer_norm.{rest[0]}"] = value
        elif head == "blocks" and rest[1] == "qkv":
            for projection, part in zip("qkv", value.chunk(3), strict=True):
                if (projection, rest[2]) != ("k", "bias"):  # keys have no bias; theirs is stored as zeros
                    renamed[f"layers.{rest[0]}.self_attn.{projection}_proj.{rest[2]}"] = part
        elif head == "blocks":
            renamed[f"layers.{rest[0]}.{names[rest[1]]}.{rest[2]}"] = value
    return renamed


def test_a_window_needs_no_padding_to_thirty_seconds():
    encoder = WhisperEncoder(width=16, heads=2, layers=3, mels=8).eval()
    assert encoder(torch.zeros(1, 8, 401)).shape == (1, 3, 201, 16)


def test_a_truncated_file_is_named(tmp_path):
    path = tmp_path / "model.bin"
    path.write_bytes(np.array([6], "<u4").tobytes() + b"\x20\x00abc")
    with pytest.raises(BundleError, match="model.bin: truncated at byte 6"):
        read_ctranslate2(path)
