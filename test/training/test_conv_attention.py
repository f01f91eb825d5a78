"""Conv-Attention against vectors of the released code, and its published size."""

import numpy as np
import pytest

torch = pytest.importorskip("torch", reason="needs PyTorch (make test installs it)")

from training.networks.conv_attention import ConvAttention, ConvAttentionConfig  # noqa: E402


def test_reproduces_the_released_code(shared_dir):
    vectors = np.load(shared_dir / "conformance" / "conv_attention.npz")
    state = {
        name[7:]: torch.from_numpy(vectors[name]) for name in vectors.files if name.startswith("weight:")
    }
    streams = [torch.from_numpy(vectors[f"input{i}"]) for i in range(3)]
    width, joined = state["conv_entry.weight"].shape[:2]
    config = ConvAttentionConfig(
        inputs=tuple(s.shape[-1] for s in streams),
        hidden=state["attention_mlp.0.weight"].shape[0],
        width=width,
        output=state["fc_final.weight"].shape[0],
    )
    assert joined == 3 * width
    net = ConvAttention(config).eval()
    net.load_state_dict(state, strict=True)
    with torch.no_grad():
        output = net(streams).numpy()
    assert np.abs(output - vectors["output"]).max() < 1e-5


def test_released_sizes_give_the_published_parameter_count():
    with torch.device("meta"):
        net = ConvAttention()
    assert sum(p.numel() for p in net.parameters()) == 2_838_275
